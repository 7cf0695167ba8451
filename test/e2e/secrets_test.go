package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// planted are secrets that can be recognised wherever they turn up. None is a
// part of another.
var planted = map[string]string{
	"X_API_KEY, the admin's":  "plantedAdminKey4711",
	"X_API_KEY, another":      "plantedOtherKey4712",
	"GPU_API_KEY":             strings.Repeat("7e57ab1e", 8),
	"WORKER_TOKEN":            "plantedToken4714",
	"WORKER_KEY":              "plantedWorkerKey4715",
	"another program's":       "plantedForeign4716",
	"a header for the video":  "plantedHeader4717",
	"a header for the srt":    "plantedHeader4718",
	"a password in a URL":     "plantedPassword4719",
	"a signature in a URL":    "plantedSignature4720",
	"the text of a caption":   "plantedCaption4721",
	"a key that was tried":    "plantedGuess4722",
	"a path in a URL":         "plantedPath4723",
	"text of a bad subtitle":  "plantedNoise4724",
	"a header that is broken": "plantedBroken4725",
}

// find reports which planted secrets are in text, but for those that may be.
func find(t *testing.T, where string, text []byte, but ...string) {
	t.Helper()
	for what, secret := range planted {
		allowed := false
		for _, b := range but {
			allowed = allowed || b == what
		}
		if at := bytes.Index(text, []byte(secret)); at >= 0 && !allowed {
			t.Errorf("%s holds %s: …%s…", where, what, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// vault serves a video and a subtitle file to those who have what it takes.
func vault(t *testing.T, media string) *httptest.Server {
	t.Helper()
	h := http.FileServer(http.Dir(media))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case strings.HasPrefix(r.URL.Path, "/broken"):
			panic(http.ErrAbortHandler)
		case r.Header.Get("X-Secret") == "" && password != planted["a password in a URL"],
			r.URL.Query().Get("sig") != planted["a signature in a URL"]:
			http.Error(w, planted["a header that is broken"], http.StatusForbidden)
		default:
			http.StripPrefix("/"+planted["a path in a URL"], h).ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// spies looks at every worker and FFmpeg of a folder while they run: at their
// arguments, which everybody on the machine may read, and at FFmpeg's
// environment.
type spies struct {
	mu     sync.Mutex
	ffmpeg int
}

func (s *spies) look(t *testing.T, dir string) {
	t.Helper()
	for _, p := range processes(dir) {
		proc := filepath.Join("/proc", strconv.Itoa(p.pid))
		arguments, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		find(t, "the arguments of "+p.name, arguments)
		environ, err := os.ReadFile(filepath.Join(proc, "environ"))
		if p.name == "worker" {
			// Its own token and key it must be told.
			find(t, "the environment of a worker", environ, "WORKER_TOKEN", "WORKER_KEY")
			continue
		}
		find(t, "the environment of FFmpeg", environ)
		for _, name := range []string{"SESSION_TOKEN=", "X_API_KEY=", "GPU_API_KEY=", "PORT=", "LOG_LEVEL="} {
			if bytes.Contains(environ, []byte(name)) {
				t.Errorf("the environment of FFmpeg has %s", name)
			}
		}
		if err == nil && len(environ) > 0 {
			s.mu.Lock()
			s.ffmpeg++
			s.mu.Unlock()
		}
	}
}

// TestNoSecretIsTold runs jobs that succeed and fail with secrets everywhere
// that a user or operator puts them, at the level of log that tells most, and
// looks for them wherever others may read.
func TestNoSecretIsTold(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", "1\n00:00:00,000 --> 00:00:02,000\n"+planted["the text of a caption"]+"\n")
	write(t, media, "noise.srt", "{\"x\": \""+planted["text of a bad subtitle"]+"\"}")
	write(t, media, "noise.mp4", planted["text of a bad subtitle"])
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=6", "-c:v", "libx264", "-preset", "ultrafast",
		"-pix_fmt", "yuv420p", filepath.Join(media, "v.mp4"))
	env := []string{
		"X_API_KEY=admin:" + planted["X_API_KEY, the admin's"] + ",other:" + planted["X_API_KEY, another"],
		"GPU_API_KEY=" + planted["GPU_API_KEY"], "WORKER_TOKEN=" + planted["WORKER_TOKEN"], "WORKER_KEY=" + planted["WORKER_KEY"],
		"MYSQL_PASSWORD=" + planted["another program's"],
	}
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		s := start(t, env...)
		tellSecrets(t, s, vault(t, media).URL, s.dir)
		s.end()
		findInFiles(t, s.dir)
	})
	t.Run("static", func(t *testing.T) {
		t.Parallel()
		port := freePort(t)
		worker := startWorker(t, port, "LOG_LEVEL=debug", "SESSION_TOKEN="+planted["WORKER_TOKEN"], "X_API_KEY="+planted["WORKER_KEY"])
		s := start(t, append(env, "PROVIDER=static", "WORKER_URL=http://127.0.0.1:"+port)...)
		tellSecrets(t, s, vault(t, media).URL, worker.Dir)
		find(t, "the worker's health", get(t, "http://127.0.0.1:"+port+"/health"))
		s.end()
		findInFiles(t, s.dir)
	})
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// secretCase is one request full of secrets.
type secretCase struct {
	name string
	body map[string]any
	ends apigpu.Status // empty: refused
}

// secretCases are requests for files of the vault at base.
func secretCases(base string) []secretCase {
	signed := func(name string) string {
		return base + "/" + planted["a path in a URL"] + "/" + name + "?sig=" + planted["a signature in a URL"]
	}
	named := func(url string) string {
		return strings.Replace(url, "://", "://ann:"+planted["a password in a URL"]+"@", 1)
	}
	headers := func(what string) map[string]string { return map[string]string{"X-Secret": planted[what]} }
	return []secretCase{
		{"headers", map[string]any{"url_video": signed("v.mp4"), "headers_video": headers("a header for the video"),
			"url_srt": signed("s.srt"), "headers_srt": headers("a header for the srt")}, apigpu.Succeeded},
		{"passwords", map[string]any{"url_video": named(signed("v.mp4")), "url_srt": named(signed("s.srt"))}, apigpu.Succeeded},
		{"a text", map[string]any{"url_video": named(signed("v.mp4")), "srt": "1\n00:00:00,000 --> 00:00:01,000\n" + planted["the text of a caption"]}, apigpu.Succeeded},
		{"no video", map[string]any{"url_video": named(signed("noise.mp4")), "url_srt": named(signed("s.srt"))}, apigpu.Failed},
		{"a video that is not there", map[string]any{"url_video": named(signed("nothing.mp4")), "url_srt": named(signed("s.srt"))}, apigpu.Failed},
		{"a source that breaks off", map[string]any{"url_video": named(base + "/broken/" + planted["a path in a URL"]), "srt": "1\n00:00:00,000 --> 00:00:01,000\nx\n"}, apigpu.Failed},
		{"no subtitles", map[string]any{"url_video": named(signed("v.mp4")), "url_srt": named(signed("noise.srt"))}, ""},
		{"refused subtitles", map[string]any{"url_video": signed("v.mp4"), "url_srt": base + "/" + planted["a path in a URL"]}, ""},
		{"a private address", map[string]any{"url_video": signed("v.mp4"), "url_srt": "http://ann:" + planted["a password in a URL"] + "@10.0.0.1/" + planted["a path in a URL"]}, ""},
		{"a header that cannot be", map[string]any{"url_video": signed("v.mp4"), "srt": "x", "headers_video": map[string]string{"X": planted["a header that is broken"] + "\r\nA: b"}}, ""},
		{"no subtitles in the text", map[string]any{"url_video": signed("v.mp4"), "srt": planted["text of a bad subtitle"]}, ""},
	}
}

// tellSecrets sends the requests and looks at every answer, at the processes
// meanwhile, and at the files in the worker's folder, dir.
func tellSecrets(t *testing.T, s *server, base, dir string) {
	t.Helper()
	spy, stop := &spies{}, make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				spy.look(t, dir)
			}
		}
	})
	adminKey := planted["X_API_KEY, the admin's"]
	for _, c := range secretCases(base) {
		body, err := json.Marshal(c.body)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := ask(t, s, http.MethodPost, "/video/caption?wait=120", adminKey, string(body))
		// Who sent bad subtitles is shown where they begin, and nobody else.
		find(t, "the answer for "+c.name, answer, "text of a bad subtitle")
		var p struct {
			ID string `json:"job_id"`
		}
		if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&p); err != nil {
			t.Fatal(err)
		}
		if c.ends == apigpu.Succeeded && status != http.StatusOK || c.ends == apigpu.Failed && (status < 400 || p.ID == "") || c.ends == "" && (status < 400 || p.ID != "") {
			t.Errorf("%s: %d %s", c.name, status, answer)
		}
	}
	close(stop)
	watching.Wait()
	if spy.ffmpeg == 0 {
		t.Error("no FFmpeg was seen at work")
	}
	for _, at := range []struct{ method, path, key, body string }{
		{"GET", "/metrics", adminKey, ""}, {"GET", "/health", "", ""}, {"GET", "/openapi.json", "", ""},
		{"GET", "/jobs", adminKey, ""}, {"GET", "/jobs", planted["a key that was tried"], ""},
		{"GET", "/jobs/" + planted["X_API_KEY, another"], "", ""},
		{"POST", "/video/caption", planted["X_API_KEY, another"], `{"srt": 4711, "headers_video": {"X": "` + planted["a header for the video"] + `"}}`},
		{"POST", "/video/caption", planted["X_API_KEY, another"], `{"url_video": "gopher://` + planted["a password in a URL"] + `"}`},
	} {
		_, answer := ask(t, s, at.method, at.path, at.key, at.body)
		find(t, "the answer of "+at.path, answer)
	}
	logs := findInFiles(t, s.dir)
	if dir != s.dir {
		logs += findInFiles(t, dir)
	}
	if logs < 2 {
		t.Errorf("%d logs, want the worker's too", logs)
	}
}

// findInFiles looks for secrets in all that the programs write, and returns
// how many logs it read.
func findInFiles(t *testing.T, dir string) (logs int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(name, filepath.Join("data", "api-gpu.db")) {
			return err // the database keeps what it needs to send; see docs/SECURITY.md
		}
		if strings.HasSuffix(name, "log") {
			logs++
		}
		raw, err := os.ReadFile(path)
		find(t, name, raw)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return logs
}

// ask sends a request and returns its status and answer.
func ask(t *testing.T, s *server, method, path, key, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-API-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, append(answer, fmt.Sprint(resp.Header)...)
}
