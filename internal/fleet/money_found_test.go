package fleet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A job that begins and ends between two rounds leaves nothing reserved, and
// its machine is idle since then.
func TestShortJobLeavesNothingReserved(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: 10 * rentCost}), func(c *Config) { c.Policy.IdleTimeout = 5 * time.Hour })
	first, next := r.submit(), r.submit()
	j, err := r.claim(first)
	r.ok(err)
	r.complete(j)
	r.tick()
	r.clock.Advance(time.Minute)
	j, err = r.claim(next)
	r.ok(err)
	before := r.clock.Now()
	r.complete(j)
	r.tick()
	in := r.row(j.Instance)
	if !in.ReservedUntil.Equal(in.leaseEnd()) {
		t.Errorf("reserved until %s, its lease ends %s", in.ReservedUntil, in.leaseEnd())
	}
	if in.IdleSince.Before(before) {
		t.Errorf("idle since %s, and it worked at %s", in.IdleSince, before)
	}
}

// A bill is not taken for whole because the clock was set.
func TestClockClosesNoBill(t *testing.T) {
	t.Parallel()
	r, b := moneyRig(t)
	b.lag = 48 * time.Hour
	j, err := r.claim(r.submit())
	r.ok(err)
	r.complete(j)
	r.until("gone", r.has(gpu.Gone))
	r.tick()
	r.ok(r.Bill(t.Context()))
	r.clock.Set(billRest + time.Hour)
	r.pass(clockShared+5*time.Second, 5*time.Second)
	r.ok(r.Bill(t.Context()))
	if in := r.row(j.Instance); in.CostState != Estimated || b.asked != 2 {
		t.Errorf("after %d looks it cost %s, %s", b.asked, in.CostUSD, in.CostState)
	}
}

// A job that lost its machine has spent most of its budget. No other machine is
// rented for it that it would then not be given, and it does not wait in vain.
func TestSpentJobRentsNothing(t *testing.T) {
	t.Parallel()
	half := ceil(perHour(cheap.HourlyUSD, policy.BootTimeout+30*time.Minute+policy.Lease+overtime))
	r, _ := moneyRig(t, budgeted(Budget{Job: half}))
	j, err := r.claim(r.submit())
	r.ok(err)
	r.pass(34*time.Minute, 15*time.Second)
	r.fake.Vanish(j.Instance)
	r.until("gone", r.has(gpu.Gone))
	_, err = r.queue.Requeue(t.Context(), j.Lease(), queue.Setback{Why: apigpu.E(apigpu.GPULost, nil, "gone")})
	r.ok(err)
	for range 360 {
		r.tick()
		for _, in := range r.rows() {
			if in.State == gpu.Ready && r.job(j.ID).Status == apigpu.Queued {
				_, _ = r.Claim(t.Context(), Assignment{j.ID, Slot{in.Label, 0}})
			}
		}
		r.clock.Advance(5 * time.Second)
	}
	r.calls(providertest.Create, 1)
	if got := r.job(j.ID); got.Status != apigpu.Failed || got.Error.Code != apigpu.BudgetExceeded || !strings.Contains(got.Error.Hint, "BUDGET_JOB_USD") {
		t.Errorf("it is %s: %v", got.Status, got.Error)
	}
}

// A machine is not sent away for a job that has spent its own budget, and the
// job ends though a machine is there.
func TestSpentJobEndsNoMachine(t *testing.T) {
	t.Parallel()
	half := ceil(perHour(cheap.HourlyUSD, policy.BootTimeout+30*time.Minute+policy.Lease+overtime))
	r, _ := moneyRig(t, budgeted(Budget{Job: half}))
	j, err := r.claim(r.submit())
	r.ok(err)
	row := r.row(j.Instance)
	r.pass(34*time.Minute, 15*time.Second)
	r.fake.Vanish(j.Instance)
	r.until("gone", r.has(gpu.Gone))
	now := r.clock.Now()
	row.CreatedAt, row.StartedAt, row.ReadyAt, row.IdleSince, row.ContactAt, row.ReservedUntil = now, now, now, now, now, now
	two := r.twin(row)
	_, err = r.queue.Requeue(t.Context(), j.Lease(), queue.Setback{Why: apigpu.E(apigpu.GPULost, nil, "gone")})
	r.ok(err)
	for range 10 {
		if _, err = r.Claim(t.Context(), Assignment{j.ID, Slot{two.Label, 0}}); apigpu.CodeOf(err) != apigpu.BudgetExceeded {
			t.Fatal(err)
		}
		r.clock.Advance(time.Second)
	}
	if why := r.unpaid(r.clock.Now()); len(why) != 0 {
		t.Errorf("it goes for %v", why)
	}
	r.tick()
	if got := r.job(j.ID); got.Status != apigpu.Failed || got.Error.Code != apigpu.BudgetExceeded {
		t.Errorf("it is %s: %v", got.Status, got.Error)
	}
	r.tick()
	if got := r.row(two.Label); got.State != gpu.Ready {
		t.Errorf("the machine is %s: %s", got.State, got.Reason)
	}
}

// Only what is surely in vain is ended.
func TestSpentUp(t *testing.T) {
	t.Parallel()
	p := policy
	p.Budget.Job = gpu.Dollar / 10
	prices := []gpu.Offer{dear, cheap}
	there := []Instance{{HourlyUSD: cheap.HourlyUSD, CreatedAt: ago(time.Hour), ReadyAt: ago(time.Hour)}}
	for _, c := range []struct {
		name     string
		spent    gpu.USD
		machines []Instance
		prices   []gpu.Offer
		up       bool
	}{
		{"nothing spent", 0, nil, []gpu.Offer{{HourlyUSD: 100 * gpu.Dollar}}, false},
		{"all spent", gpu.Dollar / 10, nil, nil, true},
		{"nobody knows a price", gpu.Dollar * 9 / 100, nil, nil, false},
		{"too much to rent", gpu.Dollar * 75 / 1000, nil, prices, true},
		{"not for one that is there", gpu.Dollar * 75 / 1000, there, prices, false},
		{"for that too", gpu.Dollar * 9 / 100, there, prices, true},
		{"enough", gpu.Dollar / 50, nil, prices, false},
	} {
		if got := p.spentUp(queue.Ask{Spent: c.spent, Run: time.Hour}, c.machines, c.prices, noon); (got != nil) != c.up {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	p.Budget.Job = 0
	if got := p.spentUp(queue.Ask{Spent: gpu.Dollar}, nil, prices, noon); got != nil {
		t.Errorf("without a budget: %v", got)
	}
}

// Whatever keeps a budget from giving machines their job that it let be rented:
// the pauses between them grow.
func TestRefusedMachinesPause(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: 100 * rentCost}))
	r.submit()
	for range 360 {
		r.tick()
		for _, in := range r.rows() {
			if in.State == gpu.Ready {
				r.deny(in.Label, &OverBudget{Setting: "BUDGET_DAY_USD", Need: 1}, 0)
			}
		}
		r.clock.Advance(5 * time.Second)
	}
	if n := len(r.fake.Calls(providertest.Create)); n > 6 { // 1, 2, 4, 8 and 15 minutes apart
		t.Errorf("%d machines were rented in half an hour", n)
	}
}

// What a request looked at is what its machine is rented by: one search for
// both, and one in vain holds up no other request.
func TestOneSearchForRequestAndRental(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: 10 * rentCost}))
	r.tick()
	r.fake.SetOutage(gpu.ErrNotSent)
	r.ok(r.Affordable(t.Context(), queue.Ask{Run: time.Hour}))
	r.ok(r.Affordable(t.Context(), queue.Ask{Run: time.Hour}))
	r.calls(providertest.Offers, 1)
	r.fake.SetOutage(nil)
	r.clock.Advance(pricesGap)
	r.ok(r.Affordable(t.Context(), queue.Ask{Run: time.Hour}))
	r.submit()
	r.until("rented", r.has(gpu.Ready))
	r.calls(providertest.Offers, 2)
}

// An instance that nobody answered for and no listing ever had may have been
// there between two of them: a budget counts its time until its bill says that
// it was not, or never will.
func TestUnseenCountsUntilItsBill(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: errors.New("EOF")})
	j := r.submit()
	r.until("ambiguous", func() bool { return len(r.rows()) == 1 && r.rows()[0].Ambiguous })
	label := r.rows()[0].Label
	r.cancel(j)
	r.until("gone", func() bool { return r.row(label).CostState == Estimated })
	taken := func() gpu.USD {
		all, err := books(t.Context(), r.db.Read(), r.clock.Now(), "")
		r.ok(err)
		return all.taken(dayAt(r.clock.Now()))
	}
	in := r.row(label)
	perGPU, disk := in.rates()
	want := ceil(perHour(perGPU+disk, in.AbsentSince.Sub(in.CreatedAt))) + ceil(traffic(in.Terms, mostPull, 0))
	if got := taken(); got != want || want <= 0 || in.CostUSD != 0 {
		t.Errorf("taken %s, want %s; it cost %s", got, want, in.CostUSD)
	}
	r.ok(r.Bill(t.Context()))
	r.clock.Advance(billRest + time.Minute)
	r.tick()
	r.ok(r.Bill(t.Context()))
	if got := taken(); got != 0 || r.row(label).CostState != Final {
		t.Errorf("after its bill %s are taken, and it is %s", got, r.row(label).CostState)
	}
	in.CostState = Estimated
	if got := in.account(in.StateSince.Add(billMost)); got != (account{}) {
		t.Errorf("without a bill it counts for ever: %+v", got)
	}
}

// A renewal is not sent to what went while it was about to be.
func TestNoRenewalOfWhatEnds(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t)
	_, row := r.rented()
	row.LeaseUntil = time.Time{} // as somebody read it before
	for _, state := range []gpu.State{gpu.Destroying, gpu.Gone} {
		_, err := r.update(t.Context(), row.Label, func(in *Instance) bool { in.State = state; return true })
		r.ok(err)
		if r.mayRenew(t.Context(), row, policy.Lease) {
			t.Errorf("a renewal is sent to one that is %s", state)
		}
	}
}
