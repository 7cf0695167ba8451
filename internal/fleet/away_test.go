package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// The orchestrator is away for eight minutes in mid-job: longer than a worker
// may be silent, shorter than its lease. The next one finds the same machine,
// and the job on it.
func TestAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.pass(time.Minute, 10*time.Second)
	r.clock.Advance(8 * time.Minute)
	r.restart()
	// At the first look nobody has spoken to the worker yet.
	r.workers.set(row.Label, true, "")
	r.pass(30*time.Second, 5*time.Second)
	r.want(gpu.Ready, "")
	r.workers.set(row.Label, false, "")
	r.pass(5*time.Minute, 10*time.Second)
	r.want(gpu.Ready, "")
	taken, err := r.queue.TakeOver(t.Context(), j.ID)
	r.ok(err)
	if taken.Attempt != run.Attempt || taken.Instance != row.Label || taken.Blamed != 0 {
		t.Errorf("it goes on as %+v", taken)
	}
	r.calls(providertest.Create, 1)
	r.calls(providertest.Destroy, 0)
}

// It is away for longer than the lease of the workers: the machine has ended
// itself, that is seen in the listings, and the job gets another.
func TestAwayBeyondLease(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.clock.Advance(policy.Lease + time.Minute)
	r.workers.set(row.Label, true, "")
	r.fake.Vanish(row.Label) // its worker ended it
	r.restart()
	r.until("gone", func() bool { return r.row(row.Label).State == gpu.Gone })
	if _, err := r.Client(t.Context(), row.Label); apigpu.CodeOf(err) != apigpu.GPULost {
		t.Errorf("a driver would not know: %v", err)
	}
	_, err = r.queue.Requeue(t.Context(), run.Lease(), queue.Setback{Why: apigpu.E(apigpu.GPULost, nil, "gone")}) // as its driver then does
	r.ok(err)
	r.until("another is ready", r.has(gpu.Ready))
	if got := r.job(j.ID); got.Blamed != 0 || got.Status != apigpu.Queued {
		t.Errorf("the job is %s, blamed %d", got.Status, got.Blamed)
	}
	r.calls(providertest.Destroy, 0)
}

// The database of an hour ago is put back: what was rented since ends, what
// has ended since is gone, what lives is adopted; and workers, who heard a
// later epoch, follow the new one.
func TestRestored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, kept := r.rented() // lives now and then
	r.pass(time.Minute, 10*time.Second)
	r.restart() // an epoch later, that the backup knows
	r.tick()
	rows, fleet := r.rows(), r.epoch
	old := r.fake.Add(gpu.Instance{Label: Label("us", "ended"), Running: true})
	ended := with(ready(Label("us", "ended")), func(i *Instance) { i.ProviderID = old })
	r.clock.Advance(time.Hour) // the backup is as old as that
	r.restart()
	r.tick()
	highest := r.epoch
	r.fake.Vanish(ended.Label)
	since := r.fake.Add(gpu.Instance{Label: Label("us", "since"), Running: true, Address: r.workers.address(Label("us", "since"))})
	r.exec(`DELETE FROM instances`)
	r.exec(`UPDATE fleet SET epoch = $1, holder = 'of that time', lease_until = 0`, fleet)
	r.restart()
	r.tick()
	r.ok(r.save(t.Context(), append(rows, ended)...)) // as the backup has them
	r.pass(3*time.Minute, 5*time.Second)
	if got := r.row(kept.Label); got.State != gpu.Ready {
		t.Errorf("what lives is %s: %s", got.State, got.Reason)
	}
	if got := r.row(ended.Label); got.State != gpu.Gone {
		t.Errorf("what has ended is %s: %s", got.State, got.Reason)
	}
	for _, c := range r.fake.Calls(providertest.Destroy) {
		if c.ID != since {
			t.Errorf("destroyed %s", c.ID)
		}
	}
	r.exist(1)
	if r.epoch <= highest || r.workers.last.Epoch != r.epoch {
		t.Errorf("epoch %d, after %d; the worker heard %d", r.epoch, highest, r.workers.last.Epoch)
	}
}
