package db

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/test/need"
)

// Without room for a copy nothing is updated, and it says how much is missing.
func TestBackupWithoutRoom(t *testing.T) {
	t.Parallel()
	v := need.Volume(t, 32<<20, 100)
	path := filepath.Join(v.Dir, "api-gpu.db")
	oldDatabase(t, path, "00007")
	v.Fill(8 << 20)
	_, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err == nil || !strings.Contains(err.Error(), "there is no room for a copy before") || !strings.Contains(err.Error(), "make room") {
		t.Errorf("%v", err)
	}
	v.Drain()
	d, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
