package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/selfdestroy"
	"github.com/api-gpu/api-gpu/test/need"
)

const (
	containerID  = "4711"
	containerKey = "the-key-of-this-container"
	gone         = `404 {"success":false,"error":"no_such_instance"}`
	yes          = `200 {"success":true}`
	badKey       = `401 {"success":false,"error":"auth_error"}`
)

// market is the API of the marketplace, with a script of answers whose last
// one repeats. It notes every call whole.
type market struct {
	*httptest.Server
	mu     sync.Mutex
	script []string
	calls  []string
}

func newMarket(t *testing.T, script ...string) *market {
	m := &market{script: script}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), body))
	status, text, _ := strings.Cut(m.script[0], " ")
	if len(m.script) > 1 {
		m.script = m.script[1:]
	}
	code, _ := strconv.Atoi(status)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}

func (m *market) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

const theDelete = "DELETE /api/v0/instances/" + containerID + "/ Bearer " + containerKey + " {}"

// machine is a rented machine: the worker's first process and what it starts.
type machine struct {
	*testing.T
	cmd      *exec.Cmd
	portFile string
	log      *lockedBuffer
	done     chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// rent starts the worker as a machine of the marketplace would, with further
// environment.
func rent(t *testing.T, m *market, env ...string) *machine {
	t.Helper()
	need.Long(t)
	need.FFmpeg(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &machine{T: t, portFile: filepath.Join(dir, "port"), log: &lockedBuffer{}, done: make(chan struct{})}
	r.cmd = exec.Command(self)
	r.cmd.Env = append([]string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + os.Getenv("HOME"),
		"PORT=0", "PORT_FILE=" + r.portFile, "WORK_DIR=" + filepath.Join(dir, "work"),
		"CONTAINER_ID=" + containerID, "CONTAINER_API_KEY=" + containerKey, "VAST_API_URL=" + m.URL, "BOOT_TIMEOUT=0s",
	}, env...)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // what it started goes with it
		<-r.done
		if strings.Contains(r.log.String(), containerKey) {
			t.Error("the log has the key")
		}
		if t.Failed() {
			t.Logf("its log:\n%s", r.log)
		}
	})
	return r
}

// children are the living processes that pid started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(word)
			pids = append(pids, child)
		}
	}
	return pids
}

// eventually waits for what must come true, however slow this machine is.
func (r *machine) eventually(what string, holds func() bool) {
	r.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 12_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	r.Fatalf("never: %s", what)
}

// firstChild waits for the first process's child.
func (r *machine) firstChild() (pid int) {
	r.Helper()
	r.eventually("a child", func() bool {
		for _, pid = range children(r.cmd.Process.Pid) {
			return true
		}
		return false
	})
	return pid
}

func (r *machine) signal(pid int, s syscall.Signal) {
	r.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		r.Errorf("signal %d: %v", pid, err)
	}
}

// status waits for the end of the first process.
func (r *machine) status() int {
	r.Helper()
	r.eventually("its end", func() bool {
		select {
		case <-r.done:
			return true
		default:
			return false
		}
	})
	return r.cmd.ProcessState.ExitCode()
}

// client speaks to the worker as it is now.
func (r *machine) client() *client.Client {
	r.Helper()
	c, err := client.New("http://127.0.0.1:"+portOf(r.T, r.portFile), client.Options{})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(c.Close)
	return c
}

func (r *machine) renew(c *client.Client, ttl time.Duration) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if _, err := c.Lease(ctx, apigpu.LeaseRequest{Epoch: 1, TTLSeconds: ttl.Seconds()}); err != nil {
		r.Errorf("renew: %v", err)
	}
}

func (r *machine) wantCalls(m *market, want ...string) {
	r.Helper()
	if got := m.seen(); !slices.Equal(got, want) {
		r.Errorf("the marketplace was asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// dead waits for processes to end: they are killed at once, but the kernel may
// take a moment, and whoever reaps orphans here too.
func (r *machine) dead(pids ...int) {
	r.Helper()
	r.eventually("the end of its processes", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err == nil && !strings.Contains(string(stat), ") Z ")
		})
	})
}

// Nobody ever renews: after the boot deadline the machine ends itself, by its
// own number and key and by nothing else, and asks until it is told that it is
// gone.
func TestRentedEndsItself(t *testing.T) {
	t.Parallel()
	m := newMarket(t, badKey, yes, gone)
	r := rent(t, m, "LEASE=1s", "BOOT_TIMEOUT=1s")
	pid := r.firstChild()
	if code := r.status(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	r.wantCalls(m, theDelete, theDelete, theDelete)
	r.dead(pid)
	if !strings.Contains(r.log.String(), errLeaseOver.Error()) {
		t.Error("the log does not say why")
	}
}

// A machine that started late ends when it was told to, which is sooner than its
// own time to boot and a lease.
func TestRentedEndsByItsTime(t *testing.T) {
	t.Parallel()
	m := newMarket(t, gone)
	r := rent(t, m, "LEASE=1s", "BOOT_TIMEOUT=1h", fmt.Sprintf("END_BY=%d", time.Now().Unix()))
	if code := r.status(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	r.wantCalls(m, theDelete)
}

// A child that is killed is started again, and the lease is no longer for it:
// three fit into it, whatever their end.
func TestRentedChildKilled(t *testing.T) {
	t.Parallel()
	m := newMarket(t, gone)
	r := rent(t, m, "LEASE=5s")
	last, starts := 0, 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			if starts < 2 || strings.Count(r.log.String(), "the worker has started") > 3 || !strings.Contains(r.log.String(), errLeaseOver.Error()) {
				t.Errorf("%d children were killed", starts)
			}
			r.wantCalls(m, theDelete)
			return
		default:
		}
		if pids := children(r.cmd.Process.Pid); len(pids) == 1 && pids[0] != last {
			last = pids[0]
			starts++
			_ = syscall.Kill(last, syscall.SIGKILL) // an orphan may be gone by now
		}
		<-tick.C
	}
}

// A child that is stopped and answers nothing holds nothing up; nor does its
// FFmpeg go on.
func TestRentedChildStopped(t *testing.T) {
	t.Parallel()
	m := newMarket(t, gone)
	r := rent(t, m, "LEASE=1s", "BOOT_TIMEOUT=60s")
	c := r.client()
	worker := r.firstChild()
	r.eventually("ready", func() bool {
		reply, err := c.Lease(r.Context(), apigpu.LeaseRequest{Epoch: 1, TTLSeconds: 60})
		return err == nil && reply.Ready
	})
	_, err := c.Assign(r.Context(), "job_1", apigpu.Assignment{Attempt: 1, Subtitle: []byte("1\n00:00:00,000 --> 00:00:01,000\nHello\n"), Push: true, DeadlineSeconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	video := hour(t)
	if _, err := c.PushInput(r.Context(), "job_1", 1, 0, int64(len(video)), bytes.NewReader(video)); err != nil {
		t.Fatal(err)
	}
	var rendering []int
	r.eventually("rendering", func() bool {
		j, err := c.Job(r.Context(), "job_1", 0)
		rendering = children(worker)
		return err == nil && j.Phase == apigpu.Rendering && len(rendering) == 1
	})
	r.renew(c, 2*time.Second)
	r.signal(worker, syscall.SIGSTOP)
	if code := r.status(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	r.wantCalls(m, theDelete)
	r.dead(worker, rendering[0])
}

// hour is an hour of video that takes long to render, and no time to make.
func hour(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	short, long := filepath.Join(dir, "short.mp4"), filepath.Join(dir, "long.mp4")
	for _, args := range [][]string{
		{"-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "40", short},
		{"-stream_loop", "1800", "-i", short, "-c", "copy", long},
	} {
		if out, err := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	video, err := os.ReadFile(long)
	if err != nil {
		t.Fatal(err)
	}
	return video
}

// While somebody renews, nothing is asked of the marketplace: not even when
// the child was killed and another took its place. Whoever stops the machine
// finds a worker that ends in order.
func TestRentedRenewed(t *testing.T) {
	t.Parallel()
	m := newMarket(t, gone)
	r := rent(t, m, "LEASE=1s", "BOOT_TIMEOUT=90s")
	c := r.client()
	const ttl = 15 * time.Second
	renewFor := func(d time.Duration) {
		tick := time.NewTicker(time.Second / 2)
		defer tick.Stop()
		for began := time.Now(); time.Since(began) < d; <-tick.C {
			r.renew(c, ttl)
		}
	}
	renewFor(time.Second)
	first := r.firstChild()
	if err := os.Remove(r.portFile); err != nil {
		t.Fatal(err)
	}
	r.signal(first, syscall.SIGKILL)
	c = r.client()
	var second int
	r.eventually("another child, and no other", func() bool { // orphans of the first pass by
		pids := children(r.cmd.Process.Pid)
		if len(pids) == 1 && pids[0] != first {
			second = pids[0]
		}
		return second > 0
	})
	renewFor(ttl + 3*time.Second)
	if pids := children(r.cmd.Process.Pid); !slices.Equal(pids, []int{second}) {
		t.Errorf("its children are %v, want %d: the dead were not reaped", pids, second)
	}
	for _, pid := range []int{r.cmd.Process.Pid, second} {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if os.Getuid() == 0 && err != nil { // to others that of the first process is closed
			t.Error(err)
		}
		if pid == second && bytes.Contains(environ, []byte(containerKey)) {
			t.Error("the child has the marketplace's key in its environment")
		}
	}
	r.signal(r.cmd.Process.Pid, syscall.SIGTERM)
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	r.wantCalls(m)
	if !strings.Contains(r.log.String(), "msg=stopping") {
		t.Error("the child was not told to stop")
	}
}

// crashing is a role: a first process in a hurry, whose children end at once.
const crashing = "crashing"

func runCrashing() {
	if strings.HasPrefix(os.Args[len(os.Args)-1], "--lease-pipe=") {
		os.Exit(3)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	self, err := selfdestroy.New(selfdestroy.Config{
		URL: os.Getenv("VAST_API_URL"), ID: os.Getenv("CONTAINER_ID"), Key: os.Getenv("CONTAINER_API_KEY"), Log: log,
	})
	if err == nil {
		k := newKeeper(self, log)
		k.pause = func(int) time.Duration { return time.Millisecond }
		err = k.run(context.Background(), time.Hour)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A machine on which no worker lives ends before its lease does.
func TestRentedCrashing(t *testing.T) {
	t.Parallel()
	m := newMarket(t, gone)
	r := rent(t, m, asProgram+"="+crashing)
	if code := r.status(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	r.wantCalls(m, theDelete)
	log := r.log.String()
	if n := strings.Count(log, "exit status 3"); n != maxCrashes+1 || !strings.Contains(log, errCrashing.Error()) {
		t.Errorf("it ended after %d children", n)
	}
}

func TestCrashPause(t *testing.T) {
	t.Parallel()
	for crashes, want := range map[int]time.Duration{1: time.Second, 3: 4 * time.Second, maxCrashes: 30 * time.Second, 1000: 30 * time.Second} {
		if got := crashPause(crashes); got != want {
			t.Errorf("after %d ends in a row the pause is %s, want %s", crashes, got, want)
		}
	}
}

// Settings with which the machine could not end itself are refused at once.
func TestRentedSettings(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--container-id=4711":     "CONTAINER_API_KEY",
		"--container-id=../4711":  "CONTAINER_ID",
		"--vast-api-url=nonsense": "VAST_API_URL",
	} {
		args := []string{"--port=0", "--lease=1m", "--container-id=4711", flag}
		if want != "CONTAINER_API_KEY" {
			args = append(args, "--container-api-key="+containerKey)
		}
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), containerKey) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
