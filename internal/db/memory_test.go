package db_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

// A database in memory has the tables, both its pools see the same, and another
// does not.
func TestMemory(t *testing.T) {
	t.Parallel()
	var all [2]*db.DB
	for i := range all {
		d, err := db.Memory(t.Context(), t.Name()+string(rune('a'+i)), db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		all[i] = d
	}
	if err := all[0].Tx(t.Context(), addFleet); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0} {
		if n := fleets(t, all[i]); n != want {
			t.Errorf("%d rows in database %d, want %d", n, i, want)
		}
	}
}

func addFleet(tx *sql.Tx) error {
	_, err := tx.Exec(`INSERT INTO fleet (one, id, secret, epoch, holder, lease_until) VALUES (1, 'x', 'y', 0, '', 0)`)
	return err
}

func fleets(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	if err := d.Read().QueryRow("SELECT count(*) FROM fleet").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What Writes returns before a commit undoes it, and after it is only told.
func TestWrites(t *testing.T) {
	t.Parallel()
	var fail [2]error // by whether it is committed
	index := map[bool]int{true: 1}
	d, err := db.Memory(t.Context(), t.Name(), db.Options{Writes: func(committed bool) error { return fail[index[committed]] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for committed, want := range []int{0, 1} {
		cut := errors.New("cut")
		fail = [2]error{}
		fail[committed] = cut
		if err := d.Tx(t.Context(), addFleet); !errors.Is(err, cut) {
			t.Errorf("error %v", err)
		}
		if n := fleets(t, d); n != want {
			t.Errorf("%d rows, want %d", n, want)
		}
	}
}
