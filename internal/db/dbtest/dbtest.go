// Package dbtest gives the tests of other packages a database of their own, of
// either engine.
package dbtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

// template is a migrated, empty database, made once a process: a copy costs
// less than the migrations. It is never changed.
var template = sync.OnceValues(newTemplate)

// SQLite returns a migrated, empty database in a folder of the test's, and
// closes it at the end of the test.
func SQLite(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, URL(t))
}

// URL returns the url of a migrated, empty database in a folder of the
// test's: for tests that open it twice, as two processes would.
func URL(t testing.TB) string {
	t.Helper()
	file, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

// Open opens a database, and closes it at the end of the test.
func Open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), url, db.Options{NoSync: true})
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

// Engine is a database that a test can open as often as two processes would.
type Engine func(t testing.TB) (open func() *db.DB)

// Engines are the databases that must behave alike: another one is a line.
var Engines = map[string]Engine{
	"sqlite":   func(t testing.TB) func() *db.DB { return opener(t, URL(t)) },
	"postgres": func(t testing.TB) func() *db.DB { return opener(t, PostgresURL(t)) },
}

func opener(t testing.TB, url string) func() *db.DB {
	return func() *db.DB { t.Helper(); return Open(t, url) }
}

func newTemplate() (file []byte, err error) {
	folder, err := os.MkdirTemp("", "dbtest")
	if err != nil {
		return nil, fmt.Errorf("make template: %w", err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "template.db")
	d, err := db.Open(context.Background(), "sqlite:"+path, db.Options{NoSync: true})
	if err != nil {
		return nil, fmt.Errorf("make template: %w", err)
	}
	// Closing folds the log into the file: one file is then all there is.
	if err := d.Close(); err != nil {
		return nil, fmt.Errorf("make template: %w", err)
	}
	return os.ReadFile(path)
}
