package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

// The copy is written where it is asked for, and one that is there stays.
func TestBackupCommand(t *testing.T) {
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "a.db")
	d, err := db.Open(t.Context(), url, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	t.Setenv("DATABASE_URL", url)
	file := filepath.Join(dir, "copy.db")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"backup", file}, &out, &out); err != nil || !strings.Contains(out.String(), "Written: "+file) {
		t.Errorf("%q, %v", out.String(), err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"backup", file}, &out, &out); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second time: %v", err)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was replaced: %v", err)
	}
}
