package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The codes of stops that come from the provider and from machines.
const (
	stopEgress  = "egress_ip_mismatch" // our address is none of EGRESS_IPS
	stopImage   = "image"              // no machine can pull the workers' image
	stopFunds   = "funds"              // the account may not spend more
	stopAuth    = "auth"               // the provider does not accept our key
	stopVersion = "api_version"        // the image holds a worker of another time
)

// The codes of stops that come from the ledger. Each round finds them anew.
const (
	stopBudget = "budget" // none of the jobs that wait fits into the budgets
	stopLedger = "ledger" // it cannot be read
)

// stopped is a Stop and what it takes to end it.
type stopped struct {
	Stop
	since time.Time
	tries int // how often it was tried again in vain
	// listing is set where a listing met it too: the next good one ends it.
	// Others end when what they are about was seen to work.
	listing bool
	// steady is set where a try costs nothing: the time does not grow.
	steady bool
}

// Stops are the reasons for which nothing is rented, by code. One whose time
// is over is listed until a machine shows that its reason is gone too: then the
// next job tries it again. Those that the last round found in the ledger are
// among them.
func (f *Fleet) Stops() []Stop {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.stopsNow()
	if f.epoch != 0 { // else the leader tells
		all = append(all, f.ledgerStops...)
	}
	slices.SortFunc(all, func(a, b Stop) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// noteLedger keeps what a round found in the ledger that stops renting, for
// Stops, and says it aloud when it begins. What is spent is the operator's, as
// the detail is.
func (f *Fleet) noteLedger(ctx context.Context, found []Stop) {
	var next []Stop
	for _, s := range found {
		switch s.Code {
		case stopBudget:
			s.Reason, s.Detail = "a budget does not allow another machine", s.Reason
		case stopLedger:
		default:
			continue
		}
		next = append(next, s)
	}
	f.mu.Lock()
	before := f.ledgerStops
	f.ledgerStops = next
	f.mu.Unlock()
	for _, s := range next {
		if !slices.ContainsFunc(before, func(b Stop) bool { return b.Code == s.Code }) {
			f.cfg.Log.WarnContext(ctx, "renting stops", "code", s.Code, "reason", s.Reason, "detail", s.Detail, "until", s.Until)
		}
	}
}

// stopsNow are the stops but for those of the ledger, for who holds mu.
func (f *Fleet) stopsNow() []Stop {
	var all []Stop
	for _, s := range f.stops {
		all = append(all, s.Stop)
	}
	slices.SortFunc(all, func(a, b Stop) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// stopHold is the first time until a stop that only the operator can end is
// tried again all the same: they may have mended what is not ours to see.
const stopHold = 10 * time.Minute

// stopMost bounds the time between two tries. Whoever mends what is wrong
// changes a setting, as a rule, and that forgets it all.
const stopMost = time.Hour

// stop rents nothing for a while: first for hold, and twice as long each time
// that it was tried again in vain, up to stopMost. It is said aloud each time,
// but for one that comes again and again: that is said once.
func (f *Fleet) stop(ctx context.Context, s stopped, hold time.Duration) {
	now := f.cfg.Now()
	f.mu.Lock()
	before, known := f.stops[s.Code]
	if known && before.Until.After(now) { // as before: several machines may say so
		if s.listing { // it is the key itself, and not what the key may do
			before.listing = true
			f.stops[s.Code] = before
		}
		f.mu.Unlock()
		return
	}
	if s.since = now; known {
		s.since = before.since
	}
	if known && !s.steady {
		s.tries = before.tries + 1
	}
	s.Until = now.Add(min(hold<<min(s.tries, 10), stopMost))
	f.stops[s.Code] = s
	f.mu.Unlock()
	f.keep(ctx, s.Code)
	if known && (s.listing || s.steady) {
		return
	}
	f.cfg.Log.WarnContext(ctx, "renting stops", "code", s.Code, "reason", s.Reason, "detail", s.Detail, "until", s.Until)
}

// unstop forgets stops: what they are about works.
func (f *Fleet) unstop(ctx context.Context, codes ...string) {
	for _, code := range codes {
		f.mu.Lock()
		s, known := f.stops[code]
		delete(f.stops, code)
		f.mu.Unlock()
		if known {
			f.keep(ctx, code)
			f.cfg.Log.InfoContext(ctx, "renting goes on", "code", code, "reason", s.Reason)
		}
	}
}

// breakers fills in what Plan is to know of stops, pauses and refusals, for who
// holds mu.
func (f *Fleet) breakers(w *World, now time.Time) {
	for _, s := range f.stopsNow() {
		if s.Until.IsZero() || s.Until.After(now) {
			w.Stops = append(w.Stops, s)
		} else {
			w.Probing = true
		}
	}
	w.PausedUntil, w.PausedWhy = f.pause.until, f.pause.why
	w.Refused = map[string]Refusal{}
	for label, r := range f.refused {
		w.Refused[label] = Refusal{r.why.Code, r.why.Message, r.since}
	}
}

// creates holds the time until which the provider is asked for no machine: it said so, or
// its API fails. Ends are asked for all the same.
type creates struct {
	until    time.Time
	why      string
	failures map[Kind]int // of its API, in a row, at searches and at creates
}

// Pauses after failures of the provider's API: they double.
const (
	troubleFirst = time.Second
	troubleMost  = time.Minute
)

// heed notes how a call to the provider ended that leads to a machine: a
// search or a create. It returns the error that is to be told of; what is no
// failure of anything, and what a stop tells of, is none.
func (f *Fleet) heed(ctx context.Context, k Kind, err error) error {
	if err == nil {
		f.mu.Lock()
		delete(f.pause.failures, k)
		f.mu.Unlock()
		return nil
	}
	if limited, ok := errors.AsType[gpu.RateLimited](err); ok {
		f.pauseFor(limited.After, "the provider wants to be asked less often")
		return nil
	}
	switch {
	case errors.Is(err, gpu.ErrFunds):
		f.stop(ctx, stopped{steady: true, Stop: Stop{
			Code: stopFunds, Reason: "the account at the provider may not spend more",
			Detail: fmt.Sprintf("%s: add credit, or ask for a higher limit", err),
		}}, fundsHold)
		return nil
	case errors.Is(err, gpu.ErrAuth):
		s := badKey(err)
		s.steady = true
		f.stop(ctx, s, fundsHold)
		return nil
	case errors.Is(err, gpu.ErrNoImage):
		f.noImage(ctx, err)
		return nil
	case errors.Is(err, gpu.ErrOfferGone), errors.Is(err, gpu.ErrNoCapacity):
		return nil
	case errors.Is(err, gpu.ErrPartial), ctx.Err() != nil:
		return err // it is the machine, or we stop
	}
	f.mu.Lock()
	f.pause.failures[k]++
	n := f.pause.failures[k]
	f.mu.Unlock()
	f.pauseFor(min(troubleFirst<<min(n-1, 10), troubleMost), "the provider's API fails")
	return err
}

// fundsHold is until what the account lacks is looked for again. A try is a
// request that is refused: it costs nothing.
const fundsHold = 5 * time.Minute

func badKey(err error) stopped {
	return stopped{Stop: Stop{
		Code: stopAuth, Reason: "the provider does not accept the key of this server",
		Detail: fmt.Sprintf("%s: make a key that may search, create, list and destroy, and set it", err),
	}}
}

func (f *Fleet) pauseFor(d time.Duration, why string) {
	until := f.cfg.Now().Add(d)
	f.mu.Lock()
	defer f.mu.Unlock()
	if until.After(f.pause.until) {
		f.pause.until, f.pause.why = until, why
	}
}

// listed notes how a listing ended: it is the first call to meet a key that is
// not accepted, and the first that shows that it is again.
func (f *Fleet) listed(ctx context.Context, err error) {
	if errors.Is(err, gpu.ErrAuth) {
		s := badKey(err)
		s.listing = true
		f.stop(ctx, s, fundsHold)
		return
	}
	f.mu.Lock()
	byListing := f.stops[stopAuth].listing
	f.mu.Unlock()
	if err == nil && byListing {
		f.unstop(ctx, stopAuth)
	}
}
