// Package db opens the database: its settings, its migrations, its
// transactions. It knows no table; the packages that own the tables write
// their own SQL.
//
// One dialect of SQL serves both engines: $1 parameters, RETURNING, ON
// CONFLICT, text, bigint and CHECK run alike on SQLite and PostgreSQL. Where
// they differ a caller asks Dialect.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
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
	// Now is the clock of this machine; nil is time.Now. Tests set it.
	Now func() time.Time
	// AsIs opens a database to look at it: one that is not there is not made,
	// and one of another schema is refused and not brought up to date.
	AsIs bool
	// NoSync leaves a commit of SQLite to the kernel: a process that dies loses
	// nothing, a machine that loses its power may lose all. Only tests set it,
	// for whom a sync each time is most of the time.
	NoSync bool
	// Writes is called before and after each commit. An error before it undoes
	// the transaction; either becomes that of Tx. Tests end a process there;
	// nil does nothing.
	Writes func(committed bool) error
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

func (o Options) writes() func(bool) error {
	if o.Writes == nil {
		return func(bool) error { return nil }
	}
	return o.Writes
}

func (o Options) now() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	dialect Dialect
	writer  *sql.DB
	reader  *sql.DB
	clock   *Clock
	path    string                     // of the file on SQLite; empty on PostgreSQL
	writes  func(committed bool) error // see Options; never nil

	config  *pgx.ConnConfig // PostgreSQL: to connect once more
	stop    func()          // ends what runs beside; nil where nothing does
	running sync.WaitGroup
}

// Open opens the database at url and brings its tables up to date. A url is
// sqlite:PATH, whose file is made if need be, and its folder too; or
// postgres://USER:PASSWORD@HOST/NAME, of a database that is there. The error
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
	d, err := connect(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	if opts.AsIs {
		if err := d.current(ctx, migrations); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		return d, nil
	}
	return d.migrated(ctx, opts, migrations)
}

// migrated brings the tables of a database that was just opened up to date.
func (d *DB) migrated(ctx context.Context, opts Options, migrations fs.FS) (*DB, error) {
	d.writes = opts.writes()
	crash.Point("db.migrate")
	if err := d.migrate(ctx, migrations, opts.log()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	crash.Point("db.migrated")
	return d, nil
}

// connect opens the engine that url names.
func connect(ctx context.Context, url string, opts Options) (*DB, error) {
	if dialectOf(url) == PostgreSQL {
		return openPostgres(ctx, url, opts)
	}
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); opts.AsIs && err != nil {
		return nil, errors.New("DATABASE_URL: there is no database yet")
	}
	d, err := openSQLite(ctx, path, opts.NoSync)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// One file is used by the processes of one machine, which have one clock.
	d.clock = NewClock(opts.now(), sinceNow())
	return d, nil
}

// dialectOf returns the engine that a url asks for; anything that is not
// PostgreSQL is SQLite, or a mistake.
func dialectOf(url string) Dialect {
	if strings.HasPrefix(url, "postgres:") || strings.HasPrefix(url, "postgresql:") {
		return PostgreSQL
	}
	return SQLite
}

// IsShared reports whether url names a database that processes of several
// machines can share.
func IsShared(url string) bool { return dialectOf(url) == PostgreSQL }

// sqlitePath returns the file that url names.
func sqlitePath(url string) (string, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	if scheme != "sqlite" {
		return "", errors.New("DATABASE_URL: must begin with sqlite: or postgres://, for example sqlite:data/api-gpu.db")
	}
	// sqlite://data/x.db is what people write who know other addresses.
	path := strings.TrimPrefix(rest, "//")
	if path == "" || strings.HasPrefix(path, ":") { // :memory: would lose every job with the process
		return "", errors.New("DATABASE_URL: names no file, for example sqlite:data/api-gpu.db")
	}
	return path, nil
}

// File is the file of the SQLite database that url names, as it is written
// there; ok is false where it names none.
func File(url string) (path string, ok bool) {
	if IsShared(url) {
		return "", false
	}
	path, err := sqlitePath(url)
	return path, err == nil
}

// txTries bounds how often a transaction is begun again. On SQLite each try
// has waited busyTimeout already.
const txTries = 3

// Tx runs do in a write transaction, and commits when it returns nil. It must
// be quick, must not call Tx, and talks to nothing but tx. It may run again:
// what it leaves outside tx must bear that.
//
// On SQLite there is one writer: do sees nothing change but by itself. On
// PostgreSQL there are many, at READ COMMITTED: each statement sees what was
// committed before it began. One statement whose WHERE says what must hold is
// right on both. A do that reads, decides and writes takes the row that stands
// for its decision with ForUpdate first, or a name with Lock. Deadlocks, and what a server of
// another setting calls a serialization failure, are tried again.
//
// A disk without room is apigpu.StorageFull. Any other error of do comes back
// as it is.
func (d *DB) Tx(ctx context.Context, do func(tx *sql.Tx) error) error {
	var err error
	for range txTries {
		if err = d.try(ctx, do); !isRetryable(err) || ctx.Err() != nil {
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
	var opts *sql.TxOptions
	if d.dialect == PostgreSQL { // whatever the server's default is
		opts = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	tx, err := d.writer.BeginTx(ctx, opts)
	if err != nil {
		return &beginError{err}
	}
	// Also when do panics, or the one writer would stay taken. After a commit
	// it does nothing; if it fails, database/sql drops the connection, which
	// rolls back too.
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	crash.Write("commit")
	if err := d.writes(false); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// database/sql may have rolled back by itself when ctx ended, and then
		// knows only that it is over.
		return fmt.Errorf("commit transaction: %w", errors.Join(ctx.Err(), err))
	}
	crash.Write("committed")
	return d.writes(true)
}

// Read returns the pool for queries. It sees what is committed, never waits
// for a writer, and refuses to write.
func (d *DB) Read() *sql.DB { return d.reader }

// Dialect returns the engine behind d.
func (d *DB) Dialect() Dialect { return d.dialect }

// ForUpdate ends a SELECT of a transaction that will act on what it read: the
// rows stay as they are until it is over. SQLite needs no word for that.
func (d *DB) ForUpdate() string {
	if d.dialect == PostgreSQL {
		return " FOR UPDATE"
	}
	return ""
}

// Lock keeps every other transaction that locks this name waiting until tx is
// over: for a decision that no row stands for. On SQLite there is no other.
func (d *DB) Lock(ctx context.Context, tx *sql.Tx, name string) error {
	if d.dialect != PostgreSQL {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(1, hashtext($1))`, name); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

// Now is the time that rows are compared with: the same for all processes on
// this database, to within a round trip. On SQLite it is this machine's, on
// PostgreSQL the server's.
func (d *DB) Now() time.Time { return d.clock.Now() }

// Clock is the clock behind Now.
func (d *DB) Clock() *Clock { return d.clock }

// beginError is why a transaction did not begin: a connection that had broken
// since it was last used, for example.
type beginError struct{ err error }

func (e *beginError) Error() string { return "begin transaction: " + e.err.Error() }
func (e *beginError) Unwrap() error { return e.err }

// isRetryable tells whether a transaction failed only for meeting another, or
// for a connection on which nothing was done yet.
func isRetryable(err error) bool {
	_, begin := errors.AsType[*beginError](err)
	code := pgCode(err)
	return begin || isBusy(err) || code == pgSerialization || code == pgDeadlock
}

// isFull tells whether the disk has no room.
func isFull(err error) bool { return isSQLiteFull(err) || pgCode(err) == pgDiskFull }

// IsUnique tells whether err means that a row with the same unique value is
// there already.
func IsUnique(err error) bool { return isSQLiteUnique(err) || pgCode(err) == pgUnique }

// Close closes all connections, and waits for transactions at work.
func (d *DB) Close() error {
	if d.stop != nil {
		d.stop()
		d.running.Wait()
	}
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

// Text is s as both engines keep it: PostgreSQL refuses NUL, and what is not
// UTF-8. Words of others (a URL, a provider) may hold them.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Time is the time that Millis stored, in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
