package db

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	need.Parallel(6) // PostgreSQL, and other processes, are waited for
	goleak.VerifyTestMain(m)
}

// schema is a world of two migrations, of which the tests know the tables.
func schema(versions ...string) fs.FS {
	all := map[string]string{
		"00001_counter.sql": "-- +goose Up\nCREATE TABLE counter (id integer NOT NULL PRIMARY KEY, n bigint NOT NULL);\nINSERT INTO counter VALUES (1, 0);",
		"00002_names.sql":   "-- +goose Up\nCREATE TABLE names (name text NOT NULL UNIQUE, counter integer REFERENCES counter (id));",
		"00003_broken.sql":  "-- +goose Up\nCREATE TABLE half (id integer);\nCREATE TABLE counter (id integer);",
	}
	files := fstest.MapFS{}
	for _, version := range versions {
		files[version] = &fstest.MapFile{Data: []byte(all[version])}
	}
	return files
}

var (
	first  = schema("00001_counter.sql")
	both   = schema("00001_counter.sql", "00002_names.sql")
	broken = schema("00001_counter.sql", "00002_names.sql", "00003_broken.sql")
)

// openAt opens the database in this folder, and closes it with the test.
func openAt(t testing.TB, folder string) *DB {
	t.Helper()
	d, err := open(context.Background(), "sqlite:"+filepath.Join(folder, "test.db"), Options{}, both)
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

func count(t testing.TB, d *DB) (n int64) {
	t.Helper()
	if err := d.Read().QueryRowContext(context.Background(), "SELECT n FROM counter").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// add reads and writes in two statements: a transaction that does not hold
// the lock from its beginning would lose updates, or fail.
func add(tx *sql.Tx) error {
	var n int64
	if err := tx.QueryRow("SELECT n FROM counter").Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE counter SET n = $1", n+1)
	return err
}

func TestTxCommitsOrRollsBack(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	if err := d.Tx(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	mine := errors.New("changed my mind")
	err := d.Tx(t.Context(), func(tx *sql.Tx) error { return errors.Join(add(tx), mine) })
	if !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = d.Tx(t.Context(), func(tx *sql.Tx) error {
			_ = add(tx)
			var none *int
			*none = 1 // a bug in a caller
			return nil
		})
	}()
	// The one writer is free again, and only the first is kept.
	if err := d.Tx(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
}

func TestTxEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Tx(ctx, func(tx *sql.Tx) error {
		defer cancel()
		return add(tx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n := count(t, d); n != 0 {
		t.Errorf("counted %d", n)
	}
}

// Several handles on one file are what several processes have.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	const handles, writers, each = 3, 2, 15
	var wg sync.WaitGroup
	for range handles {
		d := openAt(t, folder)
		for range writers {
			wg.Go(func() {
				for range each {
					if err := d.Tx(t.Context(), add); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := count(t, openAt(t, folder)); n != handles*writers*each {
		t.Errorf("counted %d, want %d", n, handles*writers*each)
	}
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, other := openAt(t, folder), openAt(t, folder)
	began := time.Now()
	err := d.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := add(tx); err != nil {
			return err
		}
		for _, reader := range []*DB{d, other} {
			if n := count(t, reader); n != 0 {
				t.Errorf("a reader sees %d, which is not committed", n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > busyTimeout/2 {
		t.Errorf("readers waited for the writer: %v", took)
	}
	if n := count(t, other); n != 1 {
		t.Errorf("counted %d after the commit", n)
	}
}

func TestReadersDoNotWrite(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	if _, err := d.Read().ExecContext(t.Context(), "UPDATE counter SET n = 9"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestIsUnique(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	for statement, want := range map[string]bool{
		"INSERT INTO names (name) VALUES ('a'), ('a')":        true,
		"INSERT INTO counter VALUES (1, 0)":                   true,
		"INSERT INTO names (name) VALUES (NULL)":              false,
		"INSERT INTO names (name, counter) VALUES ('b', 404)": false, // foreign key
		"INSERT INTO nowhere VALUES (1)":                      false,
	} {
		err := d.Tx(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(statement)
			return err
		})
		if err == nil || IsUnique(err) != want {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if IsUnique(nil) || IsUnique(errors.New("UNIQUE")) {
		t.Error("takes anything for unique")
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	// SQLite counts a file at its bound as a disk without room.
	if _, err := d.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	err := d.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO names (name) VALUES ($1)", strings.Repeat("x", 1<<20))
		return err
	})
	if apigpu.CodeOf(err) != apigpu.StorageFull {
		t.Errorf("%v", err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("x", 5*3600)
	now := time.Date(2026, 3, 4, 5, 6, 7, 891_999_999, zone)
	if got := Time(Millis(now)); got != now.Truncate(time.Millisecond).UTC() {
		t.Errorf("%v became %v", now, got)
	}
	if got := Time(Millis(time.Time{})); !got.IsZero() {
		t.Errorf("no time became %v", got)
	}
}
