package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// SweepBatch bounds how many files one Sweep removes, so that none holds
	// up its caller for long.
	SweepBatch = 1000
	// staleUpload is how long an upload may go without a byte before Sweep
	// takes it for one that a crash left behind.
	staleUpload = time.Hour
)

// Keys lists the objects, in no order. It ends at the first error.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for file, err := range s.walk(ctx, objectsDir) {
			if err != nil {
				yield("", fmt.Errorf("list objects: %w", err))
				return
			}
			if validKey(file.Name()) && !yield(file.Name(), nil) {
				return
			}
		}
	}
}

// Sweep removes each object and each partial for which keep says no, and the
// uploads that a crash left behind. keep is told the key and how long ago
// the last byte was written; it may be asked twice for one partial. What is
// being written by this process is left alone, and so is any file that is
// not the store's.
//
// It removes at most SweepBatch files and returns their number: if it is
// that many, there may be more.
func (s *Store) Sweep(ctx context.Context, keep func(key string, age time.Duration) bool) (removed int, err error) {
	areas := []struct {
		name   string
		remove func(file fs.FileInfo, age time.Duration) (bool, error)
	}{
		{objectsDir, func(file fs.FileInfo, age time.Duration) (bool, error) {
			if !validKey(file.Name()) || keep(file.Name(), age) {
				return false, nil
			}
			return true, s.Delete(ctx, file.Name())
		}},
		{partialDir, func(file fs.FileInfo, age time.Duration) (bool, error) {
			key, ok := partialKey(file.Name())
			if !ok || s.isWriting(key) || keep(key, age) {
				return false, nil
			}
			return true, removeAll(s.partialPaths(key))
		}},
		{incomingDir, func(file fs.FileInfo, age time.Duration) (bool, error) {
			if age < staleUpload || !strings.Contains(file.Name(), randomMark) {
				return false, nil
			}
			return true, removeAll(filepath.Join(s.root, incomingDir, file.Name()))
		}},
	}
	for _, area := range areas {
		for file, err := range s.walk(ctx, area.name) {
			if err != nil {
				return removed, fmt.Errorf("sweep store: %w", err)
			}
			gone, err := area.remove(file, time.Since(file.ModTime()))
			if err != nil {
				return removed, fmt.Errorf("sweep store: %w", err)
			}
			if gone {
				removed++
			}
			if removed == SweepBatch {
				return removed, nil
			}
		}
	}
	return removed, nil
}

// DeletePartials removes the partials whose keys begin with prefix, those of
// writers at work included: what they were to commit is not wanted any more,
// and their Commit will fail.
func (s *Store) DeletePartials(ctx context.Context, prefix string) error {
	// Any beginning of a key but the empty one, which would mean all. A '.'
	// may end it.
	if err := check(ctx, strings.TrimSuffix(prefix, ".")); err != nil {
		return err
	}
	for file, err := range s.walk(ctx, partialDir) {
		if err == nil {
			if key, ok := partialKey(file.Name()); ok && strings.HasPrefix(key, prefix) {
				err = removeAll(s.partialPaths(key))
			}
		}
		if err != nil {
			return fmt.Errorf("delete partials: %w", err)
		}
	}
	return nil
}

func (s *Store) isWriting(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.writing[key]
	return ok
}

// partialKey returns the key of a file in the folder of partials.
func partialKey(name string) (key string, ok bool) {
	key, ok = strings.CutSuffix(name, dataSuffix)
	if !ok {
		key, ok = strings.CutSuffix(name, chunksSuffix)
	}
	return key, ok && validKey(key)
}

// walk visits the files in one of our folders. A file that goes away
// meanwhile is not an error; after any other error there is no more.
func (s *Store) walk(ctx context.Context, area string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		visit := func(_ string, entry fs.DirEntry, err error) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err != nil || !entry.Type().IsRegular() {
				return ignoreMissing(err)
			}
			info, err := entry.Info()
			if err != nil {
				return ignoreMissing(err)
			}
			if !yield(info, nil) {
				return fs.SkipAll
			}
			return nil
		}
		if err := filepath.WalkDir(filepath.Join(s.root, area), visit); err != nil {
			yield(nil, err)
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
