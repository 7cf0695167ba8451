//go:build linux || darwin

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What killed workers left goes at the next start; what lives, or is not known
// to be a worker's, stays.
func TestRemoveDead(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	old := time.Now().Add(-2 * youngFolder)
	leave := func(name string, marked bool, when time.Time) (release func()) {
		t.Helper()
		dir := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Join(dir, "job_1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "job_1", "input"), []byte("video"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !marked {
			return nil
		}
		alive, err := markAlive(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(alive.Name(), when, when); err != nil {
			t.Fatal(err)
		}
		return func() { _ = alive.Close() }
	}
	leave(workPrefix+"dead", true, old)()
	leave(workPrefix+"young", true, time.Now())()
	defer leave(workPrefix+"living", true, old)()
	leave(workPrefix+"unmarked", false, old)
	leave("another", true, old)()
	if err := os.Symlink(filepath.Join(tmp, "another"), filepath.Join(tmp, workPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := removeDead(tmp); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"another", workPrefix + "living", workPrefix + "unmarked", workPrefix + "young"}; !slices.Equal(left, want) {
		t.Errorf("there remain %v, want %v", left, want)
	}
	if _, err := os.Stat(filepath.Join(tmp, "another", "job_1", "input")); err != nil {
		t.Errorf("followed a link: %v", err)
	}
}
