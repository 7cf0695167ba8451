package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// patience decides whether and when to try again.
type patience struct {
	pace   pace
	failed int // tries in a row that brought nothing new
}

// rest waits before the next try. It returns err, which the last try ended
// with, once too many in a row brought nothing new, and the error of ctx when
// that ends.
func (p *patience) rest(ctx context.Context, err error, news bool) error {
	if p.failed++; news {
		p.failed = 0
	}
	if p.failed > p.pace.tries {
		return err
	}
	backoff := p.pace.backoff
	for range p.failed {
		backoff = min(2*backoff, p.pace.maxBackoff)
	}
	if !pause.For(ctx, jittered(max(backoff, retryAfter(err)))) {
		return ctx.Err()
	}
	return nil
}

// jittered is between half of d and d, so that clients which lost a server
// together do not come back together.
func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// retryAfter is when the server asks to be asked again, one minute at most.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*apigpu.Error](err); ok {
		return min(time.Duration(e.RetryAfter)*time.Second, time.Minute)
	}
	return 0
}
