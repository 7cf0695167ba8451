package blob

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Measure adds up the objects. Between two measurements each publish and each
// delete of this process corrects the sum; another process's are met here,
// and in what the rows say.
func (s *Store) Measure(ctx context.Context) error {
	s.measuring.Lock()
	defer s.measuring.Unlock()
	s.mu.Lock()
	s.added = 0
	s.mu.Unlock()
	total, err := s.size(ctx, objectsDir)
	if err != nil {
		return fmt.Errorf("measure store: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The walk may have missed what was added meanwhile. If it has not, these
	// bytes count twice until the next time: too much refuses, too little
	// would promise what is not there.
	s.used, s.measuredAt = total+s.added, time.Now()
	return nil
}

// measureAfter measures unless that was done less than gap ago.
func (s *Store) measureAfter(ctx context.Context, gap time.Duration) error {
	s.mu.Lock()
	fresh := time.Since(s.measuredAt) < gap
	s.mu.Unlock()
	if fresh {
		return nil
	}
	return s.Measure(ctx)
}

// count corrects the sum by an object that came, or by one that went.
func (s *Store) count(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = max(0, s.used+bytes)
	s.added += max(0, bytes)
}

// Usage returns the bytes of all files of the store, the unfinished ones
// included.
func (s *Store) Usage(ctx context.Context) (int64, error) {
	var total int64
	for _, area := range []string{objectsDir, partialDir, incomingDir} {
		n, err := s.size(ctx, area)
		if err != nil {
			return 0, fmt.Errorf("measure store: %w", err)
		}
		total += n
	}
	return total, nil
}

// Free returns the bytes of the volume that this process may still fill.
func (s *Store) Free() (int64, error) {
	free, _, err := volume(s.root)
	if err != nil {
		return 0, fmt.Errorf("measure volume: %w", err)
	}
	return free, nil
}

// Volume is the room that an ordinary user may still fill of the volume of a
// folder, in bytes.
func Volume(path string) (free int64, err error) {
	free, _, err = volume(path)
	return free, err
}

// SameVolume reports whether two paths that exist are on one volume. Where that
// cannot be told they are not.
func SameVolume(a, b string) bool { return sameVolume(a, b) }

// Capacity returns the size of the volume in bytes, full or not.
func (s *Store) Capacity() (int64, error) {
	_, total, err := volume(s.root)
	if err != nil {
		return 0, fmt.Errorf("measure volume: %w", err)
	}
	return total, nil
}

// size adds up the files in one of our folders.
func (s *Store) size(ctx context.Context, area string) (total int64, err error) {
	for file, err := range s.walk(ctx, area) {
		if err != nil {
			return 0, err
		}
		total += file.Size()
	}
	return total, nil
}

// reader is an object that is read. It is the file, so that the kernel can
// send it.
type reader struct {
	*os.File
	store *Store
	key   string
	over  bool // used by Close only, which readers call from one goroutine
}

// Close closes the file, and lets the object be evicted.
func (r *reader) Close() error {
	if !r.over {
		r.over = true
		r.store.mu.Lock()
		if r.store.readers[r.key]--; r.store.readers[r.key] == 0 {
			delete(r.store.readers, r.key)
		}
		r.store.mu.Unlock()
	}
	return r.File.Close()
}

// read hands an open object out.
func (s *Store) read(key string, file *os.File) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers[key]++
	return &reader{File: file, store: s, key: key}
}

// isRead tells whether this process reads an object. To remove it would free
// nothing: its bytes stay on the volume until the last reader closes it, which
// is also why another process's download goes on to its end.
func (s *Store) isRead(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readers[key] > 0
}
