package db_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
)

// listener collects the news of a database.
func listener(t *testing.T, d *db.DB) (heard chan string) {
	t.Helper()
	heard = make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Listen(ctx, slog.New(slog.DiscardHandler), func(message string) { heard <- message })
	}()
	t.Cleanup(func() { cancel(); <-done })
	hear(t, heard, db.Anything) // the start
	return heard
}

func hear(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

// What another process committed is heard; what it rolled back is not.
func TestNewsOfPostgres(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	here, there := dbtest.Open(t, url), dbtest.Open(t, url)
	heard := listener(t, here)
	say := func(message string, end error) {
		_ = there.Tx(t.Context(), func(tx *sql.Tx) error {
			if err := there.Notify(t.Context(), tx, message); err != nil {
				t.Error(err)
			}
			return end
		})
	}
	say("one", nil)
	say("never", context.Canceled)
	say("two", nil)
	hear(t, heard, "one")
	hear(t, heard, "two")
	// A connection that breaks is made anew, and what was missed is said to be.
	exec(t, there, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`)
	hear(t, heard, db.Anything)
	say("three", nil)
	hear(t, heard, "three")
}

// On SQLite a process sees that another wrote, and not what it wrote itself.
func TestNewsOfSQLite(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	here, there := dbtest.Open(t, url), dbtest.Open(t, url)
	heard := listener(t, here)
	exec(t, here, "CREATE TABLE mine (id integer)")
	exec(t, there, "CREATE TABLE theirs (id integer)")
	hear(t, heard, db.Anything)
	exec(t, here, "INSERT INTO mine VALUES (1)")
	select {
	case got := <-heard:
		t.Errorf("heard %q of its own", got)
	case <-time.After(1500 * time.Millisecond): // more than one look
	}
}
