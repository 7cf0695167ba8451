package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Times of the server's clock.
const (
	// clockGap is how often it is asked. Between two answers the time goes on
	// by this machine's monotonic clock, which nobody sets.
	clockGap = 5 * time.Second
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown, c.at = Time(ms).Add(ended.Sub(began)/2), ended
	return nil
}

// run keeps the clock right until ctx ends.
func (c *serverClock) run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(clockGap)
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
