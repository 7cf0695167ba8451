package fleet

import (
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// This file goes when the memory of hosts and the breakers are merged.

// Fails is how likely an offer is to come to nothing, 0 to 1.
func (h Hosts) Fails(gpu.Offer, time.Time) float64 { return 0 }

// Blocked says until when an offer is not taken, and why; never where why is
// empty.
func (h Hosts) Blocked(gpu.Offer, time.Time) (until time.Time, why string) { return until, "" }

// Boot is how long a machine of this offer is expected to boot.
func (h Hosts) Boot(gpu.Offer) time.Duration { return time.Minute }

// mayCreate reports whether anything may be rented now; why not, and when that
// may change.
func mayCreate(p Policy, w World, now time.Time) (ok bool, why string, when time.Time) {
	switch {
	case p.NoRent != "":
		return false, p.NoRent, when
	case len(w.Stops) > 0:
		return false, w.Stops[0].Reason, w.Stops[0].Until
	}
	if next := w.LastFailure.Add(backoff(w.FailedBoots)); now.Before(next) {
		return false, "the last machines did not start", next
	}
	return true, "", when
}
