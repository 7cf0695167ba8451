//go:build linux || darwin

package local

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// bench is a provider of stand-ins, with a place where each of them leaves
// its pid. After the test none of them may be alive.
type bench struct {
	*testing.T
	*Provider
	pids string
}

func open(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, pids: t.TempDir()}
	b.Provider = b.provider(t.TempDir())
	t.Cleanup(b.end)
	return b
}

func (b *bench) provider(dir string) *Provider {
	b.Helper()
	p, err := New(Config{Binary: self(b), Dir: dir, MaxInstances: 4, Slots: 2, Env: append(os.Environ(), "X_API_KEY=secret")})
	if err != nil {
		b.Fatal(err)
	}
	p.grace = patience{term: 200 * time.Millisecond, kill: 2 * time.Second}
	return p
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// end destroys what is left and looks whether anything lives on.
func (b *bench) end() {
	labels, err := b.labels()
	if err != nil {
		b.Error(err)
	}
	for _, label := range labels {
		b.destroy(label)
	}
	b.noneAlive()
}

// noneAlive fails unless every process that left its pid is dead.
func (b *bench) noneAlive() {
	b.Helper()
	entries, err := os.ReadDir(b.pids)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			b.Fatal(err)
		}
		if now, found, err := inspect(context.Background(), pid); err == nil && found && !now.zombie {
			b.Errorf("process %d is alive: %+v", pid, now)
		}
	}
}

func (b *bench) env(as string) map[string]string {
	// The race detector holds up the end of a program by a second otherwise.
	return map[string]string{role: as, pidsFolder: b.pids, "GORACE": "atexit_sleep_ms=0"}
}

func (b *bench) create(label, as string) {
	b.Helper()
	req := gpu.Request{Label: label, Offer: gpu.Offer{ID: offerID, Slots: 2}, Env: b.env(as)}
	if id, err := b.Create(b.Context(), req); err != nil || id != label {
		b.Fatalf("Create: %q, %v", id, err)
	}
}

func (b *bench) list() []gpu.Instance {
	b.Helper()
	s, err := b.Instances(context.Background())
	if err != nil || !s.Complete {
		b.Fatalf("Instances: %+v, %v", s, err)
	}
	return s.Instances
}

func (b *bench) destroy(id string) {
	b.Helper()
	// Not the test's context, which has ended when its cleanup runs.
	if err := b.Destroy(context.Background(), id); err != nil {
		b.Errorf("Destroy: %v", err)
	}
}

// until waits for a condition of the only instance.
func (b *bench) until(what string, holds func(gpu.Instance) bool) gpu.Instance {
	b.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		list := b.list()
		if len(list) == 1 && holds(list[0]) {
			return list[0]
		}
		if time.Now().After(deadline) {
			b.Fatalf("the instance is never %s; listed is %+v", what, list)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func dead(i gpu.Instance) bool { return !i.Running && i.Status == string(ended) && i.Address == "" }

func TestConformance(t *testing.T) {
	t.Parallel()
	pids := t.TempDir()
	b := &bench{T: t, pids: pids}
	providertest.Run(t, func(t *testing.T) gpu.Provider {
		return b.provider(t.TempDir())
	}, providertest.Options{
		Env: b.env(asWorker),
		Reopen: func(_ *testing.T, p gpu.Provider) gpu.Provider {
			return b.provider(p.(*Provider).cfg.Dir)
		},
	})
	b.noneAlive()
}

func TestWorkerGetsItsEnvironmentAndNoSecret(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asWorker)
	i := b.until("reachable", func(i gpu.Instance) bool { return i.Address != "" })
	if !strings.HasPrefix(i.Address, "http://127.0.0.1:") || i.Slots != 2 || i.HourlyUSD != 0 {
		t.Errorf("listed is %+v", i)
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(i.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(string(text), "\n")
	for _, want := range []string{"PORT=0", "HOST=127.0.0.1", role + "=" + asWorker, "PATH=" + os.Getenv("PATH"), "WORK_DIR=" + b.folder("a").path("work")} {
		if !slices.Contains(env, want) {
			t.Errorf("the worker's environment lacks %s", want)
		}
	}
	if strings.Contains(string(text), "secret") {
		t.Error("the worker got a key of the orchestrator")
	}
	if text, err := os.ReadFile(b.folder("a").path(intentFile)); err != nil || strings.Contains(string(text), b.pids) {
		t.Errorf("the intent holds the environment: %s, %v", text, err)
	}
}

func TestDestroyEndsStubbornChildren(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asWorker)
	b.until("reachable", func(i gpu.Instance) bool { return i.Address != "" })
	b.destroy("a") // its child ignores SIGTERM
	b.noneAlive()
	if list := b.list(); len(list) != 0 {
		t.Errorf("listed is %+v", list)
	}
}

// A worker that crashed can leave an ffmpeg behind, which nobody but its
// process group still names.
func TestDestroyEndsOrphans(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asOrphaner)
	b.until("ended", dead)
	if entries, err := os.ReadDir(b.pids); err != nil || len(entries) != 2 {
		t.Fatalf("%d processes were started, %v; want 2", len(entries), err)
	}
	b.destroy("a")
	b.noneAlive()
}

func TestCrashedWorkerIsListedNotRunning(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asCrasher)
	b.until("ended", dead)
	if words := b.folder("a").lastWords(); words != "no encoder here" {
		t.Errorf("the last words are %q", words)
	}
	if again := b.provider(b.cfg.Dir); len((&bench{T: t, Provider: again}).list()) != 1 {
		t.Error("after a restart it is not listed")
	}
}

// A zombie has a pid, a start time, and no life in it.
func TestZombieIsNotRunning(t *testing.T) {
	t.Parallel()
	b := open(t)
	cmd := exec.Command(self(t))
	cmd.Env = append(os.Environ(), role+"="+asCrasher, pidsFolder+"="+b.pids)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // only now it is reaped
	deadline := time.Now().Add(20 * time.Second)
	for {
		now, found, err := inspect(t.Context(), cmd.Process.Pid)
		if err != nil || !found {
			t.Fatalf("inspect: found %t, %v", found, err)
		}
		if now.zombie {
			b.write("a", cmd.Process.Pid, now.start)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the process never ends")
		}
		<-time.After(time.Millisecond)
	}
	b.until("ended", dead)
}

// write makes a folder by hand, whose record names the process.
func (b *bench) write(label string, pid int, start string) {
	b.Helper()
	if err := b.folder(label).make(intent{Slots: 1}); err != nil {
		b.Fatal(err)
	}
	boot, ticks, _ := strings.Cut(start, "/")
	words := boot + " 1 (a) b) " + strings.Repeat("S ", 19) + ticks
	if ticks == "" { // not Linux
		words = "S " + start
	}
	text := strconv.Itoa(pid) + "\n" + words + "\n"
	if err := os.WriteFile(b.folder(label).path(recordFile), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// A pid that was given to somebody else is never signalled, whether the
// instance's lock is free or held.
func TestUsedPidIsSpared(t *testing.T) {
	t.Parallel()
	b := open(t)
	cmd := exec.Command("sleep", "60")
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	now, _, err := inspect(t.Context(), cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	alive := func() {
		t.Helper()
		after, found, err := inspect(t.Context(), cmd.Process.Pid)
		if err != nil || !found || after != now {
			t.Fatalf("the innocent process is %+v, found %t, %v", after, found, err)
		}
	}
	b.write("a", cmd.Process.Pid, now.start+"1")
	b.until("ended", dead)
	held, err := b.folder("a").take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.grace = patience{term: 20 * time.Millisecond, kill: 20 * time.Millisecond}
	if err := b.Destroy(t.Context(), "a"); err == nil || len(b.list()) != 1 {
		t.Errorf("Destroy returned %v although something holds the lock; listed is %+v", err, b.list())
	}
	alive()
	held.Close()
	b.destroy("a")
	alive()
}

func TestSameGroup(t *testing.T) {
	t.Parallel()
	who := identity{pid: 7, start: "boot/1"}
	tests := map[string]struct {
		now   process
		found bool
		want  bool
	}{
		"itself":                {process{start: "boot/1"}, true, true},
		"its zombie":            {process{start: "boot/1", zombie: true}, true, true},
		"what it left behind":   {process{}, false, true},
		"a later process":       {process{start: "boot/2"}, true, false},
		"one after a reboot":    {process{start: "again/1"}, true, false},
		"a later one's zombie ": {process{start: "boot/2", zombie: true}, true, false},
	}
	for name, tt := range tests {
		if got := sameGroup(who, tt.now, tt.found); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func TestUnreadableFolderMakesListingIncomplete(t *testing.T) {
	t.Parallel()
	b := open(t)
	// A folder where a file should be cannot be read, not even by root.
	bad := b.folder("bad")
	if err := os.MkdirAll(bad.path(recordFile), 0o700); err != nil {
		t.Fatal(err)
	}
	b.create("good", asWorker)
	s, err := b.Instances(t.Context())
	if err != nil || s.Complete || len(s.Instances) != 2 {
		t.Fatalf("Instances: %+v, %v; want both, incomplete", s, err)
	}
	if i := s.Instances[0]; i.Label != "bad" || !i.Running {
		t.Errorf("listed is %+v; want bad, not known to be dead", i)
	}
	b.destroy("bad")
	b.until("running", func(i gpu.Instance) bool { return i.Label == "good" && i.Running })
}

func TestPortThatIsNoneGivesNoAddress(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asGarbler)
	wrote := func(gpu.Instance) bool {
		_, err := os.Stat(b.folder("a").path(portFile))
		return err == nil
	}
	b.until("telling its port", wrote)
	if i := b.list()[0]; i.Address != "" || !i.Running {
		t.Errorf("listed is %+v", i)
	}
}

func TestForeignEntriesAreNoInstances(t *testing.T) {
	t.Parallel()
	b := open(t)
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(b.cfg.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.cfg.Dir, ".hidden"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.cfg.Dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if list := b.list(); len(list) != 0 {
		t.Errorf("listed is %+v", list)
	}
	for _, id := range []string{"link", ".hidden", "file", "..", ""} {
		b.destroy(id)
	}
	if entries, err := os.ReadDir(b.cfg.Dir); err != nil || len(entries) != 3 {
		t.Errorf("left are %v, %v; want all three", entries, err)
	}
	if _, err := os.Stat(elsewhere); err != nil {
		t.Error(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := open(t)
	good := gpu.Offer{ID: offerID, Slots: 1}
	tests := map[string]struct {
		req  gpu.Request
		want error
	}{
		"other offer":  {gpu.Request{Label: "a", Offer: gpu.Offer{ID: "x"}}, gpu.ErrOfferGone},
		"no label":     {gpu.Request{Offer: good}, gpu.ErrRefused},
		"path":         {gpu.Request{Label: "../a", Offer: good}, gpu.ErrRefused},
		"dots":         {gpu.Request{Label: "..", Offer: good}, gpu.ErrRefused},
		"long":         {gpu.Request{Label: strings.Repeat("a", 129), Offer: good}, gpu.ErrRefused},
		"line":         {gpu.Request{Label: "a\n", Offer: good}, gpu.ErrRefused},
		"env name":     {gpu.Request{Label: "a", Offer: good, Env: map[string]string{"A=B": ""}}, gpu.ErrRefused},
		"env NUL":      {gpu.Request{Label: "a", Offer: good, Env: map[string]string{"A": "\x00"}}, gpu.ErrRefused},
		"env too long": {gpu.Request{Label: "a", Offer: good, Env: map[string]string{"A": strings.Repeat("x", 4<<20)}}, gpu.ErrRefused},
	}
	for name, tt := range tests {
		if id, err := b.Create(t.Context(), tt.req); !errors.Is(err, tt.want) || id != "" {
			t.Errorf("%s: %q, %v; want %v", name, id, err, tt.want)
		}
		if list := b.list(); len(list) != 0 {
			t.Errorf("%s: listed is %+v", name, list)
		}
	}
}

func TestCreateAtTheLimitAndTwice(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.cfg.MaxInstances = 2
	b.create("a", asWorker)
	req := gpu.Request{Label: "a", Offer: gpu.Offer{ID: offerID, Slots: 1}}
	if _, err := b.Create(t.Context(), req); !gpu.IsAmbiguous(err) || !errors.Is(err, os.ErrExist) {
		t.Errorf("Create of a label that is there: %v; want no refusal", err)
	}
	if offers, err := b.Offers(t.Context()); err != nil || len(offers) != 1 {
		t.Errorf("Offers: %+v, %v; want one", offers, err)
	}
	b.create("b", asCrasher) // counts as long as it is there
	req.Label = "c"
	if _, err := b.Create(t.Context(), req); !errors.Is(err, gpu.ErrNoCapacity) {
		t.Errorf("Create at the limit: %v", err)
	}
	if offers, err := b.Offers(t.Context()); err != nil || len(offers) != 0 {
		t.Errorf("Offers at the limit: %+v, %v", offers, err)
	}
}

// Without its folder the provider knows nothing, which is not the same as
// nothing being there.
func TestMissingDirIsNoEmptyListing(t *testing.T) {
	t.Parallel()
	b := &bench{T: t}
	dir := filepath.Join(t.TempDir(), "local")
	p := b.provider(dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Instances(t.Context()); err == nil {
		t.Errorf("Instances: %+v without an error", s)
	}
	req := gpu.Request{Label: "a", Offer: gpu.Offer{ID: offerID}}
	if _, err := p.Create(t.Context(), req); !errors.Is(err, gpu.ErrRefused) {
		t.Errorf("Create: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Config{Binary: self(t), Dir: t.TempDir(), MaxInstances: 1, Slots: 1}
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"missing program": {func(c *Config) { c.Binary = filepath.Join(c.Dir, "worker") }, "make build"},
		"no instances":    {func(c *Config) { c.MaxInstances = 0 }, "at least 1"},
		"no slots":        {func(c *Config) { c.Slots = 0 }, "at least 1"},
		"file as folder":  {func(c *Config) { c.Dir = self(t) }, "make folder"},
	}
	for name, tt := range tests {
		cfg := good
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that says %q", name, err, tt.want)
		}
	}
}
