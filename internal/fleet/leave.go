package fleet

import (
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// accepts notes that the provider accepted the end of an instance, where it
// did.
func (f *Fleet) accepts(in Instance, err error) {
	if err != nil || in.ProviderID == "" { // nothing was asked of it
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted == nil {
		f.accepted = map[string]time.Time{}
	}
	f.accepted[in.Label] = f.cfg.Now()
}

// leaves reports whether a stop need not wait for an instance any more: its end
// was accepted, and a complete listing asked for since lacks it. That is no
// proof, for which a provider whose listings lag wants minutes, and who stops
// has seconds: the row stays, and the next start goes on with it.
func (f *Fleet) leaves(in Instance) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked, ok := f.accepted[in.Label]
	return ok && f.cfg.Policy.Traits.ListingLag > 0 && f.listing.labels != nil && f.listing.at.After(asked) && !f.listing.labels[in.Label]
}

// labelsOf are the labels of a complete listing; nil of another.
func labelsOf(s gpu.Snapshot) map[string]bool {
	if !s.Complete {
		return nil
	}
	labels := map[string]bool{}
	for _, in := range s.Instances {
		labels[in.Label] = true
	}
	return labels
}
