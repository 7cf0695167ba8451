package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Attempt is one start of a job on a slot: what the job took of an instance.
// Its row is written by the transaction of Claim, and closed by that of
// whatever ends it.
type Attempt struct {
	JobID     string
	Number    int
	Instance  string
	StartedAt time.Time
	EndedAt   time.Time // zero while it runs
	// Down and Up are the bytes into and out of the instance, as far as known.
	Down, Up int64
}

// Traffic is bytes into and out of an instance; 0 is not known.
type Traffic struct{ Down, Up int64 }

// Cost is what a job cost so far.
type Cost struct {
	USD   gpu.USD
	State apigpu.CostState // empty: nothing is known, and nothing is changed
}

// beginAttempt records the start of the job that Claim has just given a slot.
// Of the video what is known beforehand counts as traffic, else the estimate
// for the result.
func (q *Queue) beginAttempt(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO attempts (job_id, attempt, instance, slot, started_at, down_bytes)
		SELECT id, attempt, instance, slot, started_at, CASE WHEN video_bytes > 0 THEN video_bytes ELSE room END FROM jobs WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("record attempt: %w", err)
	}
	return nil
}

// endAttempts closes what is open of a job.
func (q *Queue) endAttempts(ctx context.Context, tx *sql.Tx, id string, used Traffic) error {
	_, err := tx.ExecContext(ctx, `UPDATE attempts SET ended_at = CASE WHEN $1 > started_at THEN $1 ELSE started_at END,
		down_bytes = CASE WHEN $2 > 0 THEN $2 ELSE down_bytes END, up_bytes = CASE WHEN $3 > 0 THEN $3 ELSE up_bytes END
		WHERE job_id = $4 AND ended_at = 0`, db.Millis(q.now()), used.Down, used.Up, id)
	if err != nil {
		return fmt.Errorf("close attempt: %w", err)
	}
	return nil
}

// pruneAttempts forgets attempts that ended long ago: what they cost stands in
// the charges.
func (q *Queue) pruneAttempts(ctx context.Context, now time.Time) error {
	err := q.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE ended_at > 0 AND ended_at < $1`, db.Millis(now.Add(-historyFor)))
		return err
	})
	if err != nil {
		return fmt.Errorf("prune attempts: %w", err)
	}
	return nil
}

// selectAttempts reads attempts; a condition follows.
const selectAttempts = `SELECT job_id, attempt, instance, started_at, ended_at, down_bytes, up_bytes FROM attempts WHERE `

// Reader is a pool or a transaction.
type Reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// AttemptsOn returns the attempts on an instance, in the order of their
// starts.
func (q *Queue) AttemptsOn(ctx context.Context, from Reader, instance string) ([]Attempt, error) {
	return attempts(ctx, from, selectAttempts+`instance = $1 ORDER BY started_at, job_id, attempt`, instance)
}

// AttemptsOf returns the attempts of a job.
func (q *Queue) AttemptsOf(ctx context.Context, from Reader, id string) ([]Attempt, error) {
	return attempts(ctx, from, selectAttempts+`job_id = $1 ORDER BY attempt`, db.Text(id))
}

func attempts(ctx context.Context, from Reader, query string, args ...any) ([]Attempt, error) {
	rows, err := from.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	defer rows.Close()
	var out []Attempt
	for rows.Next() {
		var a Attempt
		var started, ended int64
		if err := rows.Scan(&a.JobID, &a.Number, &a.Instance, &started, &ended, &a.Down, &a.Up); err != nil {
			return nil, fmt.Errorf("read attempts: %w", err)
		}
		a.StartedAt = db.Time(started)
		if ended != 0 {
			a.EndedAt = db.Time(ended)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// MoveAttempts moves the times of all attempts on these instances, within tx:
// the clock was set, and by d, and the instances are moved likewise.
func (q *Queue) MoveAttempts(ctx context.Context, tx *sql.Tx, instances []string, d time.Duration) error {
	_, err := tx.ExecContext(ctx, `UPDATE attempts SET started_at = started_at + $1,
		ended_at = CASE WHEN ended_at = 0 THEN 0 ELSE ended_at + $1 END WHERE `+q.oneOf("instance", "$2"), d.Milliseconds(), encode(instances))
	if err != nil {
		return fmt.Errorf("move attempts: %w", err)
	}
	return nil
}

// Ask is what a queued job may take at most of the machine that it is given.
type Ask struct {
	JobID string
	// Run is how long one run may take.
	Run time.Duration
	// Size is the length of its video in bytes, 0 where it is not known; Room
	// is what is expected of its result.
	Size, Room int64
	// Spent is what it cost before. It is left to those who know.
	Spent gpu.USD
}

const selectAsk = `SELECT id, run_for, video_bytes, room FROM jobs WHERE status = 'queued' AND cancel_requested = 0 `

// Ask returns what a queued job may take. Conflict when it is not queued.
func (q *Queue) Ask(ctx context.Context, from Reader, id string) (Ask, error) {
	a, err := scanAsk(from.QueryRowContext(ctx, selectAsk+`AND id = $1`, db.Text(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return Ask{}, notWaiting(id)
	}
	if err != nil {
		return Ask{}, fmt.Errorf("read job: %w", err)
	}
	return a, nil
}

// Asks returns what the queued jobs may take, the oldest first and at most so
// many.
func (q *Queue) Asks(ctx context.Context, most int) ([]Ask, error) {
	// The + is that of Next.
	rows, err := q.db.Read().QueryContext(ctx, selectAsk+`AND +waiting_until > $1 ORDER BY created_at, id LIMIT $2`, db.Millis(q.now()), most)
	if err != nil {
		return nil, fmt.Errorf("read queued jobs: %w", err)
	}
	defer rows.Close()
	var out []Ask
	for rows.Next() {
		a, err := scanAsk(rows)
		if err != nil {
			return nil, fmt.Errorf("read queued jobs: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

func scanAsk(row scanner) (a Ask, err error) {
	var run int64
	err = row.Scan(&a.JobID, &run, &a.Size, &a.Room)
	a.Run = time.Duration(run) * time.Millisecond
	return a, err
}

// SetCost records what jobs cost, within tx, and returns those that changed:
// Tell them when tx is over. Jobs that are no longer known are left out.
func (q *Queue) SetCost(ctx context.Context, tx *sql.Tx, costs map[string]Cost) (changed []string, err error) {
	for id, c := range costs {
		if c.State == "" {
			continue
		}
		ids, err := q.writeIn(ctx, tx, tell, `UPDATE jobs SET cost_usd = $1, cost_state = $2, revision = revision + 1
			WHERE id = $3 AND (cost_usd <> $1 OR cost_state <> $2) RETURNING id`, int64(c.USD), string(c.State), id)
		if err != nil {
			return nil, fmt.Errorf("record cost: %w", err)
		}
		changed = append(changed, ids...)
	}
	return changed, nil
}

// Tell wakes those who wait for these jobs.
func (q *Queue) Tell(ids ...string) { q.news.tell(ids...) }

func notWaiting(id string) error {
	return apigpu.E(apigpu.Conflict, nil, "Job %s is not waiting.", id)
}
