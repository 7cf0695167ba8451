//go:build linux || darwin

package blob

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// volume returns the bytes that an ordinary user may still fill of the volume
// that holds path, and its whole size.
func volume(path string) (free, total int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	block := blockSize(&stat)
	return int64(stat.Bavail) * block, int64(stat.Blocks) * block, nil
}

func sameVolume(a, b string) bool {
	var one, other unix.Stat_t
	return unix.Stat(a, &one) == nil && unix.Stat(b, &other) == nil && one.Dev == other.Dev
}

// syncDir makes the names in a folder durable. Some network file systems
// cannot sync a folder and say EINVAL; there is nothing better to be had.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// isFull tells whether an error means that there is no room, on the volume or
// in the quota.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
