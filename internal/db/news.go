package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// News from other processes: on PostgreSQL by LISTEN and NOTIFY, on SQLite by
// a look at a number once a second. Losing news must lose nothing: truth is in
// the tables.

// Anything is the news that anything may have changed.
const Anything = ""

const (
	// channel is that of our notifications. A database holds one fleet.
	channel = "api_gpu"
	// newsPoll is how often SQLite is looked at.
	newsPoll = time.Second
	// newsQuiet is how long a listener trusts a connection that says nothing.
	newsQuiet = 15 * time.Second
	// Waits between tries to listen again.
	newsRetryMin = 250 * time.Millisecond
	newsRetryMax = 15 * time.Second
)

// Notify tells the other processes, once tx is committed. message has at most
// 7000 bytes and is not Anything. On SQLite they look for themselves.
func (d *DB) Notify(ctx context.Context, tx *sql.Tx, message string) error {
	if d.dialect != PostgreSQL {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, message); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Listen calls heard with each message of Notify, those of this process too,
// and with Anything where messages may have been missed, until ctx ends. heard
// must be quick.
func (d *DB) Listen(ctx context.Context, log *slog.Logger, heard func(message string)) {
	if d.dialect == PostgreSQL {
		d.listen(ctx, log, heard)
		return
	}
	tick := time.NewTicker(newsPoll)
	defer tick.Stop()
	var last int64
	for {
		// The number rises when another connection than this one commits. The
		// writer's is asked, of which there is one: what this process wrote
		// itself is no news. It reads no page of the file.
		var version int64
		err := d.writer.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version)
		if err == nil && version != last {
			last = version
			heard(Anything)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// listen keeps a connection that listens, and makes it anew where it breaks.
func (d *DB) listen(ctx context.Context, log *slog.Logger, heard func(string)) {
	wait := newsRetryMin
	for {
		began := time.Now()
		err := d.listenOnce(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > newsQuiet { // it worked for a while
			wait = newsRetryMin
		}
		log.WarnContext(ctx, "no news from other processes for now", "error", err, "again_in", wait)
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, newsRetryMax)
	}
}

// listenOnce listens on one connection until it breaks or ctx ends.
func (d *DB) listenOnce(ctx context.Context, heard func(string)) error {
	conn, err := pgx.ConnectConfig(ctx, d.config.Copy())
	if err != nil {
		return reachable(err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end) // it broke, or nobody needs it any more
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	heard(Anything) // since the last connection, or the start
	for {
		quiet, cancel := context.WithTimeout(ctx, newsQuiet)
		message, err := conn.WaitForNotification(quiet)
		over := quiet.Err() != nil
		cancel()
		switch {
		case err == nil:
			heard(message.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case !over:
			return fmt.Errorf("listen: %w", err)
		default: // is it still there?
			ping, cancel := context.WithTimeout(ctx, newsQuiet)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
		}
	}
}
