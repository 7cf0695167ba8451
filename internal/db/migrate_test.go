package db

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestMigrateStepByStep(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	var log bytes.Buffer
	opts := Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
	d, err := open(t.Context(), url, opts, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Tx(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		d, err = open(t.Context(), url, opts, both)
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, d); n != 1 {
			t.Errorf("counted %d: the row is lost", n)
		}
		if _, err := d.Read().ExecContext(t.Context(), "SELECT name FROM names"); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"schema=1", "schema=2"} {
		if strings.Count(log.String(), version) != 1 {
			t.Errorf("the log should tell once of %s:\n%s", version, &log)
		}
	}
}

// Who looks on makes no database, and changes none.
func TestAsIs(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	url := "sqlite:" + filepath.Join(folder, "test.db")
	look := func(want string) {
		t.Helper()
		d, err := open(t.Context(), url, Options{AsIs: true}, both)
		if err == nil {
			if n := count(t, d); n != 0 {
				t.Errorf("counted %d", n)
			}
			err = d.Close()
		}
		if err == nil && want != "" || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	look("there is no database yet")
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	d, err := open(t.Context(), url, Options{}, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	look("of an older api-gpu (schema 1, this binary knows 2)")
	openAt(t, folder)
	look("") // beside who has it open
	if d, err = open(t.Context(), url, Options{AsIs: true}, first); err == nil {
		d.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "made by a newer api-gpu") {
		t.Errorf("an older program: %v", err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := openAt(t, folder)
	if err := d.Tx(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	_, err := open(t.Context(), "sqlite:"+filepath.Join(folder, "test.db"), Options{}, first)
	const want = "this database was made by a newer api-gpu (schema 2, this binary knows 1): use the newer binary"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if n := count(t, d); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// A migration that fails leaves nothing of itself.
func TestBrokenMigration(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	_, err := open(t.Context(), "sqlite:"+filepath.Join(folder, "test.db"), Options{}, broken)
	if err == nil || !strings.Contains(err.Error(), "version:3") {
		t.Errorf("%v", err)
	}
	d := openAt(t, folder) // as far as it is sound
	if _, err := d.Read().ExecContext(t.Context(), "SELECT id FROM half"); err == nil {
		t.Error("half a migration was kept")
	}
}

// Processes that start together on a new file all come up.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			d, err := open(context.Background(), url, Options{}, both)
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Tx(t.Context(), add); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d, err := open(t.Context(), url, Options{}, both)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := count(t, d); n != 4 {
		t.Errorf("counted %d", n)
	}
}

// The migrations that are shipped apply.
func TestOurMigrations(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
