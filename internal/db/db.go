// Package db opens the database: its settings, its migrations, its
// transactions. It knows no table; the packages that own the tables write
// their own SQL.
//
// One dialect of SQL serves both engines: $1 parameters, RETURNING, ON
// CONFLICT, text, bigint and CHECK run alike on SQLite and PostgreSQL. Where
// they differ a caller asks Dialect. Only SQLite is built yet.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Dialect names the engine.
type Dialect string

// The engines.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// Options tune a database. The zero value will do.
type Options struct {
	// Log is told of each migration; nil tells nobody.
	Log *slog.Logger
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	dialect Dialect
	writer  *sql.DB
	reader  *sql.DB
}

// Open opens the database at url and brings its tables up to date. A url is
// sqlite:PATH; the file is made if need be, and its folder too. The error
// never holds the url, which may hold a password.
//
// A database that a newer program has migrated is refused and left as it is.
func Open(ctx context.Context, url string, opts Options) (*DB, error) {
	migrations, err := embedded()
	if err != nil {
		return nil, err
	}
	return open(ctx, url, opts, migrations)
}

// open is Open with other migrations than ours.
func open(ctx context.Context, url string, opts Options, migrations fs.FS) (*DB, error) {
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	d, err := openSQLite(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := migrate(ctx, d.writer, migrations, opts.Log); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// sqlitePath returns the file that url names.
func sqlitePath(url string) (string, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
	case "postgres", "postgresql":
		return "", errors.New("DATABASE_URL: PostgreSQL is not built yet; use sqlite:PATH, for example sqlite:data/api-gpu.db")
	default:
		return "", errors.New("DATABASE_URL: must begin with sqlite:, for example sqlite:data/api-gpu.db")
	}
	// sqlite://data/x.db is what people write who know other addresses.
	path := strings.TrimPrefix(rest, "//")
	if path == "" || strings.HasPrefix(path, ":") { // :memory: would lose every job with the process
		return "", errors.New("DATABASE_URL: names no file, for example sqlite:data/api-gpu.db")
	}
	return path, nil
}

// txTries bounds how often a transaction is begun again. Each try has waited
// busyTimeout already.
const txTries = 3

// Tx runs do in a write transaction, and commits when it returns nil. Writers
// wait for each other, in this process and between processes, so do must be
// quick, must not call Tx, and talks to nothing but tx. It may run again when
// another process held the database for too long: what it leaves outside tx
// must bear that.
//
// A disk without room is apigpu.StorageFull. Any other error of do comes back
// as it is.
func (d *DB) Tx(ctx context.Context, do func(tx *sql.Tx) error) error {
	var err error
	for range txTries {
		if err = d.try(ctx, do); !isBusy(err) || ctx.Err() != nil {
			break
		}
	}
	if isFull(err) {
		return apigpu.E(apigpu.StorageFull, err, "The storage of this server is full.")
	}
	return err
}

// try is one try of Tx.
func (d *DB) try(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// Also when do panics, or the one writer would stay taken. After a commit
	// it does nothing; if it fails, database/sql drops the connection, which
	// rolls back too.
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// database/sql may have rolled back by itself when ctx ended, and then
		// knows only that it is over.
		return fmt.Errorf("commit transaction: %w", errors.Join(ctx.Err(), err))
	}
	return nil
}

// Read returns the pool for queries. It sees what is committed, never waits
// for a writer, and refuses to write.
func (d *DB) Read() *sql.DB { return d.reader }

// Dialect returns the engine behind d.
func (d *DB) Dialect() Dialect { return d.dialect }

// Close closes all connections, and waits for transactions at work.
func (d *DB) Close() error {
	// The writer last: closing the last connection folds the log into the
	// file, which a query-only one may not do.
	if err := errors.Join(d.reader.Close(), d.writer.Close()); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Millis is how a time is stored: milliseconds since 1970, UTC. What is finer
// is cut off.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// Time is the time that Millis stored, in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
