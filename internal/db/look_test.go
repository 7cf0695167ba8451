package db

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who looks is told what there is, and leaves it as it was.
func TestLook(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "x.db")
	if d, err := Look(t.Context(), "sqlite:"+path, Options{}); d != nil || err != nil {
		t.Errorf("none: %v %v", d, err)
	}
	if found := names(t, folder); len(found) != 0 {
		t.Errorf("it left %v", found)
	}
	look := func(moment string, want State) {
		t.Helper()
		d, err := Look(t.Context(), "sqlite:"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.State(t.Context())
		if want.Known = got.Known; got != want || err != nil || got.Known < 8 {
			t.Errorf("%s: %+v %v", moment, got, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look("empty", State{Dialect: SQLite})
	look("still empty", State{Dialect: SQLite})
	oldDatabase(t, path, "00006")
	look("old", State{Dialect: SQLite, Schema: 6})
	d, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	look("beside who has it open", State{Dialect: SQLite, Schema: 9})
}

// What is no database, or nobody's to write, is not called well.
func TestLookAtFaults(t *testing.T) {
	t.Parallel()
	if _, err := Look(t.Context(), "mysql:x", Options{}); err == nil {
		t.Error("another engine")
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("nothing of the kind ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Look(t.Context(), "sqlite:"+path, Options{})
	if err == nil {
		_, err = d.State(t.Context())
		d.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "not a database") {
		t.Error(err)
	}
}
