package fleet

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/test/need"
)

// quiet waits, in real time, until done.
func quiet(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		if !pause.For(ctx, 5*time.Millisecond) {
			t.Fatalf("never: %s", what)
		}
	}
}

// realRig lives in real time, with a marketplace that is believed at once.
func realRig(t *testing.T, change ...func(*Config, *providertest.FakeConfig)) *rig {
	t.Helper()
	return newRig(t, append(change, func(c *Config, m *providertest.FakeConfig) {
		m.Traits, m.Lag, m.Linger, m.Boot, m.Now = gpu.Traits{}, 0, 0, 0, time.Now
		c.Policy.Traits = m.Traits
	})...)
}

// runs starts Run of a fleet in real time, and returns what ends it.
func (r *rig) runs() (end func() error) {
	c := r.config
	c.Now, c.Log = time.Now, testLog(r.T)
	r.Fleet = New(c)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	f := r.Fleet
	go func() { done <- f.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func TestRun(t *testing.T) {
	t.Parallel()
	r := realRig(t)
	end := r.runs()
	quiet(t, "leading", r.Leading)
	began := time.Now()
	r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	if took := time.Since(began); took > 2*need.Slack*time.Second {
		t.Errorf("ready after %s", took)
	}
	r.ok(end())
	r.exist(1) // kept for the next process
	if r.Leading() {
		t.Error("leads after its end")
	}
	end = r.runs()
	quiet(t, "the next leads at once", r.Leading)
	r.ok(end())
	r.calls(providertest.Create, 1)
}

func TestDestroyAtEnd(t *testing.T) {
	t.Parallel()
	r := realRig(t, func(c *Config, _ *providertest.FakeConfig) { c.DestroyAtEnd = true })
	end := r.runs()
	r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	r.fake.ScriptDestroy(providertest.DestroyStep{Err: errors.New("EOF")}) // it must not give up
	r.ok(end())
	r.exist(0)
	r.want(gpu.Gone, "the orchestrator stops")
	r.calls(providertest.Create, 1) // the job that waits gets no other
}

// A process that keeps what is rented ends what is idle, and gives its lease
// back at once.
func TestLeaveAtEnd(t *testing.T) {
	t.Parallel()
	r := realRig(t, func(c *Config, _ *providertest.FakeConfig) { c.LeaveLease, c.Policy.IdleTimeout = time.Hour, time.Hour })
	end := r.runs()
	j := r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	r.cancel(j)
	r.ok(end())
	r.want(gpu.Destroying, "the orchestrator stops, and it is idle")
	r.calls(providertest.Destroy, 1)
	end = r.runs()
	quiet(t, "the next leads at once", r.Leading)
	r.ok(end())
}

// Where the proof that an instance is gone would take minutes, a stop is content
// with its provider's word and a listing without it. The row stays.
func TestDestroyAtEndOfAProviderThatLags(t *testing.T) {
	need.Long(t) // each of its calls comes seconds after the one before
	t.Parallel()
	r := newRig(t, func(c *Config, m *providertest.FakeConfig) {
		m.Traits = gpu.Traits{ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second}
		m.Lag, m.Linger, m.Boot, m.Now = 0, 0, 0, time.Now
		c.Policy.Traits, c.DestroyAtEnd = m.Traits, true
	})
	end := r.runs()
	r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	r.fake.ScriptDestroy(providertest.DestroyStep{Err: errors.New("EOF")}, providertest.DestroyStep{Ignored: true})
	r.ok(end())
	r.exist(0)
	r.want(gpu.Destroying, "the orchestrator stops")
	calls := r.fake.Calls(providertest.Destroy)
	// Where the listing after the third takes long, it is asked for once more.
	if n := len(calls); n < 3 || n > 3+int((time.Since(calls[2].At)+time.Second)/retryDestroy) {
		t.Errorf("%d destroy calls, want 3", n)
	}
}

// While the provider does not answer, the workers' leases are renewed and the
// fleet lease is kept.
func TestRunTends(t *testing.T) {
	t.Parallel()
	r := realRig(t)
	end := r.runs()
	r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	label := r.rows()[0].Label
	r.fake.ScriptList(providertest.ListStep{Hang: true})
	quiet(t, "hanging", func() bool { calls := r.fake.Calls(providertest.Instances); return calls[len(calls)-1].Err != nil })
	r.mu.Lock()
	r.asked[label] = time.Time{} // due now
	r.mu.Unlock()
	heard := func() int { r.workers.mu.Lock(); defer r.workers.mu.Unlock(); return r.workers.heard[label] }
	before := heard()
	quiet(t, "another renewal", func() bool { return heard() > before })
	r.ok(end())
}

// However often it is poked, a round that fails is not repeated in a storm.
func TestRunBounds(t *testing.T) {
	t.Parallel()
	r := realRig(t)
	r.fake.SetOutage(errors.New("503"))
	end := r.runs()
	quiet(t, "leading", r.Leading)
	began := time.Now()
	for range 50 {
		r.submit()
	}
	r.ok(end())
	if n, most := len(r.fake.Calls()), 5+int(time.Since(began)/tickFail); n > most {
		t.Errorf("%d calls to a provider that fails, want at most %d", n, most)
	}
}
