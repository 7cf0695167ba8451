package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Sizes of the two pools of one process. A small server allows 100 connections
// in all, and several orchestrators share it.
const (
	pgWriters = 6
	pgReaders = 6
)

// pgBounds are kept by the server itself, so that a process that is stopped
// in the middle, or whose machine lost its power, holds no lock for longer
// than the others can wait: the fleet lease is 15 s.
const pgBounds = `SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '20s'; SET statement_timeout = '60s';
	SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3`

// pgConnect bounds one try to connect.
const pgConnect = 10 * time.Second

// openPostgres connects two pools: one that writes, and one that the server
// keeps from writing.
func openPostgres(ctx context.Context, url string, opts Options) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil || misread(config) {
		// Not err: it quotes the url, and what it takes for the password in it
		// need not be the password.
		return nil, errors.New("DATABASE_URL: not an address such as postgres://user:password@host:5432/name (letters such as @ / # % in the password are written %40 %2F %23 %25)")
	}
	config.ConnectTimeout = pgConnect
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	d := &DB{dialect: PostgreSQL, config: config, writer: pgPool(config, pgWriters, false), reader: pgPool(config, pgReaders, true)}
	server := &serverClock{db: d.reader, local: opts.now()}
	if err := server.measure(ctx); err != nil {
		return nil, errors.Join(reachable(err), d.Close())
	}
	d.clock = NewClock(server.now, sinceNow())
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.running.Go(func() { server.run(run, opts.log()) })
	return d, nil
}

// misread reports whether a password that is not written as an address wants it
// was taken for the host or the name of the database: errors would tell it.
func misread(config *pgx.ConnConfig) bool {
	hosts := []string{config.Host}
	for _, f := range config.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	odd := func(host string) bool {
		_, err := netip.ParseAddr(host)
		return err != nil && strings.ContainsAny(host, "@#?:")
	}
	return strings.Contains(config.Database, "@") || slices.ContainsFunc(hosts, odd)
}

// reachable says whose error it is, in one line. pgx names user, host and
// database in it, and no password.
func reachable(err error) error {
	return fmt.Errorf("reach PostgreSQL: %s", strings.Join(strings.Fields(err.Error()), " "))
}

// pgPool is a pool whose connections begin with our bounds. They are set by a
// statement rather than at the start, where some poolers take none.
func pgPool(config *pgx.ConnConfig, size int, readOnly bool) *sql.DB {
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		settings := pgBounds
		if readOnly {
			settings += "; SET default_transaction_read_only = on"
		}
		_, err := c.Exec(ctx, settings)
		return err
	}))
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(readerIdle)
	return pool
}

// Advisory locks are named by a number: "api-gpu" in ASCII.
const pgMigrationLock = 0x6170692d677075

// lockMigrations lets one process at a time migrate: CREATE TABLE of two that
// start together would collide. The lock goes with its connection, whatever
// becomes of the process.
func lockMigrations(ctx context.Context, db *sql.DB) (unlock func(), err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, reachable(err)
	}
	// Another may be at it for longer than one statement may take.
	_, err = conn.ExecContext(ctx, `SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)`)
	if err == nil {
		_, err = conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(pgMigrationLock))
	}
	drop := func() {
		// Its settings are not those of the pool any more: it is not used again.
		_ = conn.Raw(func(c any) error {
			return errors.Join(c.(*stdlib.Conn).Conn().Close(context.WithoutCancel(ctx)), errDropped)
		})
		_ = conn.Close()
	}
	if err != nil {
		drop()
		return nil, fmt.Errorf("lock migrations: %w", err)
	}
	return drop, nil
}

var errDropped = errors.New("dropped on purpose")

// pgCode returns the SQLSTATE of err, "" for a foreign error
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func pgCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// The states that we act on.
const (
	pgUnique        = "23505"
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgDiskFull      = "53100"
)
