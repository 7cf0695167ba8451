package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Report is the fleet as its operator looks at it.
type Report struct {
	Fleet    string // its id
	Provider string
	Leading  bool // else Foreign is not known
	At       time.Time
	Machines []Reported
	// Waiting counts the jobs that wait for a machine.
	Waiting int
	// Stops are why nothing is rented, whatever waits.
	Stops   []Stop
	Foreign []Foreign
	// Strays carry our label and are in no live row: their ends are asked for.
	Strays []Foreign
	// Hourly, Reserved and Worst are sums over the machines. Today is what all
	// machines cost since midnight (UTC), those that are gone included.
	Hourly, Today, Reserved, Worst gpu.USD
}

// Reported is a row of the ledger, and what it comes to.
type Reported struct {
	Instance
	Jobs []string // ids of those that run on it
	Exposure
}

// Foreign is a listed instance whose label has the form of ours and names
// another fleet. It is reported and never touched.
type Foreign struct {
	ID, Label, Fleet string
	HourlyUSD        gpu.USD
}

// Report returns the fleet as it is in the ledger, with what the last listings
// added.
func (f *Fleet) Report(ctx context.Context) (Report, error) {
	rows, err := f.live(ctx)
	if err != nil {
		return Report{}, err
	}
	w, err := f.world(ctx, rows)
	if err != nil {
		return Report{}, err
	}
	return f.report(ctx, w)
}

// report is Report of a world.
func (f *Fleet) report(ctx context.Context, w World) (Report, error) {
	now := f.cfg.Now()
	r := Report{
		Fleet: f.cfg.Identity.ID, Provider: f.cfg.Provider.Name(), Leading: f.Leading(), At: now,
		Waiting: w.Waiting, Stops: stops(f.cfg.Policy, w), Foreign: f.Foreigners(),
		Strays: f.lost(),
	}
	running, err := f.cfg.Queue.Running(ctx)
	if err != nil {
		return Report{}, err
	}
	jobs := map[string][]string{}
	for _, j := range running {
		jobs[j.Instance] = append(jobs[j.Instance], j.ID)
	}
	for _, in := range w.Instances {
		attempts, err := f.cfg.Queue.AttemptsOn(ctx, f.cfg.DB.Read(), in.Label)
		if err != nil {
			return Report{}, err
		}
		m := Reported{Instance: in, Jobs: jobs[in.Label], Exposure: exposed(f.cfg.Policy, in, attempts, now)}
		r.Machines = append(r.Machines, m)
		r.Reserved += m.Reserved
		r.Worst += m.Worst
		if !in.Permanent {
			r.Hourly += in.HourlyUSD
		}
	}
	r.Today, err = f.spentSince(ctx, dayAt(now).from, now)
	return r, err
}

// stops are all reasons to rent nothing.
func stops(p Policy, w World) []Stop {
	out := slices.Clone(w.Stops)
	if p.NoRent != "" {
		out = append(out, Stop{Code: "settings", Reason: p.NoRent})
	}
	if w.NoRoom {
		out = append(out, Stop{Code: "storage_full", Reason: "no result could be kept: the storage is full"})
	}
	if w.Blind {
		out = append(out, Stop{Code: "blind", Reason: "the provider does not say what exists"})
	}
	return out
}

// spentSince is what all instances cost between two times: of one that was
// there before, the part that fell in between.
func (f *Fleet) spentSince(ctx context.Context, from, now time.Time) (sum gpu.USD, err error) {
	rows, err := query(ctx, f.cfg.DB.Read(), `SELECT `+instanceColumns+` FROM instances
		WHERE permanent = 0 AND (state <> 'gone' OR state_since >= $1)`, db.Millis(from))
	if err != nil {
		return 0, err
	}
	for _, in := range rows {
		attempts, err := f.attempts(ctx, in, from)
		if err != nil {
			return 0, err
		}
		sum += spentIn(in, attempts, from, now)
	}
	return sum, nil
}

// attempts are those that ran on an instance; none are read of one whose cost
// the ledger has, and that was not there before.
func (f *Fleet) attempts(ctx context.Context, in Instance, from time.Time) ([]queue.Attempt, error) {
	if in.CostState != "" && !in.CreatedAt.Before(from) {
		return nil, nil
	}
	return f.cfg.Queue.AttemptsOn(ctx, f.cfg.DB.Read(), in.Label)
}

// spentIn is what an instance cost from one time to another. Traffic counts
// when its attempt began.
func spentIn(in Instance, attempts []queue.Attempt, from, now time.Time) gpu.USD {
	all := in.CostUSD
	if in.CostState == "" {
		all, _ = Cost(in, attempts, now)
	}
	earlier := slices.DeleteFunc(slices.Clone(attempts), func(a queue.Attempt) bool { return !a.StartedAt.Before(from) })
	before, _ := Cost(in, earlier, from)
	if !in.CreatedAt.Before(from) {
		before = 0
	}
	return max(0, all-before)
}

// Foreigners are the instances of other fleets that the last listings had: of
// the process that leads, others list nothing.
func (f *Fleet) Foreigners() []Foreign {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.foreign)
}

// lost are the instances of ours that no live row knows, as listed last.
func (f *Fleet) lost() (out []Foreign) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, s := range f.strays {
		out = append(out, Foreign{ID: id, Label: s.label, Fleet: f.cfg.Identity.ID})
	}
	slices.SortFunc(out, func(a, b Foreign) int { return strings.Compare(a.Label+" "+a.ID, b.Label+" "+b.ID) })
	return out
}

// lookAround keeps what a listing says of other fleets, and tells the log of
// each once. It is called with mu held.
func (f *Fleet) lookAround(ctx context.Context, s gpu.Snapshot) {
	seen := foreign(f.cfg.Identity.ID, s)
	known := func(x Foreign) bool {
		return slices.ContainsFunc(f.foreign, func(y Foreign) bool { return x.ID == y.ID })
	}
	for _, x := range seen {
		if !known(x) {
			f.cfg.Log.InfoContext(ctx, "an instance of another fleet is on this account, and is not touched",
				"id", x.ID, "instance", x.Label, "hourly", x.HourlyUSD.String(), "to_end_its_fleet", SweepCommand(f.cfg.Provider.Name(), x.Fleet))
		}
	}
	if s.Complete {
		f.foreign = nil
	}
	for _, x := range seen {
		if !known(x) {
			f.foreign = append(f.foreign, x)
		}
	}
}

// foreign returns the instances of a listing that look like ours and are of
// another fleet.
func foreign(fleetID string, s gpu.Snapshot) (out []Foreign) {
	for _, in := range s.Instances {
		if of, _, ok := SplitLabel(in.Label); ok && of != fleetID {
			out = append(out, Foreign{ID: in.ID, Label: in.Label, Fleet: of, HourlyUSD: in.HourlyUSD})
		}
	}
	slices.SortFunc(out, func(a, b Foreign) int { return strings.Compare(a.Label+" "+a.ID, b.Label+" "+b.ID) })
	return out
}

// Exposure is what an instance costs: so far, and at most.
type Exposure struct {
	Spent gpu.USD // so far, as estimated
	// Reserved is what is set aside for it beyond Spent.
	Reserved gpu.USD
	// Worst is what it will have cost at most, Spent included, if nobody ever
	// speaks to it again: until EndsBy, with all its traffic.
	Worst gpu.USD
	// EndsBy is when it ends by itself then; zero where it has no end.
	EndsBy time.Time
	// Unprotected means that no worker has ever answered there: nobody can
	// say that there is one which ends it.
	Unprotected bool
}

// exposed is the exposure of an instance, on which these attempts ran.
func exposed(p Policy, in Instance, attempts []queue.Attempt, now time.Time) Exposure {
	if in.Permanent {
		return Exposure{}
	}
	e := Exposure{EndsBy: endsBy(p, in, now), Unprotected: in.ContactAt.IsZero()}
	e.Spent, _ = Cost(in, attempts, now)
	all := in.account(now)
	e.Reserved = max(0, all.spread+all.traffic-e.Spent)
	e.Worst = max(e.Spent, atMost(in, e.EndsBy, now)+all.traffic)
	return e
}

// endsBy is when an instance has ended by itself if nobody speaks to it again.
// A worker that was never spoken to allows its first lease from its start; one
// that has not started yet, as far as is known, starts now.
func endsBy(p Policy, in Instance, now time.Time) time.Time {
	until := in.leaseEnd()
	if in.ContactAt.IsZero() {
		start := in.StartedAt
		if start.IsZero() {
			start = now
		}
		until = latest(until, start.Add(p.firstLease()+overtime))
	} else if until.IsZero() { // its lease was never noted
		until = in.ContactAt.Add(p.Lease + overtime)
	}
	return latest(until, now)
}

// atMost is what the time of an instance costs until then, if it exists and
// works from now on at the latest. The image is in its account, as all traffic.
func atMost(in Instance, until, now time.Time) gpu.USD {
	if in.StartedAt.IsZero() && in.ReadyAt.IsZero() {
		in.StartedAt = now
	}
	if !in.existed() {
		in.ProviderID = "?"
	}
	in.EndedAt, in.Terms.PullBytes = time.Time{}, 0
	usd, _ := Cost(in, nil, until)
	return usd
}
