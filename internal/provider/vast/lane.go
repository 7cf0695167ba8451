package vast

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// lane keeps the calls of one endpoint and method apart, as the API demands:
// it measures a least time between two calls, and answers 429 to what comes
// sooner. Each has a lane of its own, so that creates and listings never keep
// a destroy waiting. (golang.org/x/time/rate cannot be pushed back by a 429
// while others wait.)
type lane struct {
	// turn is full while somebody waits for the time of the next call. Who
	// waits behind is served in order, since channels are.
	turn chan struct{}
	// patience bounds the wait: beyond it the caller is told to come again.
	// Zero waits as long as the context.
	patience time.Duration
	// penalty is how long to stay away after a 429 that does not say; twice the
	// gap when zero.
	penalty time.Duration
	// most bounds how long a 429 can keep us away. Zero is no bound of its own.
	most time.Duration

	// shared is set where others who use the account call as well, for as long
	// as anything is rented: another fleet, or a sweep. Two with the same gap
	// fall into step, and then one of them is refused for ever. So each wait is
	// longer by a random part. (To back off further after a refusal would leave
	// the lane to whoever has it.)
	shared bool

	mu   sync.Mutex
	gap  time.Duration
	next time.Time // no call sooner
}

func newLane(gap time.Duration) *lane { return &lane{turn: make(chan struct{}, 1), gap: gap} }

// wait returns nil when it is time for the next call, which the caller then
// makes. Its errors are the end of ctx, and gpu.RateLimited.
func (l *lane) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		left := l.take(time.Now())
		switch {
		case left <= 0:
			return nil
		case l.patience > 0 && left > l.patience:
			return gpu.RateLimited{After: left}
		}
		// A push back moves the time while we wait for it: look again after.
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// take takes the next call, or returns how long it is until then.
func (l *lane) take(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.next.Sub(now); left > 0 {
		return left
	}
	l.next = now.Add(l.vary(l.gap))
	return 0
}

// pushBack keeps the lane still for a time, after a 429.
func (l *lane) pushBack(after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most > 0 {
		after = min(after, l.most)
	}
	if t := time.Now().Add(l.vary(after)); t.After(l.next) {
		l.next = t
	}
}

// ended keeps the next call a gap away from the end of one. A call may be long
// on its way, and the API counts from when it came: that it has come is sure
// only when it was answered. A call under way keeps no other from its turn, so
// that one which hangs holds up no destroy.
func (l *lane) ended() {
	l.mu.Lock()
	gap := l.gap
	l.mu.Unlock()
	l.pushBack(gap)
}

// rest is how long it is until the next call may go.
func (l *lane) rest(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.next.Sub(now))
}

// vary makes a time of a shared lane longer by a random part.
func (l *lane) vary(d time.Duration) time.Duration {
	if !l.shared {
		return d
	}
	return d + time.Duration(0.5*rand.Float64()*float64(d))
}

// widen makes the gap at least this: what the API itself says it is.
func (l *lane) widen(gap time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gap = max(l.gap, min(gap, maxGap))
}

// pause is how long to stay away after a 429 that does not say.
func (l *lane) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.penalty, 2*l.gap)
}

// maxGap bounds what a number in an answer can do to us.
const maxGap = time.Minute

// lanes are the least times between two calls. The API's own numbers are
// given; ours are a tenth longer, since calls drift on their way.
type lanes struct {
	search, create, list, destroy, charges, user *lane
}

// newLanes scales all gaps: 1 for the real API, less for tests.
func newLanes(scale float64) lanes {
	gap := func(seconds float64) time.Duration {
		return time.Duration(1.1 * scale * seconds * float64(time.Second))
	}
	l := lanes{
		search:  newLane(gap(2)),   // POST /bundles/
		create:  newLane(gap(4.5)), // PUT /asks/{id}/
		list:    newLane(gap(1)),   // GET /v1/instances/
		destroy: newLane(gap(3)),   // DELETE /instances/{id}/
		charges: newLane(gap(1)),   // GET /charges/
		user:    newLane(gap(1)),   // GET /users/current/: not documented
	}
	l.list.shared = true
	// Older versions of the API's description speak of a penalty of 12 s.
	l.create.penalty = time.Duration(scale * float64(12*time.Second))
	// Who creates has better things to do than to wait for long: a refusal is
	// definite, and so costs nothing.
	l.create.patience = 15 * time.Second
	// An end that has to wait costs money. The API names no time; whoever does is
	// somebody on the way, and asking them once a minute harms nobody. Who ends
	// one machine after another is not held up by the first.
	l.destroy.most, l.destroy.patience = maxGap, 15*time.Second
	return l
}

// rest is how long another process with the same key must wait before it may
// make any call as soon as it likes. An end never waits for that: one that
// comes too soon is refused, and asked for again.
func (l lanes) rest(now time.Time) (d time.Duration) {
	for _, busy := range []*lane{l.search, l.create, l.list, l.charges, l.user} {
		d = max(d, busy.rest(now))
	}
	return d
}
