package fleet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// The rules of money, invariants 7 and 8, after each write as the others. What
// they hold the ledger against is the provider's truth: an instance costs its
// disk from its creation and its GPU from the start of its container, both to
// its end, and what its jobs move.
//
// Budgets are kept by what is decided. What nobody decides may cost more, and
// is no fault:
//   - a machine on which no worker runs, for none ends it: one that never
//     started or was stopped, while we are away or its provider does not take
//     our destroys. The same holds for a worker whose destroys it does not
//     take. Each counts until its reserve is over.
//   - what no live row knows: twins, what comes to exist later than its provider
//     says it may, and what an older database forgot. It is ended as a stray.
//   - what came and went between two looks of ours, until its bill is there.
//   - where the clock was set and nobody ran: all times may be off by that, and
//     a bill is asked for another day.
//
// That no destroy is held up by money is proved by the rules about times, which
// hold in the same schedules, with every budget used up.

// checkMoney holds what is reserved against what is promised, the budgets
// against both, and the parts against the whole.
func (w *world) checkMoney() {
	w.checkSettled()
	h := w.history
	if h.jumped || h.unnoticed {
		return
	}
	for _, r := range w.truth {
		if b := w.boxes[r.ID]; b != nil && r.Ended.IsZero() {
			w.checkGrant(r, b)
		}
	}
	w.checkRuns()
	if w.budget.Day > 0 || w.budget.Month > 0 {
		w.checkBudgets()
		w.checkTruth()
	}
}

// covered returns the row that stands for an instance, where one does that
// nobody has forgotten or called gone.
func (w *world) covered(r providertest.Record) (in Instance, ok bool) {
	in, ok = w.row(r.Label)
	if !ok || in.ProviderID != "" && in.ProviderID != r.ID || in.State == gpu.Gone && (in.ProviderID == "" || r.Ended.IsZero()) {
		return in, false
	}
	if in.ProviderID == "" { // the first of twins
		n := slices.IndexFunc(w.truth, func(x providertest.Record) bool { return x.Label == r.Label })
		return in, w.truth[n].ID == r.ID
	}
	return in, true
}

// checkGrant: the ledger says at all times how long a worker lives if nobody
// speaks to it, and has reserved that.
func (w *world) checkGrant(r providertest.Record, b *box) {
	in, ok := w.covered(r)
	lives := w.shown(b.until)
	switch {
	case !ok || b.old || !r.Running || w.shown(b.starts).Sub(in.CreatedAt) > simPolicy.BootTimeout:
	case in.LeaseUntil.Before(lives):
		w.fault("7 lease", "%s lives until %s, and its row says %s", b, lives, in.LeaseUntil)
	case in.ReservedUntil.Before(in.LeaseUntil.Add(overtime)):
		w.fault("7 lease", "%s may live until %s, and is reserved until %s", b, in.LeaseUntil, in.ReservedUntil)
	}
}

// granted is checkGrant after a renewal.
func (w *world) granted(b *box) {
	w.look()
	if r, ok := w.record(b.id); ok && !w.history.jumped && !w.history.unnoticed {
		w.checkGrant(r, b)
	}
}

// checkReserve is at the provider's door: what a create may cost is reserved.
func (w *world) checkReserve(p *orchestrator, label string) {
	in, _ := w.row(label)
	if least := in.CreatedAt.Add(simPolicy.BootTimeout + simPolicy.firstLease()); in.ReservedUntil.Before(least) && !p.woke {
		w.fault("7 create", "%s is created, and reserved until %s: at least %s is needed", label, in.ReservedUntil, least)
	}
}

// checkRuns: a job runs under a reserve for all of its run, and a lease.
func (w *world) checkRuns() {
	for id, j := range w.jobs {
		if j.until.IsZero() {
			continue
		}
		if in, ok := w.row(j.instance); ok && in.State == gpu.Ready && in.ReservedUntil.Before(j.until.Add(simPolicy.Lease)) {
			w.fault("7 run", "job %s may run until %s on %s, which is reserved until %s", id, j.until, in.Label, in.ReservedUntil)
		}
	}
}

// checkJobBudget: what a job has cost when it begins to run, and what it may yet
// cost with a lease after its run, is within its budget.
func (w *world) checkJobBudget(p *orchestrator, j queue.Job) {
	if w.budget.Job == 0 || w.lack == budgetGate {
		return
	}
	in, err := p.instance(w.ctx, j.Instance)
	cost, costErr := p.CostOf(w.ctx, j, simResult)
	if errors.Join(err, costErr) != nil {
		return // it died meanwhile
	}
	perGPU, disk := in.rates()
	most := cost.USD + ceil(perHour(perGPU+disk, j.RunningUntil.Sub(*j.StartedAt)+simPolicy.Lease))
	if most > w.budget.Job {
		w.fault("7 job", "job %s may cost %s, and its budget is %s", j.ID, most, w.budget.Job)
	}
}

// checkBudgets: by the ledger's own books nothing was ever decided beyond a
// budget. A machine that outlives its reserve counts as far as that goes.
func (w *world) checkBudgets() {
	now := w.clock.Now()
	var sums [3]gpu.USD
	periods := [3]period{dayAt(now), dayAt(now.Add(24 * time.Hour)), monthAt(now)}
	for _, in := range w.rows {
		in.Terms = w.termsOf(in.Label)
		a := in.account(now)
		reserved := a
		if end := a.until; end.After(in.ReservedUntil) {
			in.State, in.EndedAt, in.CostState = gpu.Ready, time.Time{}, ""
			reserved = in.account(in.CreatedAt)
		}
		for n, p := range periods {
			sums[n] += min(a.in(p), reserved.in(p))
		}
	}
	for n, limit := range [3]gpu.USD{w.budget.Day, w.budget.Day, w.budget.Month} {
		if days := n < 2; limit > 0 && sums[n] > limit && !(days && w.purse.redated && w.purse.midnight) {
			w.fault("7 budget", "%s of %s are taken of what begins %s", sums[n], limit, periods[n].from)
		}
	}
}

// checkTruth: if all processes died now, all instances together would cost no
// more than a budget allows. Days are looked at where all is of one.
func (w *world) checkTruth() {
	limit := w.budget.Month
	if day := w.budget.Day; day > 0 && !w.purse.midnight && (limit == 0 || day < limit) {
		limit = day
	}
	if limit == 0 {
		return
	}
	var sum gpu.USD
	for _, r := range w.truth {
		in, ok := w.covered(r)
		b := w.boxes[r.ID]
		if !ok || b == nil {
			continue
		}
		end := r.Ended
		if end.IsZero() {
			end = w.now()
			if r.Running {
				end = latest(end, b.until)
			}
		}
		if most := in.ReservedUntil.Add(w.now().Sub(w.clock.Now())); end.After(most) {
			end = most
		}
		perGPU, disk, down, up := w.truly(r, end)
		sum += perGPU + disk + down + up
		if r.Ended.IsZero() {
			sum += r.Request.Offer.UpUSD * simResult * gpu.USD(len(b.work)) / 1e9
		}
	}
	if sum > limit {
		w.fault("7 truth", "%s may be spent, and %s are allowed", sum, limit)
	}
}

// termsOf are the terms of an instance. They are written once.
func (w *world) termsOf(label string) Terms {
	if t, ok := w.purse.terms[label]; ok {
		return t
	}
	rows, err := query(w.ctx, w.eyes, selectOne, label)
	if err != nil || len(rows) != 1 {
		w.fault("database", "terms of %s: %v", label, err)
		return Terms{}
	}
	w.purse.terms[label] = rows[0].Terms
	return rows[0].Terms
}

// checkSettled looks at accounts when one of them has changed.
func (w *world) checkSettled() {
	changed, n := false, 0
	for _, in := range w.rows {
		if in.CostState == "" {
			continue
		}
		n++
		was := w.purse.settled[in.Label]
		changed = changed || was.CostUSD != in.CostUSD || was.CostState != in.CostState
	}
	if !changed && n == len(w.purse.settled) {
		return
	}
	w.purse.settled = map[string]Instance{}
	for _, in := range w.rows {
		if in.CostState != "" {
			w.purse.settled[in.Label] = in
		}
	}
	w.checkAccounts()
}

// checkAccounts: the parts of each account sum to the whole, and each job bears
// its parts.
func (w *world) checkAccounts() {
	whole, parts, nobodys, total := map[string]gpu.USD{}, map[string]gpu.USD{}, gpu.USD(0), gpu.USD(0)
	w.each(`SELECT label, job_id, state, usd FROM charges`, func(scan func(...any) error) error {
		var label, job string
		var state CostState
		var usd gpu.USD
		if err := scan(&label, &job, &state, &usd); err != nil {
			return err
		}
		if was := w.purse.settled[label].CostState; state != was {
			w.fault("8 parts", "a charge of %s is %q, and its account is %q", label, state, was)
		}
		whole[label] += usd
		if parts[job] += usd; job == "" {
			nobodys += usd
		}
		return nil
	})
	for _, in := range w.rows {
		total += in.CostUSD
		if whole[in.Label] != in.CostUSD {
			w.fault("8 parts", "the parts of %s sum to %d, it cost %d", in.Label, whole[in.Label], in.CostUSD)
		}
		if in.CostState == Final && !w.history.unnoticed {
			w.checkBill(in)
		}
	}
	open := map[string]bool{} // jobs that ran where nothing is settled yet
	w.each(`SELECT DISTINCT job_id, instance FROM attempts`, func(scan func(...any) error) error {
		var job, label string
		err := scan(&job, &label)
		if _, ok := w.purse.settled[label]; !ok {
			open[job] = true
		}
		return err
	})
	sum := nobodys
	w.each(`SELECT id, cost_usd FROM jobs`, func(scan func(...any) error) error {
		var id string
		var usd gpu.USD
		err := scan(&id, &usd)
		if sum += usd; !open[id] && usd != parts[id] {
			w.fault("8 jobs", "job %s cost %d, its parts sum to %d", id, usd, parts[id])
		}
		return err
	})
	if len(open) == 0 && sum != total {
		w.fault("8 jobs", "all jobs and what is nobody's cost %d, all instances %d", sum, total)
	}
}

// checkBill: what is final is what the provider charges.
func (w *world) checkBill(in Instance) {
	var bill gpu.USD
	for _, r := range w.truth {
		if r.Label != in.Label {
			continue
		}
		if r.Ended.IsZero() || r.Ended.After(w.now()) {
			return // a stray, which nobody waits for
		}
		perGPU, disk, down, up := w.truly(r, r.Ended)
		bill += perGPU + disk + down + up
	}
	if bill != in.CostUSD {
		w.fault("8 final", "%s is charged %d, and cost %d", in.Label, bill, in.CostUSD)
	}
}

// each reads rows of a table.
func (w *world) each(statement string, do func(scan func(...any) error) error) {
	rows, err := w.eyes.QueryContext(w.ctx, statement)
	if err != nil {
		w.fault("database", "%s: %v", statement, err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		err = errors.Join(err, do(rows.Scan))
	}
	if err = errors.Join(err, rows.Err()); err != nil {
		w.fault("database", "%s: %v", statement, err)
	}
}

// waitForBills lets time pass until all accounts are closed.
func (w *world) waitForBills() {
	open := func() string {
		for _, in := range w.rows {
			if in.CostState != Final {
				return fmt.Sprintf("%s is %q", in.Label, in.CostState)
			}
		}
		return ""
	}
	for until := w.clock.Elapsed() + 24*time.Hour; w.broken == "" && open() != ""; {
		if w.clock.Elapsed() > until {
			w.fault("8 final", "a day after all came right %s", open())
		}
		step := billStep
		if p := w.someProcess(); p != nil {
			step = max(step, p.money.bills.next.Sub(w.clock.Now()))
		}
		w.live(step, step)
	}
}
