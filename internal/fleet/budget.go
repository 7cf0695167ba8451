package fleet

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Budget is the most that may be spent, reserves included; 0 is no bound. Days
// and months are those of UTC.
type Budget struct {
	// Job bounds what one job may cost, with its machine's boot and idle time.
	Job gpu.USD
	// Day and Month bound what all machines cost in each. Of a machine that is
	// there at midnight each day bears the part of its time.
	Day, Month gpu.USD
}

// period is a day or a month.
type period struct{ from, to time.Time }

func dayAt(t time.Time) period {
	from := t.UTC().Truncate(24 * time.Hour)
	return period{from, from.AddDate(0, 0, 1)}
}

func monthAt(t time.Time) period {
	y, m, _ := t.UTC().Date()
	from := time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return period{from, from.AddDate(0, 1, 0)}
}

// account is what one instance takes of the budgets: what it cost, or while it
// is there the most that it can.
type account struct {
	from, until time.Time
	// spread is for its time, and falls due evenly from one to the other.
	spread gpu.USD
	// traffic may fall due at any moment of that: each period that it touches
	// must bear all of it.
	traffic gpu.USD
}

// account is what an instance takes of the budgets.
func (in Instance) account(now time.Time) account {
	switch {
	case in.Permanent:
		return account{}
	case in.State == gpu.Gone && in.unseen(now): // no more than the download of its image
		in.ReservedDown, in.ReservedUp = mostPull, 0
	case in.State == gpu.Gone && !in.existed() && in.CostState != Final:
		return account{}
	case in.State == gpu.Gone && !in.billPending(now) && in.CostState != "":
		return account{from: in.CreatedAt, until: in.end(), spread: in.CostUSD}
	}
	a := account{from: in.CreatedAt, until: latest(in.ReservedUntil, now)}
	if end := in.end(); in.State == gpu.Gone {
		a.until = end
	}
	perGPU, disk := in.rates()
	a.spread = ceil(perHour(perGPU+disk, a.until.Sub(a.from)))
	a.traffic = ceil(traffic(in.Terms, in.ReservedDown, in.ReservedUp))
	return a
}

// billPending reports whether an instance that is gone may yet be charged more
// than is estimated, for the download of its image above all: until the bill is
// here it takes what was reserved for its traffic, and its GPU's price from its
// creation on. A bill that takes longer than billDue is not held out for: some
// keys may not read bills.
func (in Instance) billPending(now time.Time) bool {
	return in.CostState == Estimated && now.Sub(in.StateSince) < billDue
}

// unseen reports whether an instance that no listing ever had may have been there
// all the same: nobody answered its create call, and it is not too long ago for a
// bill to tell. It cost nothing as far as is known, and until then a budget
// counts what it can have cost.
func (in Instance) unseen(now time.Time) bool {
	return !in.existed() && !in.AbsentSince.IsZero() && in.CostState != Final && now.Sub(in.StateSince) < billMost
}

// in is the part of an account that falls into a period, rounded up.
func (a account) in(p period) gpu.USD {
	from, to := latest(a.from, p.from), a.until
	if to.After(p.to) {
		to = p.to
	}
	switch {
	case !a.until.After(a.from): // all of it at one moment
		if a.from.Before(p.from) || !a.from.Before(p.to) {
			return 0
		}
		return a.spread + a.traffic
	case !to.After(from):
		return 0
	}
	part := gpu.Portion(a.spread, int64(to.Sub(from)), int64(a.until.Sub(a.from)))
	return a.traffic + min(part, mostUSD)
}

// Books are the accounts of all instances that a budget may still be asked
// about.
type Books struct {
	accounts []account
	sums     map[period]gpu.USD // of those that were asked for
}

func newBooks(accounts []account) Books { return Books{accounts, map[period]gpu.USD{}} }

// taken is what all instances together take of a period.
func (b Books) taken(p period) gpu.USD {
	if sum, ok := b.sums[p]; ok {
		return sum
	}
	var sum gpu.USD
	for _, a := range b.accounts {
		sum += a.in(p)
	}
	if b.sums != nil {
		b.sums[p] = sum
	}
	return sum
}

// OverBudget is why a budget does not allow something.
type OverBudget struct {
	Setting string // the variable that would allow it
	Limit   gpu.USD
	Taken   gpu.USD // spent and reserved by others
	Need    gpu.USD // the most that it might cost
	// Own means that it is for what the job itself has spent before.
	Own bool
	// Until is when the budget is another; zero where waiting is of no use.
	Until time.Time
}

// Least is the least value of the setting that would work now.
func (r *OverBudget) Least() gpu.USD { return r.Taken + r.Need }

// Error tells an operator, and people who wait for their jobs.
func (r *OverBudget) Error() string {
	s := fmt.Sprintf("%s=%s does not allow it: it may cost %s", r.Setting, r.Limit.Exact(), r.Need.Exact())
	if r.Taken > 0 {
		s += fmt.Sprintf(", and %s are spent or reserved", r.Taken.Exact())
	}
	return s + fmt.Sprintf("; %s would be enough", r.Least().Exact())
}

// refuses says which budget does not allow that an instance takes after where
// it took before: nil where all do. others are the accounts of all other
// instances. What is over cannot be helped, and what an instance has already
// is never refused.
func (b Budget) refuses(others Books, before, after account, now time.Time) *OverBudget {
	for _, limit := range []struct {
		setting string
		usd     gpu.USD
		at      func(time.Time) period
	}{{"BUDGET_DAY_USD", b.Day, dayAt}, {"BUDGET_MONTH_USD", b.Month, monthAt}} {
		if limit.usd <= 0 {
			continue
		}
		for p := limit.at(latest(now, after.from)); !p.from.After(after.until); p = limit.at(p.to) {
			need := after.in(p)
			if need <= before.in(p) {
				continue
			}
			if taken := others.taken(p); taken+need > limit.usd {
				r := &OverBudget{Setting: limit.setting, Limit: limit.usd, Taken: taken, Need: need, Until: p.to}
				if need > limit.usd && !after.from.Before(p.from) && !after.until.After(p.to) {
					r.Until = time.Time{} // of an empty one it would take no less
				}
				return r
			}
		}
	}
	return nil
}
