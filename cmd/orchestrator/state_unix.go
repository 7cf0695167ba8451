//go:build linux || darwin

package main

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// canChange reports why a file may not be written to; nil where there is none. It
// only asks: to open a database and close it again would drop the locks that
// another part of this process has on it (see createFile of package db).
func canChange(path string) error {
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &os.PathError{Op: "write to", Path: path, Err: err}
}
