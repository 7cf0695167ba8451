package db

import (
	"context"
	"database/sql"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// upTo are the migrations that are shipped, as they were at a schema.
func upTo(t *testing.T, last string) fs.FS {
	t.Helper()
	files, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	old := fstest.MapFS{}
	for _, name := range names {
		if name > last+"~" {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		old[name] = &fstest.MapFile{Data: text}
	}
	return old
}

// oldDatabase is what the program of an earlier schema left, with its fleet.
func oldDatabase(t *testing.T, path, last string) {
	t.Helper()
	d, err := open(t.Context(), "sqlite:"+path, Options{}, upTo(t, last))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO fleet (one, id, secret, epoch, holder, lease_until) VALUES (1, 'old', 'aa', 7, '', 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// fleetIn reads the fleet of a file as it is.
func fleetIn(t *testing.T, path string) (id string) {
	t.Helper()
	pool, err := openPool(dsn(path, commonParams(readerCache)))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.QueryRowContext(t.Context(), `SELECT id FROM fleet`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// names are the files of a folder, and what may be done with each.
func names(t *testing.T, folder string) map[string]fs.FileMode {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]fs.FileMode{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = info.Mode().Perm()
	}
	return found
}

// A database of an earlier release is copied before it is updated, once, and
// the copy is one that the earlier release could go on with.
func TestBackup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "api-gpu.db")
	oldDatabase(t, path, "00006")
	stale := filepath.Join(folder, "api-gpu.db.copying-1")
	theirs := []string{path + ".before-christmas", path + ".before-0003.gz", path + ".before-00"}
	for _, name := range append([]string{stale, path + ".before-0002", path + ".before-0005"}, theirs...) {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(stale, time.Time{}, time.Now().Add(-backupStale-time.Second)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to update
		d, err := Open(t.Context(), "sqlite:"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read().ExecContext(t.Context(), `SELECT kind FROM proofs`); err != nil {
			t.Errorf("it is not up to date: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"api-gpu.db", "api-gpu.db.before-00", "api-gpu.db.before-0003.gz", "api-gpu.db.before-0005", "api-gpu.db.before-0007", "api-gpu.db.before-christmas"}
	found := names(t, folder)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	if mode := found["api-gpu.db.before-0007"]; mode&0o077 != 0 {
		t.Errorf("others may read the copy: %o", mode)
	}
	back := filepath.Join(folder, "api-gpu.db.before-0007")
	if version, err := schemaOf(t.Context(), back); err != nil || version != 6 {
		t.Errorf("the copy has schema %d, %v", version, err)
	}
	if id := fleetIn(t, back); id != "old" {
		t.Errorf("the copy is of fleet %q", id)
	}
	d, err := open(t.Context(), "sqlite:"+back, Options{}, upTo(t, "00006"))
	if err != nil {
		t.Fatalf("the earlier release: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A new database has nothing to copy.
func TestBackupOfNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	openAt(t, folder)
	for name := range names(t, folder) {
		if strings.Contains(name, backupMark) || strings.Contains(name, "copying") {
			t.Errorf("left %s", name)
		}
	}
}

// Where no copy can be made nothing is updated, and nothing is left.
func TestBackupFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "api-gpu.db")
	oldDatabase(t, path, "00007")
	// In its place stands a folder that cannot be replaced.
	if err := os.MkdirAll(filepath.Join(path+backupMark+"0008", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err == nil || !strings.Contains(err.Error(), "cannot be copied before") {
		t.Errorf("%v", err)
	}
	if version, err := schemaOf(context.Background(), path); err != nil || version != 7 {
		t.Errorf("schema %d, %v", version, err)
	}
	for name := range names(t, folder) {
		if strings.Contains(name, "copying") {
			t.Errorf("left %s", name)
		}
	}
}

// Another process that updates meanwhile has made the copy: ours, of the new
// schema, must not take its place.
func TestBackupOfUpdated(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "api-gpu.db")
	d, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if made, err := d.copyTo(t.Context(), path+backupMark+"0008", 7); made || err != nil {
		t.Errorf("%v %v", made, err)
	}
	for name := range names(t, folder) {
		if strings.Contains(name, backupMark) || strings.Contains(name, "copying") {
			t.Errorf("left %s", name)
		}
	}
}
