//go:build linux || darwin

package db

import "golang.org/x/sys/unix"

// freeBytes is what an ordinary user may still write to the volume of a
// folder, where that can be told.
func freeBytes(folder string) (free int64, known bool) {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return 0, false
	}
	return int64(stat.Bavail) * blockSize(&stat), true
}
