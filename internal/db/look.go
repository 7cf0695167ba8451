package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/pressly/goose/v3"
)

// State is how a database was found.
type State struct {
	Dialect Dialect
	// Schema is its version, 0 of an empty one; Known is the one that this
	// program would bring it to.
	Schema, Known int64
}

// Look opens a database to look at it, whatever its schema is: nothing is made
// and nothing changed. The DB is nil where SQLite has no file yet.
func Look(ctx context.Context, url string, opts Options) (*DB, error) {
	if dialectOf(url) == SQLite {
		path, err := sqlitePath(url)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	d, err := connect(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	d.writes = opts.writes()
	return d, nil
}

// ErrHeld is of a database that another program kept to itself for longer than
// anybody waits.
var ErrHeld = errors.New("another program holds the database")

// errUndone undoes a transaction that was only a try.
var errUndone = errors.New("undone")

// State says how the database is, and fails unless it can be read and written:
// something is written, and undone.
func (d *DB) State(ctx context.Context) (State, error) {
	s := State{Dialect: d.dialect}
	migrations, err := embedded()
	if err != nil {
		return s, err
	}
	dialect := goose.DialectSQLite3
	if d.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, d.writer, migrations, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return s, fmt.Errorf("read migrations: %w", err)
	}
	for _, source := range provider.ListSources() {
		s.Known = max(s.Known, source.Version)
	}
	// Not by the provider: it would make the table where there is none.
	err = d.Read().QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&s.Schema)
	if err != nil {
		if empty, emptyErr := d.empty(ctx); emptyErr == nil && empty {
			return s, nil
		}
		return s, fmt.Errorf("read schema version: %w", err)
	}
	err = d.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE goose_db_version SET version_id = version_id WHERE version_id = $1`, s.Schema); err != nil {
			return err
		}
		return errUndone
	})
	if isBusy(err) {
		return s, fmt.Errorf("%w: %w", ErrHeld, err)
	}
	if !errors.Is(err, errUndone) {
		return s, fmt.Errorf("write: %w", err)
	}
	return s, nil
}

// empty tells whether no program of ours has made its tables there.
func (d *DB) empty(ctx context.Context) (bool, error) {
	query := `SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'`
	if d.dialect == PostgreSQL {
		query = `SELECT count(*) FROM pg_class WHERE relname = 'goose_db_version'`
	}
	var n int
	err := d.Read().QueryRowContext(ctx, query).Scan(&n)
	return n == 0, err
}
