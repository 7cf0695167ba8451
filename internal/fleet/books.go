package fleet

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/queue"
)

const (
	// pricesFor is how long offers tell what a machine costs, after they can
	// no longer be taken.
	pricesFor = 10 * time.Minute
	// pricesWait bounds the look at offers for a request.
	pricesWait = 4 * time.Second
	// pricesGap is the least time between two such looks: where they are in
	// vain, requests are not held up by them.
	pricesGap = 30 * time.Second
	// asksMost bounds the jobs that are looked at for one that a budget
	// allows: no more than dispatch looks at.
	asksMost = 32
	// deniedFor is how long a refusal holds that is not said again, and
	// deniedTill for how long all jobs must be refused before an idle machine
	// goes.
	deniedFor  = 10 * time.Second
	deniedTill = 5 * time.Second
	// overBudget begins the reason of a machine's end that a budget brought.
	overBudget = "budget: "
)

// money is what is kept in memory about budgets.
type money struct {
	prices   []gpu.Offer
	pricesAt time.Time
	// pricesAsked is when a request last asked for them, as Elapsed tells.
	pricesAsked time.Duration
	// denied has the instances for which a budget allows no renewal, or no
	// job, and since when.
	denied map[string]denied
	bills  bills
}

// denied is a refusal that an instance met.
type denied struct {
	why         *OverBudget
	first, last time.Time
	// patience is for how long it must have been so before the instance goes:
	// where one job is refused another may be tried the next moment.
	patience time.Duration
}

// books reads the accounts of all instances but one, as far as the budgets of
// this month and later ones are about them.
func books(ctx context.Context, from reader, now time.Time, except string) (Books, error) {
	since, due := db.Millis(monthAt(now).from), now.Add(-billDue)
	rows, err := query(ctx, from, `SELECT `+instanceColumns+` FROM instances WHERE permanent = 0 AND state <> 'gone' AND label <> $2
		UNION ALL SELECT `+instanceColumns+` FROM instances WHERE `+unsettled+` AND +state_since >= $1 AND label <> $2
		UNION ALL SELECT `+instanceColumns+` FROM instances WHERE `+unbilled+` AND label <> $2
			AND (+state_since > $3 OR provider_id = '' AND absent_since > 0 AND +state_since >= $1)`, since, except, db.Millis(due))
	if err != nil {
		return Books{}, err
	}
	var accounts []account
	for _, in := range rows {
		accounts = append(accounts, in.account(now))
	}
	closed, err := from.QueryContext(ctx, `SELECT created_at, ended_at, state_since, cost_usd FROM instances
		WHERE state = 'gone' AND state_since >= $1 AND permanent = 0 AND cost_usd <> 0 AND label <> $2
		AND (cost_state = 'final' OR cost_state = 'estimated' AND state_since <= $3)`, since, except, db.Millis(due))
	if err != nil {
		return Books{}, fmt.Errorf("read accounts: %w", err)
	}
	defer closed.Close()
	for closed.Next() {
		var created, ended, gone int64
		var a account
		if err := closed.Scan(&created, &ended, &gone, &a.spread); err != nil {
			return Books{}, fmt.Errorf("read accounts: %w", err)
		}
		if ended == 0 {
			ended = gone
		}
		a.from, a.until = at(created), at(ended)
		accounts = append(accounts, a)
	}
	return newBooks(accounts), closed.Err()
}

// budgets adds to the world what Plan needs to keep the budgets.
func (f *Fleet) budgets(ctx context.Context, w *World) (err error) {
	p, now := f.cfg.Policy, f.cfg.Now()
	if !p.paid() {
		return nil
	}
	w.Unpaid = f.unpaid(now)
	if p.Budget == (Budget{}) || w.Waiting == 0 || f.ungated {
		return nil
	}
	if w.Books, err = books(ctx, f.cfg.DB.Read(), now, ""); err != nil {
		return err
	}
	if w.Asks, err = f.asks(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	prices, age := f.money.prices, now.Sub(f.money.pricesAt)
	f.mu.Unlock()
	if len(prices) == 0 || age >= pricesFor {
		return nil // offers will tell
	}
	if _, refusal := affordable(p, *w, choices(prices), now); refusal != nil {
		w.Stops = append(w.Stops, Stop{Code: stopBudget, Reason: refusal.Error(), Until: refusal.Until})
		return nil
	}
	w.Passed = passed(p, *w, choices(prices), now)
	return nil
}

// passed says why the oldest job must let later ones go before it, where a
// budget wants that.
func passed(p Policy, w World, offers []Choice, now time.Time) *OverBudget {
	if len(w.Asks) == 0 {
		return nil
	}
	w.Asks = w.Asks[:1]
	_, refusal := affordable(p, w, offers, now)
	return refusal
}

// asks are those of the oldest queued jobs. What each cost before counts against
// its budget at the claim: without it here, machines would be rented for a job
// that is then not given to them.
func (f *Fleet) asks(ctx context.Context) ([]queue.Ask, error) {
	asks, err := f.cfg.Queue.Asks(ctx, asksMost)
	if err != nil || f.cfg.Policy.Budget.Job <= 0 {
		return asks, err
	}
	for n := range asks {
		earlier, err := f.jobCost(ctx, f.cfg.DB.Read(), asks[n].JobID, "", 0)
		if err != nil {
			return nil, err
		}
		asks[n].Spent = earlier.USD
	}
	return asks, nil
}

// priced notes what machines cost now.
func (f *Fleet) priced(list []gpu.Offer, now time.Time) {
	if len(list) > 0 {
		f.money.prices, f.money.pricesAt = list, now
	}
}

// pricesNow is what machines cost now, asked for where nobody did lately.
func (f *Fleet) pricesNow(ctx context.Context) ([]gpu.Offer, error) {
	now := f.cfg.Now()
	f.mu.Lock()
	list, age := f.money.prices, now.Sub(f.money.pricesAt)
	known := len(list) > 0 && age >= 0 && age < pricesFor
	asked := f.Elapsed()
	again := f.money.pricesAsked == 0 || asked-f.money.pricesAsked >= pricesGap
	if !known && again {
		f.money.pricesAsked = max(1, asked)
	}
	f.mu.Unlock()
	if known {
		return list, nil
	}
	if !again { // somebody asks just now, or did in vain
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pricesWait)
	defer cancel()
	for !f.MayDrive() { // a standby asks nobody: it might ask beside the one that leads
		if !pause.For(ctx, tickMin) {
			return nil, nil
		}
	}
	list, err := f.cfg.Provider.Offers(ctx)
	if err != nil {
		return nil, err
	}
	f.found(ctx, list)
	return list, nil
}

// deny notes that a budget allows an instance nothing more; nil, that it does.
func (f *Fleet) deny(label string, why *OverBudget, patience time.Duration) {
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if why == nil {
		delete(f.money.denied, label)
		return
	}
	if f.money.denied == nil {
		f.money.denied = map[string]denied{}
	}
	d := f.money.denied[label]
	if d.why == nil || now.Sub(d.last) > deniedFor {
		d.first = now
	}
	d.why, d.last, d.patience = why, now, patience
	f.money.denied[label] = d
	poke(f.wake)
}

// unpaid says for which instances a budget allows nothing more.
func (f *Fleet) unpaid(now time.Time) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.money.denied, func(_ string, d denied) bool { return now.Sub(d.last) > deniedFor })
	out := map[string]string{}
	for label, d := range f.money.denied {
		if now.Sub(d.first) >= d.patience {
			out[label] = overBudget + d.why.Error()
		}
	}
	return out
}
