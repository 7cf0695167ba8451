package dbtest_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
)

// Each test has a database of its own, with our tables and without a row.
func TestSQLite(t *testing.T) {
	t.Parallel()
	a, b := dbtest.SQLite(t), dbtest.SQLite(t)
	if a.Dialect() != db.SQLite {
		t.Errorf("dialect is %s", a.Dialect())
	}
	err := a.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("CREATE TABLE mine (id integer)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read().ExecContext(t.Context(), "SELECT id FROM mine"); err == nil {
		t.Error("two tests share a database")
	}
	var jobs int
	if err := b.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM jobs").Scan(&jobs); err != nil || jobs != 0 {
		t.Errorf("%d jobs, %v", jobs, err)
	}
}

// One file may be opened twice.
func TestURL(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	a, b := dbtest.Open(t, url), dbtest.Open(t, url)
	for _, d := range []*db.DB{a, b} {
		if err := d.Tx(t.Context(), func(*sql.Tx) error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkSQLite(b *testing.B) {
	for b.Loop() {
		dbtest.SQLite(b)
	}
}

// Each test has a PostgreSQL database of its own.
func TestPostgres(t *testing.T) {
	t.Parallel()
	a, b := dbtest.Postgres(t), dbtest.Postgres(t)
	if a.Dialect() != db.PostgreSQL {
		t.Errorf("dialect is %s", a.Dialect())
	}
	err := a.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("CREATE TABLE mine (id integer)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read().ExecContext(t.Context(), "SELECT id FROM mine"); err == nil {
		t.Error("two tests share a database")
	}
	var jobs int
	if err := b.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM jobs").Scan(&jobs); err != nil || jobs != 0 {
		t.Errorf("%d jobs, %v", jobs, err)
	}
}

// A backup that is put back is all there is, in a database of many tables that
// refer to each other.
func TestCopy(t *testing.T) {
	t.Parallel()
	d := dbtest.Memory(t, db.Options{})
	exec := func(statement string) {
		t.Helper()
		if err := d.Tx(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
			t.Fatal(err)
		}
	}
	const add = `INSERT INTO instances (label, provider, state, reason, created_at, state_since, deadline) VALUES ('%s', 'p', 'ready', '', 1, 1, 1)`
	exec(fmt.Sprintf(add, "kept"))
	c, err := dbtest.CopyOf(d)
	if err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE instances SET state = 'gone'`)
	exec(fmt.Sprintf(add, "later"))
	if err := c.PutBack(d); err != nil {
		t.Fatal(err)
	}
	var labels, state string
	if err := d.Read().QueryRow(`SELECT group_concat(label), max(state) FROM instances`).Scan(&labels, &state); err != nil || labels != "kept" || state != "ready" {
		t.Errorf("%s %s, %v", labels, state, err)
	}
}
