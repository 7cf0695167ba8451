package fleet

import (
	"context"
	"database/sql"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The times that an instance is paid by are what the ledger saw. Its start is in
// the middle between the first listing that has it running and the one before,
// which are listGap apart; or what its worker says, where listings leave that
// open: they may lag behind by more than a boot takes. Its end is where the
// provider accepted it, unless a listing still has it running when it should no
// longer, or else in the first complete listing without it.

// lingers is for how long listings may show an instance as it was before its
// end. One that they show for longer was not ended: the next destroy that is
// accepted, or its absence, then is its end.
const lingers = 5 * time.Second

// seenAt notes the times that a listing begun at a moment tells of an instance
// that it has.
func seenAt(row Instance, seen gpu.Instance, began time.Time) Instance {
	if seen.Started && row.StartedAt.IsZero() {
		row.StartedAt = latest(row.CreatedAt, began.Add(-listGap/2))
	}
	if seen.Running && began.After(row.EndedAt.Add(lingers)) {
		row.EndedAt = time.Time{}
	}
	return row
}

// runsFor notes for how long a worker says that it runs, in seconds: to be called
// before its answer is noted as the last. The first answer is more exact than the
// listings; a later one, of a worker that may have been started anew, can only
// tell of an earlier start. None is earlier than the row.
func runsFor(row Instance, seconds float64, now time.Time) Instance {
	if !(seconds > 0) || row.Permanent {
		return row
	}
	began := latest(row.CreatedAt, now.Add(-time.Duration(min(seconds, 1e8)*float64(time.Second))))
	open := row.StartedAt
	if row.ContactAt.IsZero() {
		open = open.Add(listGap / 2)
	}
	if row.StartedAt.IsZero() || began.Before(open) {
		row.StartedAt = began
	}
	return row
}

// missedAt notes the end of an instance that a complete listing lacks.
func missedAt(row Instance) Instance {
	if row.EndedAt.IsZero() && row.existed() {
		row.EndedAt = row.AbsentSince
	}
	return row
}

// noteEnd notes that the provider accepted the end of an instance.
func (f *Fleet) noteEnd(ctx context.Context, label string) error {
	if !f.cfg.Policy.paid() {
		return nil
	}
	now := f.cfg.Now()
	_, err := f.update(context.WithoutCancel(ctx), label, func(row *Instance) bool {
		if !row.EndedAt.IsZero() || row.State == gpu.Gone {
			return false
		}
		row.EndedAt = now
		return true
	})
	return err
}

// moveAttempts moves the times of the attempts on all instances that
// shiftInstances is about to move, in the same transaction.
func (f *Fleet) moveAttempts(ctx context.Context, tx *sql.Tx, by time.Duration, now time.Time) error {
	labels, err := db.Column[string](ctx, tx, `SELECT label FROM instances WHERE `+shifted("$1"), millis(shiftedSince(by, now)))
	if err != nil || len(labels) == 0 {
		return err
	}
	return f.cfg.Queue.MoveAttempts(ctx, tx, labels, by)
}
