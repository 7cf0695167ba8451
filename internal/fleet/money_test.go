package fleet

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A job's answer tells its cost; when its machine is gone it bears all of it;
// and when the bill is there, exactly that.
func TestCostOfAJob(t *testing.T) {
	t.Parallel()
	r, bill := moneyRig(t)
	j, err := r.claim(r.submit())
	r.ok(err)
	r.pass(time.Minute, 5*time.Second)
	r.complete(j)
	first := r.job(j.ID).Stats
	if first.CostState != apigpu.CostEstimated || first.CostUSD <= 0 {
		t.Errorf("at its end: %+v", first)
	}
	r.until("gone", r.has(gpu.Gone))
	r.tick()
	row, truth := r.rows()[0], r.fake.Records()[0].Cost(r.clock.Now())
	if row.CostState != Estimated || row.CostUSD < truth || float64(row.CostUSD) > 1.05*float64(truth) {
		t.Errorf("it cost %s by our measure (%s), %s in truth", row.CostUSD, row.CostState, truth)
	}
	r.balanced()
	if got := r.job(j.ID).Stats; got.CostUSD <= first.CostUSD || got.CostState != apigpu.CostEstimated {
		t.Errorf("its machine's idle time is not its own: %v after %v", got, first)
	}
	bill.extra = 4321
	truth += bill.extra
	for began := r.clock.Now(); r.rows()[0].CostState != Final; r.clock.Advance(10 * time.Second) {
		if r.clock.Now().Sub(began) > time.Hour {
			t.Fatalf("no bill: %+v", r.rows()[0])
		}
		r.tick()
		r.ok(r.Bill(t.Context()))
	}
	if got := r.rows()[0].CostUSD; got != truth {
		t.Errorf("charged %d, booked %d", truth, got)
	}
	if bill.asked > 12 {
		t.Errorf("the bill was asked for %d times", bill.asked)
	}
	r.balanced()
	if got := r.job(j.ID).Stats; got.CostState != apigpu.CostFinal {
		t.Errorf("the job's cost is %v", got)
	}
	asked := bill.asked
	r.clock.Advance(time.Hour)
	r.tick()
	r.ok(r.Bill(t.Context()))
	if bill.asked != asked {
		t.Error("a bill that is known is asked for again")
	}
}

// What was refused cost nothing, and no bill is waited for; a machine that
// never booted costs, and no job bears it. A bill far from our measure is
// told.
func TestCostOfNoJob(t *testing.T) {
	t.Parallel()
	r, bill := moneyRig(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: gpu.ErrNoCapacity}, providertest.CreateStep{Boot: 24 * time.Hour})
	j := r.submit()
	pair := func() (rows []Instance) { // the refused one first: of one moment labels have no order
		rows = r.rows()
		slices.SortFunc(rows, func(a, b Instance) int { return cmp.Compare(a.ProviderID, b.ProviderID) })
		return rows
	}
	r.until("given up", func() bool { rows := pair(); return len(rows) == 2 && rows[1].State == gpu.Destroying })
	r.cancel(j)
	r.until("settled", func() bool { return pair()[1].CostState != "" })
	rows := pair()
	if rows[0].CostState != Final || rows[0].CostUSD != 0 || rows[1].CostUSD == 0 {
		t.Errorf("refused: %+v, never booted: %+v", rows[0], rows[1])
	}
	parts, err := readCharges(t.Context(), r.db.Read(), rows[1].Label)
	r.ok(err)
	if len(parts) != 1 || parts[0].JobID != "" || parts[0].Kind != BootCharge {
		t.Errorf("borne by %+v", parts)
	}
	bill.extra = gpu.Dollar
	for range 60 {
		r.clock.Advance(time.Minute)
		r.tick()
		r.ok(r.Bill(t.Context()))
	}
	if got := pair()[1]; got.CostState != Final || got.CostUSD != r.fake.Cost()+gpu.Dollar || r.money.bills.off != 1 {
		t.Errorf("booked %+v, %+v", got, r.money.bills)
	}
	r.balanced()
}

// Two attempts on two machines: the job bears both.
func TestCostOfTwoAttempts(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t)
	j, err := r.claim(r.submit())
	r.ok(err)
	r.pass(2*time.Minute, 5*time.Second)
	r.fake.Vanish(j.Instance)
	r.until("gone", r.has(gpu.Gone))
	_, err = r.queue.Requeue(t.Context(), j.Lease(), queue.Setback{Why: apigpu.E(apigpu.GPULost, nil, "x")})
	r.ok(err)
	again, err := r.claim(j)
	r.ok(err)
	r.pass(time.Minute, 5*time.Second)
	r.complete(again)
	first := r.row(j.Instance).CostUSD
	if got := gpu.USD(math.Round(float64(r.job(j.ID).Stats.CostUSD) * 1e9)); first == 0 || got <= first {
		t.Errorf("the first machine cost %d, the job %d", first, got)
	}
	r.until("both gone", func() bool { return r.rows()[1].CostState != "" })
	r.balanced()
}

// What a budget does not allow is not asked of the provider, and the job is
// told what would do; with just that it runs.
func TestDayBudget(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: rentCost - 1}))
	r.guarded()
	j := r.submit()
	r.pass(3*time.Minute, 5*time.Second)
	r.calls(providertest.Create, 0)
	r.calls(providertest.Offers, 1)
	r.wantStops("budget")
	note := r.job(j.ID).PhaseNote
	if !strings.Contains(note, "BUDGET_DAY_USD=") || !strings.Contains(note, rentCost.Exact()+" would be enough") {
		t.Errorf("told %q", note)
	}
	r.config.Policy.Budget.Day = rentCost
	r.restart()
	run, err := r.claim(j)
	r.ok(err)
	if run.RunningUntil.Sub(*run.StartedAt) != time.Hour {
		t.Errorf("it may run for %s", run.RunningUntil.Sub(*run.StartedAt))
	}
	r.pass(50*time.Minute, 15*time.Second) // no renewal is refused in mid-job
	r.want(gpu.Ready, "")
	if at := r.row(run.Instance).ContactAt; at.Before(r.clock.Now().Add(-time.Minute)) {
		t.Errorf("last renewed at %s", at)
	}
	r.complete(run)
	r.until("gone", r.has(gpu.Gone))
	r.tick()
	r.within()
}

// A budget that is used up lets jobs wait for the next day.
func TestMidnight(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: rentCost}))
	r.guarded()
	j, err := r.claim(r.submit())
	r.ok(err)
	r.pass(30*time.Minute, 15*time.Second)
	r.complete(j)
	r.until("gone", r.has(gpu.Gone))
	waiting := r.submit()
	r.pass(time.Minute, 5*time.Second)
	r.calls(providertest.Create, 1)
	if note := r.job(waiting.ID).PhaseNote; !strings.Contains(note, "are spent or reserved") {
		t.Errorf("told %q", note)
	}
	if s := r.Stops(); len(s) != 1 || s[0].Code != stopBudget || strings.Contains(s[0].Reason, "$") || !strings.Contains(s[0].Detail, "are spent or reserved") {
		t.Errorf("the stops are %+v; want what is spent for the operator only", s)
	}
	r.clock.Advance(dayAt(r.clock.Now()).to.Sub(r.clock.Now()) - time.Minute)
	r.pass(50*time.Second, 5*time.Second)
	// A minute of it would still be today's; all the rest is tomorrow's.
	r.until("rented", func() bool { return len(r.fake.Calls(providertest.Create)) == 2 })
	_, err = r.claim(waiting)
	r.ok(err)
	r.within()
}

// An idle machine whose lease a budget does not allow is let go; so is one that
// no job may be given.
func TestBudgetEndsIdle(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]func(*rig){
		"no renewal": func(*rig) {},
		"no job": func(r *rig) {
			for _, in := range r.rows() {
				if in.State == gpu.Ready {
					_, err := r.Claim(r.Context(), Assignment{r.job(r.big).ID, Slot{in.Label, 0}})
					if code := apigpu.CodeOf(err); code != apigpu.BudgetExceeded {
						r.Errorf("a job that costs too much is claimed: %v", err)
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := moneyRig(t, budgeted(Budget{Day: rentCost}), func(c *Config) { c.Policy.IdleTimeout = 5 * time.Hour })
			r.guarded()
			j := r.submit()
			r.until("ready", r.has(gpu.Ready))
			r.cancel(j)
			long, err := r.queue.Submit(t.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: 24 * time.Hour, RunFor: 3 * time.Hour, KeepFor: time.Hour})
			r.ok(err)
			r.big = long.ID
			began := r.clock.Now()
			for r.has(gpu.Ready)() {
				keep(r)
				r.tick()
				r.clock.Advance(5 * time.Second)
				if r.clock.Now().Sub(began) > 2*time.Hour {
					t.Fatal("it stays")
				}
			}
			r.want(gpu.Destroying, "budget: BUDGET_DAY_USD=")
			if name == "no job" && r.clock.Now().Sub(began) > 30*time.Second {
				t.Errorf("it stayed for %s", r.clock.Now().Sub(began))
			}
		})
	}
}

// The budget of a job cuts its run; and one that no run would fit into is not
// taken on.
func TestJobBudget(t *testing.T) {
	t.Parallel()
	half := ceil(perHour(cheap.HourlyUSD, policy.BootTimeout+30*time.Minute+policy.firstLease()+overtime))
	r, _ := moneyRig(t, budgeted(Budget{Job: half}))
	j, err := r.claim(r.submit())
	r.ok(err)
	if may := r.job(j.ID).RunningUntil.Sub(*j.StartedAt); may < 30*time.Minute || may > 30*time.Minute+2*policy.BootTimeout {
		t.Errorf("it may run for %s", may)
	}
	if j.RunFor != time.Hour {
		t.Errorf("it was promised %s", j.RunFor)
	}
	r.ok(r.Affordable(t.Context(), queue.Ask{Run: time.Hour}))
	r.cfg.Policy.Budget.Job = gpu.Dollar / 1000
	err = r.Affordable(t.Context(), queue.Ask{Run: time.Hour})
	least := ceil(perHour(cheap.HourlyUSD, policy.BootTimeout+policy.firstLease()+overtime)) + ceil(perHour(cheap.HourlyUSD, leastRun))
	if apigpu.CodeOf(err) != apigpu.BudgetExceeded || !strings.Contains(err.Error(), least.Exact()) {
		t.Errorf("%v does not name %s", err, least.Exact())
	}
}

// A job that not even an empty day or month would pay for is refused at once,
// with what would do; one that waits for another day is not.
func TestNeverAffordable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		budget  Budget
		setting string
	}{{Budget{Day: rentCost - 1}, "BUDGET_DAY_USD"}, {Budget{Day: gpu.Dollar, Month: rentCost - 1}, "BUDGET_MONTH_USD"}} {
		r, _ := moneyRig(t, budgeted(c.budget))
		r.clock.Advance(11*time.Hour + 50*time.Minute) // the rest of this day is never enough
		r.tick()
		err := r.Affordable(t.Context(), queue.Ask{Run: time.Hour})
		if apigpu.CodeOf(err) != apigpu.BudgetExceeded || !strings.Contains(err.Error(), c.setting) || !strings.Contains(apigpu.AsError(err).Hint, rentCost.Exact()[1:]) {
			t.Errorf("%s: %v", c.setting, err)
		}
		r.ok(r.Affordable(t.Context(), queue.Ask{Run: 30 * time.Minute}))
	}
	r, _ := moneyRig(t, budgeted(Budget{Day: rentCost}))
	_, err := r.claim(r.submit()) // all of the day is reserved
	r.ok(err)
	r.ok(r.Affordable(t.Context(), queue.Ask{Run: time.Hour}))
}

// Jobs that do not fit now are passed over, and all who wait are told.
func TestPassedOver(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: 2 * rentCost}))
	var long []queue.Job
	for range 20 {
		j, err := r.queue.Submit(t.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: 24 * time.Hour, RunFor: 3 * time.Hour, KeepFor: time.Hour})
		r.ok(err)
		long = append(long, j)
	}
	short := r.submit()
	noted := false
	r.until("ready", func() bool {
		noted = noted || strings.Contains(r.job(long[0].ID).PhaseNote, "the oldest job is passed over: BUDGET_DAY_USD")
		return r.has(gpu.Ready)()
	})
	if _, err := r.claim(short); err != nil || !noted {
		t.Errorf("told %t, %v", noted, err)
	}
	r.within()
}

// What is free is neither reserved nor charged.
func TestFree(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Job: 1, Day: 1, Month: 1}), func(c *Config) { c.Policy.Traits.Free = true })
	j, err := r.claim(r.submit())
	r.ok(err)
	r.ok(r.Affordable(t.Context(), queue.Ask{}))
	r.complete(j)
	r.until("gone", r.has(gpu.Gone))
	r.tick()
	if in := r.rows()[0]; in.CostState != "" || !in.ReservedUntil.IsZero() || !in.LeaseUntil.IsZero() {
		t.Errorf("the row is %+v", in)
	}
	if s := r.job(j.ID).Stats; s.CostState != "" || s.CostUSD != 0 {
		t.Errorf("the job cost %+v", s)
	}
}

// Two processes that claim at once do not reserve the same money twice.
func TestClaimsShareABudget(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, func(c *Config) { c.Policy.MaxGPUs = 1 })
	r.fake.SetOffers(dear) // two slots
	one, two := r.submit(), r.submit()
	r.until("ready", r.has(gpu.Ready))
	label := r.rows()[0].Label
	r.exec(`UPDATE instances SET slots = 2`)
	now, ready := r.clock.Now(), r.row(label)
	// Enough for a run of an hour, and not for one that began later as well.
	r.config.Policy.Budget.Day = ceil(perHour(dear.HourlyUSD, now.Sub(ready.CreatedAt)+time.Hour+policy.Lease+contactTimeout+overtime))
	r.config.Policy.Budget.Day += ceil(perHour(dear.HourlyUSD, time.Second))
	r.cfg.Policy.Budget = r.config.Policy.Budget
	other := r.start()
	t.Cleanup(func() { other.forget(nil) })
	errs := make(chan error, 2)
	for n, who := range []*process{r.process, other} {
		go func() {
			_, err := who.Fleet.Claim(t.Context(), Assignment{[]string{one.ID, two.ID}[n], Slot{label, n}})
			errs <- err
		}()
	}
	r.ok(<-errs) // at the same moment both fit: the machine is paid once for both
	r.ok(<-errs)
	r.within()
	r.clock.Advance(time.Minute)
	three := r.submit()
	r.ok(r.queue.Fail(t.Context(), r.job(one.ID).Lease(), apigpu.E(apigpu.Internal, nil, "x")))
	if _, err := other.Fleet.Claim(t.Context(), Assignment{three.ID, Slot{label, 0}}); apigpu.CodeOf(err) != apigpu.BudgetExceeded {
		t.Errorf("a third that ends later is claimed: %v", err)
	}
	if got := r.job(three.ID); got.Status != apigpu.Queued {
		t.Errorf("it is %s", got.Status)
	}
	r.within()
}

// Nothing is created that the budget does not allow, whatever was planned; and
// without that gate it would be.
func TestGateBites(t *testing.T) {
	t.Parallel()
	r, _ := moneyRig(t, budgeted(Budget{Day: gpu.Dollar / 1000}))
	r.tick()
	err := r.create(t.Context(), Choice{Offer: cheap}, "", "x")
	if refusal, ok := errors.AsType[*OverBudget](err); !ok || refusal.Setting != "BUDGET_DAY_USD" {
		t.Errorf("the gate says %v", err)
	}
	r.calls(providertest.Create, 0)
	if rows := r.rows(); len(rows) != 0 {
		t.Errorf("rows are %+v", rows)
	}
	r.ungated = true
	r.ok(r.create(t.Context(), Choice{Offer: cheap}, "", "x"))
	r.calls(providertest.Create, 1)
	all, err := books(t.Context(), r.db.Read(), r.clock.Now(), "")
	r.ok(err)
	if all.taken(dayAt(r.clock.Now())) <= gpu.Dollar/1000 {
		t.Error("the budget holds without its gate")
	}
}
