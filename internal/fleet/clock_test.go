package fleet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// The clock is set by an hour, either way, in mid-job and in mid-boot: nothing
// expires, nothing is destroyed, and what lasts lasts as long as before.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			j, row := r.rented()
			run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
			r.ok(err)
			r.workers.set(row.Label, true, "") // and its worker does not answer at this moment
			waiting := r.submit()
			r.clock.Set(by)
			if r.Steady() {
				t.Error("deadlines are believed though the clock was set")
			}
			r.clock.Advance(time.Second)
			r.tick()
			r.clock.Advance(clockShared) // where others must know first
			r.tick()
			if !r.Steady() || !r.Leading() {
				t.Errorf("then: steady %t, leading %t", r.Steady(), r.Leading())
			}
			r.tick() // once, not twice
			got := r.job(run.ID)
			if got.RunningUntil != run.RunningUntil.Add(by) || got.LeaseUntil != run.LeaseUntil.Add(by) || got.Status != apigpu.Running || got.Attempt != 1 {
				t.Errorf("the job was %+v, is %+v", run, got)
			}
			if got := r.job(waiting.ID); got.WaitingUntil != waiting.WaitingUntil.Add(by) {
				t.Errorf("it waits until %s, want %s", got.WaitingUntil, waiting.WaitingUntil.Add(by))
			}
			after := r.row(row.Label)
			if after.ReadyAt != row.ReadyAt.Add(by) || after.Deadline != row.Deadline.Add(by) || !after.AbsentSince.IsZero() || after.State != gpu.Ready {
				t.Errorf("the instance was %+v, is %+v", row, after)
			}
			r.workers.set(row.Label, false, "")
			heard := r.workers.heard[row.Label]
			r.pass(time.Minute, 5*time.Second)
			if r.workers.heard[row.Label] < heard+3 {
				t.Error("its lease is not renewed as before")
			}
			r.want(gpu.Ready, "")
			r.calls(providertest.Create, 1)
			r.calls(providertest.Destroy, 0)
			// And the machine goes as soon as it would have.
			r.ok(r.queue.Cancelled(t.Context(), run.Lease()))
			r.cancel(waiting)
			r.pass(policy.IdleTimeout+10*time.Second, 5*time.Second)
			r.exist(0)
		})
	}
}

func (r *rig) job(id string) queue.Job {
	r.Helper()
	j, err := r.queue.Job(r.Context(), id)
	r.ok(err)
	return j
}

// A machine that boots while the clock is set has as long as any other: here
// until nothing was heard of it for too long.
func TestClockIsSetInBoot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.ScriptCreate(providertest.CreateStep{Boot: 24 * time.Hour})
	r.submit()
	r.tick()
	r.tick()
	began := r.clock.Elapsed()
	r.clock.Set(time.Hour)
	r.until("given up", r.has(gpu.Destroying))
	if took := r.clock.Elapsed() - began; took < noNews-time.Second {
		t.Errorf("given up after %s", took)
	}
	if reason := r.rows()[0].Reason; !strings.HasPrefix(reason, "no news of its start for 3m0s") {
		t.Errorf("because %s", reason)
	}
}

// The second process sees the clock set too, and does not take the lease from
// a first that lives: deadlines are moved once. Where the first is gone, it
// takes over a little later.
func TestClockIsSetForTwo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j := r.submit()
	r.tick()
	first, second := r.process, r.start()
	t.Cleanup(func() { second.forget(nil) })
	r.clock.Set(time.Hour)
	r.process = second
	r.tick() // it is faster
	if second.Leading() || r.job(j.ID).WaitingUntil != j.WaitingUntil {
		t.Fatal("the standby took the lease of a holder that lives")
	}
	r.process = first
	r.tick()
	for _, p := range []*process{second, first} {
		r.process = p
		r.pass(2*leaseFor/3, time.Second)
	}
	if got := r.job(j.ID).WaitingUntil; got != j.WaitingUntil.Add(time.Hour) {
		t.Errorf("it waits until %s, want %s", got, j.WaitingUntil.Add(time.Hour))
	}
	r.process = second // the first is killed
	r.pass(clockOthers+leaseFor, time.Second)
	if !second.Leading() || !second.Steady() {
		t.Error("the standby does not take over")
	}
	r.process = first
}

// A clock that runs a little wrong is followed, and moves nothing.
func TestClockThatDrifts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j := r.submit()
	for range 100 {
		r.clock.Set(db.MaxDrift - time.Second)
		r.tick()
	}
	if got := r.job(j.ID); got.WaitingUntil != j.WaitingUntil {
		t.Errorf("deadlines were moved by %s", got.WaitingUntil.Sub(j.WaitingUntil))
	}
}

// The provider's clock is an hour ahead of the ledger's, as this machine's may
// be of a database server's: absence is believed no sooner for that.
func TestClockOfProvider(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(_ *Config, m *providertest.FakeConfig) {
		now := m.Now
		m.Now = func() time.Time { return now().Add(time.Hour) }
	})
	r.fake.ScriptCreate(providertest.CreateStep{Err: errors.New("EOF"), Took: true, Delay: time.Minute})
	r.submit()
	r.until("ready", r.has(gpu.Ready))
	r.calls(providertest.Create, 1)
}

// The holder of the fleet lease dies, and the clock is set back before another
// starts: by the row it would be standby for an hour.
func TestClockIsSetBackOverADeath(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, row := r.rented()
	r.clock.Set(-time.Hour)
	r.contacts.Wait()
	r.forget(nil)
	r.process = r.start()
	r.pass(leaseFor, 5*time.Second)
	if r.Leading() {
		t.Error("it takes a lease that may be alive")
	}
	r.pass(2*leaseFor, 5*time.Second)
	if !r.Leading() {
		t.Fatal("nobody leads")
	}
	r.pass(time.Minute, 5*time.Second)
	if got := r.row(row.Label); got.State != gpu.Ready || r.epoch <= 0 {
		t.Errorf("the machine is %s: %s", got.State, got.Reason)
	}
	r.calls(providertest.Destroy, 0)
}

// The clock is set back while nobody leads, by more than anything lasts. What
// was about to end ends, and what is idle goes, no later for that.
func TestClockIsSetBackWhileAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(*rig, Instance)
		within    time.Duration
	}{
		"an end was recorded, and not asked for": {func(r *rig, in Instance) {
			r.exec(`UPDATE instances SET state = 'destroying', end_asked_at = $1`, millis(r.clock.Now()))
		}, 3*leaseFor + settleIn},
		"idle":   {func(*rig, Instance) {}, 3*leaseFor + settleIn + policy.IdleTimeout},
		"silent": {func(r *rig, in Instance) { r.workers.set(in.Label, true, "") }, 3*leaseFor + settleIn + policy.Silence},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r *rig
			r = newRig(t, func(_ *Config, m *providertest.FakeConfig) {
				m.Now = func() time.Time { return noon.Add(r.clock.Elapsed()) } // its own clock
			})
			j, row := r.rented()
			if name == "silent" {
				_, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
				r.ok(err)
				r.tick()
			} else {
				r.cancel(j)
			}
			c.meanwhile(r, row)
			r.clock.Set(-5 * time.Hour)
			r.restart()
			r.pass(c.within, 5*time.Second)
			r.exist(0)
		})
	}
}

// Machines of some hours ago keep nobody from renting after the clock was set
// back behind them.
func TestClockIsSetBackBehindCreates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tick()
	then := r.clock.Now().Add(-3 * time.Hour)
	for n := range createsMost {
		in := ready(Label("us", string(rune('a'+n))))
		in.State, in.CreatedAt, in.StateSince, in.ReadyAt, in.Blame = gpu.Gone, then, then.Add(time.Minute), time.Time{}, BlameMachine
		r.ok(r.save(t.Context(), in))
	}
	r.clock.Set(-4 * time.Hour)
	r.pass(time.Minute, 5*time.Second)
	r.submit()
	r.pass(time.Minute, 5*time.Second)
	r.calls(providertest.Create, 1)
}
