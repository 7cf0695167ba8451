package queue

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/api-gpu/api-gpu"
)

// fullRetry is when a client whose jobs are too many may try again, in
// seconds: by then some may have ended.
const fullRetry = 10

// roomFor refuses the job that tx has just recorded where its client has more
// than most open ones with it; most 0 is any number. The count cannot change
// before tx ends: SQLite has one writer, and on PostgreSQL submissions of one
// client wait for each other.
func (q *Queue) roomFor(ctx context.Context, tx *sql.Tx, client string, most int) error {
	if most <= 0 {
		return nil
	}
	if err := q.db.Lock(ctx, tx, "open jobs of "+client); err != nil {
		return err
	}
	var open int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND client = $1`, client).Scan(&open)
	if err != nil {
		return fmt.Errorf("count jobs of %s: %w", client, err)
	}
	if open <= most {
		return nil
	}
	e := apigpu.E(apigpu.RateLimited, nil, "The key named %s has %d jobs that have not ended, the most that it may have.", client, most).
		WithHint("Wait until some have ended, or ask the operator to raise MAX_JOBS_PER_KEY.")
	e.RetryAfter = fullRetry
	return e
}
