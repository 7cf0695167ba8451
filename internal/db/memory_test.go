package db_test

import (
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	d, err := db.Memory(t.Context(), t.Name(), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := d.Read().QueryRow("SELECT count(*) FROM jobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	var mode string
	if err := d.Read().QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		t.Fatal(err)
	}
	t.Log(mode)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
