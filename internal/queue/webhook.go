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

// webhookLease is how long a webhook stays with whoever claimed it. It must be
// longer than one try takes; a sender that was killed costs that much.
const webhookLease = 30 * time.Second

// DueWebhook is a webhook of a job that has ended, and when it may be sent.
type DueWebhook struct {
	JobID string
	At    time.Time
	Wait  time.Duration // until then, by the queue's clock; 0 or less for now
}

// webhookAt is when a webhook is due. One that was never tried has 0: it is due
// from its job's end on.
const webhookAt = `CASE WHEN webhook_due = 0 THEN finished_at ELSE webhook_due END`

// NextWebhook returns the webhook that is due first, which may be in the
// future, leaving out those to these hosts. It reports false when there is
// none.
func (q *Queue) NextWebhook(ctx context.Context, except []string) (DueWebhook, bool, error) {
	where, args := `webhook_due IS NOT NULL AND finished_at IS NOT NULL`, []any{}
	if len(except) > 0 {
		marks := make([]string, len(except))
		for i, host := range except {
			args = append(args, host)
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
		where += ` AND webhook_host NOT IN (` + strings.Join(marks, ", ") + `)`
	}
	var due DueWebhook
	var ms int64
	err := q.db.Read().QueryRowContext(ctx, `SELECT id, `+webhookAt+` FROM jobs WHERE `+where+` ORDER BY 2, id LIMIT 1`, args...).Scan(&due.JobID, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		return DueWebhook{}, false, nil
	}
	if err != nil {
		return DueWebhook{}, false, fmt.Errorf("find webhook: %w", err)
	}
	due.At = db.Time(ms)
	due.Wait = due.At.Sub(q.now())
	return due, true, nil
}

// Delivery is one try to send a webhook: the fence of its outcome.
type Delivery struct {
	Job  Job
	Host string // of the address, as it is counted and logged
	Try  int    // from 1
}

// ClaimWebhook takes a due webhook for one try. Who does not record its
// outcome in half a minute has lost it: it is due again, as the next try.
// Conflict when another was faster.
func (q *Queue) ClaimWebhook(ctx context.Context, id string) (Delivery, error) {
	now := q.now()
	var d Delivery
	err := q.db.Tx(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `UPDATE jobs SET webhook_due = $1, webhook_tries = webhook_tries + 1
			WHERE id = $2 AND webhook_due <= $3 AND finished_at IS NOT NULL RETURNING webhook_tries, webhook_host`,
			db.Millis(now.Add(webhookLease)), id, db.Millis(now)).Scan(&d.Try, &d.Host)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, apigpu.E(apigpu.Conflict, nil, "The webhook of job %s is not due.", id)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("claim webhook: %w", err)
	}
	d.Job, err = q.Job(ctx, id)
	return d, err
}

// WebhookOutcome is how one try ended.
type WebhookOutcome struct {
	Status apigpu.WebhookStatus
	Error  string    // for the job's owner: it names no more of the address than the host
	Next   time.Time // when it is sent again; of pending ones only
}

// RecordWebhook ends a try. StaleAttempt when a later one has begun.
func (q *Queue) RecordWebhook(ctx context.Context, d Delivery, o WebhookOutcome) error {
	var due any // NULL: nothing more to send
	if o.Status == apigpu.WebhookPending {
		due = db.Millis(o.Next)
	}
	ids, err := q.write(ctx, nobody, `UPDATE jobs SET webhook_status = $1, webhook_error = $2, webhook_due = $3
		WHERE id = $4 AND webhook_tries = $5 AND webhook_status = 'pending' RETURNING id`, o.Status, db.Text(o.Error), due, d.Job.ID, d.Try)
	if err != nil {
		return fmt.Errorf("record webhook: %w", err)
	}
	if len(ids) == 0 {
		return apigpu.E(apigpu.StaleAttempt, nil, "Try %d of the webhook of job %s is over.", d.Try, d.Job.ID)
	}
	return nil
}

// PendingWebhooks counts the webhooks of ended jobs that nobody took yet.
func (q *Queue) PendingWebhooks(ctx context.Context) (n int, err error) {
	err = q.db.Read().QueryRowContext(ctx, `SELECT count(*) FROM jobs WHERE webhook_due IS NOT NULL AND finished_at IS NOT NULL`).Scan(&n)
	return n, err
}
