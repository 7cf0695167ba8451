package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestMain(m *testing.M) {
	ffmpeg.Launch()  // this program is its own launcher
	need.Parallel(8) // most of them mostly wait
	if err := cleanEnv(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(removeWorkerProgram))
}

// cleanEnv makes the tests see no setting of the machine they run on: once for
// all, since a test that changes the environment runs beside no other.
func cleanEnv() error {
	table, err := settings(&serveCmd{})
	if err != nil {
		return err
	}
	for _, name := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(table, -1) {
		if err := os.Unsetenv(name[1]); err != nil {
			return err
		}
	}
	return nil
}

// logLines is where a program under test logs; a line can be waited for.
type logLines struct {
	mu  sync.Mutex
	b   bytes.Buffer
	new chan struct{}
}

func newLogLines() *logLines { return &logLines{new: make(chan struct{}, 1)} }

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.new <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

func (l *logLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// find waits for what the pattern matches and returns its first group.
func (l *logLines) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(time.Minute) // several start at once, and a disk may be busy
	for {
		l.mu.Lock()
		found := re.FindStringSubmatch(l.b.String())
		all := l.b.String()
		l.mu.Unlock()
		if found != nil {
			return found[1]
		}
		select {
		case <-l.new:
		case <-timeout:
			t.Fatalf("no %s in\n%s", pattern, all)
		}
	}
}

// args are those of an orchestrator that keeps all in dir and finds nobody.
func args(dir string, more ...string) []string {
	return append([]string{
		"--port=0", "--database-url=sqlite:" + filepath.Join(dir, "db"), "--storage-url=file:" + filepath.Join(dir, "files"),
		"--disk-free-min=0", "--worker-url=http://127.0.0.1:1", "--worker-key=k", "--worker-token=t",
	}, more...)
}

// It runs beside no other: a port that it gave back may be another's at once.
func TestServeStartsAndStops(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // on the same data: the second start finds what the first left
		ctx, stop := context.WithCancel(t.Context())
		log := newLogLines()
		done := make(chan error, 1)
		go func() { done <- run(ctx, args(dir), io.Discard, log) }()
		address := log.find(t, `listening address=(\S+)`)
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("without a key it listens on %s", address)
		}
		for path, want := range map[string]int{"/health": 200, "/metrics": 200, "/jobs": 200, "/openapi.json": 200, "/nothing": 404} {
			resp, err := http.Get("http://" + address + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := run(t.Context(), []string{"health", "--port=" + port}, &out, io.Discard); err != nil || out.String() != "ok\n" {
			t.Errorf("health: %q, %v", &out, err)
		}
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		if _, err := http.Get("http://" + address + "/health"); err == nil {
			t.Error("it still answers")
		}
	}
}

func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, args(t.TempDir(), "--metrics-addr="+address, "--x-api-key=secret", "--host=127.0.0.1"), io.Discard, log)
	}()
	main := log.find(t, `listening address=(\S+)`)
	for url, want := range map[string]int{"http://" + address: 200, "http://" + main + "/metrics": 404, "http://" + main + "/jobs": 401} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What keeps it from starting is one line that names the variable.
func TestServeDoesNotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	var all sync.WaitGroup
	for name, c := range map[string]struct{ flag, want string }{
		"a port that is taken":   {"--port=" + port, "PORT: "},
		"metrics on a taken one": {"--metrics-addr=" + taken.Addr().String(), "METRICS_ADDR: "},
		"a bad key":              {"--x-api-key=a:,b", "X_API_KEY: "},
		"bad proxies":            {"--trusted-proxies=nobody", "TRUSTED_PROXIES: "},
		"a bad worker":           {"--worker-url=ftp://x", "WORKER_URL"},
		"a bad setting":          {"--lease=1s", "LEASE=1s"},
		"a bad webhook secret":   {"--webhook-secret=s3cret", "WEBHOOK_SECRET: "},
		"files of one machine":   {"--database-url=postgres://me:hunter2@127.0.0.1:1/db", "SHARED_FILES"},
		"an unknown word":        {"--shutdown=never", "--shutdown"},
	} {
		all.Go(func() { // a port that is taken is waited for
			err := run(t.Context(), args(t.TempDir(), c.flag), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	// No server there: its password is told to nobody.
	log := newLogLines()
	err = run(t.Context(), args(t.TempDir(), "--database-url=postgres://me:hunter2@127.0.0.1:1/db", "--shared-files", "--log-level=debug"), io.Discard, log)
	if err == nil || !strings.Contains(err.Error(), "reach PostgreSQL") || strings.Contains(err.Error()+log.b.String(), "hunter2") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v\n%s", err, &log.b)
	}
}

func TestEmptyVariableIsNone(t *testing.T) {
	t.Setenv("PORT", "")
	t.Setenv("MAX_UPLOAD", "")
	t.Setenv("LEASE", "1s")
	err := run(t.Context(), args(t.TempDir()), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "LEASE=1s") {
		t.Errorf("error %v", err)
	}
}

func TestHealthCommand(t *testing.T) { // beside no other, as above
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer sick.Close()
	port := fmt.Sprint(sick.Listener.Addr().(*net.TCPAddr).Port)
	if err := run(t.Context(), []string{"health", "--port=" + port}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("error %v", err)
	}
	sick.Close()
	if err := run(t.Context(), []string{"health", "--port=" + port}, io.Discard, io.Discard); err == nil {
		t.Error("nobody answers, and all is well")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestSettingsTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"config"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| `PORT` | 3000 |", "| `X_API_KEY` | – |", "| `LEASE` | 10m |", "| `APP_ENV` or `NODE_ENV` | development |", "| `MAX_UPLOAD` | 2GiB |"} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("no %s in\n%s", row, &out)
		}
	}
	for line := range strings.Lines(strings.TrimSpace(out.String())) {
		if strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 4 {
			t.Errorf("not a row of three cells: %s", line)
		}
	}
}

// Stop must not wait for a client that follows a job.
func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, args(t.TempDir()), io.Discard, log) }()
	address := log.find(t, `listening address=(\S+)`)
	answered := make(chan int, 1)
	go func() {
		body := `{"url_video":"http://video.invalid/v.mp4","srt":"1\n00:00:00,000 --> 00:00:01,000\nHi\n","wait":600}`
		resp, err := http.Post("http://"+address+"/video/caption", "application/json", strings.NewReader(body))
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	log.find(t, `(job queued)`)
	began := time.Now()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code, took := <-answered, time.Since(began); code != http.StatusAccepted || took > 10*time.Second {
		t.Errorf("status %d after %s", code, took)
	}
	http.DefaultClient.CloseIdleConnections()
}
