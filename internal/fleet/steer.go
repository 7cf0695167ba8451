package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// wished is why an instance goes that somebody wants gone.
const wished = "its operator asked for its end"

// End ends the instance of a label or of a provider's id, whatever it does, or
// all with an empty id, and returns them as they are then. A job that runs
// there is put back into the queue, not blamed, as after any loss of a machine.
// One whose end was asked for already is returned too. GPUNotFound means that
// there is none, or not any more; Conflict, that it is not ours to end.
//
// Who leads asks the provider at once. Any other process leaves the wish in the
// row, for the one that leads to act on in its next round: only that one rents
// and destroys.
func (f *Fleet) End(ctx context.Context, id string) ([]Reported, error) {
	rows, err := f.live(ctx)
	if err != nil {
		return nil, err
	}
	rows, err = toEnd(rows, id)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // who asked may be gone: the end is wanted
	faults := make([]error, len(rows))
	var all sync.WaitGroup
	for i, in := range rows {
		if in.State == gpu.Destroying {
			continue // the loop asks until it is gone
		}
		all.Go(func() { faults[i] = f.endOne(ctx, in.Label) })
	}
	all.Wait()
	poke(f.wake)
	report, err := f.Report(ctx)
	if err != nil {
		return nil, err
	}
	return f.ended(ctx, report.Machines, rows, faults)
}

// toEnd picks the rows that an id names.
func toEnd(rows []Instance, id string) (picked []Instance, err error) {
	for _, in := range rows {
		if id == "" && !in.Permanent || id != "" && (in.Label == id || in.ProviderID == id) {
			picked = append(picked, in)
		}
	}
	switch {
	case id != "" && len(picked) == 0:
		return nil, apigpu.E(apigpu.GPUNotFound, nil, "There is no such machine, or it is gone.").
			WithHint("GET /gpus lists those that are there.")
	case id != "" && picked[0].Permanent:
		return nil, apigpu.E(apigpu.Conflict, nil, "This worker is configured, and was not started from here: it cannot be ended from here.").
			WithHint("Stop it where it runs, or take it out of WORKER_URL.")
	}
	return picked, nil
}

// endOne ends one instance, or leaves the wish. Where the ledger takes neither,
// because its disk is full above all, the end is asked for without a record, and
// in the next rounds until there is one.
func (f *Fleet) endOne(ctx context.Context, label string) error {
	a := Action{Kind: Destroy, Label: label, Reason: wished}
	if f.Leading() {
		err := f.destroy(ctx, a)
		if errors.Is(err, errUnrecorded) {
			f.keepWish(label)
		}
		if !errors.Is(err, errStandby) {
			return err
		}
	}
	err := f.wish(ctx, label)
	if err == nil || apigpu.CodeOf(err) == apigpu.Unavailable || !f.mayEnd(ctx) {
		return err
	}
	f.keepWish(label)
	a.Unrecorded = true
	return f.destroy(ctx, a)
}

// keepWish remembers what the ledger could not be told.
func (f *Fleet) keepWish(label string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.unrecorded[label]
	u.wished = true
	f.unrecorded[label] = u
}

// wishes are the labels of which keepWish was told, for who holds mu.
func (f *Fleet) wishes() map[string]bool {
	labels := map[string]bool{}
	for label, u := range f.unrecorded {
		if u.wished {
			labels[label] = true
		}
	}
	return labels
}

// wish marks a row of an instance that is to go, without the fleet lease. The
// row of the lease is kept meanwhile, as in fenced, so that no write of the one
// that holds it is lost or undoes this. One that is planned is in its hands.
func (f *Fleet) wish(ctx context.Context, label string) error {
	now := f.cfg.Now()
	return f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var one int
		if err := tx.QueryRowContext(ctx, `SELECT one FROM fleet WHERE one = 1`+f.cfg.DB.ForUpdate()).Scan(&one); err != nil {
			return fmt.Errorf("read fleet lease: %w", err)
		}
		rows, err := query(ctx, tx, selectOne, label)
		if err != nil || len(rows) == 0 {
			return err
		}
		switch row := rows[0]; {
		case row.Permanent, row.State == gpu.Gone, row.State == gpu.Destroying:
			return nil
		case row.State == gpu.Planned:
			e := apigpu.E(apigpu.Unavailable, nil, "This machine is being asked for this very moment.")
			e.RetryAfter = 1
			return e
		default:
			row.State, row.StateSince, row.Reason = gpu.Destroying, now, wished
			return f.put(ctx, tx, row) // its end is due at once: EndAskedAt is older
		}
	})
}

// ended returns what became of the rows. A call that failed is no fault where
// the row says that its instance must go: then it is made again. One that is
// gone already has no row among the live.
func (f *Fleet) ended(ctx context.Context, now []Reported, rows []Instance, faults []error) (out []Reported, err error) {
	for i, in := range rows {
		at := slices.IndexFunc(now, func(m Reported) bool { return m.Label == in.Label })
		if at >= 0 {
			out = append(out, now[at])
		}
		switch {
		case faults[i] == nil:
		case errors.Is(faults[i], errUnrecorded):
			f.cfg.Log.WarnContext(ctx, "an end that was asked for", "instance", in.Label, "error", faults[i])
			if at >= 0 { // the row cannot say so
				out[len(out)-1].State, out[len(out)-1].Reason = gpu.Destroying, wished
			}
		case at < 0 || now[at].State == gpu.Destroying:
			f.cfg.Log.WarnContext(ctx, "an end that was asked for is tried again", "instance", in.Label, "error", faults[i])
		default:
			err = errors.Join(err, faults[i])
		}
	}
	return out, err
}
