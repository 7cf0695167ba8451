package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// maxDrift is how far the clock may leave the monotonic one between two looks:
// more is a clock that was set, or a machine that was suspended. What is
// slower than that is followed.
const maxDrift = 5 * time.Second

// offset is the clock's distance from the monotonic one: it changes only when
// the clock is set.
func (f *Fleet) offset() time.Duration {
	return time.Duration(f.cfg.Now().UnixNano()) - f.cfg.Elapsed()
}

// Steady reports whether the clock can be believed: it has not been set since
// the deadlines in the database were last true to it. Until then nobody may
// judge by them.
func (f *Fleet) Steady() bool {
	f.clock.Lock()
	defer f.clock.Unlock()
	return (f.offset() - f.clock.base).Abs() <= maxDrift
}

// followClock moves all open deadlines when the clock was set, by as much, so
// that nothing expires that has not lasted. The holder of the fleet lease does
// so, once; the others wait until it must have: one that took the lease at that
// moment would take it from a holder that has not lost it.
func (f *Fleet) followClock(ctx context.Context) error {
	f.clock.Lock()
	defer f.clock.Unlock()
	offset := f.offset()
	by := offset - f.clock.base
	if by.Abs() <= maxDrift {
		f.clock.base, f.clock.unsteady = offset, 0
		return nil
	}
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	if f.clock.unsteady == 0 {
		f.clock.unsteady = max(1, f.cfg.Elapsed())
	}
	if epoch == 0 {
		if f.cfg.Elapsed()-f.clock.unsteady < leaseFor {
			return nil
		}
	} else if err := f.moveDeadlines(ctx, epoch, by); err != nil {
		return fmt.Errorf("move deadlines: %w", err)
	}
	f.clock.base, f.clock.unsteady = offset, 0
	f.clockSet(by)
	if epoch != 0 {
		f.cfg.Log.WarnContext(ctx, "the clock was set: all open deadlines are moved with it", "by", by)
	}
	return nil
}

// moveDeadlines writes what followClock says, if we still hold the lease.
func (f *Fleet) moveDeadlines(ctx context.Context, epoch int64, by time.Duration) error {
	now := f.cfg.Now()
	err := f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var held int64
		err := tx.QueryRowContext(ctx, `UPDATE fleet SET lease_until = $1 WHERE one = 1 AND holder = $2 AND epoch = $3 RETURNING epoch`,
			millis(now.Add(leaseFor)), f.holder, epoch).Scan(&held)
		if err != nil {
			return err
		}
		if err := f.cfg.Queue.Shift(ctx, tx, by); err != nil {
			return err
		}
		return shiftInstances(ctx, tx, by, now)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil // the new holder does it
	}
	return err
}

// shiftInstances moves the times of all rows that are live, or that a pause
// after a failed boot is still counted from.
func shiftInstances(ctx context.Context, tx *sql.Tx, by time.Duration, now time.Time) error {
	set := `created_at = created_at + $1, state_since = state_since + $1, deadline = deadline + $1`
	for _, column := range []string{"asked_at", "end_asked_at", "ready_at", "contact_at", "idle_since", "absent_since"} {
		set += fmt.Sprintf(`, %[1]s = CASE WHEN %[1]s = 0 THEN 0 ELSE %[1]s + $1 END`, column)
	}
	_, err := tx.ExecContext(ctx, `UPDATE instances SET `+set+` WHERE state <> '`+string(gpu.Gone)+`' OR state_since > $2`,
		by.Milliseconds(), millis(now.Add(-by-10*maxBackoff)))
	if err != nil {
		return fmt.Errorf("move deadlines of instances: %w", err)
	}
	return nil
}

// clockSet makes what is kept in memory true to the clock. Silence before it
// is nobody's.
func (f *Fleet) clockSet(by time.Duration) {
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clockSets++
	f.since, f.listing.reachable = now, now
	f.renewAt, f.heldUntil = f.renewAt.Add(by), f.heldUntil.Add(by)
	f.offers = offers{}
	clear(f.asked)
	for id, s := range f.strays {
		if !s.asked.IsZero() {
			s.asked = s.asked.Add(by)
		}
		f.strays[id] = s
	}
}

// timesSet counts how often the clock was set.
func (f *Fleet) timesSet() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clockSets
}
