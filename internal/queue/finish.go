package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

// idle clears what only a running job has.
const idle = `owner = NULL, lease_until = NULL, running_until = NULL, instance = NULL, slot = NULL, revision = revision + 1`

// Outcome is what a job that succeeded brought.
type Outcome struct {
	Video    apigpu.Video
	Captions *apigpu.Captions // as the worker used them; nil leaves what was read
	Stats    apigpu.Stats     // QueueMS is filled in here
	Warnings []apigpu.Warning // those found while rendering
	Result   string           // blob key, committed before
	// Down is how many bytes of the video went to the worker; 0 where only it
	// knows.
	Down int64
	Cost Cost // of the job, this attempt included
}

// Complete ends a job well: it alone decides that a job is finished. The
// result must be stored and verified before.
func (q *Queue) Complete(ctx context.Context, l Lease, o Outcome) error {
	now := q.now()
	j, err := q.leased(ctx, l)
	if err != nil {
		return err
	}
	if j.StartedAt != nil {
		o.Stats.QueueMS = max(0, j.StartedAt.Sub(j.CreatedAt).Milliseconds()) // the clock may have been set between
	}
	if o.Captions == nil {
		o.Captions = j.Captions
	} else if o.Captions.Charset == j.Captions.Charset {
		// The worker was told the charset: who told it knows how sure it is.
		used := *o.Captions
		used.Confidence = j.Captions.Confidence
		o.Captions = &used
	}
	used := Traffic{Down: o.Down, Up: o.Video.Bytes}
	return q.announced(l, q.fencedEnd(ctx, l, used, "complete job", `status = 'succeeded', phase = $4, phase_note = '', progress = 100, video = $5, stats = $6, warnings = $7,
		captions = $8, result = $9, finished_at = $10, expires_at = $10 + keep_for, room = $11,
		cost_usd = CASE WHEN $13 = '' THEN cost_usd ELSE $12 END, cost_state = CASE WHEN $13 = '' THEN cost_state ELSE $13 END, `+idle,
		apigpu.Done, encode(o.Video), encode(o.Stats), encode(allWarnings(j.Warnings, o.Warnings)), encode(o.Captions), o.Result, db.Millis(now), o.Video.Bytes,
		int64(o.Cost.USD), string(o.Cost.State)))
}

// allWarnings are those of a job's beginning and of its end. What the worker met
// takes the place of what was foretold by the same code.
func allWarnings(foretold, met []apigpu.Warning) []apigpu.Warning {
	again := func(w apigpu.Warning) bool {
		return slices.ContainsFunc(met, func(m apigpu.Warning) bool { return m.Code == w.Code })
	}
	return append(slices.DeleteFunc(slices.Clone(foretold), again), met...)
}

// Fail ends a job badly.
func (q *Queue) Fail(ctx context.Context, l Lease, why *apigpu.Error) error {
	now := q.now()
	return q.announced(l, q.fencedEnd(ctx, l, Traffic{}, "fail job", `status = 'failed', phase = $4, phase_note = '', error = $5, finished_at = $6, expires_at = $6 + keep_for, `+idle,
		apigpu.Done, encode(why), db.Millis(now)))
}

// Condemn fails a job whose row is damaged, whoever drives it: nobody could
// run it, and it must neither hold a machine nor hold up other jobs. Nothing
// happens to one that has ended.
func (q *Queue) Condemn(ctx context.Context, id string) error {
	now := q.now()
	why := apigpu.E(apigpu.Internal, nil, "The record of this job cannot be read.")
	var ids []string
	err := q.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		ids, err = q.writeIn(ctx, tx, spread, `UPDATE jobs SET status = 'failed', phase = $1, phase_note = '', error = $2, finished_at = $3, expires_at = $3 + keep_for, `+idle+`
			WHERE id = $4 AND status IN ('queued', 'running') RETURNING id`, apigpu.Done, encode(why), db.Millis(now), id)
		if err != nil || len(ids) == 0 {
			return err
		}
		return q.endAttempts(ctx, tx, id, Traffic{})
	})
	if err != nil {
		return fmt.Errorf("condemn job: %w", err)
	}
	q.news.spread(ids...)
	return nil
}

// Refuse fails a queued job for which there will be no other attempt, and
// reports whether it did: nothing happens to one that is not queued any more.
func (q *Queue) Refuse(ctx context.Context, id string, why *apigpu.Error) (refused bool, err error) {
	ids, err := q.change(ctx, `UPDATE jobs SET status = 'failed', phase = $1, phase_note = '', error = $2, finished_at = $3, expires_at = $3 + keep_for, revision = revision + 1
		WHERE id = $4 AND status = 'queued' RETURNING id`, apigpu.Done, encode(why), db.Millis(q.now()), db.Text(id))
	if err != nil {
		return false, fmt.Errorf("refuse job: %w", err)
	}
	return len(ids) > 0, nil
}

// Cancelled ends a running job whose cancel reached the worker.
func (q *Queue) Cancelled(ctx context.Context, l Lease) error {
	now := q.now()
	return q.announced(l, q.fencedEnd(ctx, l, Traffic{}, "cancel job", `status = 'canceled', phase = $4, phase_note = '', error = $5, finished_at = $6, expires_at = $6 + keep_for, `+idle,
		apigpu.Done, encode(canceled()), db.Millis(now)))
}

// Setback is why an attempt came to nothing though the job may still succeed.
type Setback struct {
	// Why fails the job where it may not try again.
	Why *apigpu.Error
	// Blamed tells that the job itself may be at fault.
	Blamed bool
	// Push lets the video travel through the orchestrator from now on.
	Push bool
	// Room is how many bytes the result turned out to need; 0 where nobody
	// knows. The next attempt waits until they are there.
	Room int64
}

// Requeue puts a running job back: its machine is gone, or does not have it.
// The job ends instead where a cancel was asked for, and fails after maxBlamed
// attempts that were its own fault, or maxAttempts in all. Its waiting goes on
// where it stood: the time that it ran does not count as waiting. It returns
// the job as it then is.
func (q *Queue) Requeue(ctx context.Context, l Lease, s Setback) (Job, error) {
	j, err := q.leased(ctx, l)
	if err != nil {
		return Job{}, err
	}
	if !j.CancelRequested && spent(j.Attempt, j.Blamed, s.Blamed) {
		err = q.Fail(ctx, l, s.Why)
	} else {
		err = q.requeue(ctx, l, s)
	}
	if err != nil {
		return Job{}, err
	}
	return q.Job(ctx, l.JobID)
}

// requeue queues the job or ends it as canceled, in one statement: a cancel
// may come at any moment, and a queued job that was asked to end would be
// claimed by nobody.
func (q *Queue) requeue(ctx context.Context, l Lease, s Setback) error {
	err := q.fencedEnd(ctx, l, Traffic{Up: s.Room}, "requeue job", `
		status = CASE WHEN cancel_requested = 1 THEN 'canceled' ELSE 'queued' END,
		phase = CASE WHEN cancel_requested = 1 THEN $4 ELSE $5 END,
		phase_note = CASE WHEN cancel_requested = 1 THEN '' ELSE $6 END,
		error = CASE WHEN cancel_requested = 1 THEN $7 ELSE error END,
		finished_at = CASE WHEN cancel_requested = 1 THEN $8 ELSE finished_at END,
		expires_at = CASE WHEN cancel_requested = 1 THEN $8 + keep_for ELSE expires_at END,
		waiting_until = waiting_until + CASE WHEN cancel_requested = 0 AND $8 > started_at THEN $8 - started_at ELSE 0 END,
		progress = 0, started_at = CASE WHEN cancel_requested = 1 THEN started_at END, blamed = blamed + $9, push = CASE WHEN $10 = 1 THEN 1 ELSE push END,
		room = CASE WHEN $11 > room THEN $11 ELSE room END, `+idle,
		apigpu.Done, apigpu.WaitingGPU, db.Text(s.Why.Message), encode(canceled()), db.Millis(q.now()), flag(s.Blamed), flag(s.Push), s.Room)
	return q.announced(l, err)
}

// leased reads a job that runs under l. StaleAttempt when it does not.
func (q *Queue) leased(ctx context.Context, l Lease) (Job, error) {
	j, err := q.Job(ctx, l.JobID)
	if apigpu.CodeOf(err) == apigpu.JobNotFound || err == nil && (j.Status != apigpu.Running || j.Lease() != l) {
		return Job{}, stale(l)
	}
	return j, err
}

// spent reports whether a job has used up its attempts, this one included.
func spent(attempt, blamedBefore int, blame bool) bool {
	return attempt >= maxAttempts || blame && blamedBefore+1 >= maxBlamed
}

// Cancel asks for the end of a job: a queued one ends at once, a running one
// when its driver has told the worker. Conflict when it has ended already.
func (q *Queue) Cancel(ctx context.Context, id string) (Job, error) {
	now := q.now()
	ids, err := q.change(ctx, `
		UPDATE jobs SET cancel_requested = 1, revision = revision + 1,
			status = CASE WHEN status = 'queued' THEN 'canceled' ELSE status END,
			phase = CASE WHEN status = 'queued' THEN $1 ELSE phase END,
			error = CASE WHEN status = 'queued' THEN $2 ELSE error END,
			finished_at = CASE WHEN status = 'queued' THEN $3 ELSE finished_at END,
			expires_at = CASE WHEN status = 'queued' THEN $3 + keep_for ELSE expires_at END
		WHERE id = $4 AND status IN ('queued', 'running') RETURNING id`,
		apigpu.Done, encode(canceled()), db.Millis(now), db.Text(id))
	if err != nil {
		return Job{}, fmt.Errorf("cancel job: %w", err)
	}
	j, err := q.Job(ctx, id)
	if err == nil && len(ids) == 0 {
		err = apigpu.E(apigpu.Conflict, nil, "The job has ended already: it is %s.", j.Status).WithJob(id)
	}
	return j, err
}

// Expire ends the queued jobs whose waiting is over.
func (q *Queue) Expire(ctx context.Context) error {
	now := q.now()
	if some, err := q.exists(ctx, `status = 'queued' AND waiting_until <= $1`, db.Millis(now)); err != nil || !some {
		return err
	}
	why := apigpu.E(apigpu.QueueExpired, nil, "No machine was free before the job's waiting time was over.").
		WithHint("Send it again, or raise QUEUE_TTL.")
	_, err := q.change(ctx, `UPDATE jobs SET status = 'expired', phase = $1, error = $2, finished_at = $3, expires_at = $3 + keep_for, revision = revision + 1
		WHERE status = 'queued' AND waiting_until <= $3 RETURNING id`, apigpu.Done, encode(why), db.Millis(now))
	return err
}

// Delete forgets a job that has ended and returns it, so that its files can
// be removed. Conflict while it goes on.
func (q *Queue) Delete(ctx context.Context, id string) (Job, error) {
	j, err := q.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	err = q.db.Tx(ctx, func(tx *sql.Tx) error {
		// What it holds at that moment: it may have ended since it was read.
		err := tx.QueryRowContext(ctx, `DELETE FROM jobs WHERE id = $1 AND status NOT IN ('queued', 'running') RETURNING result, upload`, id).
			Scan(&j.Result, &j.Upload)
		if err != nil {
			return err
		}
		return q.notify(ctx, tx, spread, []string{id})
	})
	if errors.Is(err, sql.ErrNoRows) {
		return j, apigpu.E(apigpu.Conflict, nil, "The job has not ended yet.").WithJob(id)
	}
	if err != nil {
		return Job{}, fmt.Errorf("delete job: %w", err)
	}
	q.news.spread(id)
	return j, nil
}

// historyFor is how long an ended job is listed.
const historyFor = 30 * 24 * time.Hour

// What Prune takes, at $1.
const (
	spentResult = `result <> '' AND status NOT IN ('queued', 'running') AND expires_at <= $1`
	spentUpload = `upload <> '' AND status NOT IN ('queued', 'running')`
	selectSpent = `SELECT result FROM jobs WHERE ` + spentResult + ` UNION SELECT upload FROM jobs WHERE ` + spentUpload
)

// Prune takes the result from jobs whose time is over and the upload from
// jobs that have ended, and forgets jobs that ended long ago. It returns the
// blob keys that nothing needs any more.
func (q *Queue) Prune(ctx context.Context) (keys []string, err error) {
	now := q.now()
	err = q.db.Tx(ctx, func(tx *sql.Tx) error {
		// Only what was listed is cleared: a job may end, and with it the need
		// of its upload, between the two. What is spent stays spent, so no row
		// need be locked.
		if keys, err = db.Column[string](ctx, tx, selectSpent, db.Millis(now)); err != nil || len(keys) == 0 {
			return err
		}
		list := encode(keys)
		_, err = tx.ExecContext(ctx, `UPDATE jobs SET result = '', revision = revision + 1 WHERE `+spentResult+` AND `+q.oneOf("result", "$2"), db.Millis(now), list)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE jobs SET upload = '' WHERE `+spentUpload+` AND `+q.oneOf("upload", "$1"), list)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prune results: %w", err)
	}
	if _, err = q.change(ctx, `DELETE FROM jobs WHERE finished_at < $1 AND result = '' RETURNING id`, db.Millis(now.Add(-historyFor))); err != nil {
		err = fmt.Errorf("prune jobs: %w", err)
	}
	return keys, errors.Join(err, q.pruneAttempts(ctx, now))
}

// oneOf is the condition that a column is in a list, which is a parameter in
// JSON: each engine has its own way to take it apart.
func (q *Queue) oneOf(column, list string) string {
	if q.db.Dialect() == db.PostgreSQL {
		return column + ` IN (SELECT jsonb_array_elements_text(CAST(` + list + ` AS text)::jsonb))`
	}
	return column + ` IN (SELECT value FROM json_each(` + list + `))`
}

// ThumbnailOf returns the blob key of the thumbnail beside a result, and "" for
// a key that is no result's. Not every result has one, and none outlives it.
func ThumbnailOf(result string) string {
	name, is := strings.CutSuffix(result, ".mp4")
	if !is {
		return ""
	}
	return name + ".jpg"
}

// Files returns the blob keys that jobs still need: results that are kept,
// with their thumbnails, and uploads and fonts of jobs that have not ended.
func (q *Queue) Files(ctx context.Context) (map[string]bool, error) {
	list, err := db.Column[string](ctx, q.db.Read(), `SELECT result FROM jobs WHERE result <> ''
		UNION SELECT upload FROM jobs WHERE upload <> '' AND status IN ('queued', 'running')`)
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	fonts, err := db.Column[string](ctx, q.db.Read(), `SELECT DISTINCT fonts FROM jobs WHERE fonts <> '' AND status IN ('queued', 'running')`)
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	keys := make(map[string]bool, len(list))
	for _, some := range fonts {
		for _, key := range splitKeys(some) {
			keys[key] = true
		}
	}
	for _, key := range list {
		keys[key], keys[ThumbnailOf(key)] = true, true
	}
	delete(keys, "") // of an upload
	return keys, nil
}

// Needs reports whether a job that has not ended needs this upload.
func (q *Queue) Needs(ctx context.Context, upload string) (bool, error) {
	return q.exists(ctx, `upload = $1 AND upload <> '' AND status IN ('queued', 'running')`, upload)
}

func canceled() *apigpu.Error {
	return apigpu.E(apigpu.Canceled, nil, "The job was canceled.")
}

// fontPrefix begins the keys of fonts.
const fontPrefix = "font-"

// FontKey is a key of the store for a font of this SHA-256 sum, in hex. The
// part behind it tells it from the same font of others.
func FontKey(sum, part string) string { return fontPrefix + sum + "-" + part }

// FontSum is the sum that a key of FontKey names.
func FontSum(key string) string {
	sum, _, _ := strings.Cut(strings.TrimPrefix(key, fontPrefix), "-")
	return sum
}
