package server

import (
	"context"
	"errors"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Times of housekeeping.
const (
	keepGap = time.Minute
	// strayAge is how old a file without a reference must be before it goes:
	// longer than any upload or transfer that is still on its way to one.
	strayAge = 6 * time.Hour
)

// Keep removes results when their time is over and files that no job needs,
// until ctx ends. Where several processes share the files, only the one for
// which may says so does: two would race for the same files.
func (s *Jobs) Keep(ctx context.Context, may func() bool) error {
	tick := time.NewTicker(keepGap)
	defer tick.Stop()
	for {
		if !may() {
			// Another does.
		} else if err := s.KeepOnce(ctx); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "housekeeping", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// KeepOnce is one round of Keep.
func (s *Jobs) KeepOnce(ctx context.Context) error {
	spent, err := s.prune(ctx)
	for _, key := range spent {
		err = errors.Join(err, s.remove(ctx, key))
	}
	// The references are read before the files are listed: a file that gets
	// one in between is younger than strayAge.
	needed, filesErr := s.Queue.Files(ctx)
	if filesErr != nil {
		return errors.Join(err, filesErr)
	}
	if s.Fonts != nil {
		fonts, err := s.Fonts.Keys(ctx)
		if err != nil {
			return err
		}
		for _, key := range fonts {
			needed[key] = true
		}
	}
	strays, sweepErr := s.Blob.Sweep(ctx, func(key string, age time.Duration) bool {
		return needed[key] || age < strayAge
	})
	if removed := len(spent) + strays; removed > 0 {
		s.Log.InfoContext(ctx, "files removed", "spent", len(spent), "strays", strays)
	}
	return errors.Join(err, sweepErr, s.Blob.Measure(ctx))
}

// prune takes spent results from their rows and returns their keys. On a volume
// without room for that write the files go first, which makes room for it:
// what is spent is given to nobody, so no row points to what anybody misses.
func (s *Jobs) prune(ctx context.Context) ([]string, error) {
	spent, err := s.Queue.Prune(ctx)
	if apigpu.CodeOf(err) != apigpu.StorageFull || len(spent) > 0 {
		return spent, err
	}
	keys, readErr := s.Queue.Spent(ctx)
	for _, key := range keys {
		readErr = errors.Join(readErr, s.remove(ctx, key))
	}
	if readErr != nil || len(keys) == 0 {
		return nil, errors.Join(err, readErr)
	}
	s.Log.WarnContext(ctx, "spent files removed before their rows: the database has no room", "files", len(keys))
	return s.Queue.Prune(ctx)
}

// remove removes a file, and with a result its thumbnail.
func (s *Jobs) remove(ctx context.Context, key string) error {
	err := s.Blob.Delete(ctx, key)
	if thumbnail := queue.ThumbnailOf(key); thumbnail != "" {
		err = errors.Join(err, s.Blob.Delete(ctx, thumbnail))
	}
	return err
}
