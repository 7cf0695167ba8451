package db_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
)

// counter opens a PostgreSQL database with a table of one counter beside ours.
func counter(t *testing.T) *db.DB {
	t.Helper()
	d := dbtest.Postgres(t)
	exec(t, d, "CREATE TABLE counter (id integer NOT NULL PRIMARY KEY, n bigint NOT NULL)")
	exec(t, d, "INSERT INTO counter VALUES (1, 0)")
	exec(t, d, "CREATE TABLE names (name text NOT NULL UNIQUE, counter integer REFERENCES counter (id))")
	return d
}

func exec(t testing.TB, d *db.DB, statement string, args ...any) {
	t.Helper()
	if err := try(t, d, statement, args...); err != nil {
		t.Fatal(err)
	}
}

func try(t testing.TB, d *db.DB, statement string, args ...any) error {
	t.Helper()
	return d.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	})
}

func counted(t testing.TB, d *db.DB) (n int64) {
	t.Helper()
	if err := d.Read().QueryRowContext(t.Context(), "SELECT n FROM counter").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A password that is not written as an address wants it is in no error, whatever
// it was taken for.
func TestPostgresTellsNoPassword(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"s3@cr#3t", "s3#cr3t", "s3/cr3t", "1/cr3t", "s3?cr3t", "s3%cr3t", "s3:cr3t", "s3cr3t"} {
		_, err := db.Open(t.Context(), "postgres://u:"+password+"@127.0.0.1:1/x", db.Options{})
		if err == nil || strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cr") {
			t.Errorf("%s: %v", password, err)
		}
	}
}

// Writers that lock the row of their decision lose nothing, and those that
// change their mind leave nothing.
func TestPostgresTx(t *testing.T) {
	t.Parallel()
	d := counter(t)
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := d.Tx(t.Context(), func(tx *sql.Tx) error {
					var n int64
					if err := tx.QueryRow("SELECT n FROM counter" + d.ForUpdate()).Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec("UPDATE counter SET n = $1", n+1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	mine := errors.New("changed my mind")
	if err := d.Tx(t.Context(), func(tx *sql.Tx) error { return errors.Join(db.Add(tx), mine) }); !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Tx(ctx, func(tx *sql.Tx) error { defer cancel(); return db.Add(tx) }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n := counted(t, d); n != writers*each {
		t.Errorf("counted %d, want %d", n, writers*each)
	}
	if _, err := d.Read().ExecContext(t.Context(), "UPDATE counter SET n = 9"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestPostgresErrors(t *testing.T) {
	t.Parallel()
	d := counter(t)
	for statement, want := range map[string]bool{
		"INSERT INTO names (name) VALUES ('a'), ('a')":        true,
		"INSERT INTO counter VALUES (1, 0)":                   true,
		"INSERT INTO names (name) VALUES (NULL)":              false,
		"INSERT INTO names (name, counter) VALUES ('b', 404)": false, // foreign key
		"INSERT INTO nowhere VALUES (1)":                      false,
	} {
		if err := try(t, d, statement); err == nil || db.IsUnique(err) != want {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if err := try(t, d, raise("53100")); apigpu.CodeOf(err) != apigpu.StorageFull {
		t.Errorf("a full disk is %v", err)
	}
	if err := try(t, d, "INSERT INTO names (name) VALUES ($1)", db.Text("a\x00b\xffc")); err != nil {
		t.Errorf("cleaned text is refused: %v", err)
	}
	for state, want := range map[string]int{"40001": db.TxTries, "40P01": db.TxTries, "23514": 1} {
		tries := 0
		err := d.Tx(t.Context(), func(tx *sql.Tx) error {
			tries++
			_, err := tx.Exec(raise(state))
			return err
		})
		if err == nil || tries != want {
			t.Errorf("%s: %d tries, want %d; %v", state, tries, want, err)
		}
	}
}

// raise makes the server end a statement with this state.
func raise(state string) string {
	return "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '" + state + "'; END $$"
}

// A server that restarts breaks every connection: the next transaction does
// not notice.
func TestPostgresBrokenConnections(t *testing.T) {
	t.Parallel()
	d := counter(t)
	if _, err := d.Read().ExecContext(t.Context(),
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	if err := d.Tx(t.Context(), db.Add); err != nil {
		t.Error(err)
	}
	if n := counted(t, d); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// Two that lock the same rows in opposite order: both get through.
func TestPostgresDeadlock(t *testing.T) {
	t.Parallel()
	d := counter(t)
	exec(t, d, "INSERT INTO counter VALUES (2, 0)")
	var wg sync.WaitGroup
	var both sync.WaitGroup
	both.Add(2)
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		wg.Go(func() {
			first := true
			err := d.Tx(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE counter SET n = n + 1 WHERE id = $1", order[0])
				if first {
					first = false
					both.Done()
					both.Wait()
				}
				if err == nil {
					_, err = tx.Exec("UPDATE counter SET n = n + 1 WHERE id = $1", order[1])
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := d.Read().QueryRow("SELECT sum(n) FROM counter").Scan(&sum); err != nil || sum != 4 {
		t.Errorf("counted %d, %v", sum, err)
	}
}

// Processes that start together on a new database all come up; a newer
// database is refused by an older one, in one clear line, and left as it is.
func TestPostgresMigrations(t *testing.T) {
	t.Parallel()
	const create = "CREATE SCHEMA other"
	url := dbtest.PostgresURL(t)
	exec(t, dbtest.Open(t, url), create)
	url += "&search_path=other" // where nothing is yet
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			d, err := db.OpenMigrations(context.Background(), url, db.Options{}, db.SchemaBoth)
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Tx(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE counter SET n = n + 1")
				return err
			}); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, err := db.OpenMigrations(t.Context(), url, db.Options{}, db.SchemaFirst)
	const want = "this database was made by a newer api-gpu (schema 2, this binary knows 1): use the newer binary"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if _, err := db.OpenMigrations(t.Context(), url, db.Options{}, db.SchemaBroken); err == nil || !strings.Contains(err.Error(), "version:3") {
		t.Errorf("%v", err)
	}
	d, err := db.OpenMigrations(t.Context(), url, db.Options{}, db.SchemaBoth)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := counted(t, d); n != 4 {
		t.Errorf("counted %d", n)
	}
	if _, err := d.Read().ExecContext(t.Context(), "SELECT id FROM half"); err == nil {
		t.Error("half a migration was kept")
	}
}

// Whatever is wrong with a url, its password is in no error, and the error is
// one line.
func TestPostgresPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://me:hunter2@127.0.0.1:1/db",
		"postgres://me:hunter2@127.0.0.1:1/db?sslmode=nonsense",
		"postgres://me:hunter2/@:bad host/db",
		"postgres://me:hunter2@host:port/db",
		"postgresql://me:hunter2%zz@host/db",
		"postgres://me@127.0.0.1:1/db?password=hunter2",
	} {
		_, err := db.Open(t.Context(), url, db.Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The time of rows is the server's, whatever this machine believes.
func TestPostgresClock(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour} {
		d, err := db.Open(t.Context(), url, db.Options{Now: func() time.Time { return time.Now().Add(wrong) }})
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(d.Now()).Abs(); off > time.Minute {
			t.Errorf("with a clock that is %s off it is %s off", wrong, off)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
