package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
)

// Need is what is known of an open job that tells how long it will take.
type Need struct {
	CreatedAt time.Time
	Video     time.Duration // length of its video; 0 where it is not known
	Size      int64         // bytes of its video; 0 where it is not known

	// Of a running job only.
	Instance  string
	StartedAt time.Time
	Progress  float64 // percent of the whole job
}

// Backlog returns the needs of the queued jobs that can be claimed, the oldest
// first and at most so many, and those of all that run.
func (q *Queue) Backlog(ctx context.Context, most int) (queued, running []Need, err error) {
	// Two statements for two indexes. The + is that of Next.
	queued, err = q.needs(ctx, `SELECT created_at, video_seconds, video_bytes, '', 0, 0 FROM jobs
		WHERE status = 'queued' AND cancel_requested = 0 AND +waiting_until > $1 ORDER BY created_at, id LIMIT $2`, db.Millis(q.now()), most)
	if err != nil {
		return nil, nil, err
	}
	running, err = q.needs(ctx, `SELECT created_at, video_seconds, video_bytes, instance, started_at, progress FROM jobs
		WHERE status = 'running' ORDER BY instance, slot`)
	return queued, running, err
}

func (q *Queue) needs(ctx context.Context, query string, args ...any) ([]Need, error) {
	rows, err := q.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	defer rows.Close()
	var out []Need
	for rows.Next() {
		var n Need
		var created, started int64
		var seconds float64
		if err := rows.Scan(&created, &seconds, &n.Size, &n.Instance, &started, &n.Progress); err != nil {
			return nil, fmt.Errorf("read backlog: %w", err)
		}
		n.CreatedAt = db.Time(created)
		if started != 0 {
			n.StartedAt = db.Time(started)
		}
		n.Video = time.Duration(min(max(seconds, 0), maxVideoSeconds) * float64(time.Second))
		out = append(out, n)
	}
	return out, rows.Err()
}

// maxVideoSeconds bounds what is kept of a length: a header may claim any.
const maxVideoSeconds = 1e7

// Speed is how fast a job was rendered.
type Speed struct {
	Instance string // label
	GPU      string // as its worker calls it; empty for none
	Factor   float64
}

// Speeds returns how fast the latest jobs that succeeded were rendered, the
// latest first: seconds of video a second.
func (q *Queue) Speeds(ctx context.Context, most int) ([]Speed, error) {
	rows, err := q.rows(ctx, `SELECT `+columns+` FROM jobs WHERE finished_at IS NOT NULL AND status = 'succeeded'
		ORDER BY finished_at DESC LIMIT $1`, most)
	if err != nil {
		return nil, err
	}
	var out []Speed
	for _, j := range rows {
		if j.Stats.RealtimeFactor > 0 {
			out = append(out, Speed{j.Stats.Worker, j.Stats.GPU, j.Stats.RealtimeFactor})
		}
	}
	return out, nil
}
