package worker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

func TestMain(m *testing.M) {
	ffmpeg.Launch() // this program is its own launcher
	goleak.VerifyTestMain(m)
}

// oneCue is on the frames from 0.4 s up to 0.8 s.
const oneCue = "1\n00:00:00,400 --> 00:00:00,800\nHello\n"

// bench is a worker behind a server, and a client of it.
type bench struct {
	*Worker
	client *client.Client
	url    string
	dir    string
}

// newBench starts a worker that believes it has proven itself: without FFmpeg,
// whatever runs none. edit may change its settings.
func newBench(t *testing.T, edit func(*Config)) *bench {
	t.Helper()
	cfg := Config{
		Fetch:   fetch.New(fetch.Options{AllowHosts: []string{"127.0.0.1"}}),
		WorkDir: t.TempDir(), Slots: 1, Limits: ffmpeg.DefaultLimits(), MaxInput: 64 << 20,
		Version: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	if edit != nil {
		edit(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.proven, w.unfit = true, ""
	w.abilities = ffmpeg.Abilities{Encoder: ffmpeg.X264, Version: "test", Threads: 1}
	// As the program serves it: a push is cut through the server's own bodies.
	server := httptest.NewUnstartedServer(nil)
	server.Config = httpapi.NewServer(w.Handler(), time.Minute, slog.New(slog.DiscardHandler))
	server.Start()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		w.Drain()
		server.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if cfg.Fetch != nil {
			cfg.Fetch.Close()
		}
		if left := names(t, cfg.WorkDir); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return &bench{w, c, server.URL, cfg.WorkDir}
}

// realBench is a worker with FFmpeg, which was proven once for all tests.
func realBench(t *testing.T, edit func(*Config)) *bench {
	t.Helper()
	b := newBench(t, func(cfg *Config) {
		cfg.Tools = findTools(t)
		if edit != nil {
			edit(cfg)
		}
	})
	p, err := proof()
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.abilities, b.fonts = p.abilities, p.fonts
	return b
}

func findTools(t *testing.T) ffmpeg.Tools {
	t.Helper()
	tools, err := ffmpeg.Find()
	if err != nil {
		t.Fatal(err)
	}
	tools.Launcher = ffmpeg.Self
	return tools
}

type proven struct {
	abilities ffmpeg.Abilities
	fonts     *font.Set
}

var proof = sync.OnceValues(func() (proven, error) {
	tools, err := ffmpeg.Find()
	if err != nil {
		return proven{}, err
	}
	dir, err := os.MkdirTemp("", "worker-proof")
	if err != nil {
		return proven{}, err
	}
	defer os.RemoveAll(dir)
	w, err := New(Config{Tools: tools, WorkDir: dir, Slots: 1, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return proven{}, err
	}
	defer w.Close()
	if err := w.Prove(context.Background()); err != nil {
		return proven{}, err
	}
	return proven{w.abilities, w.fonts}, nil
})

// clip is two seconds of black at 25 frames per second.
var clip = sync.OnceValues(func() ([]byte, error) {
	return run("-f", "lavfi", "-i", "color=black:s=160x120:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast",
		"-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "pipe:1")
})

func black(t *testing.T) []byte {
	t.Helper()
	b, err := clip()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs ffmpeg for a test and returns what it printed.
func run(args ...string) ([]byte, error) {
	cmd := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, &complaint)
	}
	return out.Bytes(), nil
}

// longClip makes some minutes of video by repeating a second.
func longClip(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	short, long := filepath.Join(dir, "short.mp4"), filepath.Join(dir, "long.mp4")
	for _, args := range [][]string{
		{"-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=1", "-c:v", "libx264", "-preset", "ultrafast", short},
		{"-stream_loop", "100", "-i", short, "-c", "copy", long},
	} {
		if _, err := run(args...); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(long)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pushed is an assignment whose video is pushed.
func pushed(attempt int) apigpu.Assignment {
	return apigpu.Assignment{Attempt: attempt, Subtitle: []byte(oneCue), Push: true, DeadlineSeconds: 60}
}

func (b *bench) assign(t *testing.T, id string, a apigpu.Assignment) apigpu.Job {
	t.Helper()
	j, err := b.client.Assign(t.Context(), id, a)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// final waits for the end of a job.
func (b *bench) final(t *testing.T, id string) apigpu.Job {
	t.Helper()
	j, err := b.client.Job(t.Context(), id, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !j.Status.Final() {
		t.Fatalf("the job is %s", j.Status)
	}
	return j
}

// until waits for a job to be as wanted.
func (b *bench) until(t *testing.T, id string, ok func(apigpu.Job) bool) apigpu.Job {
	t.Helper()
	j, err := b.find(id)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	shown := j.public()
	for !ok(shown) {
		if ctx.Err() != nil {
			t.Fatalf("the job stayed %s %s %v", shown.Status, shown.Phase, shown.Error)
		}
		shown = j.wait(ctx, shown.Revision)
	}
	return shown
}

func isRunning(j apigpu.Job) bool { return j.Status == apigpu.Running }

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// wantCode fails the test unless err has the code.
func wantCode(t *testing.T, err error, code apigpu.Code) *apigpu.Error {
	t.Helper()
	if apigpu.CodeOf(err) != code {
		t.Fatalf("error %v, want code %q", err, code)
	}
	return apigpu.AsError(err)
}

func contains(s []string, prefix string) bool {
	for _, one := range s {
		if strings.HasPrefix(one, prefix) {
			return true
		}
	}
	return false
}
