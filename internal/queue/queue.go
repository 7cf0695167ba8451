// Package queue is the life of a job on the VPS: the table jobs and every
// rule about it. Truth is in the table; what it sends on channels only saves
// a wait.
//
// A running job is driven by one owner. Every write of a driver names the
// attempt and the owner, so that nothing from an old one is accepted
// (StaleAttempt).
package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

// Attempts of a job: after maxBlamed that were its own fault it fails, and
// after maxAttempts whoever was at fault.
const (
	maxBlamed   = 3
	maxAttempts = 10
)

// Queue is the table jobs. All methods are safe for concurrent use.
type Queue struct {
	db   *db.DB
	now  func() time.Time
	news *news
}

// New returns the queue in d. now is the clock, which all processes on the
// database share: nil is the database's own, and tests have others.
func New(d *db.DB, now func() time.Time) *Queue {
	if now == nil {
		now = d.Now
	}
	return &Queue{db: d, now: now, news: newNews()}
}

// Job is a row: what the public sees, and what drives it.
type Job struct {
	apigpu.Job
	Client          string
	Spec            apigpu.CaptionSpec
	Upload          string        // blob key of an uploaded video
	Fonts           []string      // blob keys of fonts that go along
	Push            bool          // the video travels through the orchestrator
	RunFor          time.Duration // how long one run may take
	KeepFor         time.Duration // how long the result is kept
	WaitingUntil    time.Time
	RunningUntil    time.Time // zero unless running
	Blamed          int
	Owner           string    // empty unless running
	LeaseUntil      time.Time // zero unless running
	Instance        string    // label; empty unless running
	Slot            int
	CancelRequested bool
	Result          string // blob key; empty before success and after its end
	Room            int64  // bytes promised to the result, and once it is there, its own
	Evicted         bool   // the result went before its time
	// Damaged says which values of the row cannot be read, as after a step
	// back to an older program. They are missing here.
	Damaged    error
	Base       string // address under which the client reached the server; may be empty
	WebhookURL string // may hold secrets; empty for none
}

// Lease names one driver of one attempt: the fence of its writes.
type Lease struct {
	JobID   string
	Attempt int
	Owner   string
}

// Lease returns the lease under which the job runs now.
func (j Job) Lease() Lease { return Lease{j.ID, j.Attempt, j.Owner} }

// Draft is a job to be recorded.
type Draft struct {
	Client   string
	Spec     apigpu.CaptionSpec
	Subtitle []byte
	Upload   string
	Fonts    []string // blob keys of fonts that go along
	Push     bool
	Captions apigpu.Captions
	Warnings []apigpu.Warning
	WaitFor  time.Duration // how long it may wait for a worker
	RunFor   time.Duration // how long one run may take
	KeepFor  time.Duration // how long its result is kept
	Room     int64         // bytes promised to its result
	Video    time.Duration // length of its video; 0 where it is not known
	Size     int64         // bytes of its video; 0 where it is not known
	MaxOpen  int           // jobs that its client may have open, this one included; 0 is any number

	Base       string // address under which the client reached the server
	WebhookURL string // called at the end of the job; empty for none, valid otherwise
}

// Submit records a job. When it returns nil the job survives a power cut. A
// client that has MaxOpen jobs already gets RateLimited.
func (q *Queue) Submit(ctx context.Context, d Draft) (Job, error) {
	j, _, err := q.SubmitOnce(ctx, d, Once{})
	return j, err
}

// Job returns a job as it is.
func (q *Queue) Job(ctx context.Context, id string) (Job, error) {
	j, err := q.scan(q.db.Read().QueryRowContext(ctx, `SELECT `+columns+` FROM jobs WHERE id = $1`, db.Text(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, notFound(id)
	}
	if err != nil {
		return Job{}, fmt.Errorf("read job: %w", err)
	}
	if j.Status == apigpu.Queued {
		var position int
		err := q.db.Read().QueryRowContext(ctx, `SELECT 1 + count(*) FROM (SELECT 1 FROM jobs WHERE status = 'queued'
			AND (created_at, id) < ($1, $2) LIMIT $3) AS ahead`, db.Millis(j.CreatedAt), id, apigpu.MaxQueuePosition-1).Scan(&position)
		if err != nil {
			return Job{}, fmt.Errorf("count jobs ahead: %w", err)
		}
		j.QueuePosition = &position
	}
	return j, nil
}

// Subtitle returns the subtitle file of a job, as it was validated.
func (q *Queue) Subtitle(ctx context.Context, id string) ([]byte, error) {
	var b []byte
	err := q.db.Read().QueryRowContext(ctx, `SELECT content FROM subtitles WHERE job_id = $1`, db.Text(id)).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	return b, err
}

// Filter selects jobs of a listing.
type Filter struct {
	Client string        // empty: everybody's
	Status apigpu.Status // empty: any
	Since  time.Time     // created at or after; zero: any
	Before string        // ids below this one: the cursor
	Limit  int
}

// List returns jobs, newest first: ids are ULIDs, so they sort by time.
func (q *Queue) List(ctx context.Context, f Filter) ([]Job, error) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(clause string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(clause, len(args)))
	}
	if f.Client != "" {
		add("client = $%d", db.Text(f.Client))
	}
	if f.Status != "" {
		add("status = $%d", f.Status)
	}
	if !f.Since.IsZero() {
		add("created_at >= $%d", db.Millis(f.Since))
	}
	if f.Before != "" {
		add("id < $%d", db.Text(f.Before))
	}
	args = append(args, f.Limit)
	return q.rows(ctx, fmt.Sprintf(`SELECT %s FROM jobs WHERE %s ORDER BY id DESC LIMIT $%d`,
		columns, strings.Join(where, " AND "), len(args)), args...)
}

// Running returns the jobs that run.
func (q *Queue) Running(ctx context.Context) ([]Job, error) {
	return q.rows(ctx, `SELECT `+columns+` FROM jobs WHERE status = 'running' ORDER BY created_at, id`)
}

// Next returns the queued jobs that may be claimed, the oldest first, and at
// most so many: there may be thousands, and who has a slot free needs few.
func (q *Queue) Next(ctx context.Context, most int) ([]Job, error) {
	// The + keeps SQLite from finding them by waiting_until: it would read and
	// sort them all.
	return q.rows(ctx, `SELECT `+columns+` FROM jobs WHERE status = 'queued' AND cancel_requested = 0 AND +waiting_until > $1
		ORDER BY created_at, id LIMIT $2`, db.Millis(q.now()), most)
}

// Smallest is Next for a full disk: those that were promised the least room
// come first.
func (q *Queue) Smallest(ctx context.Context, most int) ([]Job, error) {
	return q.rows(ctx, `SELECT `+columns+` FROM jobs WHERE status = 'queued' AND cancel_requested = 0 AND waiting_until > $1
		ORDER BY room, created_at, id LIMIT $2`, db.Millis(q.now()), most)
}

// Counts returns how many jobs are queued and how many run.
func (q *Queue) Counts(ctx context.Context) (queued, running int, err error) {
	err = q.db.Read().QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'running')
		FROM jobs WHERE status IN ('queued', 'running')`).Scan(&queued, &running)
	return queued, running, err
}

// Load returns how many queued jobs can still be claimed, and how many jobs
// run on each instance: what a fleet plans for.
func (q *Queue) Load(ctx context.Context) (waiting int, busy map[string]int, err error) {
	rows, err := q.db.Read().QueryContext(ctx, `
		SELECT '', count(*) FROM jobs WHERE status = 'queued' AND cancel_requested = 0 AND waiting_until > $1
		UNION ALL SELECT instance, count(*) FROM jobs WHERE status = 'running' GROUP BY instance`, db.Millis(q.now()))
	if err != nil {
		return 0, nil, fmt.Errorf("read load: %w", err)
	}
	defer rows.Close()
	busy = map[string]int{}
	for rows.Next() {
		var instance string
		var n int
		if err := rows.Scan(&instance, &n); err != nil {
			return 0, nil, fmt.Errorf("read load: %w", err)
		}
		if instance == "" {
			waiting = n
		} else {
			busy[instance] = n
		}
	}
	return waiting, busy, rows.Err()
}

// Busy reports whether a job runs on an instance. It reads within tx, so that
// a decision written there cannot miss a claim: one that comes meanwhile waits
// for the end of tx.
func (q *Queue) Busy(ctx context.Context, tx *sql.Tx, instance string) (bool, error) {
	if err := q.db.Lock(ctx, tx, instance); err != nil {
		return false, err
	}
	var busy bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'running' AND instance = $1)`, instance).Scan(&busy)
	if err != nil {
		return false, fmt.Errorf("read load of %s: %w", instance, err)
	}
	return busy, nil
}

// exists reports whether there is a job as where says: a look before a write
// that is mostly in vain, since it keeps no other write waiting.
func (q *Queue) exists(ctx context.Context, where string, args ...any) (found bool, err error) {
	err = q.db.Read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM jobs WHERE `+where+`)`, args...).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("look for jobs: %w", err)
	}
	return found, nil
}

func (q *Queue) rows(ctx context.Context, query string, args ...any) ([]Job, error) {
	rows, err := q.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		j, err := q.scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// change is write, and spreads the news of the jobs it changed.
func (q *Queue) change(ctx context.Context, statement string, args ...any) ([]string, error) {
	ids, err := q.write(ctx, spread, statement, args...)
	q.news.spread(ids...)
	return ids, err
}

// write runs one statement that ends in RETURNING id, in a transaction of its
// own, which also tells other processes. It returns the ids of the jobs it
// changed. One statement is right with many writers as with one: a row that
// another has just changed is looked at again before it is changed.
func (q *Queue) write(ctx context.Context, how reach, statement string, args ...any) ([]string, error) {
	var ids []string
	err := q.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		ids, err = q.writeIn(ctx, tx, how, statement, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// writeIn is write in a transaction that is there already.
func (q *Queue) writeIn(ctx context.Context, tx *sql.Tx, how reach, statement string, args ...any) ([]string, error) {
	ids, err := db.Column[string](ctx, tx, statement, args...)
	if err != nil {
		return nil, err
	}
	return ids, q.notify(ctx, tx, how, ids)
}

func notFound(id string) error {
	return apigpu.E(apigpu.JobNotFound, nil, "There is no job %q.", id)
}
