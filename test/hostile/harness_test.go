// Package hostile sends the real orchestrator, with a real worker and FFmpeg,
// whatever no honest client or server would: each case must end in an error
// that says what is wrong, within bounded time, and leave nothing behind.
package hostile

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// key is the one key of the server.
const key = "a-key-of-tests"

// Limits that are small here, so that what has no end ends soon.
const (
	maxUpload  = 16 << 20
	jobTimeout = 20 * time.Second
)

// bound is how long a case may take. It is far above what any takes: a job
// that runs into its deadline three times over, on a busy machine.
const bound = 3 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("12") // these tests mostly wait
	}
	os.Exit(m.Run())
}

// server is a running orchestrator, its worker beside it.
type server struct {
	dir  string
	url  string
	addr string
	cmd  *exec.Cmd
	log  *os.File
}

// start builds both programs and runs the orchestrator. It may read from the
// host given, and from nothing else that is private.
func start(t *testing.T, host string) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), addr: freeAddress(t)}
	s.url = "http://" + s.addr
	if err := need.Programs(t.Context(), s.dir, "", "orchestrator", "worker"); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.log, err = os.Create(filepath.Join(s.dir, "orchestrator.log")); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(filepath.Join(s.dir, "orchestrator"))
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.log, s.log
	s.cmd.Env = append(os.Environ(), "HOST=127.0.0.1", "PORT="+port, "X_API_KEY="+key, "ALLOW_PRIVATE_HOSTS="+host, "PROVIDER=local",
		"SHUTDOWN=destroy", "LOG_LEVEL=debug", "MAX_GPUS=6", "IDLE_TIMEOUT=10m", "SYNC_WAIT=120s", "DISK_FREE_MIN=1MiB",
		fmt.Sprintf("MAX_UPLOAD=%d", maxUpload), "JOB_TIMEOUT="+jobTimeout.String())
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	eventually(t, "the orchestrator answers", func() bool {
		_, err := s.number("api_gpu_leading")
		return err == nil
	})
	return s
}

// stop ends the program, and shows its log where something failed.
func (s *server) stop(t *testing.T) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	if left := s.processes("worker", "ffmpeg", "ffprobe"); len(left) > 0 {
		t.Errorf("processes were left behind: %v", left)
	}
	_ = s.log.Close()
	if t.Failed() {
		raw, _ := os.ReadFile(s.log.Name())
		t.Logf("log of the orchestrator:\n%s", raw[max(0, len(raw)-20_000):])
	}
}

// answer is what came back for a request.
type answer struct {
	status int
	body   string
	header http.Header
}

// send makes a request; key is sent unless the header has another.
func (s *server) send(t *testing.T, method, target string, header map[string]string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(raw), resp.Header}
}

// raw sends bytes as they are and returns the answer to them; then it hangs
// up. A status of 0 means that there was none.
func (s *server) raw(t *testing.T, request string, hangUp bool) answer {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	go func() { // the server may answer, and close, before it has read all of it
		_, _ = io.WriteString(conn, request)
		if hangUp {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(body), resp.Header}
}

// number reads one metric.
func (s *server) number(name string) (float64, error) {
	req, err := http.NewRequest(http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(raw)
	if found == nil {
		return 0, fmt.Errorf("no %s in %s", name, raw)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// processes finds programs of these names that run in or for the server's
// folder.
func (s *server) processes(names ...string) (found []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		for _, name := range names {
			if filepath.Base(exe) == name && (strings.HasPrefix(cwd, s.dir+"/") || bytes.Contains(environ, []byte(s.dir+"/"))) {
				found = append(found, name+" "+e.Name())
			}
		}
	}
	return found
}

// files lists what lies in the store, and in the work folders of workers.
func (s *server) files() (found []string) {
	data := filepath.Join(s.dir, "data")
	_ = filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(data, path)
		inStore := strings.HasPrefix(name, "files"+string(filepath.Separator)) && err == nil && !entry.IsDir()
		inWork := filepath.Base(filepath.Dir(path)) == "work"
		if inStore && !strings.HasPrefix(filepath.Base(name), ".") || inWork {
			found = append(found, name)
		}
		return nil
	})
	return found
}

// eventually polls until holds is true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ffmpeg makes a file of test data.
func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	need.FFmpeg(t)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
	}
}
