package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// leaving is a rig of a process that keeps what is rented when it stops.
func leaving(t *testing.T, change ...func(*Config)) (*rig, *billing) {
	t.Helper()
	return moneyRig(t, append([]func(*Config){func(c *Config) { c.LeaveLease = 30 * time.Minute }}, change...)...)
}

// working is a machine with a job on it that may run for a minute.
func (r *rig) working() Instance {
	r.Helper()
	j, err := r.queue.Submit(r.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: time.Hour, RunFor: time.Minute, KeepFor: time.Hour})
	r.ok(err)
	_, err = r.claim(j)
	r.ok(err)
	rows := r.rows()
	return rows[len(rows)-1]
}

// leaves ends the process, and returns the lease that the workers were told
// last.
func (r *rig) leaves() time.Duration {
	r.Helper()
	r.workers.change(func(w *workers) { w.last.TTLSeconds = 0 })
	r.ok(r.leaveAll(r.Context()))
	ttl := time.Duration(0)
	r.workers.change(func(w *workers) { ttl = time.Duration(w.last.TTLSeconds * float64(time.Second)) })
	return ttl
}

// A worker with a job is left with a lease that its job can end in, which is in
// the ledger, and reserved, before it is told.
func TestLeaveBusy(t *testing.T) {
	t.Parallel()
	r, _ := leaving(t)
	in := r.working()
	until := r.clock.Now().Add(30 * time.Minute)
	noted := false
	r.workers.change(func(w *workers) {
		w.hook = func(label string) {
			row := r.row(label)
			noted = !row.LeaseUntil.Before(until) && !row.ReservedUntil.Before(row.leaseEnd())
		}
	})
	if ttl := r.leaves(); ttl != 30*time.Minute {
		t.Errorf("a lease of %s", ttl)
	}
	if !noted {
		t.Errorf("it was not reserved before: %+v", r.row(in.Label))
	}
	r.calls(providertest.Destroy, 0)
	r.exist(1)
}

// Where a budget does not allow that, it gets the lease that every worker gets.
func TestLeaveBusyWithinBudget(t *testing.T) {
	t.Parallel()
	r, _ := leaving(t)
	in := r.working()
	r.clock.Advance(renewGap)
	all := in.account(r.clock.Now())
	r.cfg.Policy.Budget.Day = all.spread + all.traffic + gpu.Dollar/1000 // of $0.10 an hour: half a minute more
	if ttl := r.leaves(); ttl != policy.Lease {
		t.Errorf("a lease of %s", ttl)
	}
	r.calls(providertest.Destroy, 0)
}

// What is idle goes, unless a job waits for it.
func TestLeaveIdle(t *testing.T) {
	t.Parallel()
	for name, waits := range map[string]bool{"idle": false, "a job waits": true} {
		r, _ := leaving(t)
		j, in := r.rented()
		if !waits {
			r.cancel(j)
		}
		if ttl := r.leaves(); ttl != 0 {
			t.Errorf("%s: a lease of %s", name, ttl)
		}
		want := map[bool]gpu.State{true: gpu.Ready, false: gpu.Destroying}[waits]
		if row := r.row(in.Label); row.State != want {
			t.Errorf("%s: it is %s (%s), want %s", name, row.State, row.Reason, want)
		}
	}
}

// What boots is left alone: it ends by its first lease, and the next process
// goes on with it.
func TestLeaveBooting(t *testing.T) {
	t.Parallel()
	r, _ := leaving(t)
	r.submit()
	r.until("it boots", r.has(gpu.Booting))
	if ttl := r.leaves(); ttl != 0 {
		t.Errorf("a lease of %s", ttl)
	}
	r.calls(providertest.Destroy, 0)
	r.exist(1)
}
