package fleet

import (
	"context"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

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
	if err := p.Bill(p.w.ctx); err != nil {
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
