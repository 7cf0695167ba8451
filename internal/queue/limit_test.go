package queue_test

import (
	"sync"
	"sync/atomic"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// tooManyOpen submits many at once: the bound holds exactly, for one client.
func tooManyOpen(b *bench) {
	const most = 5
	limited := draft()
	limited.MaxOpen = most
	var taken, refused atomic.Int64
	var all sync.WaitGroup
	for range 4 * most {
		all.Go(func() {
			_, err := b.Submit(b.Context(), limited)
			switch e := apigpu.AsError(err); {
			case err == nil:
				taken.Add(1)
			case e.Code == apigpu.RateLimited && e.RetryAfter > 0 && e.Retryable:
				refused.Add(1)
			default:
				b.Error(err)
			}
		})
	}
	all.Wait()
	if taken.Load() != most || refused.Load() != 3*most {
		b.Errorf("%d taken, %d refused", taken.Load(), refused.Load())
	}
	other := limited
	other.Client = "bob"
	if _, err := b.Submit(b.Context(), other); err != nil {
		b.Errorf("another client: %v", err)
	}
	if _, err := b.Submit(b.Context(), draft()); err != nil { // the same client, without a bound
		b.Errorf("without a bound: %v", err)
	}
	open, err := b.List(b.Context(), queue.Filter{Client: limited.Client, Status: apigpu.Queued, Limit: 2})
	b.ok(err)
	for _, j := range open {
		if _, err := b.Cancel(b.Context(), j.ID); err != nil {
			b.Error(err)
		}
	}
	if _, err := b.Submit(b.Context(), limited); err != nil {
		b.Errorf("after two have ended: %v", err)
	}
}
