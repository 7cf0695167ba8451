package queue

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
)

// OnceFor is how long a key is kept, from the request that brought it first.
const OnceFor = 24 * time.Hour

// Once makes a request one that may be sent again: with the key of an earlier
// one it joins that one's job. The zero value is a request without a key.
type Once struct {
	Key    string
	Digest string // of what is asked for: a key stands for one request only
}

// SubmitOnce records a job, or returns the one that the client recorded with
// this key before: then replayed is true, and d is not used. A unique index
// decides, so of many at once one records. IdempotencyMismatch when the key
// belongs to a request with another digest.
//
// When it returns nil the job survives a power cut.
func (q *Queue) SubmitOnce(ctx context.Context, d Draft, o Once) (j Job, replayed bool, err error) {
	now := q.now()
	fresh := "job_" + ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
	insert, args, err := insertion(fresh, d, o, now)
	if err != nil {
		return Job{}, false, err
	}
	var id string
	err = q.db.Tx(ctx, func(tx *sql.Tx) error {
		if o.Key != "" {
			if err := forgetKey(ctx, tx, d.Client, o.Key, now); err != nil {
				return err
			}
		}
		var err error
		for range 2 { // the job that has the key may be deleted between the two
			err = tx.QueryRowContext(ctx, insert, args...).Scan(&id)
			if !errors.Is(err, sql.ErrNoRows) {
				break
			}
			if id, err = joined(ctx, tx, d.Client, o, now); !errors.Is(err, sql.ErrNoRows) { // the key is taken
				break
			}
		}
		if err != nil || id != fresh {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO subtitles (job_id, content) VALUES ($1, $2)`, id, d.Subtitle); err != nil {
			return err
		}
		if err := q.roomFor(ctx, tx, d.Client, d.MaxOpen); err != nil {
			return err
		}
		return q.notify(ctx, tx, spread, []string{id})
	})
	if _, ok := errors.AsType[*apigpu.Error](err); ok {
		return Job{}, false, err
	}
	if err != nil {
		return Job{}, false, fmt.Errorf("record job: %w", err)
	}
	if id == fresh {
		q.news.spread(id)
	}
	j, err = q.Job(ctx, id)
	return j, id != fresh, err
}

// Repeated returns the job that the client recorded with this key, if there
// is one: the early look, before anything is fetched for a request.
// IdempotencyMismatch as in SubmitOnce.
func (q *Queue) Repeated(ctx context.Context, client string, o Once) (Job, bool, error) {
	id, err := joined(ctx, q.db.Read(), client, o, q.now())
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, false, nil
	}
	if err != nil {
		return Job{}, false, err
	}
	j, err := q.Job(ctx, id)
	if apigpu.CodeOf(err) == apigpu.JobNotFound { // deleted just now, and its key with it
		return Job{}, false, nil
	}
	return j, err == nil, err
}

// querier is a transaction or a pool.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// joined returns the id of the job that has this key.
func joined(ctx context.Context, from querier, client string, o Once, now time.Time) (id string, err error) {
	var digest string
	err = from.QueryRowContext(ctx, `SELECT id, idempotency_digest FROM jobs WHERE client = $1 AND idempotency_key = $2 AND idempotency_until > $3`,
		client, o.Key, db.Millis(now)).Scan(&id, &digest)
	if err == nil && digest != o.Digest {
		err = apigpu.E(apigpu.IdempotencyMismatch, nil, "This Idempotency-Key came before, with another request.").WithJob(id).
			WithHint("Send a new key with a new request, and the same key with the same request only.")
	}
	return id, err
}

// forgetKey frees a key whose time is over.
func forgetKey(ctx context.Context, tx *sql.Tx, client, key string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET idempotency_key = NULL, idempotency_digest = NULL, idempotency_until = NULL
		WHERE client = $1 AND idempotency_key = $2 AND idempotency_until <= $3`, client, key, db.Millis(now))
	return err
}

// insertion is the statement that records a draft. It returns no row where
// the key is taken.
func insertion(id string, d Draft, o Once, now time.Time) (statement string, args []any, err error) {
	// A worker knows addresses, not secrets; the row keeps the headers that
	// the orchestrator itself sends.
	spec, err := json.Marshal(d.Spec)
	if err != nil {
		return "", nil, fmt.Errorf("encode spec: %w", err)
	}
	waiting := now.Add(d.WaitFor)
	end := waiting.Add(d.RunFor).Add(d.KeepFor)
	// The link is signed now, and must outlive every run that the job may
	// take: what it leads to is removed by expires_at.
	link := end.Add((maxAttempts - 1) * d.RunFor)
	var key, digest, until, due any // NULL unless given
	if o.Key != "" {
		key, digest, until = o.Key, o.Digest, db.Millis(now.Add(OnceFor))
	}
	host, status := "", ""
	if d.WebhookURL != "" {
		u, err := url.Parse(d.WebhookURL)
		if err != nil {
			return "", nil, errors.New("the address of the webhook is malformed") // err repeats it, and it may hold secrets
		}
		host, status, due = strings.ToLower(u.Host), string(apigpu.WebhookPending), 0
	}
	return `
		INSERT INTO jobs (id, client, operation, status, phase, spec, upload, push, captions, warnings, stats,
			created_at, waiting_until, run_for, keep_for, expires_at, link_until,
			idempotency_key, idempotency_digest, idempotency_until, base, webhook_url, webhook_host, webhook_status, webhook_due, room, video_seconds, video_bytes, fonts)
		VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, '{}', $10, $11, $12, $13, $14, $15,
			$16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)
		ON CONFLICT (client, idempotency_key) DO NOTHING RETURNING id`, []any{
			id, d.Client, apigpu.CaptionOperation, apigpu.WaitingGPU, string(spec), d.Upload, flag(d.Push),
			encode(d.Captions), encode(d.Warnings), db.Millis(now), db.Millis(waiting), d.RunFor.Milliseconds(),
			d.KeepFor.Milliseconds(), db.Millis(end), db.Millis(link),
			key, digest, until, d.Base, d.WebhookURL, host, status, due, d.Room, min(max(d.Video.Seconds(), 0), maxVideoSeconds), max(d.Size, 0),
			strings.Join(d.Fonts, ","),
		}, nil
}
