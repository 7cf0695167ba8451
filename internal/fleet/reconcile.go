package fleet

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// How often the loop looks when nothing pokes it.
const (
	tickIdle    = 5 * time.Second // nothing exists: only the lease is renewed
	tickLive    = time.Second     // instances exist
	tickBooting = bootGap
	// Between two rounds, however often they are poked, and after one that
	// failed.
	tickMin  = 20 * time.Millisecond
	tickFail = time.Second
	// listGap is the most often that listings are asked for. A provider whose
	// listings are believed sooner is asked as often as it is believed.
	listGap = time.Second
	// listCalm is listGap while nothing is to come of a listing but what was
	// there: others who use the account need their turn, too.
	listCalm = 5 * time.Second
)

// releaseTimeout bounds the end of Run.
const releaseTimeout = 5 * time.Second

// Run reconciles until ctx ends. Then it ends the instances, where it was told
// to, and gives the fleet lease back. A create call under way is waited for.
func (f *Fleet) Run(ctx context.Context) error {
	f.contacts.Go(func() { f.tend(ctx) })
	f.contacts.Go(func() { f.tendBills(ctx) })
	f.reconcile(ctx)
	f.contacts.Wait()
	ctx = context.WithoutCancel(ctx)
	err := f.goes(ctx)
	f.forget(nil)
	release, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return errors.Join(err, f.release(release))
}

// tend keeps the fleet lease and the leases of the workers beside the loop,
// which may wait for a listing: a worker must not seem silent because nobody spoke to
// it, nor stay because its end was not decided.
func (f *Fleet) tend(ctx context.Context) {
	for pause.For(ctx, tickLive) {
		if leading, err := f.hold(ctx); err != nil || !leading {
			continue // the loop meets the same, and tells
		}
		rows, err := f.live(ctx)
		if err != nil {
			continue
		}
		f.contactAll(ctx, rows)
		f.fault(ctx, f.endsAside(ctx, rows))
	}
}

// destroyAll ends every instance that is ours to end, and waits until the
// provider no longer lists one. What fails is tried again until ctx ends.
func (f *Fleet) destroyAll(ctx context.Context) error {
	for {
		left, err := f.destroyRound(ctx)
		if err == nil && left == 0 {
			return nil
		}
		gap := tickMin
		if err != nil {
			gap = tickFail
		}
		if !pause.For(ctx, gap) {
			return errors.Join(fmt.Errorf("%d instances may still exist: %w", left, ctx.Err()), err)
		}
	}
}

// destroyRound asks for each end that is due, and counts what is left.
func (f *Fleet) destroyRound(ctx context.Context) (left int, err error) {
	leading, holdErr := f.hold(ctx)
	if holdErr == nil && !leading || holdErr != nil && !f.mayEnd(ctx) {
		return 0, holdErr // the new holder goes on with them
	}
	err = errors.Join(holdErr, f.observe(ctx))
	rows, readErr := f.live(ctx)
	err = errors.Join(err, readErr)
	faults := make([]error, len(rows))
	var all sync.WaitGroup // one that hangs holds up no other
	for n, in := range rows {
		if in.Permanent || f.leaves(in) {
			continue
		}
		left++
		if in.State != gpu.Destroying || f.cfg.Now().Sub(in.EndAskedAt) >= retryDestroy {
			all.Go(func() {
				faults[n] = f.destroy(ctx, Action{Label: in.Label, Reason: "the orchestrator stops", Unrecorded: holdErr != nil})
				f.accepts(in, faults[n])
			})
		}
	}
	all.Wait()
	return left, errors.Join(append(faults, err)...)
}

// reconcile runs one round after another until ctx ends.
func (f *Fleet) reconcile(ctx context.Context) {
	jobs := f.cfg.Queue.Watch()
	for ctx.Err() == nil {
		wake, err := f.step(ctx)
		gap := tickMin
		if err != nil && ctx.Err() == nil {
			f.cfg.Log.ErrorContext(ctx, "reconcile", "error", err)
			gap = tickFail
		}
		pause.For(ctx, gap) // pokes that come meanwhile wait in their channels
		timer := time.NewTimer(wake.Sub(f.cfg.Now()))
		select {
		case <-timer.C:
		case <-jobs:
		case <-f.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Tick is one round: it does what Run does at each waking, and waits for the
// calls that it began.
func (f *Fleet) Tick(ctx context.Context) error {
	_, err := f.step(ctx)
	f.contacts.Wait()
	return errors.Join(err, f.takeFaults())
}

// Await waits for the contacts that rounds began: for those who say themselves
// when time passes.
func (f *Fleet) Await() { f.contacts.Wait() }

// step lists, reads the ledger, moves rows passively, contacts the workers,
// then plans, and begins what follows: see act. Each part runs though another
// failed. It returns when to look again at the latest.
func (f *Fleet) step(ctx context.Context) (time.Time, error) {
	now := f.cfg.Now()
	leading, err := f.hold(ctx)
	if err != nil && f.mayEnd(ctx) {
		return f.endsOnly(ctx, err)
	}
	if err != nil {
		return now.Add(tickLive), err
	}
	if !leading {
		rows, err := f.live(ctx)
		if err == nil {
			f.forget(rows) // it may drive jobs all the same
		}
		err = errors.Join(err, f.followStops(ctx))
		return now.Add(tickLive), err
	}
	err = errors.Join(f.takeFaults(), f.observe(ctx), f.settle(ctx))
	rows, readErr := f.live(ctx)
	if readErr != nil {
		return now.Add(tickLive), errors.Join(err, readErr)
	}
	f.forget(rows)
	f.contactAll(ctx, rows)
	world, worldErr := f.world(ctx, rows)
	f.noteLedger(ctx, world.Stops)
	ended, spentErr := f.endSpent(ctx, world)
	err = errors.Join(err, worldErr, spentErr)
	if ended {
		return now, err // look again at once
	}
	err = errors.Join(err, f.noteIdle(ctx, rows, world))
	f.mu.Lock()
	f.listing.calm = worldErr == nil && len(f.strays) == 0 && calm(world)
	f.mu.Unlock()
	planned := f.cfg.Now()
	if !f.stillSo(world, planned) {
		return now, err // look again at once
	}
	actions, wake := Plan(f.cfg.Policy, world, planned)
	for _, a := range actions {
		if ctx.Err() != nil {
			break
		}
		err = errors.Join(err, f.act(ctx, world, a))
	}
	err = errors.Join(err, f.explain(ctx, world))
	if latest := now.Add(pace(rows)); latest.Before(wake) {
		wake = latest
	}
	return wake, err
}

// stillSo reports whether this process has held the fleet lease all the time
// since it looked at the world. One that was suspended in the middle of a round
// has not: then the silence of the workers is its own, and the world must be
// looked at once more before anything is decided.
func (f *Fleet) stillSo(w World, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since.Equal(w.Since) && !now.After(f.heldUntil)
}

// pace is how often to look at instances in these states.
func pace(rows []Instance) time.Duration {
	gap := tickIdle
	for _, in := range rows {
		switch {
		case in.State == gpu.Booting && !in.Permanent:
			return tickBooting
		default:
			gap = tickLive
		}
	}
	return gap
}

// observe lists the provider's instances, then reads the ledger, and writes
// what follows in the transaction that read: no answer of a worker is lost in
// between. The listing comes first, so that a row written meanwhile is never
// taken for absent.
//
// A listing during which the clock was set says nothing of lasting.
func (f *Fleet) observe(ctx context.Context) error {
	before := f.timesSet()
	snapshot, err := f.list(ctx)
	if err != nil || snapshot == nil || f.timesSet() != before || !f.Steady() {
		return err
	}
	var s Sighting
	err = f.fenced(ctx, func(tx *sql.Tx) error {
		rows, err := query(ctx, tx, selectLive, f.cfg.Provider.Name())
		if err != nil {
			return err
		}
		rows = f.stillAsked(rows)
		s = Observe(f.cfg.Identity.ID, f.cfg.Provider.Traits(), rows, *snapshot, f.cfg.Policy, f.actsSince(), f.cfg.Now())
		return f.putSeen(ctx, tx, rows, s.Changed)
	})
	if err != nil {
		return err
	}
	f.note(s, snapshot.Complete)
	for _, in := range s.Changed {
		poke(f.changed)
		if in.State == gpu.Gone {
			f.cfg.Log.InfoContext(ctx, "gone", "instance", in.Label, "reason", in.Reason)
		}
	}
	return nil
}

// stillAsked marks the row whose create call is under way: whatever a listing
// lacks, it may still come.
func (f *Fleet) stillAsked(rows []Instance) []Instance {
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, in := range rows {
		if in.Label == f.creating && in.State == gpu.Creating {
			rows[n].AskedAt = now
		}
	}
	return rows
}

// putSeen writes the rows that a listing changed, with what their change tells
// about machines.
func (f *Fleet) putSeen(ctx context.Context, tx *sql.Tx, rows, changed []Instance) error {
	before := map[string]Instance{}
	for _, in := range rows {
		before[in.Label] = in
	}
	for n, in := range changed {
		was := before[in.Label]
		if in.State == gpu.Gone {
			in.Blame = cmp.Or(in.Blame, vanished(was, f.cfg.Policy))
			changed[n] = in
		}
		if err := f.put(ctx, tx, in); err != nil {
			return err
		}
		if err := f.remember(ctx, tx, was, in); err != nil {
			return err
		}
	}
	return nil
}

// calm reports whether all that exists works.
func calm(w World) bool {
	return len(w.Exited) == 0 && !slices.ContainsFunc(w.Instances, func(in Instance) bool { return in.State != gpu.Ready })
}

// list asks for a listing, or returns nil where the last is fresh enough.
func (f *Fleet) list(ctx context.Context) (*gpu.Snapshot, error) {
	now := f.cfg.Now()
	f.mu.Lock()
	gap := listGap
	if f.listing.calm {
		gap = listCalm
	}
	age := now.Sub(f.listing.at)
	fresh := !f.listing.failed && age >= 0 && age < min(gap, f.cfg.Provider.Traits().AbsenceGap)
	f.mu.Unlock()
	if fresh {
		return nil, nil
	}
	call, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	f.listsSince(now)
	snapshot, err := f.cfg.Provider.Instances(call)
	f.listsSince(time.Time{})
	f.listed(ctx, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listing.failed = err != nil; err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	if now.Sub(f.listing.at) > settleIn {
		f.listing.reachable = now
	}
	f.listing.at, f.listing.labels = now, labelsOf(snapshot)
	f.lookAround(ctx, snapshot)
	// By the clock of the ledger, with whose times it is compared: that of the
	// provider is this machine's, which another may be wrong by.
	snapshot.Began = now
	return &snapshot, nil
}

// listsSince notes since when a listing is under way; never, that none is.
func (f *Fleet) listsSince(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listing.asked = at
}

// note keeps in memory what a listing said beyond the ledger. A stray counts
// by complete listings; an incomplete one neither adds to it nor clears it.
func (f *Fleet) note(s Sighting, complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exited = s.Exited
	if !complete {
		return
	}
	next := map[string]stray{}
	for id, label := range s.Strays {
		was := f.strays[id]
		next[id] = stray{label, was.listings + 1, was.asked}
	}
	f.strays = next
}
