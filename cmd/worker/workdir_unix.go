//go:build linux || darwin

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// markAlive marks a folder as that of a living worker, until the file is
// closed or the process ends.
func markAlive(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("mark work folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("mark work folder: %w", err), file.Close())
	}
	return file, nil
}

// isDead reports whether no living worker has marked a folder. What cannot be
// told is alive.
func isDead(dir string) bool {
	file, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
