package main

import (
	"path/filepath"
	"strings"

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

// places are where the state is kept: the database first, unless it is a
// PostgreSQL, then results and uploads.
func (c *Config) places() (all []place) {
	if file, ok := db.File(c.DatabaseURL); ok {
		all = append(all, place{"DATABASE_URL", c.DatabaseURL, file, filepath.Dir(file)})
	}
	if dir, ok := c.storageDir(); ok {
		all = append(all, place{"STORAGE_URL", c.StorageURL, dir, dir})
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
