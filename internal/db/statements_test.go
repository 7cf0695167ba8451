package db

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
)

// One statement that is used within itself, often, by many and in vain goes on
// to give true answers.
func TestStatementsAreKept(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	count := func(from interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}) (n int) {
		t.Helper()
		if err := from.QueryRowContext(t.Context(), `SELECT n FROM counter WHERE id = $1`, 1).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const times = 20
	for range times {
		err := d.Tx(t.Context(), func(tx *sql.Tx) error {
			rows, err := tx.QueryContext(t.Context(), `SELECT n FROM counter WHERE id = $1`, 1)
			if err != nil {
				return err
			}
			defer rows.Close()
			before := count(tx) // while the same is open
			if _, err := tx.ExecContext(t.Context(), `UPDATE counter SET n = n + 1 WHERE id = $1`, 1); err != nil {
				return err
			}
			if after := count(tx); after != before+1 {
				t.Errorf("%d after %d", after, before)
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range times {
				if n := count(d.Read()); n != times {
					t.Errorf("%d, want %d", n, times)
				}
			}
		})
	}
	all.Wait()
}

// A statement that failed, or whose rows were left in the middle, is as good as
// new to the next, and so is one that was compiled before the tables changed.
func TestStatementsAfterFaults(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	exec := func(ctx context.Context, statement string, args ...any) error {
		return d.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statement, args...)
			return err
		})
	}
	for i := range 3 {
		if err := exec(t.Context(), `INSERT INTO counter (id, n) VALUES ($1, 0)`, 1); !IsUnique(err) {
			t.Fatalf("the same row again: %v", err)
		}
		if err := exec(t.Context(), `INSERT INTO counter (id, n) VALUES ($1, 0)`, 10+i); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := d.Read().QueryContext(ctx, `SELECT * FROM counter`)
		if err != nil || !rows.Next() {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil || len(columns) != 2+i {
			t.Errorf("%v, %v", columns, err)
		}
		cancel() // in the middle
		_ = rows.Close()
		if err := exec(t.Context(), fmt.Sprintf(`ALTER TABLE counter ADD COLUMN more%d integer`, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection keeps no more statements than it may, and closes with those that
// it has.
func TestStatementsAreBounded(t *testing.T) {
	t.Parallel()
	d := openAt(t, t.TempDir())
	for n := range 2 * maxStatements {
		var got int
		if err := d.Read().QueryRowContext(t.Context(), fmt.Sprintf(`SELECT %d`, n)).Scan(&got); err != nil || got != n {
			t.Fatalf("%d, %v", got, err)
		}
	}
	c, err := d.Read().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Raw(func(raw any) error {
		if n := len(raw.(*conn).idle); n > maxStatements || n == 0 {
			t.Errorf("%d statements are kept", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkRead reads one row by its key.
func BenchmarkRead(b *testing.B) {
	d := openAt(b, b.TempDir())
	for b.Loop() {
		var n int
		if err := d.Read().QueryRowContext(b.Context(), `SELECT n FROM counter WHERE id = $1`, 1).Scan(&n); err != nil {
			b.Fatal(err)
		}
	}
}
