package queue

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
)

// halfLife is whether a job has had its result for more than half of the time
// that was promised, at $1. It goes before its time only then.
const halfLife = `result <> '' AND $1 - finished_at > keep_for / 2`

// Promised adds up what the rows say about room: it is true after a restart,
// and whichever process wrote them.
func (q *Queue) Promised(ctx context.Context) (p blob.Promises, err error) {
	err = q.db.Read().QueryRowContext(ctx, `SELECT
		(SELECT CAST(COALESCE(SUM(room), 0) AS bigint) FROM jobs WHERE status = 'queued' AND status IN ('queued', 'running')),
		(SELECT CAST(COALESCE(SUM(room), 0) AS bigint) FROM jobs WHERE status = 'running' AND status IN ('queued', 'running')),
		(SELECT COALESCE(MIN(room), 0) FROM jobs WHERE status = 'queued' AND status IN ('queued', 'running')),
		(SELECT CAST(COALESCE(SUM(room), 0) AS bigint) FROM jobs WHERE result <> ''),
		(SELECT CAST(COALESCE(SUM(room), 0) AS bigint) FROM jobs WHERE `+halfLife+`)`, db.Millis(q.now())).
		Scan(&p.Queued, &p.Running, &p.Least, &p.Kept, &p.Spare)
	if err != nil {
		return blob.Promises{}, fmt.Errorf("read promises: %w", err)
	}
	return p, nil
}

// evictBatch bounds the results that one Evict looks at.
const evictBatch = 1000

// Evict takes results of need bytes, or of as many as there are, from jobs that
// have had them for more than half of their time, the oldest first. It returns
// the blob keys, which nothing needs any more. Results that busy names stay.
func (q *Queue) Evict(ctx context.Context, need int64, busy func(key string) bool) (keys []string, err error) {
	now := db.Millis(q.now())
	var ids []string
	err = q.db.Tx(ctx, func(tx *sql.Tx) error {
		ids, keys = nil, nil // Tx may run this again
		left := need
		old, err := oldest(ctx, tx, now)
		if err != nil {
			return err
		}
		for _, r := range old {
			if left <= 0 {
				break
			}
			if busy(r.key) {
				continue
			}
			done, err := tx.ExecContext(ctx, `UPDATE jobs SET result = '', evicted = 1, expires_at = $1, revision = revision + 1
				WHERE id = $2 AND result = $3`, now, r.id, r.key)
			if err != nil {
				return err
			}
			if n, err := done.RowsAffected(); err != nil || n == 0 { // another process was faster
				if err != nil {
					return err
				}
				continue
			}
			ids, keys, left = append(ids, r.id), append(keys, r.key), left-max(r.room, 1)
		}
		return q.notify(ctx, tx, spread, ids)
	})
	if err != nil {
		return nil, fmt.Errorf("evict results: %w", err)
	}
	q.news.spread(ids...)
	return keys, nil
}

// kept is a result that is here.
type kept struct {
	id, key string
	room    int64 // bytes; 0 where an older program stored it
}

// oldest returns results that may go before their time.
func oldest(ctx context.Context, tx *sql.Tx, now int64) (out []kept, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, result, room FROM jobs WHERE `+halfLife+` ORDER BY finished_at LIMIT $2`, now, evictBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r kept
		if err := rows.Scan(&r.id, &r.key, &r.room); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Spent returns the blob keys that Prune would take from jobs. It writes
// nothing: on a volume without room for that, their files may go first. Nobody
// is given them any more.
func (q *Queue) Spent(ctx context.Context) ([]string, error) {
	keys, err := db.Column[string](ctx, q.db.Read(), selectSpent, db.Millis(q.now()))
	if err != nil {
		return nil, fmt.Errorf("read spent results: %w", err)
	}
	return keys, nil
}
