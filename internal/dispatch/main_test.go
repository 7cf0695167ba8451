package dispatch

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/provider/static"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestMain(m *testing.M) {
	need.Parallel(12) // they wait for what happens next
	goleak.VerifyTestMain(m)
}

const subtitle = "1\n00:00:00,000 --> 00:00:01,000\nHello\n"

// bench is a dispatcher with everything it needs: a real queue, store and
// fleet, and a worker that the test scripts.
type bench struct {
	t      *testing.T
	db     *db.DB
	worker *fakeWorker
	queue  *queue.Queue
	blob   *blob.Store
	fleet  *fleet.Fleet
	cfg    Config
	log    *lockedBuffer
	open   func() *db.DB // as another process would
	fleets fleet.Config
	// stopFleet gives the fleet lease back.
	stopFleet func()
	began     time.Time
	shift     atomic.Int64 // time that passed in no time, in nanoseconds
	set       atomic.Int64 // by how much the clock was set, in nanoseconds
}

func (b *bench) now() time.Time { return time.Now().Add(time.Duration(b.shift.Load() + b.set.Load())) }

func (b *bench) elapsed() time.Duration { return time.Since(b.began) + time.Duration(b.shift.Load()) }

// newBench makes the parts and runs the fleet; the dispatcher is started by
// the test. edit may change its settings.
func newBench(t *testing.T, edit func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, worker: newFakeWorker(t), log: &lockedBuffer{}, began: time.Now()}
	b.open = engineOf(t)(t)
	d := b.open()
	clock := db.NewClock(b.now, b.elapsed)
	b.db, b.queue = d, queue.New(d, clock.Now)
	store, err := blob.Open(t.TempDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.blob = store
	identity, err := fleet.LoadIdentity(t.Context(), d, "", "")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := static.New(static.Config{URLs: []string{b.worker.url}, Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.fleets = fleet.Config{
		DB: d, Queue: b.queue, Provider: provider, Identity: identity, Credentials: &link.Credentials{Token: "token", Key: "key"},
		Policy: fleet.Policy{MaxGPUs: 1, IdleTimeout: time.Hour, BootTimeout: time.Hour, Lease: 10 * time.Minute, Silence: 3 * time.Minute, Traits: provider.Traits()},
		Log:    log, Clock: clock,
	}
	b.fleet = fleet.New(b.fleets)
	fetcher := fetch.New(fetch.Options{AllowHosts: []string{"127.0.0.1"}})
	b.cfg = Config{Queue: b.queue, Fleet: b.fleet, Blob: store, Fetch: fetcher, ResultGrace: time.Minute, Log: log, Now: clock.Now}
	if edit != nil {
		edit(&b.cfg)
	}
	b.stopFleet = background(t, b.fleet.Run)
	t.Cleanup(fetcher.Close)
	t.Cleanup(func() { // logged while the fleet runs: no secret may be in it
		for _, secret := range []string{"Bearer private", "sig=private", "hunter2"} {
			if bytes.Contains(b.log.bytes(), []byte(secret)) {
				t.Errorf("the log holds %q", secret)
			}
		}
		if t.Failed() {
			t.Logf("%s", b.log.bytes())
		}
	})
	return b
}

// background runs a part until the test ends, or stop is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// start runs a dispatcher of its own.
func (b *bench) start() (stop func()) {
	return background(b.t, New(b.cfg).Run)
}

// submit records a job. Its video is at an address that the worker is given.
func (b *bench) submit(edit func(*queue.Draft)) queue.Job {
	b.t.Helper()
	draft := queue.Draft{
		Client: "ann", Subtitle: []byte(subtitle), WaitFor: time.Hour, RunFor: time.Hour, KeepFor: time.Hour,
		Spec: apigpu.CaptionSpec{URLVideo: "http://video.example/v.mp4", Output: apigpu.Output{Quality: apigpu.Balanced, Filename: "v.mp4"}},
	}
	if edit != nil {
		edit(&draft)
	}
	j, err := b.queue.Submit(b.t.Context(), draft)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// final waits for the end of a job.
func (b *bench) final(id string) queue.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	j, err := b.queue.Final(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	if !j.Status.Final() {
		b.t.Fatalf("the job is %s, %s: %s", j.Status, j.Phase, j.PhaseNote)
	}
	return j
}

// until waits for a row to be as wanted.
func (b *bench) until(id string, ok func(queue.Job) bool) queue.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	j, err := b.queue.Job(ctx, id)
	for err == nil && !ok(j) && ctx.Err() == nil {
		j, err = b.queue.Wait(ctx, id, j.Revision)
	}
	if err != nil || !ok(j) {
		b.t.Fatalf("the job stayed %s, attempt %d: %v", j.Status, j.Attempt, err)
	}
	return j
}

// wantResult fails the test unless the job succeeded and its result is stored.
func (b *bench) wantResult(j queue.Job) {
	b.t.Helper()
	if j.Status != apigpu.Succeeded {
		b.t.Fatalf("the job is %s: %v", j.Status, j.Error)
	}
	content, object, err := b.blob.Open(b.t.Context(), j.Result)
	if err != nil {
		b.t.Fatal(err)
	}
	defer content.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(content); err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), b.worker.result) || j.Video.SHA256 != object.SHA256 || j.Video.Bytes != int64(got.Len()) {
		b.t.Error("the result is not what the worker made")
	}
}

// instance waits until the worker is ready, and returns its label.
func (b *bench) instance() string {
	b.t.Helper()
	for range 1000 {
		rows, err := b.fleet.Instances(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		if len(rows) == 1 && rows[0].State == gpu.Ready {
			return rows[0].Label
		}
		select {
		case <-b.fleet.Changed():
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.t.Fatal("the worker did not get ready")
	return ""
}

// noise is data that no two tests share.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
