package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Waits between the moment at which the clock is found to be set and the
// moment at which it is followed. The time of a PostgreSQL server is asked
// every db.ClockGap: before the leader moves deadlines all processes must know
// that they are not to be believed, and they wait until the leader must have
// done it.
const (
	clockShared = 2 * db.ClockGap
	clockOthers = 2 * leaseFor
)

// Elapsed is the time since some moment, whatever the clock shows: for what
// lasts in this process.
func (f *Fleet) Elapsed() time.Duration { return f.cfg.Clock.Elapsed() }

// Steady reports whether deadlines can be believed: the clock was not set, or
// they have been moved with it.
func (f *Fleet) Steady() bool { return f.cfg.Clock.Jump() == 0 }

// followClock moves all open deadlines when the clock was set, by as much, so
// that nothing expires that has not lasted. The holder of the fleet lease does
// so, once; the others wait until it must have: one that took the lease at that
// moment would take it from a holder that has not lost it.
func (f *Fleet) followClock(ctx context.Context) error {
	f.clock.Lock()
	defer f.clock.Unlock()
	by := f.cfg.Clock.Jump()
	if by == 0 {
		f.clock.found = 0
		return nil
	}
	elapsed := f.Elapsed()
	if f.clock.found == 0 {
		f.clock.found = max(1, elapsed)
	}
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	wait := clockOthers
	if epoch != 0 {
		wait = 0
		if f.cfg.DB.Dialect() == db.PostgreSQL {
			wait = clockShared
		}
	}
	if elapsed-f.clock.found < wait {
		return nil
	}
	f.clock.found = 0
	if epoch == 0 {
		f.clockSet(by)
		return nil
	}
	return f.leadClock(ctx, epoch, by)
}

// leadClock moves the deadlines and the clock. Between the two nothing must
// expire, so the later of the two comes first.
func (f *Fleet) leadClock(ctx context.Context, epoch int64, by time.Duration) error {
	if by < 0 {
		f.clockSet(by)
	}
	if err := f.moveDeadlines(ctx, epoch, by); err != nil {
		if by < 0 {
			f.clockSet(-by) // as before: the next round tries again
		}
		return fmt.Errorf("move deadlines: %w", err)
	}
	if by > 0 {
		f.clockSet(by)
	}
	f.cfg.Log.WarnContext(ctx, "the clock was set: all open deadlines are moved with it", "by", by.Round(time.Second))
	return nil
}

// moveDeadlines writes what followClock says, if we still hold the lease.
func (f *Fleet) moveDeadlines(ctx context.Context, epoch int64, by time.Duration) error {
	now := f.cfg.Now()
	if by > 0 {
		now = now.Add(by)
	}
	err := f.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		var held int64
		err := tx.QueryRowContext(ctx, `UPDATE fleet SET lease_until = $1 WHERE one = 1 AND holder = $2 AND epoch = $3 RETURNING epoch`,
			millis(now.Add(leaseFor)), f.holder, epoch).Scan(&held)
		if err != nil {
			return err
		}
		return f.shift(ctx, tx, by, now)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil // the new holder does it
	}
	return err
}

// pullBack moves all open deadlines, within tx, where the ledger was written at
// a time that is still to come: the clock was set back while nobody led. An end
// would not be asked for again before that time, and who is idle would stay. It
// returns by how much they are moved.
func (f *Fleet) pullBack(ctx context.Context, tx *sql.Tx, now time.Time) (by time.Duration, err error) {
	written := make([]sql.NullInt64, 6)
	err = tx.QueryRowContext(ctx, `SELECT max(created_at), max(state_since), max(asked_at), max(end_asked_at), max(contact_at), max(idle_since)
		FROM instances`).Scan(&written[0], &written[1], &written[2], &written[3], &written[4], &written[5])
	if err != nil {
		return 0, fmt.Errorf("read when the ledger was written: %w", err)
	}
	for _, ms := range written {
		by = min(by, now.Sub(db.Time(ms.Int64)))
	}
	if by >= -db.MaxDrift {
		return 0, nil
	}
	return by, f.shift(ctx, tx, by, now)
}

// shift moves all open deadlines, within tx; now is the time after that.
func (f *Fleet) shift(ctx context.Context, tx *sql.Tx, by time.Duration, now time.Time) error {
	if err := f.cfg.Queue.Shift(ctx, tx, by); err != nil {
		return err
	}
	if err := f.moveAttempts(ctx, tx, by, now); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE stops SET since = since + $1, until = until + $1`, by.Milliseconds()); err != nil {
		return fmt.Errorf("move what stops renting: %w", err)
	}
	return shiftInstances(ctx, tx, by, now)
}

// shifted is the condition of the rows that are moved, of those that are gone
// such as are so since shiftedSince.
func shifted(since string) string {
	return `(state <> '` + string(gpu.Gone) + `' OR state_since > ` + since + `)`
}

// shiftedSince is now after the clock was set. What would be still to come
// otherwise is moved, however long ago it was: it would keep pauses going.
func shiftedSince(by time.Duration, now time.Time) time.Time {
	return now.Add(-max(by, 0) - 10*breakMost)
}

// shiftInstances moves the times of all rows that are live, or that a pause
// after a failed boot is still counted from.
func shiftInstances(ctx context.Context, tx *sql.Tx, by time.Duration, now time.Time) error {
	set := `created_at = created_at + $1, state_since = state_since + $1, deadline = deadline + $1`
	for _, column := range []string{"asked_at", "end_asked_at", "ready_at", "contact_at", "idle_since", "absent_since",
		"started_at", "message_at", "lease_until", "ended_at", "reserved_until", "address_at", "heard_at"} {
		set += fmt.Sprintf(`, %[1]s = CASE WHEN %[1]s = 0 THEN 0 ELSE %[1]s + $1 END`, column)
	}
	_, err := tx.ExecContext(ctx, `UPDATE instances SET `+set+` WHERE `+shifted("$2"), by.Milliseconds(), millis(shiftedSince(by, now)))
	if err != nil {
		return fmt.Errorf("move deadlines of instances: %w", err)
	}
	_, err = tx.ExecContext(ctx, `UPDATE hosts SET noted_at = noted_at + $1,
		failed_at = CASE WHEN failed_at = 0 THEN 0 ELSE failed_at + $1 END,
		blocked_until = CASE WHEN blocked_until = 0 THEN 0 ELSE blocked_until + $1 END`, by.Milliseconds())
	if err != nil {
		return fmt.Errorf("move what is remembered of hosts: %w", err)
	}
	return nil
}

// clockSet follows the clock, also with what is kept in memory. Silence before
// it is nobody's.
func (f *Fleet) clockSet(by time.Duration) {
	f.cfg.Clock.Follow(by)
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clockSets++
	f.since, f.listing.reachable = now, now
	f.renewAt, f.heldUntil = f.renewAt.Add(by), f.heldUntil.Add(by)
	f.offers = offers{}
	f.money.pricesAt, f.money.bills.next = time.Time{}, time.Time{}
	clear(f.money.denied)
	clear(f.money.bills.seen)
	clear(f.unrecorded)
	clear(f.asked)
	for code, s := range f.stops {
		s.Until = s.Until.Add(by)
		f.stops[code] = s
	}
	for label, r := range f.refused {
		r.since = now
		f.refused[label] = r
	}
	f.pause.until = time.Time{}
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
