package need

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Volume mounts a volume of its own in memory, of so many bytes and files, and
// returns its folder: to be really filled. It skips the test unless this
// process may mount, as root may.
func Volume(t testing.TB, bytes int64, files int) *Full {
	t.Helper()
	dir := t.TempDir()
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=700", bytes, files)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NODEV|syscall.MS_NOSUID|syscall.MS_NOEXEC, options); err != nil {
		unmet(t, "full-volume", "the right to mount a volume: run it as root")
	}
	t.Cleanup(func() {
		// Detached: a test that failed may have left a file open.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &Full{t: t, Dir: dir}
}

// Full is a volume that can be filled.
type Full struct {
	Dir string
	t   testing.TB
}

// filler is the folder of what fills a volume.
const filler = "filler"

// Fill takes all room but for so many bytes.
func (v *Full) Fill(left int64) {
	v.t.Helper()
	var s syscall.Statfs_t
	v.ok(os.MkdirAll(filepath.Join(v.Dir, filler), 0o700))
	v.ok(syscall.Statfs(v.Dir, &s))
	take := int64(s.Bavail)*s.Bsize - left
	if take <= 0 {
		return
	}
	file, err := os.CreateTemp(filepath.Join(v.Dir, filler), "")
	v.ok(err)
	v.ok(syscall.Fallocate(int(file.Fd()), 0, 0, take))
	v.ok(file.Close())
}

// FillFiles takes all files but for so many.
func (v *Full) FillFiles(left int) {
	v.t.Helper()
	var s syscall.Statfs_t
	v.ok(os.MkdirAll(filepath.Join(v.Dir, filler), 0o700))
	v.ok(syscall.Statfs(v.Dir, &s))
	for n := range int(s.Ffree) - left {
		v.ok(os.WriteFile(filepath.Join(v.Dir, filler, fmt.Sprint("file", n)), nil, 0o600))
	}
}

// Drain gives all of it back.
func (v *Full) Drain() {
	v.t.Helper()
	v.ok(os.RemoveAll(filepath.Join(v.Dir, filler)))
}

func (v *Full) ok(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}
