package worker

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
)

// input is a video that is pushed here, piece by piece.
type input struct {
	path string
	max  int64

	writing chan struct{} // one push at a time
	whole   chan struct{} // closed when all of it is here

	mu      sync.Mutex
	state   apigpu.InputState
	pushing *pushBody // the newest push; nil without one
}

func newInput(path string, max int64) *input {
	return &input{
		path: path, max: max, writing: make(chan struct{}, 1), whole: make(chan struct{}),
		state: apigpu.InputState{Size: -1},
	}
}

func (in *input) now() apigpu.InputState {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.state
}

// write appends a piece that begins at offset: where the last one ended, or 0
// to begin again. size is the whole length, or -1 where only the end of the
// body tells it. A piece that is cut short keeps what came. A push that is
// still under way is cut: its connection may be dead and not know it.
func (in *input) write(ctx context.Context, offset, size int64, body *pushBody) (apigpu.InputState, error) {
	in.mu.Lock()
	if in.pushing != nil {
		in.pushing.cut()
	}
	in.pushing = body
	in.mu.Unlock()
	defer in.finished(body)
	select {
	case in.writing <- struct{}{}:
		defer func() { <-in.writing }()
	case <-ctx.Done():
		return in.now(), ctx.Err()
	}
	state := in.now()
	switch {
	case in.isWhole():
		return state, nil
	case offset != 0 && offset != state.Received:
		return state, apigpu.E(apigpu.Conflict, nil, "The next piece begins at %d, not at %d.", state.Received, offset)
	case size > in.max:
		return state, apigpu.E(apigpu.TooLarge, nil, "The video is longer than %d bytes.", in.max)
	}
	end, err := in.append(offset, size, body)
	return in.appended(end, size, body.explain(err))
}

// appended notes that the file ends at end, and what that means.
func (in *input) appended(end, size int64, err error) (apigpu.InputState, error) {
	state := apigpu.InputState{Received: end, Size: size}
	if size < 0 && err == nil {
		state.Size = end
	}
	tooLong := end > in.max || size >= 0 && end > size
	if tooLong {
		state = apigpu.InputState{Size: -1} // nothing of it can be believed
	}
	in.mu.Lock()
	in.state = state
	in.mu.Unlock()
	switch {
	case err != nil:
		return state, err
	case tooLong:
		return state, apigpu.E(apigpu.TooLarge, nil, "The video is longer than it may be.")
	case state.Received < state.Size:
		return state, apigpu.E(apigpu.Unavailable, nil, "The piece ended at %d of %d bytes.", state.Received, state.Size)
	}
	crash.Point("worker.pushed")
	close(in.whole)
	return state, nil
}

// finished frees what a push holds.
func (in *input) finished(body *pushBody) {
	body.finish()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pushing == body {
		in.pushing = nil
	}
}

// append writes r to the file from offset on and returns where it ended. It
// takes at most one byte more than it may, so that too much is noticed.
func (in *input) append(offset, size int64, r io.Reader) (end int64, err error) {
	file, err := os.OpenFile(in.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Truncate(offset); err != nil {
		return 0, err
	}
	limit := in.max
	if size >= 0 {
		limit = size
	}
	n, err := io.Copy(io.NewOffsetWriter(file, offset), io.LimitReader(r, limit-offset+1))
	return offset + n, err
}

func (in *input) isWhole() bool {
	select {
	case <-in.whole:
		return true
	default:
		return false
	}
}

// getVideo brings the video into the job's folder.
func (w *Worker) getVideo(ctx context.Context, j *job) error {
	began := w.cfg.Now()
	defer func() {
		took := w.cfg.Now().Sub(began).Milliseconds()
		j.change(func(shown *apigpu.Job) {
			shown.Stats.DownloadMS, shown.Progress = took, max(shown.Progress, downloadShare)
		})
	}()
	path := filepath.Join(j.dir, ffmpeg.InputFile)
	switch {
	case j.uploaded:
		return nil
	case j.input != nil:
		select {
		case <-j.input.whole:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var shownAt int64
	_, err = w.cfg.Fetch.File(ctx, j.spec.URLVideo, j.spec.HeadersVideo, file, w.cfg.MaxInput, func(done, total int64) {
		if total <= 0 || done-shownAt < total/50 {
			return
		}
		shownAt = done
		j.change(func(shown *apigpu.Job) { shown.Progress = downloadShare * float64(done) / float64(total) })
	})
	return errors.Join(err, file.Close())
}
