package db

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The settings are asked of the connections themselves: a misspelt one in a
// DSN is silently ignored.
func TestSettingsAreInForce(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	writer := map[string]string{
		"journal_mode":       "wal",
		"synchronous":        "2", // FULL
		"foreign_keys":       "1",
		"busy_timeout":       "5000",
		"cache_size":         "-2000",
		"query_only":         "0",
		"journal_size_limit": "8388608",
	}
	reader := map[string]string{
		"journal_mode": "wal",
		"foreign_keys": "1",
		"busy_timeout": "5000",
		"cache_size":   "-1000",
		"query_only":   "1",
	}
	for _, pool := range []struct {
		db   *sql.DB
		want map[string]string
	}{{d.writer, writer}, {d.reader, reader}} {
		for pragma, want := range pool.want {
			var got string
			if err := pool.db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
		}
		if _, err := pool.db.QueryContext(t.Context(), `SELECT "misspelt" FROM counter`); err == nil {
			t.Error("a misspelt column is taken for a string")
		}
	}
	if n := d.writer.Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d writers", n)
	}
}

// Without a sync there is nothing else that is not as usual.
func TestNoSync(t *testing.T) {
	t.Parallel()
	d, err := open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"), Options{NoSync: true}, both)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for pragma, want := range map[string]string{"synchronous": "0", "journal_mode": "wal", "foreign_keys": "1"} {
		var got string
		if err := d.writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s: %v", pragma, got, want, err)
		}
	}
}

func TestSQLitePath(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"sqlite:data/api-gpu.db":         "data/api-gpu.db",
		"sqlite:/var/lib/x.db":           "/var/lib/x.db",
		"sqlite://data/x.db":             "data/x.db",
		"sqlite:///data/x.db":            "/data/x.db",
		"sqlite:":                        "",
		"sqlite::memory:":                "",
		"":                               "",
		"data/x.db":                      "",
		"mysql://me:secret@host/db":      "",
		"postgres://me:secret@host/db":   "",
		"postgresql://me:secret@host/db": "",
	} {
		got, err := sqlitePath(url)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", url, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// A path means itself, whatever a URI would make of its letters.
func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "50%41", "q?mode=ro", "x#y", "é"} {
		folder := filepath.Join(t.TempDir(), "new", name)
		d := openAt(t, folder)
		if err := d.Tx(t.Context(), add); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(folder, "test.db")); err != nil || info.Size() == 0 {
			t.Errorf("%s: the file is elsewhere: %v", name, err)
		}
	}
}

const (
	childFolder = "DB_TEST_FOLDER"
	childWrites = 1000
)

// TestKilledWriter is what the child of TestKill9 runs, and nothing by
// itself: it counts, and says each number that is committed.
func TestKilledWriter(t *testing.T) {
	folder := os.Getenv(childFolder)
	if folder == "" {
		return
	}
	d := openAt(t, folder)
	for range childWrites {
		if err := d.Tx(t.Context(), add); err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed")
	}
}

// Another process counts, while this one does too, and is killed at work.
// What both were told is committed is there, and the file is sound.
func TestKill9(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := openAt(t, folder)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWriter$")
	child.Env = append(os.Environ(), childFolder+"="+folder)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var theirs, ours int64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() != "committed" {
			continue
		}
		theirs++
		if theirs <= 20 {
			if err := d.Tx(t.Context(), add); err != nil {
				t.Fatal(err)
			}
			ours++
		}
		if theirs == 30 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	// At most one more was committed than it could say.
	if n := count(t, openAt(t, folder)); n != ours+theirs && n != ours+theirs+1 {
		t.Errorf("counted %d, of %d ours and %d theirs", n, ours, theirs)
	}
	var verdict string
	if err := d.Read().QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the file is %q, %v", verdict, err)
	}
	if err := d.Tx(t.Context(), add); err != nil {
		t.Errorf("the dead left a lock: %v", err)
	}
}

// A lock that another process keeps is waited for no longer than ctx.
func TestWaitForALockEndsWithContext(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, other := openAt(t, folder), openAt(t, folder)
	err := other.Tx(t.Context(), func(*sql.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := d.Tx(ctx, add); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > busyTimeout/2 {
			t.Errorf("took %v", took)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A database that is busy is tried again, so often and no more.
func TestBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, other := openAt(t, folder), openAt(t, folder)
	if _, err := d.writer.ExecContext(t.Context(), "PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	var busy error
	err := other.Tx(t.Context(), func(*sql.Tx) error {
		busy = d.Tx(t.Context(), add)
		return nil
	})
	if err != nil || !isBusy(busy) {
		t.Fatalf("%v, %v", err, busy)
	}
	for failures, want := range map[int]error{0: nil, txTries - 1: nil, txTries: busy} {
		tries := 0
		err := d.Tx(t.Context(), func(tx *sql.Tx) error {
			if tries++; tries <= failures {
				return busy
			}
			return add(tx)
		})
		if !errors.Is(err, want) || tries != min(failures+1, txTries) {
			t.Errorf("busy %d times: %d tries, %v", failures, tries, err)
		}
	}
	if n := count(t, d); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
}
