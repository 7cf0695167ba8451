package db

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// busyTimeout is how long SQLite waits for another process's lock.
	busyTimeout = 5 * time.Second
	// busyGap is the pause before a lock that is not waited for is asked for
	// again.
	busyGap = 20 * time.Millisecond
	// The reader pool. What nobody has used for readerIdle closes, and gives
	// its cache back: sooner, and a busy server would open one for each request.
	readers    = 4
	readerIdle = time.Minute
	// Page caches of one connection, in KiB. Small, because an idle
	// orchestrator is to stay below 40 MB resident, and because the kernel
	// caches the file anyway: at most 2 + 4 x 1 MB.
	writerCache = 2000
	readerCache = 1000
	// walLimit is what the log is cut back to after a checkpoint, in bytes.
	// Twice the 1000 pages after which SQLite checkpoints.
	walLimit = 8 << 20
)

// openSQLite opens the file with one connection that writes and a pool that
// reads. noSync is that of Options.
func openSQLite(ctx context.Context, path string, noSync bool) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	synchronous := "FULL"
	if noSync {
		synchronous = "OFF"
	}
	d, err := openPools(ctx, writerDSN(path, synchronous), readerDSN(path))
	if err != nil {
		return nil, err
	}
	d.path = path
	return d, nil
}

// openPools opens the connection that writes and those that read.
func openPools(ctx context.Context, writerDSN, readerDSN string) (*DB, error) {
	writer, err := openPool(writerDSN)
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	// The writer first: it is the one that turns a new file to WAL.
	if err := firstConn(ctx, writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := openPool(readerDSN)
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	reader.SetConnMaxIdleTime(readerIdle)
	return &DB{dialect: SQLite, writer: writer, reader: reader}, nil
}

// firstConn opens the first connection. Turning a file to WAL takes a lock that
// SQLite asks for once and does not wait for, whatever its busy timeout: a
// process that starts beside another on a new file must ask again.
func firstConn(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := pool.PingContext(ctx)
		if !isBusy(err) {
			return err
		}
		select {
		case <-time.After(busyGap):
		case <-ctx.Done():
			return err
		}
	}
}

// createFile makes a new database that only its owner can read: it holds the
// root secret of the fleet. SQLite gives its log the same mode.
//
// An old file is not so much as opened: closing it would drop the locks that
// other connections of this process hold (https://www.sqlite.org/howtocorrupt.html, 2.2).
func createFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// writerDSN asks for WAL, so that readers and the writer do not wait for each
// other; for as much care about syncing as is said (FULL syncs at each commit:
// in WAL, NORMAL may lose the last commits in a power cut, and with them a GPU
// that was paid for); and for transactions that take the write lock at BEGIN,
// since one that reads first and writes later fails without waiting
// (SQLITE_BUSY_SNAPSHOT).
func writerDSN(path, synchronous string) string {
	q := commonParams(writerCache)
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", synchronous)
	q.Set("_txlock", "immediate")
	q.Add("_pragma", "journal_size_limit("+strconv.Itoa(walLimit)+")")
	return dsn(path, q)
}

func readerDSN(path string) string {
	q := commonParams(readerCache)
	q.Set("_query_only", "on")
	return dsn(path, q)
}

func commonParams(cacheKiB int) url.Values {
	return url.Values{
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_foreign_keys": {"on"},
		// Negative means KiB.
		"_pragma": {"cache_size(-" + strconv.Itoa(cacheKiB) + ")"},
		// No SQL can damage the file.
		"_defensive": {"1"},
		// A misspelt column in double quotes is an error, not a string.
		"_dqs": {"0"},
	}
}

// dsn is the file as a URI, so that a '?' or '%' in its path means itself
// (https://www.sqlite.org/uri.html).
func dsn(path string, params url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // C:/data on Windows is file:///C:/data
		path = "/" + path
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	return u.String()
}

func isSQLiteUnique(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

// isBusy tells whether another process held a lock for too long.
func isBusy(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY }

func isSQLiteFull(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_FULL }

// sqliteCode returns the extended result code of err, 0 for a foreign error.
// Its low byte is the primary code (https://www.sqlite.org/rescode.html).
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}
