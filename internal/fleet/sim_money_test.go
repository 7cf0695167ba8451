package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

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

const (
	mill      = gpu.Dollar / 1000
	simVideo  = 200_000_000 // the most bytes of a video
	simResult = 20_000_000  // the bytes of each result
	simImage  = 250_000_000 // what each machine downloads before it starts
	billStep  = 2 * time.Minute
)

// simSizes are those of videos: 0 is not known beforehand.
var simSizes = []int64{0, 50_000_000, simVideo}

// download is how many bytes a job takes to a worker.
func (j *simJob) download() int64 {
	if j.size == 0 {
		return simVideo
	}
	return j.size
}

// simOffer is an offer by what an hour of its GPU and of its disk costs, and a GB
// of traffic into it; out of it costs twice that.
func simOffer(id string, perGPU, disk, down gpu.USD, slots int, machine, owner string) gpu.Offer {
	o := gpu.Offer{
		ID: id, HourlyUSD: perGPU + disk, GPUHourlyUSD: perGPU, DiskHourlyUSD: disk, DownUSD: down, UpUSD: 2 * down,
		Slots: slots, MachineID: machine, HostID: owner,
	}
	if disk == 0 {
		o.GPUHourlyUSD = 0 // not told apart
	}
	return o
}

// budgets are those of a schedule, by its opening.
var budgets = []Budget{
	{},
	{},
	{Day: 30 * mill},
	{Day: 55 * mill},
	{Day: 200 * mill},
	{Month: 52 * mill},
	{Day: 400 * mill, Month: 120 * mill},
	{Job: 60 * mill},
	{Job: 45 * mill, Day: 300 * mill},
	{Job: 80 * mill, Day: 110 * mill, Month: 150 * mill},
}

// purse is what the rules of money remember.
type purse struct {
	terms    map[string]Terms // by label: they do not change
	midnight bool             // the day ends soon
	redated  bool             // the clock was set, and what belonged to one day may belong to another
	settled  map[string]Instance
	billed   time.Duration // what the provider's bill tells ends there
	refused  int           // claims that a budget did not allow
}

// drawOpening draws the prices, the budget and the time of day of a schedule.
func drawOpening(t *rapid.T) happening {
	return happening{
		what: "opening", n: rapid.IntRange(0, 9).Draw(t, "budget"), d: rapid.SampledFrom(spans).Draw(t, "day"),
		step: rapid.SampledFrom(steps).Draw(t, "prices"),
	}
}

// open begins a schedule: n is its budget, a long d lets it begin before
// midnight, and a long step makes machines dear. Nothing has happened before.
func (w *world) open(e happening) {
	w.budget = budgets[e.n%len(budgets)]
	list := slices.Clone(simOffers)
	if e.step >= 30*time.Second {
		for n := range list {
			o := &list[n]
			o.HourlyUSD, o.GPUHourlyUSD, o.DiskHourlyUSD, o.DownUSD, o.UpUSD = 2*o.HourlyUSD, 2*o.GPUHourlyUSD, 2*o.DiskHourlyUSD, 2*o.DownUSD, 2*o.UpUSD
		}
	}
	w.fake.SetOffers(list...)
	w.purse.midnight = e.d >= 2*time.Minute
	w.procs[0].dead = true
	w.bury(0)
	if w.purse.midnight {
		w.clock.Set(12*time.Hour - 15*time.Minute)
	}
	w.start(0)
}

// budgetTold is the budget as a process is told it.
func (w *world) budgetTold() Budget {
	if w.lack == budgetGate {
		return Budget{}
	}
	return w.budget
}

// raiseBudget is what the operator does at the end: no job is to wait for the
// next month.
func (w *world) raiseBudget() {
	for _, b := range []*gpu.USD{&w.budget.Job, &w.budget.Day, &w.budget.Month} {
		*b *= 1000
	}
	for _, p := range w.procs {
		if p != nil {
			p.cfg.Policy.Budget = w.budgetTold()
		}
	}
}

// billFault is what is wrong with one answer about charges.
type billFault struct {
	err   error
	page  bool // a page of it is missing, and nobody says so
	wrong gpu.USD
	late  time.Duration // the bill stands still for so long
}

func (w *world) armBill(e happening) {
	some := []billFault{{err: downs[0]}, {page: true}, {wrong: mill}, {wrong: -mill}, {late: 10*time.Minute + 4*e.d}}
	// A provider that says the same wrong thing twice is believed.
	w.armed.bills = append(w.armed.bills, some[e.n%len(some)], billFault{})
}

// tendBill looks for bills as often as Fleet.Run does.
func (p *orchestrator) tendBill() {
	if p.dead || p.w.clock.Elapsed()-p.billed < billTick {
		return
	}
	p.billed = p.w.clock.Elapsed()
	if err := p.bill(p.w.ctx); err != nil {
		p.w.logf("%8s process %d: bill: %v", p.w.clock.Elapsed(), p.slot, err)
	}
}

// Credit implements gpu.Biller.
func (m liar) Credit(context.Context) (gpu.USD, error) { return gpu.Dollar, nil }

// Charges implements gpu.Biller: the true cost of each instance, as far as it
// is known by now.
func (m liar) Charges(_ context.Context, from, to time.Time) (all []gpu.Charge, err error) {
	w := m.w
	err = m.call(nil, 0, func() error {
		var f billFault
		if len(w.armed.bills) > 0 {
			f, w.armed.bills = w.armed.bills[0], w.armed.bills[1:]
		}
		if f.err != nil {
			return f.err
		}
		if w.clock.Elapsed() > w.purse.billed {
			w.purse.billed = w.clock.Elapsed() - 30*time.Second
		}
		all = w.charges(from.UTC().Truncate(24*time.Hour), dayAt(to).to)
		w.purse.billed += f.late
		switch {
		case len(all) == 0:
		case f.page:
			all = all[1:]
		default:
			all[0].Other += f.wrong
		}
		return nil
	})
	return all, err
}

// charges are those of the instances that existed between two times.
func (w *world) charges(from, to time.Time) (all []gpu.Charge) {
	known := noon.Add(min(w.purse.billed, w.clock.Elapsed()))
	for n, r := range w.records() {
		until := known
		if !r.Ended.IsZero() && r.Ended.Before(until) {
			until = r.Ended
		}
		if !until.After(r.Created) || w.shown(r.Created).After(to) || w.shown(until).Before(from) {
			continue
		}
		c := gpu.Charge{InstanceID: r.ID, Label: r.Label, Until: w.shown(until)}
		if n%2 == 1 {
			c.InstanceID = ""
		}
		c.GPU, c.Disk, c.Down, c.Up = w.truly(r, until)
		all = append(all, c)
	}
	return all
}

// shown is what the clock of the host shows at a true time, if nobody sets it.
func (w *world) shown(t time.Time) time.Time { return t.Add(w.clock.Now().Sub(w.now())) }

// truly is what an instance costs in truth until a time, with what it has moved
// by now.
func (w *world) truly(r providertest.Record, until time.Time) (perGPU, disk, down, up gpu.USD) {
	o := r.Request.Offer
	hour := func(usd gpu.USD, from time.Time) gpu.USD {
		return usd * gpu.USD(max(0, until.Sub(from).Milliseconds())) / gpu.USD(time.Hour.Milliseconds())
	}
	b := w.boxes[r.ID]
	switch {
	case o.GPUHourlyUSD == 0:
		disk = hour(r.HourlyUSD, r.Created)
	case b == nil || b.dead:
		disk = hour(o.DiskHourlyUSD, r.Created)
	default:
		perGPU, disk = hour(o.GPUHourlyUSD, b.starts), hour(o.DiskHourlyUSD, r.Created)
	}
	if b != nil && !b.dead && !until.Before(b.starts) {
		down = o.DownUSD * gpu.USD(b.down+simImage) / 1e9
		up = o.UpUSD * gpu.USD(b.up) / 1e9
	}
	return perGPU, disk, down, up
}

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

// noLeaseNoted keeps rows from saying how long a renewal lets a worker live.
const noLeaseNoted = `CREATE TRIGGER nolease AFTER UPDATE ON instances WHEN NEW.lease_until > OLD.lease_until BEGIN
	UPDATE instances SET lease_until = OLD.lease_until, reserved_until = OLD.reserved_until WHERE label = NEW.label; END`
