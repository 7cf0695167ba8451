//go:build linux || darwin

package local

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// contextFor is a context of the test that ends after d.
func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// crash runs an orchestrator that creates instance "a" over the provider's
// folder, and kills it when it is at the point and a moment has passed.
func (b *bench) crash(point string, moment time.Duration) {
	b.Helper()
	cmd := exec.Command(self(b))
	cmd.Env = append(os.Environ(), role+"="+asOwner, ownerPoint+"="+point,
		ownerFolder+"="+b.cfg.Dir, pidsFolder+"="+b.pids)
	cmd.Stderr = os.Stderr
	says, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(says).ReadString('\n'); err != nil || line != "here\n" {
		b.Errorf("the orchestrator says %q, %v", line, err)
	}
	<-time.After(moment) // chance is what this is for; nothing waits on it
	if err := cmd.Process.Kill(); err != nil {
		b.Error(err)
	}
	_ = cmd.Wait()
}

// Wherever an orchestrator is killed, the next one finds what it left under
// its label, can tell whether a worker runs, and can end all of it.
func TestCrashAtEachStep(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ runs, neverRuns bool }{
		"folder":  {neverRuns: true},
		"intent":  {neverRuns: true},
		"lock":    {neverRuns: true},
		"forked":  {}, // either
		"created": {runs: true},
	}
	for point, want := range tests {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			b.crash(point, 0)
			list := b.list()
			if len(list) != 1 || list[0].Label != "a" {
				t.Fatalf("listed is %+v; want the one instance", list)
			}
			if i := list[0]; (want.runs && !i.Running) || (want.neverRuns && !dead(i)) {
				t.Errorf("listed is %+v; want %+v", i, want)
			}
			b.destroy("a")
			b.noneAlive()
			if list := b.list(); len(list) != 0 {
				t.Errorf("listed after its end is %+v", list)
			}
		})
	}
}

// The same with the moment left to chance, from before the folder to well
// after the worker's start.
func TestCrashAtAnyMoment(t *testing.T) {
	t.Parallel()
	for n := range 8 {
		b := open(t)
		b.crash("asking", time.Duration(n)*time.Millisecond)
		for _, i := range b.list() {
			b.destroy(i.ID)
		}
		b.noneAlive()
	}
}

// A crash within Destroy leaves a folder under its other name, which is no
// instance and goes at the next start.
func TestHalfRemovedFolderIsSwept(t *testing.T) {
	t.Parallel()
	b := open(t)
	left := filepath.Join(b.cfg.Dir, gonePrefix+"a", workDir)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if list := b.list(); len(list) != 0 {
		t.Errorf("listed is %+v", list)
	}
	b.provider(b.cfg.Dir)
	if entries, err := os.ReadDir(b.cfg.Dir); err != nil || len(entries) != 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// Between fork and record there is a process that nobody can name. It is
// there as far as listings go, and its folder stays until it ends.
func TestUnrecordedProcessKeepsItsFolder(t *testing.T) {
	t.Parallel()
	b := open(t)
	f := b.folder("a")
	if err := f.make(intent{Slots: 1}); err != nil {
		t.Fatal(err)
	}
	l, err := f.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "read line")
	cmd.ExtraFiles = []*os.File{l.File}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if i := b.list()[0]; !i.Running || i.Status != string(starting) {
		t.Errorf("listed is %+v, want it starting", i)
	}
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	if err := b.Destroy(ctx, "a"); err == nil {
		t.Error("Destroy returned nil while a process of the instance lives")
	}
	if list := b.list(); len(list) != 1 {
		t.Errorf("listed is %+v", list)
	}
	stdin.Close()
	_ = cmd.Wait()
	b.until("ended", dead)
}

// A process that is late finds its folder gone, and becomes no worker.
func TestLateProcessStartsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mark := filepath.Join(t.TempDir(), "started")
	// The launch script, held up until this test has removed its folder.
	cmd := exec.Command("/bin/sh", "-c", "read line; "+script, "/usr/bin/touch", mark)
	cmd.Dir = dir
	hear, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hear.Close()
	defer say.Close()
	cmd.ExtraFiles = []*os.File{say, say}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("the script went on without its folder")
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the worker was started without its folder: %v", err)
	}
}

func TestDestroyGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.create("a", asChild) // ignores SIGTERM, which it shows by its pid
	b.until("deaf", func(gpu.Instance) bool {
		entries, err := os.ReadDir(b.pids)
		return err == nil && len(entries) == 1
	})
	ctx, cancel := contextFor(t, 30*time.Millisecond)
	defer cancel()
	b.grace = patience{term: time.Minute, kill: time.Minute}
	began := time.Now()
	if err := b.Destroy(ctx, "a"); !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
		t.Errorf("Destroy: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Destroy took %v", took)
	}
	b.grace.term = 10 * time.Millisecond
	if list := b.list(); len(list) != 1 {
		t.Errorf("listed is %+v", list)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("12\nboot 12 (a) b) S 1 12 12 0 -1 4194304 87 0 0 0 0 0 0 0 20 0 1 0 121318 2654208\n")
	f.Add("12\nSs Fri Jan  2 15:04:05 2026\n")
	f.Add("1\nboot 1 (init) S\n")
	f.Add("12\n")
	f.Add("-1\n)\n")
	f.Fuzz(func(t *testing.T, text string) {
		who, err := parseRecord(text)
		if err == nil && (who.pid < 2 || who.start == "") {
			t.Errorf("%q is read as %+v", text, who)
		}
	})
}
