// Package e2e runs the real programs against each other, as a user would:
// over HTTP, with real files, and with kill -9.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/test/need"
)

// bin holds the programs, built once for all tests.
var bin string

func TestMain(m *testing.M) {
	need.Parallel(14) // nearly all of them mostly wait, for leases above all
	// Who asks again and again for a port that is dead may be given just that
	// port for its own end, and then speaks with itself: from another address it
	// cannot.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	http.DefaultTransport.(*http.Transport).DialContext = dialer.DialContext
	dir, err := os.MkdirTemp("", "api-gpu-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = dir
	status := 1
	if err := need.Programs(context.Background(), bin, "", "orchestrator", "worker", "api-gpu", "vastsim"); err == nil {
		status = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

const key = "a-key-of-tests"

// server is an orchestrator with its state in a folder of its own.
type server struct {
	t    testing.TB
	dir  string
	env  []string
	url  string
	port string
	cmd  *exec.Cmd
	log  *os.File
}

// start runs an orchestrator with a local worker, and waits until it answers.
func start(t testing.TB, env ...string) *server {
	t.Helper()
	return startIn(t, t.TempDir(), env...)
}

// startIn is start with its state in a folder, which several may share.
func startIn(t testing.TB, dir string, env ...string) *server {
	t.Helper()
	s := newServer(t, dir, env)
	t.Cleanup(s.end)
	s.run()
	return s
}

// newServer is a server that does not run yet.
func newServer(t testing.TB, dir string, env []string) *server {
	t.Helper()
	need.FFmpeg(t)
	s := &server{t: t, dir: dir, env: env, port: freePort(t)}
	s.url = "http://127.0.0.1:" + s.port
	log, err := os.Create(filepath.Join(s.dir, "orchestrator-"+s.port+".log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	return s
}

// run starts the program and waits until it answers; after a kill it starts it
// again on the same state.
func (s *server) run() {
	s.t.Helper()
	s.begin(bin)
	eventually(s.t, 20*time.Second, "the orchestrator answers", s.answers)
}

// begin starts the program of a folder, and waits for nothing.
func (s *server) begin(bin string) {
	s.t.Helper()
	s.cmd = exec.Command(filepath.Join(bin, "orchestrator"))
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.Env = append(append(os.Environ(),
		"HOST=127.0.0.1", "PORT="+s.port, "X_API_KEY=admin:"+key+",other:another-key", "ALLOW_PRIVATE_HOSTS=127.0.0.1",
		"PROVIDER=local", "SHUTDOWN=destroy", "LOG_LEVEL=debug"), s.env...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) answers() bool {
	resp, err := http.Get(s.url + "/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the program at once, as a crash would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// end stops the program and whatever it may have left, and shows its log
// when the test failed.
func (s *server) end() {
	if cmd := s.cmd; cmd != nil {
		s.cmd = nil
		s.leads() // only the leader ends workers, and a kill leaves its lease behind
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(40 * time.Second):
			s.t.Error("the orchestrator did not stop within 40 s of SIGTERM")
			_ = cmd.Process.Kill()
			<-done
		}
	}
	if left := processes(s.dir); len(left) > 0 && !s.t.Failed() {
		s.t.Errorf("%d processes were left behind: %v", len(left), left)
	}
	for _, p := range processes(s.dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	_ = s.log.Close()
	if s.t.Failed() {
		raw, _ := os.ReadFile(s.log.Name())
		s.t.Logf("log of the orchestrator:\n%s", tail(raw, 12000))
	}
}

// leads waits until the orchestrator holds the fleet lease.
func (s *server) leads() {
	s.t.Helper()
	s.becomes("leader", 30*time.Second)
}

// becomes waits until the orchestrator says that it has this role.
func (s *server) becomes(role string, within time.Duration) {
	s.t.Helper()
	eventually(s.t, within, "the orchestrator is "+role, func() bool { return s.health().Role == role })
}

type health struct{ Status, Role string }

// health is empty while it does not answer with 200.
func (s *server) health() (h health) {
	resp, err := http.Get(s.url + "/health")
	if err != nil {
		return health{}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&h) != nil {
		return health{}
	}
	return h
}

// terminate tells the program to stop, and waits until it has.
func (s *server) terminate() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("stop: %v", err)
	}
	s.cmd = nil
}

// until waits until a job is as wanted.
func (s *server) until(id, what string, ok func(apigpu.Job) bool) {
	s.t.Helper()
	c := s.client()
	eventually(s.t, time.Minute, what, func() bool {
		j, err := c.Job(s.t.Context(), id, 0)
		return err == nil && ok(j)
	})
}

func renders(j apigpu.Job) bool { return j.Phase == apigpu.Rendering && j.Progress > 0 }

func (s *server) client() *client.Client {
	s.t.Helper()
	c, err := client.New(s.url, client.Options{Key: key})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// submit posts a job and returns at once with it.
func (s *server) submit(video, srt string) apigpu.Job {
	s.t.Helper()
	var r apigpu.Result
	status := s.post("?wait=0", map[string]any{"url_video": video, "url_srt": srt}, &r)
	if status != http.StatusAccepted {
		s.t.Fatalf("status %d, want 202", status)
	}
	return r.Job
}

// post sends JSON to /video/caption and decodes the answer.
func (s *server) post(query string, body, into any) int {
	s.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.url+"/video/caption"+query, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		s.t.Fatalf("answer %s: %v", resp.Status, err)
	}
	return resp.StatusCode
}

// final waits for the end of a job, through restarts.
func (s *server) final(id string, within time.Duration) apigpu.Job {
	s.t.Helper()
	c := s.client()
	var job apigpu.Job
	eventually(s.t, within, "job "+id+" ends", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
		defer cancel()
		j, err := c.Job(ctx, id, 10*time.Second)
		if err == nil {
			job = j
		}
		return err == nil && j.Status.Final()
	})
	return job
}

// fetch opens a signed link without any header, and returns the file's path.
func (s *server) fetch(url string) string {
	s.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "video/mp4" {
		s.t.Fatalf("%s, content type %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	file, err := os.CreateTemp(s.t.TempDir(), "*.mp4")
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return file.Name()
}

// files serves a folder on loopback, with ranges. pause slows each video down
// by that much, so that a download is a moment that can be hit.
func files(t testing.TB, dir string, pause time.Duration) string {
	t.Helper()
	h := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pause > 0 && !strings.HasSuffix(r.URL.Path, ".srt") {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// ffmpeg runs ffmpeg and returns what it printed.
func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	return command(t, "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
}

func command(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	return commandIn(t, "", name, args...)
}

// commandIn runs a program in a folder and returns what it printed.
func commandIn(t testing.TB, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, complaint.String())
	}
	return out.Bytes()
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// process is a running worker or FFmpeg that belongs to a test.
type process struct {
	pid  int
	name string
}

// processes finds the workers and FFmpegs that run in or for a folder.
func processes(dir string) []process {
	entries, _ := os.ReadDir("/proc")
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		name := filepath.Base(exe)
		if name != "worker" && name != "ffmpeg" {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if bytes.Contains(environ, []byte(dir+"/")) || strings.HasPrefix(cwd, dir+"/") {
			found = append(found, process{pid, name})
		}
	}
	return found
}

// eventually polls until holds is true.
func eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}
