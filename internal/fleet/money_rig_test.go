package fleet

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// billing is a marketplace that also tells what it charged, a while later.
type billing struct {
	*providertest.Fake
	now   func() time.Time
	lag   time.Duration
	extra gpu.USD // that each instance costs beyond its time
	err   error
	asked int
}

func (b *billing) Credit(context.Context) (gpu.USD, error) { return gpu.Dollar, b.err }

func (b *billing) Charges(_ context.Context, from, to time.Time) ([]gpu.Charge, error) {
	b.asked++
	var all []gpu.Charge
	known := b.now().Add(-b.lag)
	for _, r := range b.Records() {
		until := known
		if !r.Ended.IsZero() && r.Ended.Before(known) {
			until = r.Ended
		}
		if r.Created.Before(from.Truncate(24*time.Hour)) || r.Created.After(to) || !until.After(r.Created) {
			continue
		}
		all = append(all, gpu.Charge{InstanceID: r.ID, Label: r.Label, GPU: r.Cost(until), Other: b.extra, Until: until})
	}
	return all, b.err
}

// moneyRig is a rig of a marketplace that bills.
func moneyRig(t *testing.T, change ...func(*Config)) (*rig, *billing) {
	t.Helper()
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) {
		for _, f := range change {
			f(c)
		}
	})
	b := &billing{Fake: r.fake, now: r.clock.Now, lag: 10 * time.Minute}
	r.config.Provider = b
	r.forget(nil)
	r.process = r.start()
	return r, b
}

// claim gives a job the one machine that is ready.
func (r *rig) claim(j queue.Job) (queue.Job, error) {
	r.Helper()
	r.until("ready", r.has(gpu.Ready))
	for _, in := range r.rows() {
		if in.State == gpu.Ready {
			return r.Claim(r.Context(), Assignment{j.ID, Slot{in.Label, 0}})
		}
	}
	return queue.Job{}, errors.New("none is ready")
}

// complete ends a job well, as dispatch does.
func (r *rig) complete(j queue.Job) {
	r.Helper()
	cost, err := r.CostOf(r.Context(), j, 1000)
	r.ok(err)
	r.ok(r.queue.Complete(r.Context(), j.Lease(), queue.Outcome{Video: apigpu.Video{Bytes: 1000}, Result: j.ID, Cost: cost}))
}

// balanced makes sure that the parts equal the whole: those of each instance
// its cost, and those of each job the job's.
func (r *rig) balanced() {
	r.Helper()
	jobs := map[string]gpu.USD{}
	var whole, parts gpu.USD
	for _, in := range r.rows() {
		list, err := readCharges(r.Context(), r.db.Read(), in.Label)
		r.ok(err)
		var sum gpu.USD
		for _, c := range list {
			sum += c.USD
			jobs[c.JobID] += c.USD
		}
		if sum != in.CostUSD {
			r.Errorf("the parts of %s sum to %d, it cost %d", in.Label, sum, in.CostUSD)
		}
		whole += in.CostUSD
	}
	for id, usd := range jobs {
		parts += usd
		if id == "" {
			continue
		}
		if got := r.job(id).Stats.CostUSD; int64(math.Round(float64(got)*1e9)) != int64(usd) {
			r.Errorf("job %s cost %v, its charges sum to %d", id, got, usd)
		}
	}
	if parts != whole {
		r.Errorf("all jobs and what is nobody's cost %d, all instances %d", parts, whole)
	}
}

// guarded checks, at each create and at each renewal, that what it may cost is
// in the ledger: committed before.
func (r *rig) guarded() {
	r.fake.OnCall(func(c providertest.Call) {
		if c.Verb == providertest.Create {
			in := r.row(c.Label)
			if least := in.CreatedAt.Add(policy.BootTimeout + policy.firstLease()); in.ReservedUntil.Before(least) || in.LeaseUntil.Before(least) {
				r.Errorf("created %s with a reserve until %s, a lease until %s", c.Label, in.ReservedUntil, in.LeaseUntil)
			}
			r.within()
		}
	})
	r.workers.mu.Lock()
	defer r.workers.mu.Unlock()
	r.workers.hook = func(label string) {
		in := r.row(label)
		if ends := r.clock.Now().Add(policy.Lease); in.LeaseUntil.Before(ends) || in.ReservedUntil.Before(in.LeaseUntil) {
			r.Errorf("renewed until %s; noted %s, reserved %s", ends, in.LeaseUntil, in.ReservedUntil)
		}
		r.within()
	}
}

// within makes sure that the budgets hold by what is committed.
func (r *rig) within() {
	now := r.clock.Now()
	all, err := books(r.Context(), r.db.Read(), now, "")
	if err != nil {
		r.Error(err)
		return
	}
	b := r.config.Policy.Budget
	if got := all.taken(dayAt(now)); b.Day > 0 && got > b.Day {
		r.Errorf("%s of the day's %s are taken", got, b.Day)
	}
	if got := all.taken(monthAt(now)); b.Month > 0 && got > b.Month {
		r.Errorf("%s of the month's %s are taken", got, b.Month)
	}
	if spent := r.fake.Cost(); b.Month > 0 && spent > b.Month {
		r.Errorf("%s of the month's %s are spent", spent, b.Month)
	}
}

// rentCost is the most that renting by the cheap offer for a job of the rig
// may cost: its boot, its run, a lease and overtime. Traffic is free there.
var rentCost = ceil(perHour(cheap.HourlyUSD, policy.BootTimeout+time.Hour+policy.firstLease()+overtime))

func budgeted(b Budget) func(*Config) { return func(c *Config) { c.Policy.Budget = b } }
