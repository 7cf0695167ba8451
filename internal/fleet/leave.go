package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Bounds of what is done about instances when Run ends.
const (
	endTimeout   = time.Minute
	leaveTimeout = 5 * time.Second // who stops a container waits for ten
)

// goes does what Config says of instances when Run ends, where this process
// leads.
func (f *Fleet) goes(ctx context.Context) error {
	switch {
	case !f.Leading():
	case f.cfg.DestroyAtEnd:
		// Absence is believed no sooner than the provider's listings allow.
		traits := f.cfg.Provider.Traits()
		ctx, cancel := context.WithTimeout(ctx, endTimeout+traits.ListingLag+traits.AbsenceGap)
		defer cancel()
		return f.destroyAll(ctx)
	case f.cfg.LeaveLease > 0 && f.cfg.Policy.paid():
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		return f.leaveAll(ctx)
	}
	return nil
}

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

// leaveAll is how a process that keeps what is rented goes: a worker that has a
// job gets one lease for as long as that may take, reserved first, and the
// usual one where a budget does not allow it; what is idle is asked to end. What
// boots, and what is ready for a job that waits, stays with the lease it has.
func (f *Fleet) leaveAll(ctx context.Context) error {
	rows, err := f.live(ctx)
	if err != nil {
		return err
	}
	waiting, busy, err := f.cfg.Queue.Load(ctx)
	if err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	faults := make([]error, len(rows))
	for n, in := range rows { // one that hangs holds up no other
		switch {
		case in.Permanent || in.State != gpu.Ready:
		case busy[in.Label] > 0:
			f.spawn(func() { f.leaveBusy(ctx, in) })
		case waiting == 0:
			f.spawn(func() {
				faults[n] = f.destroy(ctx, Action{Label: in.Label, Reason: "the orchestrator stops, and it is idle", IfIdle: true})
			})
		}
	}
	f.contacts.Wait()
	return errors.Join(faults...)
}

func (f *Fleet) leaveBusy(ctx context.Context, in Instance) {
	long := max(f.cfg.LeaveLease, f.cfg.Policy.Lease)
	if f.renew(ctx, in, long) {
		f.cfg.Log.InfoContext(ctx, "left at work", "instance", in.Label, "lease", long)
		return
	}
	f.renew(ctx, in, f.cfg.Policy.Lease)
}
