package fleet

import (
	"context"
	"slices"
	"time"
)

// world gathers what Plan looks at. Where it comes with an error nothing is
// rented by it, and what must end is not held up.
func (f *Fleet) world(ctx context.Context, rows []Instance) (w World, err error) {
	w.Instances = rows
	now := f.cfg.Now()
	w.Unproven = f.unproven(ctx)
	if w.Waiting, w.Busy, err = f.cfg.Queue.Load(ctx); err != nil {
		w.Waiting, w.Busy, w.Unread = 0, map[string]int{}, true
	} else {
		w.NoRoom = w.Waiting > 0 && f.cfg.HasRoom != nil && !f.cfg.HasRoom()
		err = f.history(ctx, &w, now)
	}
	if err != nil {
		w.Stops = append(w.Stops, Stop{Code: stopLedger, Reason: "the records of this server cannot be read in full"})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.breakers(&w, now)
	w.Exited, w.Wished, w.Since, w.Reachable, w.Blind = f.exited, f.wishes(), f.since, f.listing.reachable, f.listing.failed
	w.Unlisted = f.unlisted(rows)
	w.Offers, w.OffersAt = f.offers.list, f.offers.at
	for id, s := range f.strays {
		if s.listings < 2 {
			continue
		}
		w.Extra++
		if now.Sub(s.asked) >= retryDestroy {
			w.Strays = append(w.Strays, id)
		}
	}
	slices.Sort(w.Strays)
	return w, err
}

// history adds to the world what only renting needs to know.
func (f *Fleet) history(ctx context.Context, w *World, now time.Time) (err error) {
	if err := f.budgets(ctx, w); err != nil {
		return err
	}
	if w.FailedBoots, w.LastFailure, err = f.failedBoots(ctx); err != nil {
		return err
	}
	if err := f.demand(ctx, w); err != nil {
		return err
	}
	if w.Created, err = f.createdLately(ctx, now); err != nil {
		return err
	}
	w.Hosts, err = readHosts(ctx, f.cfg.DB.Read(), f.cfg.Provider.Name())
	return err
}

// unlisted are the labels among rows that the last listing lacked, where it was
// complete and was asked for after their end was. The caller holds f.mu.
func (f *Fleet) unlisted(rows []Instance) map[string]bool {
	lacking := map[string]bool{}
	for _, in := range rows {
		if f.listing.labels != nil && !f.listing.failed && f.listing.at.After(in.EndAskedAt) && !f.listing.labels[in.Label] {
			lacking[in.Label] = true
		}
	}
	return lacking
}
