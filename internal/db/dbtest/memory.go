package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

// memories numbers the databases in memory of this process.
var memories atomic.Int64

// Memory returns a migrated, empty database in memory, and closes it at the
// end of the test. PutBack makes it new again for a fraction of what another
// one costs.
func Memory(t testing.TB, opts db.Options) *db.DB {
	t.Helper()
	d, err := db.Memory(context.Background(), fmt.Sprintf("dbtest-%d", memories.Add(1)), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Copy is what the tables of an SQLite database held at one moment: a backup.
type Copy []tableCopy

type tableCopy struct {
	clear, insert string
	rows          [][]any
}

// CopyOf copies all tables but the list of the migrations.
func CopyOf(d *db.DB) (Copy, error) {
	tables, err := db.Column[string](context.Background(), d.Read(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	var c Copy
	for _, table := range tables {
		t, err := copyTable(d, table)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", table, err)
		}
		c = append(c, t)
	}
	return c, nil
}

func copyTable(d *db.DB, table string) (t tableCopy, err error) {
	rows, err := d.Read().Query(`SELECT * FROM ` + table)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return t, err
	}
	t.clear = `DELETE FROM ` + table
	t.insert = `INSERT INTO ` + table + ` (` + strings.Join(names, ", ") + `) VALUES (?` + strings.Repeat(", ?", len(names)-1) + `)`
	for rows.Next() {
		row, into := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return t, err
		}
		t.rows = append(t.rows, row)
	}
	return t, rows.Err()
}

// PutBack makes d what it was when the copy was made, in one transaction.
func (c Copy) PutBack(d *db.DB) error {
	return d.Tx(context.Background(), func(tx *sql.Tx) error {
		if _, err := tx.Exec(`PRAGMA defer_foreign_keys = ON`); err != nil { // the order of the tables is that of the alphabet
			return err
		}
		for _, t := range c {
			if _, err := tx.Exec(t.clear); err != nil {
				return err
			}
		}
		for _, t := range c {
			for _, row := range t.rows {
				if _, err := tx.Exec(t.insert, row...); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
