package fleet

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// What Plan looks at tells how long each open job takes, by what the last ones
// took.
func TestDemand(t *testing.T) {
	t.Parallel()
	card := gpu.Offer{ID: "1", GPU: "RTX 3060", HourlyUSD: gpu.Dollar / 5, Slots: 2}
	r := newRig(t, func(_ *Config, m *providertest.FakeConfig) { m.Offers = []gpu.Offer{card} })
	draft := queue.Draft{Subtitle: []byte("1"), Video: 10 * time.Minute, WaitFor: time.Hour, RunFor: time.Hour, KeepFor: time.Hour}
	submit := func() queue.Job {
		t.Helper()
		r.clock.Advance(time.Millisecond)
		j, err := r.queue.Submit(t.Context(), draft)
		r.ok(err)
		return j
	}
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.ok(r.queue.Complete(t.Context(), run.Lease(), queue.Outcome{
		Stats: apigpu.Stats{Worker: row.Label, GPU: "NVIDIA GeForce RTX 3060", RealtimeFactor: 100},
	}))
	first, second := submit(), submit()
	_, err = r.queue.Claim(t.Context(), first.ID, row.Label, 0)
	r.ok(err)
	r.clock.Advance(speedsFor) // what was learned is looked up again
	w, err := r.world(t.Context(), r.rows())
	r.ok(err)
	if got := w.Speeds.of("RTX 3060"); !(got > 12) {
		t.Errorf("learned %.1f", got)
	}
	if len(w.Backlog) != 1 || !w.Backlog[0].Since.Equal(second.CreatedAt) || w.Backlog[0].Video != draft.Video {
		t.Errorf("the backlog is %+v", w.Backlog)
	}
	if left := w.Left[row.Label]; len(left) != 1 || left[0] <= 0 || left[0] > w.Backlog[0].For {
		t.Errorf("left is %v of %s", left, w.Backlog[0].For)
	}
	r.cancel(second)
	w, err = r.world(t.Context(), r.rows())
	if r.ok(err); len(w.Backlog) != 0 || w.Left != nil {
		t.Errorf("nothing waits, and %+v, %v was looked at", w.Backlog, w.Left)
	}
}

// A job that comes to an empty fleet is rented for at once: its news wakes the
// loop, and neither the search nor anything else waits for a tick.
func TestFirstIsRentedAtOnce(t *testing.T) {
	t.Parallel()
	d := engineOf(t)(t)()
	identity, err := LoadIdentity(t.Context(), d, "us", "a root secret")
	if err != nil {
		t.Fatal(err)
	}
	created := make(chan time.Time, 1)
	fake := providertest.NewFake(providertest.FakeConfig{Traits: policy.Traits, Offers: []gpu.Offer{cheap}})
	fake.OnCall(func(c providertest.Call) {
		if c.Verb == providertest.Create {
			created <- time.Now()
		}
	})
	q := queue.New(d, nil)
	f := New(Config{DB: d, Queue: q, Provider: fake, Policy: policy, Identity: identity, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for !f.Leading() {
		time.Sleep(time.Millisecond)
	}
	if _, err := q.Submit(t.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: time.Hour, RunFor: time.Hour, KeepFor: time.Hour}); err != nil {
		t.Fatal(err)
	}
	submitted := time.Now()
	// A second is promised. A loaded machine is given most of an idle tick:
	// what waits for one takes longer.
	if took := (<-created).Sub(submitted); took > tickIdle-time.Second {
		t.Errorf("rented after %s", took)
	} else {
		t.Logf("rented after %s", took)
	}
}
