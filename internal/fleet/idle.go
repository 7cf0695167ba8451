package fleet

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// noteIdle records since when each ready instance has no job, in the ledger and
// in rows. What the ledger does not take is kept in memory: an instance must
// not stay because nobody could write down that it is idle.
func (f *Fleet) noteIdle(ctx context.Context, rows []Instance, w World) (err error) {
	if w.Unread {
		return nil
	}
	now, busy := f.cfg.Now(), w.Busy
	for i, in := range rows {
		next := in.IdleSince
		switch {
		case in.State != gpu.Ready:
		case busy[in.Label] > 0:
			next = time.Time{}
		case in.IdleSince.IsZero():
			next = f.idleSince(in.Label, now)
		}
		if next.Equal(in.IdleSince) {
			continue
		}
		rows[i].IdleSince = next
		_, updateErr := f.updateIf(ctx, in.Label, func(tx *sql.Tx, row *Instance) (bool, error) {
			row.IdleSince = next
			return true, f.unload(ctx, tx, row)
		})
		f.keepIdle(in.Label, next, updateErr != nil)
		err = errors.Join(err, updateErr)
	}
	return err
}

// idleSince is since when an instance is idle that the ledger does not call
// so.
func (f *Fleet) idleSince(label string, now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since := f.unrecorded[label].idleSince; !since.IsZero() {
		return since
	}
	return now
}

// keepIdle remembers, or forgets, what the ledger does not say.
func (f *Fleet) keepIdle(label string, since time.Time, keep bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.unrecorded[label]
	if u.idleSince = since; !keep {
		u.idleSince = time.Time{}
	}
	f.unrecorded[label] = u
}
