package dispatch

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// paidBench is a bench whose worker is rented, for a dollar an hour.
func paidBench(t *testing.T, b fleet.Budget) *bench {
	t.Helper()
	bench := newBench(t, nil)
	bench.stopFleet()
	traits := gpu.Traits{}
	fake := providertest.NewFake(providertest.FakeConfig{
		Traits: traits, Offers: []gpu.Offer{{ID: "1", HourlyUSD: gpu.Dollar, Slots: 1}}, Address: func(string) string { return bench.worker.url },
	})
	bench.fleets.Provider, bench.fleets.Policy.Traits, bench.fleets.Policy.Budget = fake, traits, b
	bench.fleets.Policy.BootTimeout, bench.fleets.Policy.Lease = time.Minute, time.Minute
	bench.fleet = fleet.New(bench.fleets)
	bench.cfg.Fleet = bench.fleet
	bench.stopFleet = background(t, bench.fleet.Run)
	return bench
}

// A job's answer tells what it cost, at the moment of its end.
func TestCostInTheAnswer(t *testing.T) {
	t.Parallel()
	b := paidBench(t, fleet.Budget{})
	b.start()
	j := b.final(b.submit(nil).ID)
	b.wantResult(j)
	if j.Stats.CostState != apigpu.CostEstimated || j.Stats.CostUSD <= 0 {
		t.Errorf("it cost %+v", j.Stats)
	}
	b.worker.set(func() { b.worker.hold = true })
	failed := b.submit(func(d *queue.Draft) { d.RunFor = 200 * time.Millisecond })
	if j := b.final(failed.ID); j.Error == nil || j.Error.Code != apigpu.JobTimeout {
		t.Errorf("%s: %v", j.Status, j.Error)
	}
	b.until(failed.ID, func(j queue.Job) bool { return j.Stats.CostState == apigpu.CostEstimated })
}

// A job that a budget does not allow lets one go before it that costs less; it
// waits, and does not fail.
func TestBudgetLetsAnotherGoFirst(t *testing.T) {
	t.Parallel()
	b := paidBench(t, fleet.Budget{Day: gpu.Dollar / 2, Month: gpu.Dollar / 2})
	long := b.submit(func(d *queue.Draft) { d.RunFor = 2 * time.Hour })
	short := b.submit(func(d *queue.Draft) { d.RunFor = time.Minute })
	b.start()
	b.wantResult(b.final(short.ID))
	if j, err := b.queue.Job(t.Context(), long.ID); err != nil || j.Status != apigpu.Queued || j.Attempt != 0 {
		t.Errorf("the other is %s, attempt %d, %v", j.Status, j.Attempt, err)
	}
}

// However many the oldest are that a budget does not allow now, within what is
// looked at, a later one that costs less goes before them.
func TestBudgetLetsALaterOneGoFirst(t *testing.T) {
	t.Parallel()
	b := paidBench(t, fleet.Budget{Day: gpu.Dollar / 2, Month: gpu.Dollar / 2})
	for range 25 {
		b.submit(func(d *queue.Draft) { d.RunFor = 2 * time.Hour })
	}
	short := b.submit(func(d *queue.Draft) { d.RunFor = time.Minute })
	b.start()
	b.wantResult(b.final(short.ID))
}

// A job that has run for as long as its own budget pays ends for that reason,
// not for want of time.
func TestJobOutrunsItsBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	label := b.instance()
	j := b.submit(nil)
	may := func(context.Context, *sql.Tx) (time.Duration, error) { return 300 * time.Millisecond, nil }
	claimed, err := b.queue.ClaimIf(t.Context(), j.ID, label, 0, may)
	if err != nil {
		t.Fatal(err)
	}
	d := New(b.cfg)
	d.start(t.Context(), claimed, fresh)
	d.drivers.Wait()
	if got := b.final(j.ID); got.Status != apigpu.Failed || got.Error.Code != apigpu.BudgetExceeded {
		t.Errorf("it is %s: %v", got.Status, got.Error)
	}
}
