package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// MaxDrift is how far a clock may leave the monotonic one from one look to the
// next: more is a clock that was set, or a machine that was suspended.
const MaxDrift = 5 * time.Second

// Clock is the time that rows are compared with. It does not jump: when its
// source is set, it goes on as if nothing had happened until somebody has
// moved the deadlines in the database, and says so by Follow. Its methods are
// safe for concurrent use.
type Clock struct {
	source  func() time.Time
	elapsed func() time.Duration

	mu   sync.Mutex
	base time.Duration // the source's distance from the monotonic clock
}

// NewClock returns a clock over a source that may be set, and the time since
// some moment by a clock that nobody sets.
func NewClock(source func() time.Time, elapsed func() time.Duration) *Clock {
	c := &Clock{source: source, elapsed: elapsed}
	_, c.base = c.look()
	return c
}

// lookWithin is how long a look at both clocks may take. One that takes longer,
// because the process stood still in the middle, would find a jump that is none.
const lookWithin = 100 * time.Millisecond

// look reads the source, and its distance from the monotonic clock.
func (c *Clock) look() (now time.Time, distance time.Duration) {
	for range 10 {
		began := c.elapsed()
		now = c.source()
		ended := c.elapsed()
		if distance = time.Duration(now.UnixNano()) - ended; ended-began <= lookWithin {
			break
		}
	}
	return now, distance
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, distance := c.look()
	if (distance - c.base).Abs() > MaxDrift {
		return time.Unix(0, int64(c.base+c.elapsed()))
	}
	c.base = distance // what runs a little wrong is followed
	return now
}

// Jump is by how much the source was set, 0 where it was not.
func (c *Clock) Jump() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, distance := c.look(); (distance - c.base).Abs() > MaxDrift {
		return distance - c.base
	}
	return 0
}

// Follow lets the clock jump by as much: deadlines are true to that now.
func (c *Clock) Follow(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base += by
}

// Elapsed is the time since some moment, whatever anybody sets: for what lasts
// within this process.
func (c *Clock) Elapsed() time.Duration { return c.elapsed() }

// sinceNow is the time since it was called.
func sinceNow() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// Times of the server's clock.
const (
	// ClockGap is how often it is asked. Between two answers the time goes on
	// by this machine's monotonic clock, which nobody sets.
	ClockGap = 5 * time.Second
	// clockTimeout bounds one question. A slow answer would be a wrong one, too:
	// half of the way is taken for the way back.
	clockTimeout = 2 * time.Second
)

// serverClock is the time of a PostgreSQL server, as good as a round trip
// allows. It is asked seldom rather than in every statement: then one time
// serves what is decided in Go and what is compared in SQL, and costs nothing.
// A process whose own clock is wrong, or is set, keeps the server's time.
type serverClock struct {
	db    *sql.DB
	local func() time.Time

	mu    sync.Mutex
	shown time.Time // by the server
	at    time.Time // here, with its monotonic reading
}

func (c *serverClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.Add(c.local().Sub(c.at))
}

// measure asks the server for its time.
func (c *serverClock) measure(ctx context.Context) error {
	var ms int64
	began := c.local()
	err := c.db.QueryRowContext(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`).Scan(&ms)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	ended := c.local()
	if took := ended.Sub(began); took > clockTimeout { // this process stood still
		return fmt.Errorf("ask for the time: answered after %s", took)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown, c.at = Time(ms).Add(ended.Sub(began)/2), ended
	return nil
}

// run keeps the clock right until ctx ends.
func (c *serverClock) run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(ClockGap)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		ask, cancel := context.WithTimeout(ctx, clockTimeout)
		// Who works with the database meets its absence, and tells.
		if err := c.measure(ask); err != nil && ctx.Err() == nil {
			log.DebugContext(ctx, "the time of the database is not known anew", "error", err)
		}
		cancel()
	}
}
