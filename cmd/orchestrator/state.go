package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/api-gpu/api-gpu/internal/db"
)

// place is where something is kept on this machine.
type place struct {
	setting string // that names it
	value   string // of the setting
	path    string // of a file, or of a folder
	folder  string // that is written in: path, or the one that path is in
}

// String is the setting with its value, as in .env.
func (p place) String() string { return p.setting + "=" + p.value }

// unopened is the error of a place that could not be opened. Where that is so
// because this process may not write there, as in a folder of the host's root
// that is mounted into a container, it says so, and what to do.
func (p place) unopened(err error) error {
	if err == nil || p.path == "" {
		return err
	}
	cause, folder := err, existing(p.folder)
	if !isRefused(cause) { // SQLite does not say why
		cause = canWrite(folder)
	}
	switch {
	case errors.Is(cause, syscall.EROFS):
		return fmt.Errorf("%s: %s is read-only: mount it so that it can be written to (%w)", p.setting, folder, err)
	case errors.Is(cause, fs.ErrPermission):
		return fmt.Errorf("%s: user %[3]d may not write to %[2]s: give it that folder with chown -R %[3]d:%[4]d %[2]s, on the host if it is mounted into a container from there (%[5]w)",
			p.setting, folder, os.Getuid(), os.Getgid(), err)
	}
	return err
}

// isRefused reports whether an error says that something may not be written.
func isRefused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openDatabase opens DATABASE_URL by open, which is db.Open or db.Look. A file
// that may not be written is refused here: SQLite would open it all the same, and
// fail at the first write.
func (c *Config) openDatabase(ctx context.Context, open func(context.Context, string, db.Options) (*db.DB, error), opts db.Options) (*db.DB, error) {
	p := c.databasePlace()
	if p.path != "" {
		for _, name := range []string{p.path, p.path + "-wal", p.path + "-shm"} {
			if err := canChange(name); err != nil {
				return nil, p.unopened(err)
			}
		}
	}
	d, err := open(ctx, c.DatabaseURL, opts)
	return d, p.unopened(err)
}

// databasePlace is where the database is; zero with a PostgreSQL.
func (c *Config) databasePlace() place {
	file, ok := db.File(c.DatabaseURL)
	if !ok {
		return place{}
	}
	return place{"DATABASE_URL", c.DatabaseURL, file, filepath.Dir(file)}
}

// storagePlace is where results and uploads are; zero where the setting names no
// folder.
func (c *Config) storagePlace() place {
	dir, ok := c.storageDir()
	if !ok {
		return place{}
	}
	return place{"STORAGE_URL", c.StorageURL, dir, dir}
}

// places are where the state is kept: the database first, unless it is a
// PostgreSQL, then results and uploads.
func (c *Config) places() (all []place) {
	for _, p := range []place{c.databasePlace(), c.storagePlace()} {
		if p.path != "" {
			all = append(all, p)
		}
	}
	return all
}

// storageDir is the folder of results and uploads; ok is false where the setting
// names none. file://data/files is what people write who know other addresses.
func (c *Config) storageDir() (dir string, ok bool) {
	dir, ok = strings.CutPrefix(c.StorageURL, "file:")
	dir = strings.TrimPrefix(dir, "//")
	return dir, ok && dir != ""
}
