package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

// page is the unit in which a volume fills up, in bytes.
const page = 4096

// world is a server whose database and store are on one volume that can be
// filled. A process of it is opened and closed as often as it is restarted.
type world struct {
	*testing.T
	volume *need.Full
	fetch  *fetch.Client
	opts   blob.Options
	shift  atomic.Int64

	jobs *Jobs
	db   *db.DB
}

// blind lets the store believe in endless room, so that it meets the end of the
// volume itself.
const blind = -1 << 50

func newWorld(t *testing.T, opts blob.Options) *world { return newWorldOf(t, opts, 8<<20) }

// newWorldOf is newWorld on a volume of so many bytes.
func newWorldOf(t *testing.T, opts blob.Options, bytes int64) *world {
	t.Helper()
	w := &world{T: t, volume: need.Volume(t, bytes, 400), opts: opts, fetch: fetch.New(fetch.Options{})}
	t.Cleanup(w.fetch.Close)
	template, err := os.ReadFile(strings.TrimPrefix(dbtest.URL(t), "sqlite:"))
	w.ok(err)
	w.ok(os.WriteFile(w.path(), template, 0o600))
	return w
}

func (w *world) path() string   { return filepath.Join(w.volume.Dir, "test.db") }
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// open starts the process.
func (w *world) open() error {
	d, err := db.Open(w.Context(), "sqlite:"+w.path(), db.Options{})
	if err != nil {
		return err
	}
	q := queue.New(d, w.now)
	opts := w.opts
	opts.Promised, opts.Evict = q.Promised, q.Evict
	store, err := blob.Open(filepath.Join(w.volume.Dir, "files"), opts)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	w.db = d
	w.jobs = &Jobs{
		Queue: q, Blob: store, Fetch: w.fetch, Log: slog.New(slog.DiscardHandler), Now: w.now,
		Policy: Policy{QueueTTL: time.Hour, ResultTTL: time.Hour, MaxUpload: 1 << 20, JobTimer: Timer{Max: time.Hour}},
	}
	return nil
}

func (w *world) close() {
	if w.db != nil {
		_ = w.db.Close() // it may find no room to fold its log
		w.db = nil
	}
}

func bytesOf(n int, of byte) []byte { return bytes.Repeat([]byte{of}, n) }

// submit uploads a video and records its job, as a request does.
func (w *world) submit(ctx context.Context) (apigpu.Job, error) {
	upload, err := w.jobs.Receive(ctx, ann(), bytes.NewReader(bytesOf(3*page, 'v')))
	if err != nil {
		return apigpu.Job{}, err
	}
	defer w.jobs.Discard(upload)
	job, _, err := w.jobs.Submit(ctx, ann(), httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Upload: upload, Subtitle: []byte(oneCue)})
	return job, err
}

// drive runs a job to its end, as the dispatcher does: claimed anew, or taken
// over. What fails ends it, as a kill would.
func (w *world) drive(ctx context.Context, id string) error {
	j, err := w.jobs.Queue.Job(ctx, id)
	if err != nil || j.Status.Final() {
		return err
	}
	if j.Status == apigpu.Queued {
		j, err = w.jobs.Queue.Claim(ctx, id, "instance", 0)
	} else {
		j, err = w.jobs.Queue.TakeOver(ctx, id)
	}
	if err != nil {
		return err
	}
	if err := w.jobs.Queue.Report(ctx, j.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 50}); err != nil {
		return err
	}
	m, key := manifest(j)
	hold, err := w.jobs.Blob.ReserveResult(ctx, m.Length, j.Room)
	if err != nil {
		return err
	}
	defer hold.Release()
	partial, err := w.jobs.Blob.Partial(ctx, key)
	if err != nil {
		return err
	}
	defer partial.Close()
	for _, c := range m.Chunks {
		if err := partial.WriteChunk(ctx, c, bytesOf(int(c.Length), byte('r'))); err != nil {
			return err
		}
	}
	object, err := partial.Commit(ctx, m, key+".mp4")
	if err != nil {
		return err
	}
	return w.jobs.Queue.Complete(ctx, j.Lease(), queue.Outcome{Result: object.Key, Video: apigpu.Video{Bytes: m.Length, SHA256: m.SHA256}})
}

// manifest describes a result of three chunks of two pages.
func manifest(j queue.Job) (m apigpu.Manifest, key string) {
	const chunk = 2 * page
	sum := func(n int) string {
		s := sha256.Sum256(bytesOf(n, 'r'))
		return hex.EncodeToString(s[:])
	}
	for at := int64(0); at < 3*chunk; at += chunk {
		m.Chunks = append(m.Chunks, apigpu.Chunk{Offset: at, Length: chunk, SHA256: sum(chunk)})
	}
	m.Length, m.SHA256 = 3*chunk, sum(3*chunk)
	return m, fmt.Sprintf("%s.%d", j.ID, j.Attempt)
}

// consistent fails unless every row that succeeded has its file whole, every
// file has a row after a sweep, and the database is sound.
func (w *world) consistent() {
	w.Helper()
	ctx := w.Context()
	var verdict string
	w.ok(w.db.Read().QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict))
	if verdict != "ok" {
		w.Errorf("the database is %q", verdict)
	}
	needed, err := w.jobs.Queue.Files(ctx)
	w.ok(err)
	_, err = w.jobs.Blob.Sweep(ctx, func(key string, _ time.Duration) bool { return needed[key] })
	w.ok(err)
	for key, err := range w.jobs.Blob.Keys(ctx) {
		w.ok(err)
		if !needed[key] {
			w.Errorf("%s is there and nothing needs it", key)
		}
	}
	list, err := w.jobs.Queue.List(ctx, queue.Filter{Limit: 1000})
	w.ok(err)
	for _, j := range list {
		if j.Result == "" {
			continue
		}
		content, _, err := w.jobs.Blob.Open(ctx, j.Result)
		w.ok(err)
		hash := sha256.New()
		_, err = io.Copy(hash, content)
		w.ok(errors.Join(err, content.Close()))
		if hex.EncodeToString(hash.Sum(nil)) != j.Job.Video.SHA256 {
			w.Errorf("the result of %s is not what its row says", j.ID)
		}
	}
}

// TestVolumeFullAtAnyMoment fills the volume, database and all, so that each
// write of a job in turn is the first that has no room: blocks for bytes, or
// files. The process then restarts, twice: without room, and with it.
func TestVolumeFullAtAnyMoment(t *testing.T) {
	t.Parallel()
	stride := 1
	if os.Getenv("STRICT") != "1" {
		stride = 9 // a look at each kind
	}
	for name, fill := range map[string]func(*need.Full, int){
		"bytes": func(v *need.Full, left int) { v.Fill(int64(left) * page) },
		"files": func(v *need.Full, left int) { v.FillFiles(left) },
	} {
		for when, restart := range map[string]bool{"at work": false, "before the start": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				for left := 0; ; left += stride {
					if done := fullAt(t, restart, func(v *need.Full) { fill(v, left) }); done {
						t.Logf("a job takes no more than %d", left)
						return
					}
					if left > 300 || t.Failed() {
						t.Fatalf("with %d left", left)
					}
				}
			})
		}
	}
}

// fullAt runs one job on a volume that fill has filled, while the process runs
// or before it starts: then the database has no log yet. It reports whether
// nothing failed.
func fullAt(t *testing.T, restart bool, fill func(*need.Full)) (untouched bool) {
	t.Helper()
	t.Run("", func(t *testing.T) {
		w := newWorld(t, blob.Options{MinFree: blind})
		defer func() { w.close() }()
		w.ok(w.open())
		old, err := w.submit(t.Context())
		w.ok(err)
		w.ok(w.drive(t.Context(), old.ID))
		if restart {
			w.close()
		}
		fill(w.volume)
		if restart {
			err = w.open()
		}
		var job apigpu.Job
		if err == nil {
			job, err = w.submit(t.Context())
		}
		accepted := err == nil
		if err == nil {
			err = w.drive(t.Context(), job.ID)
		}
		untouched = err == nil
		if err != nil && w.db != nil && apigpu.CodeOf(err) != apigpu.StorageFull {
			t.Errorf("without room: %v", err)
		}
		_ = w.jobs.KeepOnce(t.Context()) // it may fail, and must break nothing
		w.close()
		if w.open() == nil { // without room it may not start
			_ = w.jobs.KeepOnce(t.Context())
			w.close()
		}

		w.volume.Drain()
		w.ok(w.open())
		w.consistent()
		w.shift.Add(int64(time.Minute)) // the lease of who drove it is over
		if !accepted {
			job, err = w.submit(t.Context())
			w.ok(err)
		}
		w.ok(w.drive(t.Context(), job.ID))
		w.consistent()
		list, err := w.jobs.Queue.List(t.Context(), queue.Filter{Limit: 10, Status: apigpu.Succeeded})
		if err != nil || len(list) != 2 {
			t.Errorf("%d jobs succeeded, want 2: %v", len(list), err)
		}
	})
	return untouched
}
