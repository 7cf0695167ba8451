package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	// workPrefix begins the names of work folders that nobody chose.
	workPrefix = "api-gpu-worker-"
	// aliveFile is locked by the worker whose folder it is in, as long as it
	// lives: the kernel lets go of it whatever ends the process.
	aliveFile = "alive"
	// youngFolder is how long a folder may have no lock while it is being made.
	youngFolder = time.Minute
)

// workDir returns the folder for jobs and how to remove it, if it is ours.
// Folders that killed workers left are removed: nobody else would, and each may
// hold a video.
func workDir(configured string) (string, func() error, error) {
	if configured != "" {
		dir, err := filepath.Abs(configured)
		return dir, func() error { return nil }, err
	}
	err := removeDead(os.TempDir())
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", workPrefix+"*")
	if err != nil {
		return "", nil, err
	}
	alive, err := markAlive(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(alive.Close(), os.RemoveAll(dir)) }, nil
}

// removeDead removes the work folders in a folder whose workers are gone. What
// another user left is not ours to remove, and no error.
func removeDead(in string) error {
	found, err := filepath.Glob(filepath.Join(in, workPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		info, err := os.Lstat(filepath.Join(dir, aliveFile))
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < youngFolder || !isDead(dir) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}
