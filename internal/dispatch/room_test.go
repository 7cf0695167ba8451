package dispatch

import (
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A job whose result would not fit does not hold up those that do, starts once
// there is room, and what it was promised counts for no one else.
func TestLargeJobWaitsForRoom(t *testing.T) {
	t.Parallel()
	const large = 100 << 20
	var store *blob.Store
	b := newBench(t, func(cfg *Config) {
		var err error
		store, err = blob.Open(t.TempDir(), blob.Options{MaxBytes: large + blob.MinRoom, Promised: cfg.Queue.Promised, Evict: cfg.Queue.Evict})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Blob = store
	})
	b.blob = store
	hold, err := store.Reserve(t.Context(), 2*blob.MinRoom)
	if err != nil {
		t.Fatal(err)
	}
	first := b.submit(func(d *queue.Draft) { d.Room = large })
	second := b.submit(func(d *queue.Draft) { d.Room = blob.MinRoom })
	b.start()
	b.wantResult(b.final(second.ID))
	if j, err := b.queue.Job(t.Context(), first.ID); err != nil || j.Status != apigpu.Queued || j.Attempt != 0 {
		t.Errorf("without room the large one is %s, attempt %d: %v", j.Status, j.Attempt, err)
	}
	if p, err := b.queue.Promised(t.Context()); err != nil || p.Queued != large || p.Running != 0 || p.Kept != int64(len(b.worker.result)) {
		t.Errorf("promised %+v, %v", p, err)
	}
	hold.Release()
	b.wantResult(b.final(first.ID))
}
