package fleet

import (
	"context"
	"errors"
	"time"
)

// asideAfter is how long a listing may take before ends no longer wait for it.
const asideAfter = 2 * time.Second

// act begins what was decided. All that asks the provider for something runs
// beside the loop, which waits for nothing but a listing: each end on its own,
// and one search or rental at a time. What fails there the next round tells.
func (f *Fleet) act(ctx context.Context, w World, a Action) error {
	switch {
	case a.Kind != Destroy:
		f.beside(ctx, renting, func() error {
			if !f.stillSo(w, f.cfg.Now()) {
				return nil // it is decided anew
			}
			return f.apply(ctx, a)
		})
	case a.Label == "":
		f.beside(ctx, a.ID, func() error { return f.apply(ctx, a) })
	case a.Blame == BlameImage: // a registry is asked first
		f.beside(ctx, "image of "+a.Label, func() error { return f.apply(ctx, a) })
	default:
		if !f.startCall(a.Label) {
			return nil
		}
		call, err := f.beginEnd(ctx, a)
		if call == nil {
			f.endCall(a.Label)
			return err
		}
		f.spawn(func() {
			defer f.endCall(a.Label)
			f.fault(ctx, call())
		})
	}
	return nil
}

// renting is the key of the one search or rental that may be under way: no
// label or id is called so.
const renting = "to rent"

// beside runs a call by itself, unless one of its key is under way.
func (f *Fleet) beside(ctx context.Context, key string, call func() error) {
	if !f.startCall(key) {
		return
	}
	f.spawn(func() {
		defer f.endCall(key)
		f.fault(ctx, call())
	})
}

// startCall reports whether no call of a key was under way: now one is.
func (f *Fleet) startCall(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.underWay[key] {
		return false
	}
	f.underWay[key] = true
	return true
}

func (f *Fleet) endCall(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.underWay, key)
}

// fault keeps what went wrong beside the loop for its next round.
func (f *Fleet) fault(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	f.faults = append(f.faults, err)
	f.mu.Unlock()
	poke(f.wake)
}

// takeFaults is what went wrong beside the loop since it was last asked.
func (f *Fleet) takeFaults() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := errors.Join(f.faults...)
	f.faults = nil
	return err
}

// endsAside begins the ends that the ledger decides, while a listing is long
// under way: they name ids, and need none. Nobody is called silent then.
func (f *Fleet) endsAside(ctx context.Context, rows []Instance) error {
	now := f.cfg.Now()
	f.mu.Lock()
	asked := f.listing.asked
	f.mu.Unlock()
	if asked.IsZero() || now.Sub(asked) < asideAfter {
		return nil
	}
	w, err := f.world(ctx, rows)
	w.Blind = true
	err = errors.Join(err, f.noteIdle(ctx, rows, w))
	if !f.stillSo(w, f.cfg.Now()) {
		return err
	}
	actions, _, _ := shrink(f.cfg.Policy, w, f.cfg.Now())
	for _, a := range actions {
		err = errors.Join(err, f.act(ctx, w, a))
	}
	return err
}
