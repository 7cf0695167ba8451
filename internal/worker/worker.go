// Package worker runs jobs on the machine it is on: it gets the video, burns
// the captions in, and keeps the result until it is fetched. It answers the
// jobs API over memory: what a worker loses when it dies, its orchestrator
// runs again.
package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/render"
)

// Times of jobs that nobody fetches or ends.
const (
	// keepOwn is how long the result of a job that a user sent here is kept.
	keepOwn = 24 * time.Hour
	// keepAssigned is the same for an orchestrator's, which takes it at once:
	// longer than any outage after which it would still want it.
	keepAssigned = time.Hour
	waitOwn      = 24 * time.Hour // for a slot
	runOwn       = 4 * time.Hour
	sweepGap     = time.Minute
)

// Config says what a worker works with. All fields are required unless their
// comment says otherwise.
type Config struct {
	Tools   ffmpeg.Tools
	Fetch   *fetch.Client
	Guard   Guard
	WorkDir string
	// Slots is how many jobs run at once.
	Slots  int
	Limits ffmpeg.Limits
	// MaxInput bounds a video that is fetched, pushed or uploaded, in bytes.
	MaxInput int64
	// SyncWait is how long a request waits when its client does not say.
	SyncWait time.Duration
	// Lease is how long the worker lives without a renewal; 0 for ever.
	Lease time.Duration
	// BootTimeout is added to the first lease.
	BootTimeout time.Duration
	// Renewed is told of each renewal before it is answered; a renewal of which
	// it cannot be told is refused. Optional.
	Renewed func(ttl time.Duration) error
	// FontDirs are searched for a font; nil for the system's.
	FontDirs []string
	Version  string
	Log      *slog.Logger
	Now      func() time.Time
}

// Worker runs jobs until it is closed.
type Worker struct {
	cfg   Config
	api   *httpapi.API
	lease *lease
	slots chan struct{}
	// studio draws previews, beside the jobs.
	studio *render.Studio
	began  time.Time

	assigning chan struct{} // one assignment at a time

	ctx  context.Context // of all jobs
	stop context.CancelFunc
	wg   sync.WaitGroup

	tried chan struct{} // closed when the proof is over, well or badly

	mu        sync.Mutex
	abilities ffmpeg.Abilities
	fonts     *font.Set
	proven    bool   // the proof is over, well or badly
	unfit     string // why it takes no job; empty when it does
	fontless  bool   // it is unfit for want of a font alone
	closed    bool
	jobs      map[string]*job
	uploads   map[string]string // name → path, until a job takes it over
}

// New makes a worker and clears what an earlier one left in its work folder.
// It takes no job before Prove has succeeded.
func New(cfg Config) (*Worker, error) {
	if err := os.MkdirAll(cfg.WorkDir, 0o700); err != nil {
		return nil, fmt.Errorf("make work folder: %w", err)
	}
	w := &Worker{
		cfg: cfg, slots: make(chan struct{}, cfg.Slots), began: cfg.Now(), unfit: "it is proving its encoder",
		assigning: make(chan struct{}, 1), tried: make(chan struct{}), jobs: map[string]*job{}, uploads: map[string]string{},
	}
	if err := w.clear(); err != nil {
		return nil, err
	}
	crash.Point("worker.new")
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.studio = render.NewStudio(cfg.WorkDir, w.means)
	w.api = httpapi.New(httpapi.Config{
		Jobs: (*ownJobs)(w), Guard: cfg.Guard.Require, LinkSecret: secret, SyncWait: cfg.SyncWait, MaxUpload: cfg.MaxInput,
		Title: "api-gpu worker", Version: cfg.Version, Log: cfg.Log, Now: cfg.Now,
	})
	w.routes()
	w.lease = newLease(cfg.Lease, cfg.BootTimeout, cfg.Renewed)
	w.wg.Go(w.sweep)
	return w, nil
}

// clear removes the folders of jobs that an earlier process left: what they
// were is forgotten, and nobody else removes them.
func (w *Worker) clear() error {
	left, err := os.ReadDir(w.cfg.WorkDir)
	if err != nil {
		return fmt.Errorf("clear work folder: %w", err)
	}
	for _, entry := range left {
		name := entry.Name()
		if !strings.HasPrefix(name, jobDirPrefix) && !strings.HasPrefix(name, uploadPrefix) && !strings.HasPrefix(name, render.DirPrefix) && name != proofDir {
			continue
		}
		if err := os.RemoveAll(filepath.Join(w.cfg.WorkDir, name)); err != nil {
			return fmt.Errorf("clear work folder: %w", err)
		}
	}
	return nil
}

// Handler answers the jobs API and what only an orchestrator asks.
func (w *Worker) Handler() http.Handler { return w.api }

// Expired is closed when the lease has run out: nobody has renewed it, so
// whoever rented this machine is gone.
func (w *Worker) Expired() <-chan struct{} { return w.lease.expired }

// Prove finds out what this machine can do, by doing it: an encoder that
// encodes a frame, and a font that draws. Until then, and if it fails, the
// worker takes no job; without a font, none that draws.
func (w *Worker) Prove(ctx context.Context) error {
	abilities, err := w.cfg.Tools.Prove(ctx)
	var fonts *font.Set
	able := err == nil
	if able {
		fonts, err = w.proveFont(ctx)
	}
	crash.Point("worker.prove")
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.proven {
		close(w.tried)
	}
	w.proven = true
	if err != nil {
		w.abilities, w.unfit, w.fontless = abilities, apigpu.AsError(err).Message, able
		return fmt.Errorf("prove abilities: %w", err)
	}
	w.abilities, w.fonts, w.unfit = abilities, fonts, ""
	return nil
}

// Info is the worker's account of itself.
func (w *Worker) Info() apigpu.WorkerInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.info()
}

// Drain answers all waiting requests, so that a server can shut down.
func (w *Worker) Drain() { w.api.Stop() }

// Close stops all jobs, waits for them, and removes their folders.
func (w *Worker) Close() error {
	w.Drain()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	w.wg.Wait()
	w.lease.close()
	return w.clear()
}

// fit returns what jobs of a mode run with, or why none does: Unavailable while
// that may change, NoEncoder when it will not. A text track needs no font.
func (w *Worker) fit(mode apigpu.Mode) (ffmpeg.Abilities, *font.Set, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.proven {
		return ffmpeg.Abilities{}, nil, apigpu.E(apigpu.Unavailable, nil, "This worker takes no job yet: %s.", w.unfit)
	}
	if w.unfit != "" && !(w.fontless && mode == apigpu.Soft) {
		return ffmpeg.Abilities{}, nil, apigpu.E(apigpu.NoEncoder, nil, "This worker takes no job: %s", w.unfit)
	}
	return w.abilities, w.fonts, nil
}

// sweep forgets jobs that nobody fetched.
func (w *Worker) sweep() {
	tick := time.NewTicker(sweepGap)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			return
		}
		w.sweepOnce(w.cfg.Now())
	}
}

func (w *Worker) sweepOnce(now time.Time) {
	w.mu.Lock()
	var old []*job
	for _, j := range w.jobs {
		if public := j.public(); public.Status.Final() && now.After(public.ExpiresAt) {
			old = append(old, j)
		}
	}
	w.mu.Unlock()
	for _, j := range old {
		w.forget(j)
	}
}

// forget removes an ended job and its folder.
func (w *Worker) forget(j *job) {
	w.mu.Lock()
	if w.jobs[j.id] == j {
		delete(w.jobs, j.id)
	}
	w.mu.Unlock()
	j.news.wake()
	crash.Point("worker.forget")
	if err := os.RemoveAll(j.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.cfg.Log.Error("job folder not removed", "job", j.id, "error", err)
	}
}

func (w *Worker) find(id string) (*job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[id]; j != nil {
		return j, nil
	}
	return nil, apigpu.E(apigpu.JobNotFound, nil, "There is no job %q.", id)
}
