package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// What is reserved beyond what is promised.
const (
	// overtime is for the time from a deadline to the end that follows from
	// it: a worker that ends itself asks its provider first.
	overtime = time.Minute
	// leaseStep is how much further than a renewal needs the lease is noted,
	// so that not every one of them is a write.
	leaseStep = time.Minute
	// leastRun is the shortest run that a job is begun for.
	leastRun = time.Minute
	// mostPull bounds the download of our image, in bytes.
	mostPull = 1 << 30
	// leastResult is what the result of any job may have, in bytes.
	leastResult = 64 << 20
	// defaultUpload is MAX_UPLOAD where a policy does not say it.
	defaultUpload = 2 << 30
)

// paid reports whether instances cost money. Where they do not, nothing is
// reserved, refused or charged.
func (p Policy) paid() bool { return !p.Traits.Free && !p.Traits.Permanent }

// limits are the most bytes that a job may move: its video, and twice what is
// expected of its result.
func (p Policy) limits(a queue.Ask) (down, up int64) {
	if down = a.Size; down <= 0 {
		if down = p.MaxUpload; down <= 0 {
			down = defaultUpload
		}
	}
	return down, max(2*a.Room, leastResult)
}

// booked is an instance about to be asked for, with what is reserved for it:
// its time until it ends itself if we die now; and where there are budgets also
// the run of the job that it is rented for, so that no budget is in its way when
// it is ready.
func (p Policy) booked(in Instance, ask queue.Ask) (Instance, *OverBudget) {
	in.LeaseUntil = in.CreatedAt.Add(p.BootTimeout + p.firstLease())
	in.ReservedUntil = in.leaseEnd()
	down, up := p.limits(ask)
	in.ReservedDown, in.ReservedUp = mostPull+down, up
	perGPU, disk := in.rates()
	fixed := ask.Spent + ceil(perHour(perGPU+disk, in.ReservedUntil.Sub(in.CreatedAt))) + ceil(traffic(in.Terms, in.ReservedDown, in.ReservedUp))
	run, refusal := cutRun(p.Budget.Job, fixed, perGPU+disk, ask.Run)
	if p.Budget != (Budget{}) {
		in.ReservedUntil = in.ReservedUntil.Add(run)
	}
	return in, refusal
}

// firstLease is how long a worker lives that nobody ever speaks to: from its
// own start, which may be as late as its boot deadline, it allows the time to
// boot and a lease. It is told to count them from the rental (END_BY); but that
// is by the clock of its host, which may be wrong, and so not reckoned with.
func (p Policy) firstLease() time.Duration { return p.BootTimeout + p.Lease }

// cutRun is how long a job may run, at most run, so that it costs no more than
// its budget; 0 is no budget. fixed is what it may cost beside its run. The
// refusal says that there is no time for a run worth beginning.
func cutRun(budget, fixed, hourly gpu.USD, run time.Duration) (time.Duration, *OverBudget) {
	if budget <= 0 {
		return run, nil
	}
	least := fixed + ceil(perHour(hourly, min(run, leastRun)))
	if least > budget {
		return run, &OverBudget{Setting: "BUDGET_JOB_USD", Limit: budget, Need: least}
	}
	if fixed+ceil(perHour(hourly, run)) <= budget {
		return run, nil
	}
	return portionOfHour(budget-fixed, hourly), nil
}

// portionOfHour is the time that some money buys, rounded down to milliseconds.
func portionOfHour(usd, hourly gpu.USD) time.Duration {
	return time.Duration(float64(usd)/float64(hourly)*float64(time.Hour)) / time.Millisecond * time.Millisecond
}

// affordable leaves the offers by which a waiting job could be run to its end
// within the budgets, and notes which; it says why the others are refused,
// where none is left: by the one that would need the least.
func affordable(p Policy, w World, ranked []Choice, now time.Time) ([]Choice, *OverBudget) {
	if p.Budget == (Budget{}) || !p.paid() {
		return ranked, nil
	}
	asks := w.Asks
	if len(asks) == 0 {
		asks = []queue.Ask{{Run: leastRun}}
	}
	var left []Choice
	var why *OverBudget
	for _, c := range ranked {
		for _, ask := range asks {
			in, refusal := p.booked(wouldBe(c.Offer, now), ask)
			if refusal == nil {
				refusal = p.Budget.refuses(w.Books, account{}, in.account(now), now)
			}
			if refusal == nil {
				c.Reserve = ask
				left = append(left, c)
				break
			}
			if why == nil || refusal.Least() < why.Least() {
				why = refusal
			}
		}
	}
	if len(left) > 0 {
		why = nil
	}
	return left, why
}

// wouldBe is the instance that an offer would become.
func wouldBe(o gpu.Offer, now time.Time) Instance {
	return Instance{ProviderID: "?", State: gpu.Planned, HourlyUSD: o.HourlyUSD, Terms: TermsOf(o), CreatedAt: now}
}

// intend commits the intent of an instance, with what it may cost: nothing is
// asked of a provider that a budget does not allow.
func (f *Fleet) intend(ctx context.Context, in *Instance, ask queue.Ask) error {
	if !f.cfg.Policy.paid() {
		return f.save(ctx, *in)
	}
	booked, refusal := f.cfg.Policy.booked(*in, ask)
	if refusal != nil && !f.ungated {
		return refusal
	}
	*in = booked
	return f.fenced(ctx, func(tx *sql.Tx) error {
		if err := f.afford(ctx, tx, Instance{}, booked); err != nil {
			return err
		}
		return f.put(ctx, tx, booked)
	})
}

// afford returns a *OverBudget where a budget does not allow that an instance
// takes what it does after, where it took before. It runs with the row of the
// fleet locked: nobody else reserves meanwhile.
func (f *Fleet) afford(ctx context.Context, tx *sql.Tx, before, after Instance) error {
	b := f.cfg.Policy.Budget
	if b.Day <= 0 && b.Month <= 0 || f.ungated {
		return nil
	}
	now := f.cfg.Now()
	others, err := books(ctx, tx, now, after.Label)
	if err != nil {
		return err
	}
	was := account{}
	if before.Label != "" { // else it is only about to be
		was = before.account(now)
	}
	if r := b.refuses(others, was, after.account(now), now); r != nil {
		return r
	}
	return nil
}

// leaseEnd is when a worker that nobody speaks to has ended its machine; zero
// where nobody ever noted its lease.
func (in Instance) leaseEnd() time.Time {
	if in.LeaseUntil.IsZero() {
		return in.LeaseUntil
	}
	return in.LeaseUntil.Add(overtime)
}

// mayRenew notes until when a renewal that is about to be sent lets a worker
// live, and reserves that time: before it is sent. Where a budget does not
// allow it, none is sent, and the machine goes.
func (f *Fleet) mayRenew(ctx context.Context, in Instance, ttl time.Duration) bool {
	p := f.cfg.Policy
	need := f.cfg.Now().Add(contactTimeout + ttl)
	if !p.paid() || in.Permanent || !in.LeaseUntil.Before(need) {
		return true
	}
	ends := false
	_, err := f.updateIf(ctx, in.Label, func(tx *sql.Tx, row *Instance) (bool, error) {
		// Its end may have been decided, or seen, since somebody looked.
		if ends = row.State != gpu.Booting && row.State != gpu.Ready; ends || !row.LeaseUntil.Before(need) {
			return false, nil
		}
		before := *row
		var err error
		for _, until := range []time.Time{need.Add(leaseStep), need} { // a budget may allow the one and not the other
			row.LeaseUntil = until
			row.ReservedUntil = latest(before.ReservedUntil, row.leaseEnd())
			if err = f.afford(ctx, tx, before, *row); err == nil {
				return true, nil
			}
		}
		return false, err
	})
	crash.Point("fleet.lease.noted")
	if refusal, ok := errors.AsType[*OverBudget](err); ok {
		f.deny(in.Label, refusal, 0)
		f.cfg.Log.WarnContext(ctx, "lease not renewed", "instance", in.Label, "for", ttl, "reason", refusal.Error())
		return false
	}
	if err != nil {
		f.cfg.Log.WarnContext(ctx, "lease not noted, and not renewed", "instance", in.Label, "error", err)
		return false
	}
	return !ends
}

// Claim starts a job on a slot: see queue.Claim. In the same transaction all is
// reserved that the job may cost there, its whole run and a lease, so that no
// budget ends it midway. BudgetExceeded means that a budget does not allow it
// now: another job may do.
func (f *Fleet) Claim(ctx context.Context, a Assignment) (queue.Job, error) {
	if !f.cfg.Policy.paid() {
		return f.cfg.Queue.Claim(ctx, a.JobID, a.Slot.Instance, a.Slot.Number)
	}
	j, err := f.cfg.Queue.ClaimIf(ctx, a.JobID, a.Slot.Instance, a.Slot.Number, func(ctx context.Context, tx *sql.Tx) (time.Duration, error) {
		return f.reserveRun(ctx, tx, a)
	})
	refusal, refused := errors.AsType[*OverBudget](err)
	switch {
	case refused && refusal.Own: // another machine would be no better
		return queue.Job{}, apigpu.E(apigpu.BudgetExceeded, refusal, "%s.", refusal.Error()).WithJob(a.JobID)
	case refused:
		f.deny(a.Slot.Instance, refusal, deniedTill)
		return queue.Job{}, apigpu.E(apigpu.BudgetExceeded, refusal, "%s.", refusal.Error()).WithJob(a.JobID)
	case err == nil:
		f.deny(a.Slot.Instance, nil, 0)
	}
	return j, err
}

// reserveRun writes what an instance may cost with a job on it, and says how
// long that may run. Every process that claims does so under a lock on the row
// of the fleet: what two of them see free is free once.
func (f *Fleet) reserveRun(ctx context.Context, tx *sql.Tx, a Assignment) (time.Duration, error) {
	var epoch int64
	if err := tx.QueryRowContext(ctx, `SELECT epoch FROM fleet WHERE one = 1`+f.cfg.DB.ForUpdate()).Scan(&epoch); err != nil {
		return 0, fmt.Errorf("lock fleet: %w", err)
	}
	rows, err := query(ctx, tx, selectOne, a.Slot.Instance)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 || rows[0].State != gpu.Ready {
		return 0, apigpu.E(apigpu.Conflict, nil, "The machine %s is no longer ready.", a.Slot.Instance)
	}
	before := rows[0]
	if before.Permanent {
		return 0, nil
	}
	ask, err := f.cfg.Queue.Ask(ctx, tx, a.JobID)
	if err != nil {
		return 0, err
	}
	attempts, err := f.cfg.Queue.AttemptsOn(ctx, tx, before.Label)
	if err != nil {
		return 0, err
	}
	now, p := f.cfg.Now(), f.cfg.Policy
	run := ask.Run
	if p.Budget.Job > 0 && !f.ungated {
		earlier, err := f.jobCost(ctx, tx, a.JobID, "", 0)
		if err != nil {
			return 0, err
		}
		ask.Spent = earlier.USD
		var refusal *OverBudget
		if run, refusal = p.jobRun(before, attempts, ask, now); refusal != nil {
			fresh := ask
			fresh.Spent = 0
			_, anyway := p.jobRun(before, attempts, fresh, now)
			refusal.Own = anyway == nil
			return 0, refusal
		}
	}
	after := p.loaded(before, attempts, ask, run, now)
	after.IdleSince = time.Time{} // so that the loop sees it fall idle again, however short the job is
	if err := f.afford(ctx, tx, before, after); err != nil {
		return 0, err
	}
	return run, f.put(ctx, tx, after)
}

// jobRun is how long a job may run on an instance that is ready, so that it
// costs no more than its budget at the worst: with all boot and idle time that
// the instance has had, a lease after its end, and what it cost before.
func (p Policy) jobRun(in Instance, attempts []queue.Attempt, ask queue.Ask, now time.Time) (time.Duration, *OverBudget) {
	perGPU, disk := in.rates()
	down, up := p.limits(ask)
	fixed := ask.Spent + ceil(perHour(perGPU+disk, p.Lease+contactTimeout+overtime)) + ceil(traffic(in.Terms, down, up))
	_, parts := Cost(in, attempts, now)
	for _, c := range parts {
		if c.Kind != WorkCharge {
			fixed += c.USD
		}
	}
	return cutRun(p.Budget.Job, fixed, perGPU+disk, ask.Run)
}

// loaded is an instance with all reserved for it that it may cost with one job
// more: its time until that has run and a lease has passed, its traffic so far,
// and what its open jobs may move.
func (p Policy) loaded(in Instance, attempts []queue.Attempt, ask queue.Ask, run time.Duration, now time.Time) Instance {
	down, up := p.limits(ask)
	until := now.Add(run + p.Lease + contactTimeout + overtime)
	closed, open := movedBy(attempts)
	if open == 0 {
		in.ReservedUntil = latest(until, in.leaseEnd())
		in.ReservedDown, in.ReservedUp = mostPull+closed.Down+down, closed.Up+up
		return in
	}
	in.ReservedUntil = latest(until, in.ReservedUntil)
	in.ReservedDown, in.ReservedUp = in.ReservedDown+down, in.ReservedUp+up
	return in
}

// movedBy adds up what the attempts that have ended moved, and counts the others.
func movedBy(attempts []queue.Attempt) (closed queue.Traffic, open int) {
	for _, a := range attempts {
		if a.EndedAt.IsZero() {
			open++
			continue
		}
		closed.Down, closed.Up = closed.Down+a.Down, closed.Up+a.Up
	}
	return closed, open
}

// unload gives back what was reserved for jobs that have ended: row fell idle.
func (f *Fleet) unload(ctx context.Context, tx *sql.Tx, row *Instance) error {
	if !f.cfg.Policy.paid() || row.Permanent || row.State != gpu.Ready {
		return nil
	}
	if busy, err := f.cfg.Queue.Busy(ctx, tx, row.Label); err != nil || busy {
		return err
	}
	attempts, err := f.cfg.Queue.AttemptsOn(ctx, tx, row.Label)
	if err != nil {
		return err
	}
	closed, _ := movedBy(attempts)
	row.ReservedUntil = row.leaseEnd()
	row.ReservedDown, row.ReservedUp = mostPull+closed.Down, closed.Up
	return nil
}

// spentUp says why a queued job that has cost something before has no run left
// that its own budget pays for: none on a machine that would be rented at the
// prices known, and where machines are there, not even one for nothing but its
// work on the cheapest of all. nil where it may have.
func (p Policy) spentUp(ask queue.Ask, machines []Instance, prices []gpu.Offer, now time.Time) *OverBudget {
	if p.Budget.Job <= 0 || ask.Spent <= 0 {
		return nil
	}
	if ask.Spent >= p.Budget.Job {
		return &OverBudget{Setting: "BUDGET_JOB_USD", Limit: p.Budget.Job, Taken: ask.Spent}
	}
	if len(machines) == 0 {
		if len(prices) == 0 {
			return nil
		}
		p.Budget = Budget{Job: p.Budget.Job}
		_, refusal := affordable(p, World{Asks: []queue.Ask{ask}}, choices(prices), now)
		return refusal
	}
	for _, o := range prices {
		machines = append(slices.Clip(machines), wouldBe(o, now))
	}
	var least *OverBudget
	for _, in := range machines {
		bare := Instance{ProviderID: "?", HourlyUSD: in.HourlyUSD, ListedUSD: in.ListedUSD, Terms: in.Terms, CreatedAt: now}
		_, refusal := p.jobRun(bare, nil, ask, now)
		if refusal == nil {
			return nil
		}
		if least == nil || refusal.Least() < least.Least() {
			least = refusal
		}
	}
	return least
}

// endSpent ends the queued jobs that have no run left which their budget pays
// for, and reports whether there were any: they would wait in vain, and count
// as work for machines that are not given to them.
func (f *Fleet) endSpent(ctx context.Context, w World) (some bool, err error) {
	now := f.cfg.Now()
	f.mu.Lock()
	prices, age := f.money.prices, now.Sub(f.money.pricesAt)
	f.mu.Unlock()
	if age >= pricesFor {
		prices = nil
	}
	machines := slices.DeleteFunc(slices.Clone(w.Instances), func(in Instance) bool { return in.Permanent || !in.capacity(now) })
	for _, ask := range w.Asks {
		refusal := f.cfg.Policy.spentUp(ask, machines, prices, now)
		if refusal == nil {
			continue
		}
		why := apigpu.E(apigpu.BudgetExceeded, refusal, "The job has cost %s without an end, and the budget of one job pays for no other run.", ask.Spent.Exact()).
			WithHint("Its operator can raise BUDGET_JOB_USD above %s.", refusal.Least().Exact()[1:])
		ended, refuseErr := f.cfg.Queue.Refuse(ctx, ask.JobID, why)
		if ended {
			f.cfg.Log.WarnContext(ctx, "job ended", "job", ask.JobID, "reason", refusal.Error())
		}
		some, err = some || ended, errors.Join(err, refuseErr)
	}
	return some, err
}

// Affordable returns BudgetExceeded for a job that could never be run within
// the budgets, by what can be rented now: that of one job, or those of a day and
// of a month in which nothing else is spent. Where nobody knows that, it waits
// and sees.
func (f *Fleet) Affordable(ctx context.Context, ask queue.Ask) error {
	p := f.cfg.Policy
	if p.Budget == (Budget{}) || !p.paid() {
		return nil
	}
	if p.Budget.Job == 0 && !f.Leading() {
		// A job that a whole day's budget does not pay for is rare enough to be
		// told later: the leader may ask for offers this very moment.
		return nil
	}
	prices, err := f.pricesNow(ctx)
	if err != nil || len(prices) == 0 {
		return nil //nolint:nilerr // said above
	}
	// At the begin of a month, which is that of a day, all of it falls in one.
	_, refusal := affordable(p, World{Asks: []queue.Ask{ask}}, choices(prices), monthAt(f.cfg.Now()).from)
	if refusal == nil {
		return nil
	}
	return apigpu.E(apigpu.BudgetExceeded, refusal, "No job like this one can be run within %s=%s: the cheapest machine may cost %s.",
		refusal.Setting, refusal.Limit.Exact(), refusal.Least().Exact()).
		WithHint("Its operator can set %s to %s or more.", refusal.Setting, refusal.Least().Exact()[1:])
}

func choices(offers []gpu.Offer) []Choice {
	out := make([]Choice, len(offers))
	for n, o := range offers {
		out[n] = Choice{Offer: o}
	}
	return out
}
