package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// How often the loop looks when nothing pokes it.
const (
	tickIdle    = 5 * time.Second // nothing exists: only the lease is renewed
	tickLive    = time.Second     // instances exist
	tickBooting = bootGap
	tickMin     = 20 * time.Millisecond
)

// Bounds of the end of Run.
const (
	releaseTimeout = 5 * time.Second
	endTimeout     = time.Minute
)

// Run reconciles until ctx ends. Then it ends the instances, where it was told
// to, and gives the fleet lease back.
func (f *Fleet) Run(ctx context.Context) error {
	f.reconcile(ctx)
	f.contacts.Wait()
	ctx = context.WithoutCancel(ctx)
	var err error
	if f.cfg.DestroyAtEnd && f.Leading() {
		end, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		err = f.destroyAll(end)
	}
	release, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return errors.Join(err, f.release(release))
}

// destroyAll ends every instance that is ours to end, and waits until the
// provider no longer lists one.
func (f *Fleet) destroyAll(ctx context.Context) error {
	f.cfg.Policy.MaxGPUs = 0 // a job that waits gets no new one
	for {
		rows, err := f.live(ctx)
		left := false
		for _, in := range rows {
			if in.Permanent {
				continue
			}
			left = true
			if in.State != gpu.Destroying {
				err = errors.Join(err, f.destroy(ctx, in.Label, "the orchestrator stops"))
			}
		}
		if err != nil || !left {
			return err
		}
		if _, err := f.step(ctx); err != nil {
			return err
		}
		timer := time.NewTimer(tickMin)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("instances were still listed: %w", ctx.Err())
		}
	}
}

// reconcile runs one round after another until ctx ends.
func (f *Fleet) reconcile(ctx context.Context) {
	jobs := f.cfg.Queue.Watch()
	for ctx.Err() == nil {
		wake, err := f.step(ctx)
		if err != nil && ctx.Err() == nil {
			f.cfg.Log.ErrorContext(ctx, "reconcile", "error", err)
		}
		timer := time.NewTimer(max(tickMin, wake.Sub(f.cfg.Now())))
		select {
		case <-timer.C:
		case <-jobs:
		case <-f.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Tick is one round: it does what Run does at each waking.
func (f *Fleet) Tick(ctx context.Context) error {
	_, err := f.step(ctx)
	return err
}

// step lists, reads the ledger, moves rows passively, contacts the workers,
// then plans and acts. Each part runs though another failed. It returns when
// to look again at the latest.
func (f *Fleet) step(ctx context.Context) (time.Time, error) {
	now := f.cfg.Now()
	leading, err := f.hold(ctx)
	if err != nil || !leading {
		return now.Add(tickLive), err
	}
	err = f.observe(ctx)
	rows, readErr := f.live(ctx)
	if readErr != nil {
		return now.Add(tickLive), errors.Join(err, readErr)
	}
	f.contactAll(ctx, rows)
	world, worldErr := f.world(ctx, rows)
	if worldErr != nil {
		return now.Add(tickLive), errors.Join(err, worldErr)
	}
	actions, wake := Plan(f.cfg.Policy, world, f.cfg.Now())
	for _, a := range actions {
		if ctx.Err() != nil {
			break
		}
		err = errors.Join(err, f.apply(ctx, a))
	}
	err = errors.Join(err, f.explain(ctx, world))
	if latest := now.Add(pace(rows)); latest.Before(wake) {
		wake = latest
	}
	return wake, err
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
// what follows. The listing comes first, so that a row written meanwhile is
// never taken for absent.
func (f *Fleet) observe(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	snapshot, err := f.cfg.Provider.Instances(call)
	if err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	rows, err := f.live(ctx)
	if err != nil {
		return err
	}
	s := Observe(f.cfg.Identity.ID, f.cfg.Provider.Traits(), rows, snapshot, f.cfg.Policy.BootTimeout, f.cfg.Now())
	f.mu.Lock()
	f.exited = s.Exited
	next := map[string]stray{}
	for id, label := range s.Strays {
		next[id] = stray{id, label, f.strays[id].listings + 1}
	}
	f.strays = next
	f.mu.Unlock()
	if err := f.save(ctx, s.Changed...); err != nil {
		return err
	}
	if len(s.Changed) > 0 {
		poke(f.changed)
		for _, in := range s.Changed {
			if in.State == gpu.Gone {
				f.cfg.Log.InfoContext(ctx, "gone", "instance", in.Label, "reason", in.Reason)
			}
		}
	}
	return nil
}

// world gathers what Plan looks at, and keeps idle_since true.
func (f *Fleet) world(ctx context.Context, rows []Instance) (World, error) {
	open, err := f.cfg.Queue.Open(ctx)
	if err != nil {
		return World{}, err
	}
	w := World{Instances: rows, Busy: map[string]int{}}
	for _, j := range open {
		switch j.Status {
		case apigpu.Queued:
			w.Waiting++
		case apigpu.Running:
			w.Busy[j.Instance]++
		}
	}
	if err := f.noteIdle(ctx, rows, w.Busy); err != nil {
		return World{}, err
	}
	if w.FailedBoots, w.LastFailure, err = f.failedBoots(ctx); err != nil {
		return World{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Exited, w.Since = f.exited, f.since
	w.Offers, w.OffersAt = f.offers.list, f.offers.at
	for id, s := range f.strays {
		if s.listings >= 2 {
			w.Strays = append(w.Strays, id)
		}
	}
	return w, nil
}

// noteIdle records since when each ready instance has no job.
func (f *Fleet) noteIdle(ctx context.Context, rows []Instance, busy map[string]int) error {
	now := f.cfg.Now()
	for i, in := range rows {
		next := in.IdleSince
		switch {
		case in.State != gpu.Ready:
		case busy[in.Label] > 0:
			next = time.Time{}
		case in.IdleSince.IsZero():
			next = now
		}
		if next.Equal(in.IdleSince) {
			continue
		}
		rows[i].IdleSince = next
		if _, err := f.update(ctx, in.Label, func(row *Instance) bool { row.IdleSince = next; return true }); err != nil {
			return err
		}
	}
	return nil
}

// explain tells waiting jobs why they wait.
func (f *Fleet) explain(ctx context.Context, w World) error {
	if w.Waiting == 0 {
		return nil
	}
	return f.cfg.Queue.Note(ctx, waitingFor(w))
}

// waitingFor says what the queued jobs wait for.
func waitingFor(w World) string {
	for _, in := range w.Instances {
		switch in.State {
		case gpu.Ready:
			return "a worker is busy with an earlier job"
		case gpu.Planned, gpu.Creating, gpu.Booting:
			return "a worker is starting"
		}
	}
	if w.FailedBoots > 0 {
		return fmt.Sprintf("the last %d workers did not start; trying again", w.FailedBoots)
	}
	return "a worker is being looked for"
}
