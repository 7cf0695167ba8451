package fleet

import (
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
// rented for it that it would then not be given.
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
	if note := r.job(j.ID).PhaseNote; !strings.Contains(note, "BUDGET_JOB_USD=") {
		t.Errorf("told %q", note)
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
