package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// hub is a registry with one image, you/worker:1.0. Where it has a password it
// gives out tokens for it.
type hub struct {
	*httptest.Server
	digest   atomic.Value // string
	password string
	answer   atomic.Pointer[http.HandlerFunc] // instead of all that
	lookups  atomic.Int32
}

func newHub(t *testing.T, password string) *hub {
	h := &hub{password: password}
	h.digest.Store(digestA)
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) host() string { return strings.TrimPrefix(h.URL, "http://") }

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if other := h.answer.Load(); other != nil {
		(*other)(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.URL.Path == "/token" {
		user, password, _ := r.BasicAuth()
		if user != "robot" || password != h.password || r.URL.Query().Get("scope") != "repository:you/worker:pull" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token":"t0ken"}`)
		return
	}
	if r.Method == http.MethodHead {
		h.lookups.Add(1)
	}
	if h.password != "" && r.Header.Get("Authorization") != "Bearer t0ken" {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="hub",scope="repository:you/worker:pull"`, h.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	digest := h.digest.Load().(string)
	if r.Method != http.MethodHead || r.URL.Path != "/v2/you/worker/manifests/1.0" && r.URL.Path != "/v2/you/worker/manifests/"+digest {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	w.Header().Set("Content-Length", "1234")
	w.Header().Set("Docker-Content-Digest", digest)
}

// says makes the registry answer otherwise.
func (h *hub) says(status int, header ...string) {
	f := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n+1 < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		w.WriteHeader(status)
	})
	h.answer.Store(&f)
}

func open(t *testing.T, cfg Config) *Image {
	t.Helper()
	i, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func TestLookup(t *testing.T) {
	t.Parallel()
	public, private := newHub(t, ""), newHub(t, "pull-secret")
	login := "-u robot -p pull-secret "
	for name, c := range map[string]struct {
		hub          *hub
		image, login string
		want         error
	}{
		"public":                       {public, "/you/worker:1.0", "", nil},
		"by digest":                    {public, "/you/worker@" + digestA, "", nil},
		"by tag and digest":            {public, "/you/worker:old@" + digestA, "", nil},
		"no such tag":                  {public, "/you/worker:2.0", "", gpu.ErrNoImage},
		"no such digest":               {public, "/you/worker@" + digestB, "", gpu.ErrNoImage},
		"no tag is latest":             {public, "/you/worker", "", gpu.ErrNoImage},
		"private":                      {private, "/you/worker:1.0", login + private.host(), nil},
		"private, another form":        {private, "/you/worker:1.0", "--username=robot --password=pull-secret https://" + private.host() + "/v1/", nil},
		"private, without login":       {private, "/you/worker:1.0", "", gpu.ErrNoImage},
		"private, login for elsewhere": {private, "/you/worker:1.0", login + "other.example", gpu.ErrNoImage},
		"private, wrong password":      {private, "/you/worker:1.0", "-u robot -p wrong " + private.host(), gpu.ErrNoImage},
	} {
		i := open(t, Config{Image: c.hub.host() + c.image, Login: c.login})
		digest, err := i.Lookup(t.Context())
		if !errors.Is(err, c.want) || (err == nil) != (digest == digestA) {
			t.Errorf("%s: %q, %v", name, digest, err)
		}
	}
}

// A registry of one's own asks for the password itself, without tokens.
func TestLookupBasic(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "pull-secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="basic-realm"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Content-Length", "1234")
		w.Header().Set("Docker-Content-Digest", digestA)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	for login, want := range map[string]error{
		"":                                gpu.ErrNoImage,
		"-u robot -p pull-secret ghcr.io": gpu.ErrNoImage,
		"-u robot -p wrong " + host:       gpu.ErrNoImage,
		"-u robot -p pull-secret " + host: nil,
	} {
		i := open(t, Config{Image: host + "/you/worker:1.0", Login: login})
		if digest, err := i.Lookup(t.Context()); !errors.Is(err, want) || (err == nil) != (digest == digestA) {
			t.Errorf("login %q: %q, %v", login, digest, err)
		}
	}
}

// What is no word of a registry's decides nothing.
func TestLookupUnreachable(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	i := open(t, Config{Image: h.host() + "/you/worker:1.0"})
	html := []string{"Content-Type", "text/html"}
	for name, answer := range map[string]func(){
		"proxy's 403":  func() { h.says(403, html...) },
		"portal's 404": func() { h.says(404, html...) },
		"strange 401":  func() { h.says(401, html...) },
		"too often":    func() { h.says(429, "Docker-Distribution-Api-Version", "registry/2.0") },
		"broken":       func() { h.says(502, html...) },
		"portal's 200": func() { h.says(200, html...) },
		"no digest":    func() { h.says(200, "Content-Type", "application/json", "Content-Length", "7") },
		"odd digest": func() {
			h.says(200, "Content-Type", "application/json", "Content-Length", "7", "Docker-Content-Digest", "x y")
		},
		"a large header": func() { h.says(404, "Content-Type", "application/json", "X", strings.Repeat("x", 1<<20)) },
		"nobody":         h.Close,
	} {
		if name == "nobody" {
			continue
		}
		answer()
		if digest, err := i.Lookup(t.Context()); err == nil || errors.Is(err, gpu.ErrNoImage) {
			t.Errorf("%s: %q, %v", name, digest, err)
		}
	}
	h.Close()
	if _, err := i.Lookup(t.Context()); err == nil || errors.Is(err, gpu.ErrNoImage) {
		t.Errorf("nobody: %v", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	now := time.Unix(1e9, 0)
	var log bytes.Buffer
	name := h.host() + "/you/worker"
	i := open(t, Config{Image: name + ":1.0", Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	check := func(moment, want string, pinned bool, wantErr error, warning string) {
		t.Helper()
		got, isPinned, err := i.Recheck(t.Context())
		if got != want || isPinned != pinned || !errors.Is(err, wantErr) {
			t.Errorf("%s: %q pinned=%v, %v; want %q %v %v", moment, got, isPinned, err, want, pinned, wantErr)
		}
		if got := i.Warning(); (got == "") != (warning == "") || !strings.Contains(got, warning) {
			t.Errorf("%s: warning %q, want %q", moment, got, warning)
		}
	}
	h.says(502)
	check("the registry is down", name+":1.0", false, nil, "by its tag")
	h.answer.Store(nil)
	check("it is up", name+"@"+digestA, true, nil, "")
	h.digest.Store(digestB)
	if got, _, _ := i.Resolve(t.Context()); got != name+"@"+digestA {
		t.Errorf("asked again at once: %s", got)
	}
	now = now.Add(fresh)
	check("the tag moved", name+"@"+digestB, true, nil, "")
	h.says(502)
	check("down again", name+"@"+digestB, true, nil, "learned at 2001-09-09T")
	h.says(404, "Content-Type", "application/json")
	check("deleted", "", false, gpu.ErrNoImage, "not there")
	h.says(502)
	check("down", name+":1.0", false, nil, "by its tag")
	check("still down", name+":1.0", false, nil, "by its tag")
	if n := strings.Count(log.String(), "\n"); n != 6 {
		t.Errorf("%d lines logged, of 6 changes:\n%s", n, log.String())
	}
}

// Nobody waits for a slow registry; what it says in the end counts.
func TestResolveIsPatient(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	let := make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-let
		h.answer.Store(nil)
		h.ServeHTTP(w, r)
	})
	h.answer.Store(&slow)
	image := h.host() + "/you/worker:1.0"
	i := open(t, Config{Image: image})
	i.Warm()
	if got, pinned, err := i.Resolve(t.Context()); got != image || pinned || err != nil {
		t.Errorf("%q %v %v", got, pinned, err)
	}
	close(let)
	if got, pinned, err := i.Recheck(t.Context()); !strings.HasSuffix(got, "@"+digestA) || !pinned || err != nil {
		t.Errorf("%q %v %v", got, pinned, err)
	}
	if n := h.lookups.Load(); n != 1 {
		t.Errorf("%d lookups", n)
	}
}

// Close does not wait for a registry that does not answer.
func TestClose(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	asked := make(chan struct{})
	never := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	h.answer.Store(&never)
	i, err := New(Config{Image: h.host() + "/you/worker:1.0"})
	if err != nil {
		t.Fatal(err)
	}
	i.Warm()
	<-asked
	i.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, pinned, err := i.Recheck(ctx); pinned || err != nil {
		t.Errorf("%v %v", pinned, err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for image, host := range map[string]string{
		"you/worker:1.0": "docker.io", "worker": "docker.io", "ghcr.io/you/worker": "ghcr.io", "localhost:5000/worker@" + digestA: "localhost",
	} {
		if i, err := New(Config{Image: image}); err != nil || i.Host() != host {
			t.Errorf("%s: %v, %v", image, i, err)
		}
	}
	if i := open(t, Config{Image: "you/worker:1.0"}); i.repository.Reference.Host() != "registry-1.docker.io" || i.repository.PlainHTTP {
		t.Errorf("%+v", i.repository.Reference)
	}
	for _, image := range []string{"", "UPPER", "a b", "you/worker:", "https://ghcr.io/you/worker", "x@sha256:1"} {
		if _, err := New(Config{Image: image}); err == nil || !strings.Contains(err.Error(), "no name that docker pull takes") {
			t.Errorf("%q: %v", image, err)
		}
	}
	for _, login := range []string{"robot secret", "-u robot", "-u robot -p", "-u robot -p secret a b", "-x -u robot -p secret", "-u= -p=secret a"} {
		if _, err := New(Config{Image: "worker", Login: login}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", login, err)
		}
	}
}
