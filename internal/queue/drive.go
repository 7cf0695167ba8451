package queue

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

// LeaseFor is how long a driver may be silent before another takes over.
const LeaseFor = 30 * time.Second

// Claim starts the next attempt of a queued job on a slot: it decides who may
// run a job. Conflict means that the job or the slot is taken, or that the
// job's waiting is over.
func (q *Queue) Claim(ctx context.Context, id, instance string, slot int) (Job, error) {
	return q.ClaimIf(ctx, id, instance, slot, func(context.Context, *sql.Tx) (time.Duration, error) { return 0, nil })
}

// ClaimIf is Claim on a condition. may runs first, within the transaction of
// the claim: what it writes counts only if the job is claimed. Its error ends
// the claim and comes back as it is. It returns how long the run may take,
// where that is less than was promised to the job; else 0.
func (q *Queue) ClaimIf(ctx context.Context, id, instance string, slot int, may func(context.Context, *sql.Tx) (most time.Duration, err error)) (Job, error) {
	now, owner := q.now(), q.newOwner()
	err := q.db.Tx(ctx, func(tx *sql.Tx) error {
		most, err := may(ctx, tx)
		if err != nil {
			return err
		}
		if err := q.db.Lock(ctx, tx, instance); err != nil { // see Busy
			return err
		}
		ids, err := q.writeIn(ctx, tx, spread, `
			UPDATE jobs SET status = 'running', phase = $1, phase_note = '', progress = 0, attempt = attempt + 1, owner = $2, lease_until = $3,
				instance = $4, slot = $5, started_at = $6, running_until = $6 + CASE WHEN $8 > 0 AND $8 < run_for THEN $8 ELSE run_for END,
				revision = revision + 1
			WHERE id = $7 AND status = 'queued' AND cancel_requested = 0 AND waiting_until > $6
			RETURNING id`,
			apigpu.Downloading, owner, db.Millis(now.Add(LeaseFor)), instance, slot, db.Millis(now), id, most.Milliseconds())
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return notWaiting(id)
		}
		return q.beginAttempt(ctx, tx, id)
	})
	switch _, ours := errors.AsType[*apigpu.Error](err); {
	case db.IsUnique(err):
		return Job{}, apigpu.E(apigpu.Conflict, err, "Slot %d of %s is taken.", slot, instance)
	case ours:
		return Job{}, err
	case err != nil:
		return Job{}, fmt.Errorf("claim job: %w", err)
	}
	q.news.spread(id)
	return q.driven(ctx, id, owner)
}

// driven reads a job that owner has just begun to drive. Conflict when this
// process stood still for so long that another drives it by now: its lease
// must not be given away.
func (q *Queue) driven(ctx context.Context, id, owner string) (Job, error) {
	j, err := q.Job(ctx, id)
	if err == nil && j.Owner != owner {
		return Job{}, apigpu.E(apigpu.Conflict, nil, "Job %s is driven by another.", id)
	}
	return j, err
}

// TakeOver makes the caller the driver of a job whose driver fell silent: the
// same attempt on the same slot, a new owner. Conflict means that the lease
// has not run out, or that somebody was faster.
func (q *Queue) TakeOver(ctx context.Context, id string) (Job, error) {
	now, owner := q.now(), q.newOwner()
	ids, err := q.change(ctx, `
		UPDATE jobs SET owner = $1, lease_until = $2, revision = revision + 1
		WHERE id = $3 AND status = 'running' AND lease_until <= $4
		RETURNING id`, owner, db.Millis(now.Add(LeaseFor)), id, db.Millis(now))
	if err != nil {
		return Job{}, fmt.Errorf("take over job: %w", err)
	}
	if len(ids) == 0 {
		return Job{}, apigpu.E(apigpu.Conflict, nil, "Job %s is driven by another.", id)
	}
	return q.driven(ctx, id, owner)
}

// Heartbeat renews a lease. It is no news to anybody.
func (q *Queue) Heartbeat(ctx context.Context, l Lease) error {
	return q.fencedTelling(ctx, nobody, l, "renew lease", `lease_until = $4`, db.Millis(q.now().Add(LeaseFor)))
}

// Release ends a lease early, so that the next process takes the job over at
// once: the last word of a driver that is told to stop.
func (q *Queue) Release(ctx context.Context, l Lease) error {
	return q.announced(l, q.fenced(ctx, l, "release lease", `lease_until = $4`, db.Millis(q.now())))
}

// Orphan ends, within tx, the leases of the running jobs that a process drove
// which is known to be gone; empty stands for every process. Each job is then
// taken over at once, at the same attempt. A driver that lives after all is
// fenced by that.
func (q *Queue) Orphan(ctx context.Context, tx *sql.Tx, process string) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET lease_until = $1
		WHERE status = 'running' AND lease_until > $1 AND ($2 = '' OR substr(owner, 1, length($2)) = $2)`, db.Millis(q.now()), process)
	if err != nil {
		return fmt.Errorf("end leases of jobs: %w", err)
	}
	return q.notify(ctx, tx, spread, []string{anyJob})
}

// Process names this process: the owners that it makes begin with it.
func (q *Queue) Process() string { return q.news.self }

// Shift moves all times that a job which has not ended is measured by, within
// tx: the clock was set, and by d. When it was created stays as it was told.
func (q *Queue) Shift(ctx context.Context, tx *sql.Tx, d time.Duration) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET waiting_until = waiting_until + $1, running_until = running_until + $1,
		lease_until = lease_until + $1, started_at = started_at + $1, revision = revision + 1
		WHERE status IN ('queued', 'running')`, d.Milliseconds())
	if err != nil {
		return fmt.Errorf("move deadlines of jobs: %w", err)
	}
	// Of jobs that have ended, too. A signed link keeps the time that stands in
	// it.
	if _, err := tx.ExecContext(ctx, `UPDATE jobs SET expires_at = expires_at + $1 WHERE result <> ''`, d.Milliseconds()); err != nil {
		return fmt.Errorf("move results: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE jobs SET idempotency_until = idempotency_until + $1 WHERE idempotency_until IS NOT NULL`, d.Milliseconds()); err != nil {
		return fmt.Errorf("move keys: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE jobs SET webhook_due = `+webhookAt+` + $1
		WHERE webhook_due IS NOT NULL AND finished_at IS NOT NULL`, d.Milliseconds()); err != nil {
		return fmt.Errorf("move webhooks: %w", err)
	}
	return q.notify(ctx, tx, spread, []string{anyJob})
}

// Progress is how far a running job is.
type Progress struct {
	Phase   apigpu.Phase
	Percent float64 // of the whole job, 0 to 100; a lower one than before is not shown
}

// Report shows progress to those who wait for this job. What watches the
// whole queue is not woken: no decision depends on progress.
func (q *Queue) Report(ctx context.Context, l Lease, p Progress) error {
	percent := p.Percent
	if !(percent >= 0) { // also not a number, which no row takes
		percent = 0
	}
	err := q.fencedTelling(ctx, tell, l, "report progress",
		`phase = $4, progress = CASE WHEN progress > $5 THEN progress ELSE $5 END, revision = revision + 1`, p.Phase, min(percent, 100))
	if err == nil {
		q.news.tell(l.JobID)
	}
	return err
}

// Note tells why queued jobs wait, to those who wait for them: no decision
// depends on it. It changes nothing for those that know.
func (q *Queue) Note(ctx context.Context, note string) error {
	note = db.Text(note)
	// Mostly all know, among thousands: each side is a look into an index.
	const lower, higher = `status = 'queued' AND phase_note < $1`, `status = 'queued' AND phase_note > $1`
	some, err := q.exists(ctx, lower, note)
	if err == nil && !some {
		some, err = q.exists(ctx, higher, note)
	}
	if err != nil || !some {
		return err
	}
	ids, err := q.write(ctx, tell, `UPDATE jobs SET phase_note = $1, revision = revision + 1 WHERE status = 'queued' AND id IN
		(SELECT id FROM jobs WHERE `+lower+` UNION ALL SELECT id FROM jobs WHERE `+higher+`) RETURNING id`, note)
	q.news.tell(ids...)
	return err
}

// fenced runs one update of a running job under its lease, and spreads the
// news to other processes; announced does so in this one. sets begins its
// parameters at $4.
func (q *Queue) fenced(ctx context.Context, l Lease, what, sets string, args ...any) error {
	return q.fencedTelling(ctx, spread, l, what, sets, args...)
}

func (q *Queue) fencedTelling(ctx context.Context, how reach, l Lease, what, sets string, args ...any) error {
	ids, err := q.write(ctx, how, fencedUpdate(sets), append([]any{l.JobID, l.Attempt, l.Owner}, args...)...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(ids) == 0 {
		return stale(l)
	}
	return nil
}

func fencedUpdate(sets string) string {
	return `UPDATE jobs SET ` + sets + ` WHERE id = $1 AND attempt = $2 AND owner = $3 AND status = 'running' RETURNING id`
}

// fencedEnd is fenced for an update that ends the attempt: its row is closed in
// the same transaction.
func (q *Queue) fencedEnd(ctx context.Context, l Lease, used Traffic, what, sets string, args ...any) error {
	var ids []string
	err := q.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if ids, err = q.writeIn(ctx, tx, spread, fencedUpdate(sets), append([]any{l.JobID, l.Attempt, l.Owner}, args...)...); err != nil || len(ids) == 0 {
			return err
		}
		return q.endAttempts(ctx, tx, l.JobID, used)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(ids) == 0 {
		return stale(l)
	}
	return nil
}

// announced passes on the error of a fenced write, and spreads the news of
// one that was done.
func (q *Queue) announced(l Lease, err error) error {
	if err == nil {
		q.news.spread(l.JobID)
	}
	return err
}

func stale(l Lease) error {
	return apigpu.E(apigpu.StaleAttempt, nil, "Attempt %d of job %s is no longer ours.", l.Attempt, l.JobID)
}

func (q *Queue) newOwner() string { return q.Process() + "." + rand.Text() }
