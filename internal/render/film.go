package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/mp4"
)

// Bounds of what is read of a video for one preview, in bytes.
const (
	maxParts = 256 << 20 // of one that is read here and there
	maxWhole = 64 << 20  // of one that is read whole
	piece    = 4 << 20   // of one read
)

// Video is where a video is read.
type Video struct {
	// Open opens it for reading at offsets, and tells its length. An error
	// that refuses the job is an *apigpu.Error of one of the codes that
	// Refuses names; any other makes it be read by Whole.
	Open func(ctx context.Context) (io.ReaderAt, int64, error)
	// Whole writes all of it to a file, or fails above limit bytes.
	Whole func(ctx context.Context, to *os.File, limit int64) error
	// Close frees what Open returned.
	Close func(io.ReaderAt)
}

// Refuses reports whether an error of a video is one that the job would end
// with, too. Any other may be passing, or of this preview alone.
func Refuses(err error) bool {
	switch apigpu.CodeOf(err) {
	case apigpu.BlockedAddress, apigpu.SourceIsHTML, apigpu.NoVideoStream, apigpu.MediaTooLong, apigpu.MediaTooBig:
		return true
	}
	return false
}

// background makes the film ready, or else the plain background.
func (d *drawing) background(ctx context.Context) error {
	if d.order.Video == nil {
		d.plain(0, 0, "")
		return nil
	}
	file, err := os.OpenFile(filepath.Join(d.dir, ffmpeg.InputFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	d.film = &film{video: d.order.Video, file: file}
	info, err := d.film.get(ctx)
	if err == nil {
		if d.probe, err = d.Tools.Probe(ctx, file.Name()); err == nil {
			err = d.Limits.Check(d.probe)
		}
	}
	switch {
	case ctx.Err() != nil:
		d.close()
		return context.Cause(ctx)
	case err != nil && Refuses(err):
		d.close()
		return apigpu.AsError(err).WithField("url_video")
	case err != nil:
		d.plain(info.Width, info.Height, "The video could not be read for the preview; the captions stand on a plain background.")
		d.probe.Duration = info.Duration
	}
	return nil
}

// film is a local file that holds as much of a video as its pictures need.
type film struct {
	video *Video
	file  *os.File

	whole bool
	from  io.ReaderAt
	size  int64
	have  []mp4.Range // what the file holds, sorted, not touching
	read  int64
}

func (f *film) close() {
	f.done()
	_ = f.file.Close() // it is removed with its folder
}

func (f *film) done() {
	if f.from != nil && f.video.Close != nil {
		f.video.Close(f.from)
	}
	f.from = nil
}

// get gets what tells of the video: its tables and its first frames, or else
// all of it.
func (f *film) get(ctx context.Context) (mp4.Info, error) {
	info, err := f.head(ctx)
	if err == nil || Refuses(err) || ctx.Err() != nil {
		return info, err
	}
	f.done()
	if err := f.file.Truncate(0); err != nil {
		return info, err
	}
	f.whole = true
	return info, f.video.Whole(ctx, f.file, maxWhole)
}

func (f *film) head(ctx context.Context) (mp4.Info, error) {
	if err := f.open(ctx); err != nil {
		return mp4.Info{}, err
	}
	if err := f.file.Truncate(f.size); err != nil { // holes take no room
		return mp4.Info{}, err
	}
	info, err := mp4.Parse(f, f.size)
	if errors.Is(err, mp4.ErrNoVideo) {
		return info, apigpu.E(apigpu.NoVideoStream, err, "The file has no video to put captions on.")
	}
	if err != nil {
		return info, err
	}
	return info, f.fill(ctx, 0) // probing reads the first frames
}

func (f *film) open(ctx context.Context) (err error) {
	f.done()
	f.from, f.size, err = f.video.Open(ctx)
	return err
}

// reach gets what the frame at a time needs.
func (f *film) reach(ctx context.Context, at time.Duration) error {
	if f.whole {
		return nil
	}
	if err := f.open(ctx); err != nil { // anew: a source bounds what is read of it at a time
		return err
	}
	defer f.done()
	return f.fill(ctx, at)
}

func (f *film) fill(ctx context.Context, at time.Duration) error {
	ranges, err := mp4.Around(f, f.size, at)
	if err != nil {
		return err
	}
	buf := make([]byte, piece)
	for _, r := range ranges {
		for off := r.Offset; off < r.Offset+r.Length; off += piece {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := f.ReadAt(buf[:min(piece, r.Offset+r.Length-off)], off); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	return nil
}

// ReadAt reads the video, and keeps what it read in the file.
func (f *film) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= f.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), f.size-off)
	if f.holds(mp4.Range{Offset: off, Length: want}) {
		return f.file.ReadAt(p, off)
	}
	if f.read += want; f.read > maxParts {
		return 0, fmt.Errorf("a preview reads %d bytes at most", int64(maxParts))
	}
	n, err := f.from.ReadAt(p, off)
	if n > 0 {
		if _, err := f.file.WriteAt(p[:n], off); err != nil {
			return 0, err
		}
		f.keep(mp4.Range{Offset: off, Length: int64(n)})
	}
	return n, err
}

func (f *film) holds(r mp4.Range) bool {
	return slices.ContainsFunc(f.have, func(h mp4.Range) bool {
		return h.Offset <= r.Offset && r.Offset+r.Length <= h.Offset+h.Length
	})
}

// keep notes what the file holds.
func (f *film) keep(r mp4.Range) {
	all := append(f.have, r)
	slices.SortFunc(all, func(a, b mp4.Range) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	joined := all[:1]
	for _, r := range all[1:] {
		last := &joined[len(joined)-1]
		if r.Offset > last.Offset+last.Length {
			joined = append(joined, r)
			continue
		}
		last.Length = max(last.Length, r.Offset+r.Length-last.Offset)
	}
	f.have = joined
}
