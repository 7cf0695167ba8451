package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// reportGap is how often progress is written at most; a new phase is written
// at once.
const reportGap = 2 * time.Second

// Shares of the whole job, in percent: the worker's part, then the way home.
const (
	workerShare = 95.0
	homeShare   = 100 - workerShare
)

// reporter writes progress to the row, seldom enough for a small disk.
type reporter struct {
	queue *queue.Queue
	lease queue.Lease
	log   *slog.Logger
	now   func() time.Time

	mu    sync.Mutex
	phase apigpu.Phase
	last  time.Time
}

// worker shows how far the worker says it is.
func (r *reporter) worker(ctx context.Context, j apigpu.Job) {
	if j.Status == apigpu.Running {
		r.report(ctx, j.Phase, j.Progress/100*workerShare)
	}
}

// home shows how much of the result has arrived.
func (r *reporter) home(ctx context.Context, done, total int64) {
	if total > 0 {
		r.report(ctx, apigpu.Uploading, workerShare+homeShare*float64(done)/float64(total))
	}
}

func (r *reporter) report(ctx context.Context, phase apigpu.Phase, percent float64) {
	r.mu.Lock()
	now := r.now()
	due := phase != r.phase || now.Sub(r.last).Abs() >= reportGap // the clock may be set back
	if due {
		r.phase, r.last = phase, now
	}
	r.mu.Unlock()
	if !due {
		return
	}
	err := r.queue.Report(ctx, r.lease, queue.Progress{Phase: phase, Percent: percent})
	if err != nil && ctx.Err() == nil {
		r.log.DebugContext(ctx, "progress not written", "error", err)
	}
}
