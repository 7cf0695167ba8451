//go:build !linux && !darwin

package main

import (
	"os"
	"path/filepath"
)

// markAlive marks a folder as that of a worker. Here nobody can tell whether it
// lives.
func markAlive(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
}

func isDead(string) bool { return false }
