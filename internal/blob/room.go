package blob

import (
	"context"
	"fmt"
	"sync"

	apigpu "github.com/api-gpu/api-gpu"
)

// Reserve promises n bytes of room until release is called, or refuses with
// StorageFull. The promise is a number in this process's memory: it keeps
// many jobs from counting on the same bytes, and ends with the process.
//
// Objects count against Options.MaxBytes, and so do promises; a partial or an
// upload does not, since its promise stands for it. Against Options.MinFree
// what was written under a promise counts twice until release: the answer
// errs on the side of refusing.
//
// Release is called once or more, when the object is committed or given up.
// The cost is one walk through the objects.
func (s *Store) Reserve(n int64) (release func(), err error) {
	if n < 0 {
		return nil, fmt.Errorf("reserve room: %d bytes", n)
	}
	used, err := s.size(context.Background(), objectsDir)
	if err != nil {
		return nil, fmt.Errorf("reserve room: %w", err)
	}
	free, err := s.Free()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fits(n, s.reserved, used, free, s.opts) {
		return nil, apigpu.E(apigpu.StorageFull, nil, "The storage of this server has no room for %d more bytes.", n)
	}
	s.reserved += n
	var once sync.Once
	return func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reserved -= n
		})
	}, nil
}

// MinRoom is what a small result takes, in bytes.
const MinRoom = 16 << 20

// Roomy says why not even a small result would fit: StorageFull.
func (s *Store) Roomy() error {
	release, err := s.Reserve(MinRoom)
	if err == nil {
		release()
	}
	return err
}

// fits decides whether n more bytes may be promised. All figures are bytes
// and not negative; it only subtracts, so that none overflows.
func fits(n, reserved, used, free int64, opts Options) bool {
	if opts.MaxBytes > 0 && n > opts.MaxBytes-used-reserved {
		return false
	}
	return n <= free-opts.MinFree-reserved
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
