package selfdestroy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the-key-of-this-instance"

// market answers DELETE and PUT from a script, whose last entry repeats, and
// notes when it was asked what.
type market struct {
	t       *testing.T
	deletes []string // "status body"; "" breaks the connection
	puts    []string

	mu    sync.Mutex
	asked []string
	at    []time.Time
}

func (m *market) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if got := r.URL.String(); got != "https://market.example/api/v0/instances/31/" || r.Header.Get("Authorization") != "Bearer "+secret {
		m.t.Errorf("asked %s with %q", got, r.Header)
	}
	if _, bounded := r.Context().Deadline(); !bounded {
		m.t.Error("a try without a deadline")
	}
	script := &m.deletes
	switch {
	case r.Method == http.MethodPut && string(body) == `{"state":"stopped"}`:
		script = &m.puts
	case r.Method != http.MethodDelete:
		m.t.Errorf("asked %s %s", r.Method, body)
	}
	m.asked, m.at = append(m.asked, r.Method), append(m.at, time.Now())
	step := (*script)[0]
	if len(*script) > 1 {
		*script = (*script)[1:]
	}
	status, text, ok := strings.Cut(step, " ")
	if !ok {
		return nil, errors.New("connection reset")
	}
	code := map[string]int{"200": 200, "308": 308, "401": 401, "404": 404, "410": 410, "429": 429, "502": 502}[status]
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text)), Header: http.Header{"Location": {"https://elsewhere.example/"}}}, nil
}

func self(t *testing.T, m *market, log io.Writer) *Self {
	t.Helper()
	m.t = t
	s, err := New(Config{URL: "https://market.example", ID: "31", Key: secret, Log: slog.New(slog.NewTextHandler(log, nil)), Transport: m})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	yes      = `200 {"success":true}`
	noSuch   = `404 {"success":false,"error":"no_such_instance","msg":"Instance 31 not found."}`
	badKey   = `404 {"success":false,"error":"auth_error","msg":"Invalid user key"}`
	expired  = `401 {"success":false,"error":"auth_error","msg":"Session expired."}`
	no       = `200 {"success":false,"error":"resources_unavailable"}`
	busy     = `429 API requests too frequent: endpoint threshold=3.0`
	busyJSON = `429 {"detail":"API requests too frequent endpoint threshold=3.0"}`
	page     = `502 <html>bad gateway</html>`
	empty404 = `404 `
	moved    = `308 {}`
)

func times(n int, answer string) []string { return slices.Repeat([]string{answer}, n) }

func TestEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		deletes, puts []string
		want          string // the calls, D and P
	}{
		"accepted, then gone":             {[]string{yes, yes, noSuch}, nil, "DDD"},
		"accepted, and nothing comes":     {append(times(11, yes), noSuch), []string{yes}, "DDDDDDDDDDPDPD"},
		"accepted, but not in a row":      {slices.Concat(times(9, yes), []string{page}, times(9, yes), []string{noSuch}), nil, strings.Repeat("D", 20)},
		"gone already":                    {[]string{noSuch}, nil, "D"},
		"older words":                     {[]string{`404 {"error":"not_found"}`}, nil, "D"},
		"a hiccup is no reason to stop":   {[]string{"", page, yes, noSuch}, nil, "DDDD"},
		"nor is an outage of minutes":     {append(times(9, page), noSuch), nil, "DDDDDDDDDD"},
		"too frequent":                    {[]string{busy, busyJSON, yes, noSuch}, nil, "DDDD"},
		"nothing comes of it":             {slices.Concat(times(9, page), []string{"", busy, empty404, yes, noSuch}), []string{""}, "DDDDDDDDDDPDPDPDD"},
		"the key is refused for a moment": {[]string{badKey, expired, no, noSuch}, nil, "DDDD"},
		"the key is not accepted, as 404": {append(times(10, badKey), noSuch), []string{yes}, "DDDDDDDDDDPD"},
		"the key is not accepted":         {append(times(10, expired), yes, noSuch), []string{expired}, "DDDDDDDDDDPDD"},
		"success that is none":            {append(times(10, no), noSuch), []string{yes}, "DDDDDDDDDDPD"},
		"an answer that says nothing":     {[]string{"200 {}", "200 ok", yes, noSuch}, nil, "DDDD"},
		"elsewhere":                       {[]string{moved, yes, noSuch}, nil, "DDD"},
		"a call that exists no more":      {append(times(10, `410 {"error":"deprecated_endpoint"}`), noSuch), []string{yes}, "DDDDDDDDDDPD"},
		"refused, and refuses to stop":    {append(times(11, badKey), noSuch), []string{badKey}, "DDDDDDDDDDPDPD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &market{deletes: c.deletes, puts: c.puts}
				var log bytes.Buffer
				if err := self(t, m, &log).End(t.Context()); err != nil {
					t.Error(err)
				}
				var got strings.Builder
				for _, method := range m.asked {
					got.WriteByte(method[0])
				}
				if got.String() != c.want {
					t.Errorf("calls %s, want %s", got.String(), c.want)
				}
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log has the key:\n%s", &log)
				}
			})
		})
	}
}

// It asks for ever, never more often than the marketplace allows and never
// more seldom than the bound says.
func TestEndNeverGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &market{deletes: []string{page}, puts: []string{""}}
		ctx, cancel := context.WithTimeout(t.Context(), 3*24*time.Hour)
		defer cancel()
		if err := self(t, m, io.Discard).End(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var deletes []time.Time
		for n, method := range m.asked {
			if method == http.MethodDelete {
				deletes = append(deletes, m.at[n])
			}
		}
		gaps := map[time.Duration]bool{}
		for n := range deletes[1:] {
			gap := deletes[n+1].Sub(deletes[n])
			if gap < 3*time.Second || gap > maxPause*3/2 {
				t.Errorf("a pause of %s", gap)
			}
			gaps[gap] = true
		}
		if len(deletes) < 2_800 || len(gaps) < 1000 {
			t.Errorf("%d tries in 3 days, %d different pauses", len(deletes), len(gaps))
		}
	})
}

// A marketplace that takes the call and never answers it: the try ends.
func TestATryThatHangsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s, err := New(Config{URL: "https://market.example", ID: "31", Key: secret, Log: slog.New(slog.DiscardHandler), Transport: hanging(func() { tries++ })})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.End(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if tries < 30 {
			t.Errorf("%d tries in an hour", tries)
		}
	})
}

type hanging func()

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h()
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestNew(t *testing.T) {
	t.Parallel()
	good := Config{URL: "https://market.example", ID: "31", Key: secret, Log: slog.New(slog.DiscardHandler)}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":              {func(*Config) {}, ""},
		"with a path":       {func(c *Config) { c.URL = "http://127.0.0.1:1/market/" }, ""},
		"no address":        {func(c *Config) { c.URL = "" }, "VAST_API_URL"},
		"another scheme":    {func(c *Config) { c.URL = "ftp://market.example" }, "VAST_API_URL"},
		"with a query":      {func(c *Config) { c.URL = "https://market.example/?api_key=x" }, "VAST_API_URL"},
		"no id":             {func(c *Config) { c.ID = "" }, "CONTAINER_ID"},
		"an id that climbs": {func(c *Config) { c.ID = "31/../32" }, "CONTAINER_ID"},
		"an id of nobody":   {func(c *Config) { c.ID = "0" }, "CONTAINER_ID"},
		"a label":           {func(c *Config) { c.ID = "C.31" }, "CONTAINER_ID"},
		"no key":            {func(c *Config) { c.Key = "" }, "CONTAINER_API_KEY"},
		"a key of lines":    {func(c *Config) { c.Key = secret + "\r\nX: y" }, "CONTAINER_API_KEY"},
	} {
		config := good
		c.change(&config)
		_, err := New(config)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Over real HTTP: the calls are as the marketplace wants them, and no redirect
// is followed.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	var asked []string
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusPermanentRedirect)
		},
		func(w http.ResponseWriter) { w.WriteHeader(404); _, _ = io.WriteString(w, noSuch[4:]) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization"))
		answers[len(asked)-1](w)
	}))
	defer server.Close()
	s, err := New(Config{URL: server.URL + "/", ID: "007", Key: secret, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if what, err := s.destroy(t.Context()); what != failed || err == nil {
		t.Errorf("a redirect is %v, %v", what, err)
	}
	if what, err := s.destroy(t.Context()); what != gone || err != nil {
		t.Errorf("%v, %v", what, err)
	}
	want := "DELETE /api/v0/instances/7/ Bearer " + secret
	if !slices.Equal(asked, []string{want, want}) {
		t.Errorf("asked %q", asked)
	}
}
