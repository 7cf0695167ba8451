package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxRestarts bounds how often a download begins again from the first byte
// because the source cannot go on in the middle.
const maxRestarts = 3

// File fetches a video into w, which may hold its beginning already: it goes
// on where the file ends, once the source has sent the last bytes again and
// they agree. When they do not, or when the file changes on the way, it begins
// again from the first byte, once. w must not be opened for appending; what it
// holds after an error is the beginning of the video.
//
// progress, unless nil, is called after each piece with the bytes so far and
// the length, -1 while it is unknown.
//
// The errors are those of Open, and TooLarge above limit bytes. An error in
// writing is returned as it is, wrapped.
func (c *Client) File(ctx context.Context, rawURL string, headers map[string]string, w *os.File, limit int64, progress func(done, total int64)) (Info, error) {
	t, err := newTarget(rawURL, headers)
	if err != nil {
		return Info{}, err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	changes := 0
	for restarts := 0; ; restarts++ {
		s := &stream{c: c, ctx: ctx, t: t, limit: limit, info: Info{Size: -1}}
		err := s.resume(w)
		if err == nil {
			err = s.copyTo(w, progress)
		}
		s.drop()
		if err == nil {
			return s.info, nil
		}
		if errors.Is(err, ErrChanged) {
			changes++
		} else if !errors.Is(err, ErrNoRange) {
			return Info{}, err
		}
		if changes > 1 || restarts == maxRestarts {
			return Info{}, err
		}
		if err := w.Truncate(0); err != nil {
			return Info{}, fmt.Errorf("empty the video file: %w", err)
		}
		progress(0, -1)
	}
}

// resume sets s to go on where w ends.
func (s *stream) resume(w *os.File) error {
	fi, err := w.Stat()
	if err != nil {
		return fmt.Errorf("look at the video file: %w", err)
	}
	s.offset = fi.Size()
	s.tail = make([]byte, min(s.offset, tailBytes))
	if _, err := w.ReadAt(s.tail, s.offset-int64(len(s.tail))); err != nil {
		return fmt.Errorf("read the video file: %w", err)
	}
	if s.offset > s.limit { // then it is not the beginning of what we want
		return changed(s.t.host())
	}
	return nil
}

// copyTo writes the rest of s to the end of w.
func (s *stream) copyTo(w *os.File, progress func(done, total int64)) error {
	buf := make([]byte, 256<<10)
	for { // ends with the stream, which ends by its limit at the latest
		at := s.offset
		n, err := s.Read(buf)
		if n > 0 {
			if _, err := w.WriteAt(buf[:n], at); err != nil {
				return fmt.Errorf("write the video file: %w", err)
			}
			progress(s.offset, s.info.Size)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
