package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The codes of stops that come from the provider and from machines.
const (
	stopEgress  = "egress_ip_mismatch" // our address is none of EGRESS_IPS
	stopImage   = "image"              // no machine can pull the workers' image
	stopFunds   = "funds"              // the account may not spend more
	stopAuth    = "auth"               // the provider does not accept our key
	stopVersion = "api_version"        // the image holds a worker of another time
)

// stopped is a Stop and what it takes to end it.
type stopped struct {
	Stop
	tries int // how often it was tried again in vain
	// listing is set where a listing brought it: the next good one ends it.
	// Others end when what they are about was seen to work.
	listing bool
}

// Stops are the reasons for which nothing is rented, by code. One whose time
// is over is listed until a machine shows that its reason is gone too: then the
// next job tries it again.
func (f *Fleet) Stops() []Stop {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopsNow()
}

// stopsNow is Stops for who holds mu.
func (f *Fleet) stopsNow() []Stop {
	var all []Stop
	for _, s := range f.stops {
		all = append(all, s.Stop)
	}
	slices.SortFunc(all, func(a, b Stop) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// stop rents nothing for a while: first for hold, and twice as long each time
// that it was tried again in vain, up to stopMost. It is said aloud each time.
func (f *Fleet) stop(ctx context.Context, code string, hold time.Duration, format string, args ...any) {
	f.stopFor(ctx, stopped{Stop: Stop{Code: code, Reason: fmt.Sprintf(format, args...)}}, hold)
}

// stopMost bounds the time between two tries. Whoever mends what is wrong
// restarts, as a rule, and that forgets it all.
const stopMost = time.Hour

func (f *Fleet) stopFor(ctx context.Context, s stopped, hold time.Duration) {
	now := f.cfg.Now()
	f.mu.Lock()
	before, known := f.stops[s.Code]
	if known && before.Until.After(now) { // as before: several machines may say so
		f.mu.Unlock()
		return
	}
	if known {
		s.tries = before.tries + 1
	}
	s.Until = now.Add(min(hold<<min(s.tries, 10), stopMost))
	f.stops[s.Code] = s
	f.mu.Unlock()
	if known && s.listing {
		return
	}
	f.cfg.Log.WarnContext(ctx, "renting stops", "code", s.Code, "reason", s.Reason, "until", s.Until)
}

// unstop forgets stops: what they are about works.
func (f *Fleet) unstop(ctx context.Context, codes ...string) {
	for _, code := range codes {
		f.mu.Lock()
		s, known := f.stops[code]
		delete(f.stops, code)
		f.mu.Unlock()
		if known {
			f.cfg.Log.InfoContext(ctx, "renting goes on", "code", code, "reason", s.Reason)
		}
	}
}
