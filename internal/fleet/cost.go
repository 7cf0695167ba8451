package fleet

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// ChargeKind is what a part of a cost was paid for.
type ChargeKind string

// The kinds of a charge.
const (
	WorkCharge ChargeKind = "work" // a job ran: its time, and its traffic
	BootCharge ChargeKind = "boot" // before the worker was first ready, and the download of its image
	IdleCharge ChargeKind = "idle" // ready, and no job ran
)

// Charge is a part of what an instance cost. Boot and idle time are charged to
// the jobs that ran there, as much of each as it is of their work; to no job
// where none ran.
type Charge struct {
	JobID   string // empty: no job
	Attempt int
	Kind    ChargeKind
	USD     gpu.USD
}

// rates are the prices of an hour: of the GPU, which is paid from the start of
// the container, and of the disk, which is from its creation. What the offer
// did not tell apart is paid from its creation; what the price has risen by
// since, as its provider lists it, is the GPU's.
func (in Instance) rates() (perGPU, disk gpu.USD) {
	perGPU, disk = max(0, in.Terms.GPUHourlyUSD), max(0, in.Terms.DiskHourlyUSD)
	switch rest := max(in.HourlyUSD, in.ListedUSD) - perGPU - disk; {
	case rest <= 0:
		return perGPU, disk
	case perGPU+disk == 0:
		return 0, rest
	default:
		return perGPU + rest, disk
	}
}

// life is when an instance is paid for: its disk from made, its GPU from
// started, both to end. Before ready it boots.
type life struct{ made, started, ready, end time.Time }

// lifeUntil is the life of an instance as it is at a time, or as it was.
func (in Instance) lifeUntil(now time.Time) life {
	l := life{in.CreatedAt, in.StartedAt, in.ReadyAt, now}
	if end := in.end(); !end.IsZero() && end.Before(now) {
		l.end = end
	}
	// A worker that answers runs, though no listing said so yet.
	if l.started.IsZero() || !l.ready.IsZero() && l.ready.Before(l.started) {
		l.started = l.ready
	}
	if l.ready.IsZero() {
		l.ready = l.end
	}
	if l.started.IsZero() {
		l.started = l.end
	}
	return l
}

// end is when an instance ended, as far as is known; zero while it has not.
func (in Instance) end() time.Time {
	switch {
	case !in.EndedAt.IsZero():
		return in.EndedAt
	case in.State != gpu.Gone:
		return time.Time{}
	case !in.AbsentSince.IsZero():
		return in.AbsentSince
	}
	return in.StateSince
}

// existed reports whether the provider ever had it: what was refused, or never
// seen, cost nothing.
func (in Instance) existed() bool { return in.ProviderID != "" }

// Cost is what an instance cost until a time, and the parts of it: they sum to
// the whole exactly. It is rounded up to a nanodollar, once.
func Cost(in Instance, attempts []queue.Attempt, now time.Time) (gpu.USD, []Charge) {
	if in.Permanent || !in.existed() {
		return 0, nil
	}
	parts, weights := shares(in, attempts, now)
	whole := new(big.Rat)
	for _, w := range weights {
		whole.Add(whole, w)
	}
	total := ceil(whole)
	return total, charged(parts, total, weights)
}

// charged gives parts their amounts of a total, and leaves out what is
// nothing.
func charged(parts []Charge, total gpu.USD, weights []*big.Rat) []Charge {
	for n, usd := range apportion(total, weights) {
		parts[n].USD = usd
	}
	return slices.DeleteFunc(parts, func(c Charge) bool { return c.USD == 0 })
}

// rescale spreads another total over the same parts, in their proportions.
// Where there is none it is the cost of a boot that no job was there for.
func rescale(parts []Charge, total gpu.USD) []Charge {
	if len(parts) == 0 {
		parts = []Charge{{Kind: BootCharge}}
	}
	parts = slices.Clone(parts)
	weights := make([]*big.Rat, len(parts))
	for n, c := range parts {
		weights[n] = new(big.Rat).SetInt64(max(0, int64(c.USD)))
	}
	return charged(parts, total, weights)
}

// shares are the parts of a cost, and how much each is of it, in nanodollars.
func shares(in Instance, attempts []queue.Attempt, now time.Time) (parts []Charge, weights []*big.Rat) {
	work, boot, idle := timeline(in, attempts, now)
	if l := in.lifeUntil(now); l.started.Before(l.end) {
		boot.Add(boot, traffic(in.Terms, in.Terms.PullBytes, 0))
	}
	sum := new(big.Rat)
	for n, a := range attempts {
		work[n].Add(work[n], traffic(in.Terms, a.Down, a.Up))
		sum.Add(sum, work[n])
	}
	if len(attempts) == 0 {
		return []Charge{{Kind: BootCharge}, {Kind: IdleCharge}}, []*big.Rat{boot, idle}
	}
	for n, a := range attempts {
		part := big.NewRat(1, int64(len(attempts)))
		if sum.Sign() > 0 {
			part.Quo(work[n], sum)
		}
		for _, kind := range []struct {
			kind ChargeKind
			usd  *big.Rat
		}{{WorkCharge, work[n]}, {BootCharge, new(big.Rat).Mul(boot, part)}, {IdleCharge, new(big.Rat).Mul(idle, part)}} {
			parts, weights = append(parts, Charge{JobID: a.JobID, Attempt: a.Number, Kind: kind.kind}), append(weights, kind.usd)
		}
	}
	return parts, weights
}

// timeline walks through the life of an instance and says what its time cost:
// that of each attempt, of the boot, and of idleness. Attempts that run at once
// bear each moment in equal parts.
func timeline(in Instance, attempts []queue.Attempt, now time.Time) (work []*big.Rat, boot, idle *big.Rat) {
	l := in.lifeUntil(now)
	work, boot, idle = make([]*big.Rat, len(attempts)), new(big.Rat), new(big.Rat)
	type turn struct {
		at      time.Time
		attempt int // that begins or ends; -1 for neither
		begins  bool
	}
	turns := []turn{{l.made, -1, false}, {l.started, -1, false}, {l.ready, -1, false}, {l.end, -1, false}}
	for n, a := range attempts {
		work[n] = new(big.Rat)
		from, to := l.clamp(a.StartedAt), l.end
		if !a.EndedAt.IsZero() {
			to = l.clamp(a.EndedAt)
		}
		if to.After(from) {
			turns = append(turns, turn{from, n, true}, turn{to, n, false})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return a.at.Compare(b.at) })
	perGPU, disk := in.rates()
	running, last := map[int]bool{}, l.made
	for _, t := range turns {
		at := l.clamp(t.at)
		hourly := disk
		if !last.Before(l.started) {
			hourly += perGPU
		}
		cost := perHour(hourly, at.Sub(last))
		switch {
		case len(running) > 0:
			each := cost.Quo(cost, big.NewRat(int64(len(running)), 1))
			for n := range running {
				work[n].Add(work[n], each)
			}
		case last.Before(l.ready):
			boot.Add(boot, cost)
		default:
			idle.Add(idle, cost)
		}
		last = at
		switch {
		case t.attempt < 0:
		case t.begins:
			running[t.attempt] = true
		default:
			delete(running, t.attempt)
		}
	}
	return work, boot, idle
}

// clamp is the moment of a life that is next to t.
func (l life) clamp(t time.Time) time.Time {
	if t.After(l.end) {
		t = l.end
	}
	return latest(t, l.made)
}

// perHour is what a time costs at a price an hour: exactly, for it is split among
// jobs, and the whole is rounded once. What is reserved is reckoned by the same
// functions, and so is never below the cost by the rounding of a part. An offer,
// which is only compared with others, rounds each part: see gpu.Portion.
func perHour(hourly gpu.USD, d time.Duration) *big.Rat {
	r := new(big.Rat).SetFrac64(int64(max(0, d)), int64(time.Hour))
	return r.Mul(r, new(big.Rat).SetInt64(int64(hourly)))
}

// traffic is what bytes into and out of an instance cost.
func traffic(t Terms, down, up int64) *big.Rat {
	const gb = 1e9
	sum := new(big.Rat)
	for _, part := range []struct {
		usd   gpu.USD
		bytes int64
	}{{t.DownUSD, down}, {t.UpUSD, up}} {
		r := new(big.Rat).SetFrac64(max(0, part.bytes), gb)
		sum.Add(sum, r.Mul(r, new(big.Rat).SetInt64(max(0, int64(part.usd)))))
	}
	return sum
}

// mostUSD is more than anything costs: some of them can be summed.
const mostUSD gpu.USD = math.MaxInt64 / 4

// ceil rounds up to a nanodollar, to mostUSD at most: no overflow looks cheap.
func ceil(r *big.Rat) gpu.USD {
	quo, rem := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rem.Sign() > 0 {
		quo.Add(quo, big.NewInt(1))
	}
	if !quo.IsInt64() {
		return mostUSD
	}
	return min(gpu.USD(quo.Int64()), mostUSD)
}

// apportion splits a total in proportion to weights, none of them negative, by
// largest remainder: the parts are whole nanodollars and sum to the total. All
// of it is the first one's where no weight says otherwise.
func apportion(total gpu.USD, weights []*big.Rat) []gpu.USD {
	parts := make([]gpu.USD, len(weights))
	sum := new(big.Rat)
	for _, w := range weights {
		sum.Add(sum, w)
	}
	if len(parts) == 0 {
		return parts
	}
	if sum.Sign() == 0 {
		parts[0] = total
		return parts
	}
	sign := gpu.USD(1)
	if total < 0 { // a refund
		sign = -1
	}
	left := total * sign
	each := new(big.Rat).Quo(new(big.Rat).SetInt64(int64(left)), sum)
	type rest struct {
		n  int
		of *big.Rat
	}
	rests := make([]rest, len(weights))
	for n, w := range weights {
		exact := new(big.Rat).Mul(each, w)
		floor := new(big.Int).Quo(exact.Num(), exact.Denom())
		parts[n] = gpu.USD(floor.Int64()) * sign
		left -= parts[n] * sign
		rests[n] = rest{n, exact.Sub(exact, new(big.Rat).SetInt(floor))}
	}
	slices.SortFunc(rests, func(a, b rest) int { return cmp.Or(b.of.Cmp(a.of), cmp.Compare(a.n, b.n)) })
	for _, r := range rests[:left] {
		parts[r.n] += sign
	}
	return parts
}
