package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// As Docker makes them: one volume, and a folder in memory.
const containerMounts = `600 500 0:51 / / rw,relatime master:200 - overlay overlay rw,lowerdir=/l
601 600 0:55 / /proc rw,nosuid shared:1 master:2 - proc proc rw
610 600 8:1 /var/lib/docker/volumes/x/_data /app/data rw,relatime - ext4 /dev/sda1 rw
611 600 0:60 / /app/data/tmp rw - tmpfs tmpfs rw
612 600 8:1 /srv /srv/my\040state rw - ext4 /dev/sda1 rw
`

func TestKept(t *testing.T) {
	t.Parallel()
	mounts, err := readMounts(strings.NewReader(containerMounts))
	if err != nil || len(mounts) != 5 {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	for path, want := range map[string]bool{
		"/app/data/api-gpu.db": true, "/app/data": true, "/app/data/files": true, "/srv/my state/db": true,
		"/app/database/api-gpu.db": false, "/app/data/tmp/db": false, "/data/api-gpu.db": false, "/": false, "/srv/db": false,
	} {
		if got := kept(mounts, path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if _, err := readMounts(strings.NewReader("/dev/sda1 / ext4 rw 0 0\n")); err == nil {
		t.Error("a list of another form is read")
	}
}

// A link out of the volume leads out of it.
func TestKeptFollowsLinks(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "volume"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "volume"), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	mounts := []mount{{"/", "overlay"}, {filepath.Join(dir, "volume"), "ext4"}}
	for path, want := range map[string]bool{"data/not/there": true, "volume/db": true, "other/db": false} {
		if got := kept(mounts, filepath.Join(dir, path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestStatePaths(t *testing.T) {
	t.Parallel()
	if got := parse(t).statePaths(); len(got) != 2 || got["DATABASE_URL=sqlite:data/api-gpu.db"] != "data/api-gpu.db" || got["STORAGE_URL=file:data/files"] != "data/files" {
		t.Errorf("%v", got)
	}
	if got := parse(t, "--database-url=postgres://u:p@h/d", "--storage-url=file:/x").statePaths(); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// Only what costs money is refused, and only in production.
func TestNoRent(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--app-env=production", "--provider=local"},
		{"--provider=vast"},
		{"--app-env=production", "--provider=vast", "--allow-ephemeral"},
	} {
		if got := parse(t, args...).noRent(); got != "" {
			t.Errorf("%q: %s", args, got)
		}
	}
}
