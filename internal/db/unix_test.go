//go:build unix

package db

import (
	"os"
	"path/filepath"
	"testing"
)

// The database holds the root secret: nobody else reads it, nor its log.
func TestPermissions(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	d := openAt(t, folder)
	if err := d.Tx(t.Context(), add); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		folder:                               0o700,
		filepath.Join(folder, "test.db"):     0o600,
		filepath.Join(folder, "test.db-wal"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", info.Name(), info.Mode().Perm())
		}
	}
}
