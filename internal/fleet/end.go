package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// ending is what the ledger says about the end of an instance.
type ending struct {
	due   bool
	began bool   // it is not on its way out yet
	id    string // the provider's; empty until a listing tells
}

// destroy records that an instance must go, and asks for it. It names the id
// from the ledger and waits for no listing; the loop asks again until
// complete listings lack it.
//
// A ledger that takes no writes, because its disk is full above all, holds up
// no destroy: then it is only read, under the fleet lease like every decision,
// and the end is asked for without a record. What is not recorded is decided
// again in the next rounds, until it is.
//
// While such a call is under way there is no other for the same instance.
func (f *Fleet) destroy(ctx context.Context, a Action) error {
	if !f.startCall(a.Label) {
		return nil
	}
	defer f.endCall(a.Label)
	call, err := f.beginEnd(ctx, a)
	if call == nil {
		return err
	}
	return call()
}

// beginEnd is the part of destroy that asks nobody but the ledger. call is the
// other, and tells what went wrong before it too; nil where there is nothing to ask.
func (f *Fleet) beginEnd(ctx context.Context, a Action) (call func() error, err error) {
	var e ending
	now := f.cfg.Now()
	decide := func(tx *sql.Tx, row *Instance) (_ bool, err error) {
		e, err = f.ending(ctx, tx, a, row, now)
		return e.due, err
	}
	unrecorded := errNoWrites
	if !a.Unrecorded {
		_, unrecorded = f.updateIf(ctx, a.Label, decide)
	}
	if unrecorded != nil {
		if errors.Is(unrecorded, errStandby) || !f.mayAskAgain(a.Label, now) {
			return nil, unrecorded
		}
		e = ending{}
		if err := f.decideOnly(ctx, a.Label, decide); err != nil {
			return nil, errors.Join(unrecorded, err)
		}
	}
	if !e.due {
		return nil, unrecorded
	}
	switch {
	case unrecorded != nil:
		f.askedEnd(a.Label, now)
		f.cfg.Log.WarnContext(ctx, "destroying without a record", "instance", a.Label, "reason", a.Reason, "error", unrecorded)
	case e.began:
		f.cfg.Log.InfoContext(ctx, "destroying", "instance", a.Label, "reason", a.Reason)
	}
	if e.id == "" {
		e.id = a.ID // seen in a listing that could not be recorded
	}
	if e.id == "" { // the listing that finds it tells its id
		return nil, unrecorded
	}
	return func() error {
		err := f.callDestroy(ctx, e.id)
		switch {
		case err == nil && unrecorded != nil:
			return fmt.Errorf("%w: %w", errUnrecorded, unrecorded)
		case err != nil:
			return errors.Join(unrecorded, err)
		}
		return f.noteEnd(ctx, a.Label)
	}, nil
}

// ending decides whether an instance goes, and notes it in the row.
func (f *Fleet) ending(ctx context.Context, tx *sql.Tx, a Action, row *Instance, now time.Time) (ending, error) {
	if row.Permanent || row.State == gpu.Gone {
		return ending{}, nil
	}
	if a.IfBooting && row.State == gpu.Ready {
		return ending{}, nil
	}
	if a.IfIdle {
		if busy, err := f.cfg.Queue.Busy(ctx, tx, a.Label); busy || err != nil {
			return ending{}, err
		}
	}
	e := ending{due: true, began: row.State != gpu.Destroying, id: row.ProviderID}
	if e.began {
		row.State, row.StateSince, row.Reason, row.Blame = gpu.Destroying, now, a.Reason, a.Blame
	}
	row.EndAskedAt = now
	return e, nil
}

// decideOnly is updateIf without the write: a transaction that only reads
// needs no room.
func (f *Fleet) decideOnly(ctx context.Context, label string, decide func(*sql.Tx, *Instance) (bool, error)) error {
	return f.ends(ctx, func(tx *sql.Tx) error {
		rows, err := query(ctx, tx, selectOne, label)
		if err != nil || len(rows) == 0 {
			return err
		}
		_, err = decide(tx, &rows[0])
		return err
	})
}

// mayAskAgain reports whether an end that could not be recorded was not asked
// for just now.
func (f *Fleet) mayAskAgain(label string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Sub(f.unrecorded[label].endAsked) >= retryDestroy
}

func (f *Fleet) askedEnd(label string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.unrecorded[label]
	u.endAsked = now
	f.unrecorded[label] = u
}

// unrecorded is what the ledger should say of an instance and could not be
// told.
type unrecorded struct {
	endAsked  time.Time
	idleSince time.Time
	wished    bool // somebody asked for its end
}

// errUnrecorded is of an end that the provider accepted and the ledger was not
// told of.
var errUnrecorded = errors.New("the end was asked for without a record")

// errNoWrites stands in the place of a write that was not tried: the one before
// it failed.
var errNoWrites = errors.New("the ledger takes no writes")

// ends runs a transaction that reads, and decides about ends only. Beside the
// holder of the fleet lease it admits, in a ledger that takes no writes, who
// finds the lease run out: whoever took it since would have written that. Two
// that ask for the same end do no harm.
func (f *Fleet) ends(ctx context.Context, do func(*sql.Tx) error) error {
	err := f.fenced(ctx, do)
	if !errors.Is(err, errStandby) {
		return err
	}
	return f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var until int64
		if err := tx.QueryRowContext(ctx, `SELECT lease_until FROM fleet WHERE one = 1`).Scan(&until); err != nil {
			return fmt.Errorf("read fleet lease: %w", err)
		}
		if until > millis(f.cfg.Now()) {
			return errStandby
		}
		return do(tx)
	})
}

// mayEnd reports whether this process may ask for ends though it could not
// take or renew the fleet lease.
func (f *Fleet) mayEnd(ctx context.Context) bool {
	return f.ends(ctx, func(*sql.Tx) error { return nil }) == nil
}

// endsOnly is a round of a ledger that takes no writes. Nothing is rented, no
// worker's lease is renewed and nobody is called silent, since no answer could
// be noted; but what must go, goes: what is idle, what boots for too long,
// what is destroyed already and still there, and strays. A job that runs keeps
// its machine, for as long as the lease that it has.
func (f *Fleet) endsOnly(ctx context.Context, cause error) (time.Time, error) {
	now := f.cfg.Now()
	f.mu.Lock()
	if f.since.IsZero() {
		f.since = now // a process that never held the lease: silence before is its own
	}
	f.mu.Unlock()
	rows, err := f.live(ctx)
	if err != nil {
		return now.Add(tickLive), errors.Join(cause, err)
	}
	cause = errors.Join(cause, f.takeFaults())
	snapshot, err := f.list(ctx)
	if snapshot != nil {
		s := Observe(f.cfg.Identity.ID, f.cfg.Provider.Traits(), rows, *snapshot, f.cfg.Policy, f.actsSince(), now)
		f.note(s, snapshot.Complete)
		rows = overlay(rows, s.Changed)
	}
	world, worldErr := f.world(ctx, rows)
	err = errors.Join(err, worldErr)
	_ = f.noteIdle(ctx, rows, world) // in memory: that it cannot be written is known
	err = errors.Join(cause, err)
	world.Blind, world.NoRoom = true, true
	actions, _ := Plan(f.cfg.Policy, world, now)
	ids := map[string]string{}
	for _, in := range rows {
		ids[in.Label] = in.ProviderID
	}
	for _, a := range actions {
		if a.Kind != Destroy || ctx.Err() != nil {
			continue
		}
		a.Unrecorded = true
		if a.Label != "" {
			a.ID = ids[a.Label]
		}
		err = errors.Join(err, f.act(ctx, world, a))
	}
	return now.Add(tickLive), fmt.Errorf("the ledger takes no writes, only ends are asked for: %w", err)
}

// overlay replaces rows by what they would be if it could be written.
func overlay(rows, changed []Instance) []Instance {
	next := map[string]Instance{}
	for _, in := range changed {
		next[in.Label] = in
	}
	var out []Instance
	for _, in := range rows {
		if c, ok := next[in.Label]; ok {
			in = c
		}
		if in.State != gpu.Gone {
			out = append(out, in)
		}
	}
	return out
}
