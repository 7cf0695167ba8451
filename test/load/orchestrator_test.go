package load

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/api-gpu/api-gpu/test/need"
)

// programs builds the programs, once, and returns their folder.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "api-gpu-load-*"); err != nil {
		return "", err
	}
	return dir, need.Programs(context.Background(), dir, "", "orchestrator", "worker")
})

func TestMain(m *testing.M) {
	status := m.Run()
	if built.Load() {
		dir, _ := programs()
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

// built is whether anybody asked for the programs: tests that are skipped do
// not.
var built atomic.Bool

// program returns the path of one of ours.
func program(t *testing.T, name string) string {
	t.Helper()
	built.Store(true)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// orchestrator is one in a process of its own.
type orchestrator struct {
	t    *testing.T
	dir  string
	env  []string
	url  string
	log  *os.File
	cmd  *exec.Cmd
	over bool // it was killed
}

// start runs an orchestrator with its state in a folder.
func start(t *testing.T, dir string, env ...string) *orchestrator {
	t.Helper()
	port := freePort(t)
	log, err := os.Create(filepath.Join(dir, "log-"+port))
	if err != nil {
		t.Fatal(err)
	}
	o := &orchestrator{t: t, dir: dir, url: "http://127.0.0.1:" + port, log: log}
	o.env = append(append(os.Environ(), "HOST=127.0.0.1", "PORT="+port, "X_API_KEY="+key, "ALLOW_PRIVATE_HOSTS=127.0.0.1",
		"STORAGE_MAX=1TiB", "DISK_FREE_MIN=1MiB"), env...)
	t.Cleanup(o.end)
	o.run()
	return o
}

// run starts the program, or starts it again, and waits until it serves.
func (o *orchestrator) run() {
	o.t.Helper()
	o.cmd, o.over = exec.Command(program(o.t, "orchestrator")), false
	o.cmd.Dir, o.cmd.Env, o.cmd.Stdout, o.cmd.Stderr = o.dir, o.env, o.log, o.log
	if err := o.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(o.url + "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	o.t.Fatal("the orchestrator does not answer")
}

// kill ends the program as a crash would.
func (o *orchestrator) kill() {
	o.over = true
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
}

// end stops the program, and shows the end of its log where the test failed.
func (o *orchestrator) end() {
	if !o.over {
		_ = o.cmd.Process.Signal(syscall.SIGTERM)
		_ = o.cmd.Wait()
	}
	_ = o.log.Close()
	if raw, err := os.ReadFile(o.log.Name()); err == nil && o.t.Failed() {
		raw = bytes.Join(quiet(bytes.Split(raw, []byte("\n"))), []byte("\n"))
		o.t.Logf("log of the orchestrator:\n%s", raw[max(0, len(raw)-4000):])
	}
}

// quiet leaves out what a log says of each job.
func quiet(lines [][]byte) (out [][]byte) {
	for _, line := range lines {
		if !bytes.Contains(line, []byte("level=INFO")) {
			out = append(out, line)
		}
	}
	return out
}

// absent are the settings for a worker that is not there.
func absent(t *testing.T) []string {
	t.Helper()
	return []string{"PROVIDER=static", "WORKER_TOKEN=a-token", "WORKER_KEY=a-worker-key", "WORKER_URL=http://127.0.0.1:" + freePort(t)}
}

// worker runs a worker, and returns the settings for it.
func worker(t *testing.T) []string {
	t.Helper()
	env := absent(t)
	_, port, _ := strings.Cut(env[len(env)-1], "127.0.0.1:")
	cmd := exec.Command("nice", "-n", "19", program(t, "worker"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOST=127.0.0.1", "PORT="+port, "SESSION_TOKEN=a-token", "X_API_KEY=a-worker-key",
		"ALLOW_PRIVATE_HOSTS=127.0.0.1", "WORK_DIR="+filepath.Join(cmd.Dir, "work"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return env
}

// source serves a small video, and returns its address.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	make := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=black:size=160x90:rate=5:duration=1",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", filepath.Join(dir, "v.mp4"))
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make a video: %v\n%s", err, out)
	}
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(srv.Close)
	return srv.URL + "/v.mp4"
}

// durable lets the PostgreSQL of tests, which syncs nothing, sync as it does by
// default.
func durable(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if _, err := conn.Exec(t.Context(), "ALTER SYSTEM SET "+setting+" = on"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
}

// usage is what a process took while it was watched.
type usage struct {
	cpu      time.Duration
	lasted   time.Duration
	resident []int // kB, each second
}

// watch samples processes once a second until it ends.
type watch struct {
	stop chan struct{}
	done chan []usage
}

func watchAll(targets []*orchestrator) *watch {
	w := &watch{make(chan struct{}), make(chan []usage)}
	go func() {
		began, seen := make([]time.Duration, len(targets)), make([]usage, len(targets))
		for n, o := range targets {
			began[n], _ = sample(o)
		}
		from, tick := time.Now(), time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for n, o := range targets {
				if cpu, kb := sample(o); kb > 0 { // not over
					seen[n].cpu, seen[n].lasted = cpu-began[n], time.Since(from)
					seen[n].resident = append(seen[n].resident, kb)
				}
			}
			select {
			case <-tick.C:
			case <-w.stop:
				w.done <- seen
				return
			}
		}
	}()
	return w
}

func (w *watch) end() []usage {
	close(w.stop)
	return <-w.done
}

// sample returns what a process has taken of a core so far, and what it holds
// in kB; 0 of one that is gone.
func sample(o *orchestrator) (cpu time.Duration, kb int) {
	proc := "/proc/" + strconv.Itoa(o.cmd.Process.Pid)
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11]) // utime and stime are fields 14 and 15 of proc(5)
	system, _ := strconv.Atoi(fields[12])
	status, _ := os.ReadFile(proc + "/status")
	if _, rest, ok := strings.Cut(string(status), "VmRSS:"); ok {
		kb, _ = strconv.Atoi(strings.Fields(rest)[0])
	}
	return time.Duration(user+system) * 10 * time.Millisecond, kb // USER_HZ is 100
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
