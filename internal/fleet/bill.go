package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// When a provider is asked what it charged.
const (
	billTick = 15 * time.Second // how often to look whether it is time
	// billGap is the least time between two looks at a bill; it grows to
	// billGapMost as what is open grows old.
	billGap     = 2 * time.Minute
	billGapMost = time.Hour
	// billSlack is by how much we may have an instance end later than its
	// provider does.
	billSlack = 15 * time.Second
	// billRest is for how long a bill must stand still that does not say that
	// it reaches the end.
	billRest = 6 * time.Hour
	// billDue is how long a bill normally takes at most: Vast.ai charges by the
	// hour, and at the end of a contract.
	billDue = 24 * time.Hour
	// billMost is how long a bill is waited for: then the estimate stays.
	billMost    = 7 * 24 * time.Hour
	billTimeout = 2 * time.Minute
	billRows    = 500
	// billOff is the difference from our own measure that is told to the
	// operator, as a part of the larger.
	billOff = 0.05
)

// bills is what is kept in memory about charges.
type bills struct {
	next time.Time
	seen map[string]billed // by label
	// final and off count the bills that were taken, and those that were far
	// from our own measure; last is the difference of the last one.
	final, off int
	last       float64
}

// billed is what a provider charged for an instance, by the last look.
type billed struct {
	usd   gpu.USD
	down  gpu.USD   // of that, for traffic into it
	told  bool      // the parts are told
	until time.Time // the end of the last charge; zero where it does not say
	since time.Time // of the first look that found the same
}

// tendBills asks for bills until ctx ends.
func (f *Fleet) tendBills(ctx context.Context) {
	for pause.For(ctx, billTick) {
		if err := f.Bill(ctx); err != nil && ctx.Err() == nil {
			f.cfg.Log.WarnContext(ctx, "charges not known yet", "error", err)
		}
	}
}

// Bill asks the provider what it charged for the instances that are gone, and
// closes the accounts of those that its bill covers, where it is time: Run does
// so every billTick.
func (f *Fleet) Bill(ctx context.Context) error {
	biller, ok := f.cfg.Provider.(gpu.Biller)
	now := f.cfg.Now()
	if !ok || !f.cfg.Policy.paid() || !f.Leading() || !f.Steady() || !f.mayBill(now) {
		return nil
	}
	open, err := query(ctx, f.cfg.DB.Read(), `SELECT `+instanceColumns+` FROM instances WHERE state = 'gone' AND permanent = 0
		AND cost_state = 'estimated' AND provider = $1 AND state_since > $2 ORDER BY state_since DESC LIMIT $3`,
		f.cfg.Provider.Name(), millis(now.Add(-billMost)), billRows)
	if err != nil || len(open) == 0 {
		return err
	}
	f.billAgain(now, now.Sub(open[0].StateSince))
	from, to := now, open[0].CreatedAt
	for _, in := range open {
		if in.CreatedAt.Before(from) {
			from = in.CreatedAt
		}
		to = latest(to, latest(in.end(), in.StateSince))
	}
	call, cancel := context.WithTimeout(ctx, billTimeout)
	defer cancel()
	charges, err := biller.Charges(call, from, to)
	if err != nil {
		return fmt.Errorf("read charges: %w", err)
	}
	for _, in := range open {
		b, sure := f.billedFor(in, charges, now)
		if !sure {
			continue
		}
		if err := f.finish(ctx, in, b); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) mayBill(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !now.Before(f.money.bills.next)
}

// billAgain sets when charges are asked for next, by the age of the youngest
// instance whose bill is open.
func (f *Fleet) billAgain(now time.Time, age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.money.bills.next = now.Add(min(max(billGap, age/8), billGapMost))
}

// billedFor adds up what was charged for an instance, twins of its label included,
// and reports whether that is the last word: the same as at an earlier look,
// and up to its end.
func (f *Fleet) billedFor(in Instance, charges []gpu.Charge, now time.Time) (b billed, sure bool) {
	b.since = now
	for _, c := range charges {
		if c.Label == in.Label || c.Label == "" && c.InstanceID == in.ProviderID && in.existed() {
			b.usd += c.Total()
			b.down += c.Down
			b.told = b.told || c.Total() != c.Other
			b.until = latest(b.until, c.Until)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := &f.money.bills.seen
	if *seen == nil {
		*seen = map[string]billed{}
	}
	if was, ok := (*seen)[in.Label]; ok && was.usd == b.usd && was.until.Equal(b.until) {
		b.since = was.since
	}
	(*seen)[in.Label] = b
	rests := now.Sub(b.since)
	covers := !b.until.IsZero() && !b.until.Before(in.end().Add(-billSlack))
	return b, rests >= billGap && covers || rests >= billRest
}

// finish makes what a provider charged the cost of an instance, and of its
// jobs.
func (f *Fleet) finish(ctx context.Context, in Instance, b billed) error {
	usd := b.usd
	err := f.close(ctx, in.Label, func(ctx context.Context, tx *sql.Tx, row *Instance, attempts []queue.Attempt) ([]Charge, bool, error) {
		if row.CostState != Estimated {
			return nil, false, nil
		}
		parts, err := readCharges(ctx, tx, row.Label)
		row.CostUSD, row.CostState = usd, Final
		if b.told {
			row.Terms.PullBytes = pulled(row.Terms, b.down, attempts)
		}
		return rescale(parts, usd), true, err
	})
	if err != nil {
		return err
	}
	off := difference(in.CostUSD, usd)
	f.mu.Lock()
	bills := &f.money.bills
	delete(bills.seen, in.Label)
	bills.final++
	bills.last = off
	if math.Abs(off) > billOff {
		bills.off++
	}
	f.mu.Unlock()
	if math.Abs(off) > billOff {
		f.cfg.Log.WarnContext(ctx, "the provider charged something else than was measured", "instance", in.Label,
			"charged", usd.Exact(), "measured", in.CostUSD.Exact())
	}
	return nil
}

// difference is by how much a bill is above our own measure, as a part of the
// larger of the two: -1 to 1.
func difference(measured, charged gpu.USD) float64 {
	most := max(measured, charged)
	if most <= 0 {
		return 0
	}
	return float64(charged-measured) / float64(most)
}
