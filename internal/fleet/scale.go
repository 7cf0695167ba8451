package fleet

import (
	"slices"
	"time"
)

// Work is what a job is expected to take.
type Work struct {
	// For is how long a machine works on it.
	For time.Duration
	// Down and Up are the bytes into and out of the machine.
	Down, Up int64
}

// scaleUp gets an instance when a job waits and nothing will take it.
func scaleUp(p Policy, w World, now time.Time) ([]Action, time.Time) {
	works := func(in Instance) bool { return in.capacity(now) }
	if w.Waiting == 0 || w.Blind || p.NoRent != "" || len(w.Stops) > 0 || p.Traits.Permanent || slices.ContainsFunc(w.Instances, works) {
		return nil, time.Time{}
	}
	if len(w.Instances)+w.Extra >= p.MaxGPUs {
		return nil, time.Time{} // those that end still cost money, and count
	}
	if next := w.LastFailure.Add(backoff(w.FailedBoots)); now.Before(next) {
		return nil, next
	}
	if w.OffersAt.IsZero() || now.Sub(w.OffersAt) > offersFresh {
		return []Action{{Kind: Search, Reason: "a job waits"}}, time.Time{}
	}
	if len(w.Offers) == 0 {
		return nil, w.OffersAt.Add(offersFresh)
	}
	return []Action{{Kind: Rent, Offers: choose(w.Offers), Reason: "a job waits"}}, time.Time{}
}

// backoff is the pause after n boots in a row that came to nothing: 1 s,
// doubling, at most a minute.
func backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(maxBackoff, time.Second<<min(n-1, 6))
}
