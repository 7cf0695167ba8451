package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestPeriods(t *testing.T) {
	t.Parallel()
	a := account{from: noon, until: in(36 * time.Hour), spread: 36, traffic: 5}
	day, month := dayAt(noon), monthAt(noon)
	for _, c := range []struct {
		name string
		a    account
		p    period
		want gpu.USD
	}{
		{"the first day", a, day, 12 + 5},
		{"the second", a, dayAt(in(20 * time.Hour)), 24 + 5},
		{"the third is not touched", a, dayAt(in(40 * time.Hour)), 0},
		{"the month", a, month, 36 + 5},
		{"the month before", a, monthAt(ago(48 * time.Hour)), 0},
		{"rounded up", account{from: in(6 * time.Hour), until: in(18 * time.Hour), spread: 5}, day, 3},
		{"at one moment", account{from: noon, until: noon, spread: 7, traffic: 1}, day, 8},
		{"nothing", account{}, day, 0},
	} {
		if got := c.a.in(c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if y := monthAt(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)); y.to != time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) {
		t.Errorf("the month ends %s", y.to)
	}
	if z := dayAt(time.Date(2026, 1, 2, 1, 0, 0, 0, time.FixedZone("", 7200))); z.from.Day() != 1 {
		t.Errorf("days are not those of UTC: %s", z.from)
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	taken := newBooks([]account{{from: noon, until: in(time.Hour), spread: gpu.Dollar / 2}})
	want := func(name string, r *OverBudget, setting string, least gpu.USD, until time.Time) {
		t.Helper()
		switch {
		case setting == "" && r != nil:
			t.Errorf("%s: refused: %v", name, r)
		case setting == "":
		case r == nil || r.Setting != setting || r.Least() != least || !r.Until.Equal(until):
			t.Errorf("%s: %+v, want %s, least %d, until %s", name, r, setting, least, until)
		}
	}
	ask := account{from: noon, until: in(time.Hour), spread: gpu.Dollar / 4}
	midnight, first := in(12*time.Hour), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	want("it fits", Budget{Day: gpu.Dollar * 3 / 4, Month: gpu.Dollar}.refuses(taken, account{}, ask, noon), "", 0, midnight)
	want("the day", Budget{Day: gpu.Dollar*3/4 - 1}.refuses(taken, account{}, ask, noon), "BUDGET_DAY_USD", gpu.Dollar*3/4, midnight)
	want("the month", Budget{Day: gpu.Dollar, Month: gpu.Dollar / 2}.refuses(taken, account{}, ask, noon), "BUDGET_MONTH_USD", gpu.Dollar*3/4, first)
	want("no day would do", Budget{Day: gpu.Dollar / 5}.refuses(newBooks(nil), account{}, ask, noon), "BUDGET_DAY_USD", gpu.Dollar/4, time.Time{})
	want("what it has", Budget{Day: 1}.refuses(taken, ask, ask, noon), "", 0, midnight)
	late := account{from: in(11 * time.Hour), until: in(13 * time.Hour), spread: gpu.Dollar}
	full := newBooks([]account{{from: in(12 * time.Hour), until: in(24 * time.Hour), spread: gpu.Dollar}})
	want("the day after", Budget{Day: gpu.Dollar}.refuses(full, account{}, late, in(11*time.Hour)), "BUDGET_DAY_USD", gpu.Dollar*3/2, midnight.AddDate(0, 0, 1))
	text := (&OverBudget{Setting: "BUDGET_DAY_USD", Limit: gpu.Dollar / 10, Taken: gpu.Dollar / 20, Need: 67_500_000}).Error()
	if text != "BUDGET_DAY_USD=$0.10 does not allow it: it may cost $0.0675, and $0.05 are spent or reserved; $0.1175 would be enough" {
		t.Error(text)
	}
}

func TestCutRun(t *testing.T) {
	t.Parallel()
	const hourly = 3600 * 1000 // a nanodollar a millisecond
	for _, c := range []struct {
		name          string
		budget, fixed gpu.USD
		run, want     time.Duration
		least         gpu.USD // where it is refused
	}{
		{"no budget", 0, 5, time.Hour, time.Hour, 0},
		{"it fits", 3600_000 + 5, 5, time.Hour, time.Hour, 0},
		{"cut", 3600_000 + 4, 5, time.Hour, time.Hour - time.Millisecond, 0},
		{"a minute is left", 60_005, 5, time.Hour, time.Minute, 0},
		{"less is not worth it", 60_004, 5, time.Hour, 0, 60_005},
		{"but a job that takes less", 30_005, 5, 30 * time.Second, 30 * time.Second, 0},
	} {
		run, refusal := cutRun(c.budget, c.fixed, hourly, c.run)
		if c.least > 0 {
			if refusal == nil || refusal.Least() != c.least {
				t.Errorf("%s: %v", c.name, refusal)
			}
			continue
		}
		if run != c.want || refusal != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, run, refusal, c.want)
		}
	}
}

// spender is a fleet in miniature that spends as the rules allow, at random:
// the pure functions in the order in which the fleet calls them.
type spender struct {
	*rapid.T
	policy   Policy
	gated    bool
	now      time.Time
	rows     []Instance
	attempts map[string][]queue.Attempt
	exceeded string
}

func (s *spender) books(except string) Books {
	var all []account
	for _, in := range s.rows {
		if in.Label != except {
			all = append(all, in.account(s.now))
		}
	}
	return newBooks(all)
}

// may changes a row, or adds it, if the budgets allow it.
func (s *spender) may(before, after Instance) bool {
	was := account{}
	if before.Label != "" {
		was = before.account(s.now)
	}
	return !s.gated || s.policy.Budget.refuses(s.books(after.Label), was, after.account(s.now), s.now) == nil
}

func (s *spender) some(what string, which func(Instance) bool) (n int, ok bool) {
	var fit []int
	for n, in := range s.rows {
		if which(in) {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(fit).Draw(s.T, what), true
}

func (s *spender) open(n int) bool {
	_, open := movedBy(s.attempts[s.rows[n].Label])
	return open > 0
}

func alive(in Instance) bool { return in.State != gpu.Gone }

func (s *spender) ask() queue.Ask {
	return queue.Ask{
		Run:  time.Duration(rapid.IntRange(1, 5*3600).Draw(s.T, "run")) * time.Second,
		Size: rapid.Int64Range(0, 5e9).Draw(s.T, "size"), Room: rapid.Int64Range(0, 5e9).Draw(s.T, "room"),
	}
}

func (s *spender) rent() {
	price := rapid.Int64Range(1, 2e9)
	o := gpu.Offer{GPUHourlyUSD: gpu.USD(price.Draw(s.T, "gpu")), DiskHourlyUSD: gpu.USD(price.Draw(s.T, "disk") / 10),
		DownUSD: gpu.USD(price.Draw(s.T, "down") / 100), UpUSD: gpu.USD(price.Draw(s.T, "up") / 100)}
	o.HourlyUSD = o.GPUHourlyUSD + o.DiskHourlyUSD
	in, refusal := s.policy.booked(wouldBe(o, s.now), s.ask())
	in.Label, in.State = fmt.Sprint(len(s.rows)), gpu.Booting
	if refusal == nil && s.may(Instance{}, in) {
		s.rows = append(s.rows, in)
	}
}

func (s *spender) renew() {
	n, ok := s.some("renewed", alive)
	if !ok {
		return
	}
	row := s.rows[n]
	row.StartedAt, row.ReadyAt, row.State = latest(row.StartedAt, row.CreatedAt), latest(row.ReadyAt, s.now), gpu.Ready
	if need := s.now.Add(contactTimeout + s.policy.Lease); row.LeaseUntil.Before(need) {
		row.LeaseUntil = need.Add(leaseStep)
		row.ReservedUntil = latest(row.ReservedUntil, row.leaseEnd())
		if !s.may(s.rows[n], row) {
			return
		}
	}
	s.rows[n] = row
}

func (s *spender) claim() {
	n, ok := s.some("claimed", func(in Instance) bool { return in.State == gpu.Ready })
	if !ok {
		return
	}
	row, ask := s.rows[n], s.ask()
	after := s.policy.loaded(row, s.attempts[row.Label], ask, ask.Run, s.now)
	if !s.may(row, after) {
		return
	}
	s.rows[n] = after
	down, up := s.policy.limits(ask)
	s.attempts[row.Label] = append(s.attempts[row.Label], queue.Attempt{
		JobID: fmt.Sprint(s.now), StartedAt: s.now,
		Down: rapid.Int64Range(0, down).Draw(s.T, "in"), Up: rapid.Int64Range(0, up).Draw(s.T, "out"),
	})
}

func (s *spender) finish() {
	n, ok := s.some("finished", alive)
	if !ok || !s.open(n) {
		return
	}
	row := &s.rows[n]
	all := s.attempts[row.Label]
	for n := range all {
		if all[n].EndedAt.IsZero() {
			all[n].EndedAt = s.now
			break
		}
	}
	if closed, open := movedBy(all); open == 0 && row.State == gpu.Ready {
		row.ReservedUntil, row.ReservedDown, row.ReservedUp = row.leaseEnd(), mostPull+closed.Down, closed.Up
	}
}

func (s *spender) end(n int, at time.Time) {
	row := &s.rows[n]
	row.State, row.EndedAt = gpu.Gone, at
	row.CostUSD, _ = Cost(*row, s.attempts[row.Label], at)
	row.CostState = Estimated
}

func (s *spender) destroy() {
	if n, ok := s.some("destroyed", alive); ok {
		s.end(n, s.now)
	}
}

// pass lets time pass. Who is not spoken to ends itself, and who works is
// spoken to.
func (s *spender) pass() {
	s.now = s.now.Add(time.Duration(rapid.IntRange(1, 4*3600).Draw(s.T, "later")) * time.Second)
	for n, in := range s.rows {
		last := in.leaseEnd()
		if s.open(n) {
			last = in.ReservedUntil
		}
		if alive(in) && s.now.After(last) {
			s.end(n, last)
		}
	}
}

func (s *spender) check() {
	for _, p := range []period{dayAt(s.now), dayAt(s.now.AddDate(0, 0, 1)), dayAt(s.now.AddDate(0, 0, -1))} {
		if got := s.books("").taken(p); got > s.policy.Budget.Day {
			s.exceeded = fmt.Sprintf("%s of %s on %s", got, s.policy.Budget.Day, p.from)
		}
	}
	if got := s.books("").taken(monthAt(s.now)); got > s.policy.Budget.Month {
		s.exceeded = fmt.Sprintf("%s of %s in the month of %s", got, s.policy.Budget.Month, s.now)
	}
}

// spend runs a history, and says how it exceeded a budget.
func spend(t *rapid.T, gated bool) string {
	s := &spender{T: t, gated: gated, policy: policy, attempts: map[string][]queue.Attempt{}, now: in(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hour")) * time.Hour)}
	s.policy.Budget = Budget{Day: gpu.USD(rapid.Int64Range(1e8, 1e10).Draw(t, "day")), Month: gpu.USD(rapid.Int64Range(1e8, 5e10).Draw(t, "month"))}
	acts := []func(){s.rent, s.rent, s.renew, s.renew, s.claim, s.claim, s.finish, s.destroy, s.pass, s.pass}
	for range rapid.IntRange(1, 60).Draw(t, "acts") {
		acts[rapid.IntRange(0, len(acts)-1).Draw(t, "act")]()
		if s.check(); s.exceeded != "" {
			break
		}
	}
	return s.exceeded
}

// Spent and reserved never exceed a budget, whatever happens; and they would
// without the gate.
func TestBudgetsHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if how := spend(t, true); how != "" {
			t.Fatal(how)
		}
	})
	ungated := rapid.Custom(func(t *rapid.T) string { return spend(t, false) })
	for seed := range 100 {
		if ungated.Example(seed) != "" {
			return
		}
	}
	t.Error("without its gate no budget is exceeded: this test shows nothing")
}

func TestAffordable(t *testing.T) {
	t.Parallel()
	p := policy // 5 minutes to boot, a lease of 10
	offers := []Choice{{Offer: dear}, {Offer: cheap}}
	long, short := queue.Ask{JobID: "long", Run: 4 * time.Hour}, queue.Ask{JobID: "short", Run: 2 * time.Minute}
	world := World{Asks: []queue.Ask{long, short}, Books: newBooks(nil)}
	left, why := affordable(p, world, offers, noon)
	if len(left) != 2 || why != nil || left[0].Reserve != (queue.Ask{}) {
		t.Errorf("without a budget: %+v, %v", left, why)
	}
	p.Budget.Day = gpu.Dollar / 5 // not enough for the long job by the cheap offer, or for the short one by the dear
	left, why = affordable(p, world, offers, noon)
	if len(left) != 1 || left[0].ID != "cheap" || left[0].Reserve != short || why != nil {
		t.Errorf("a day's budget leaves %+v, %v", left, why)
	}
	p.Budget.Day = gpu.Dollar / 100
	left, why = affordable(p, world, offers, noon)
	// Twice 5 and 10 minutes, one of overtime, and 2 of work at $0.10 an hour.
	if len(left) != 0 || why == nil || why.Least() != (gpu.Dollar/10*23+59)/60 || why.Setting != "BUDGET_DAY_USD" {
		t.Errorf("too little leaves %+v, %+v", left, why)
	}
	p.Budget = Budget{Job: gpu.Dollar / 100}
	if _, why = affordable(p, world, offers, noon); why == nil || why.Setting != "BUDGET_JOB_USD" || why.Least() != (gpu.Dollar/10*22+59)/60 {
		t.Errorf("a job's budget: %+v", why)
	}
	p.Traits.Free = true
	if left, why = affordable(p, world, offers, noon); len(left) != 2 || why != nil {
		t.Errorf("what is free is refused: %v", why)
	}
	if !strings.Contains((&OverBudget{Setting: "X", Need: 1}).Error(), "X=$0.00") {
		t.Error("no limit is told")
	}
}
