package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/mp4"
)

// Limits bound what is accepted before a worker is asked for. The worker
// checks the file itself again: a header may lie.
type Limits struct {
	MaxDuration time.Duration
	MaxPixels   int
}

// Timer says how long one run of a job may take.
type Timer struct {
	// Fixed is JOB_TIMEOUT; 0 takes the estimate.
	Fixed time.Duration
	// Max bounds the estimate, and stands where nothing is known.
	Max time.Duration
}

// Figures of the estimate: the slowest worker that is still worth its time
// renders at 1/8 of the video's own speed (one core, 1080p), and a download
// is given ten minutes.
const (
	runBase    = 10 * time.Minute
	slowestRun = 8
)

// For returns how long one run may take for a video with this head.
func (t Timer) For(h Head) time.Duration {
	if t.Fixed > 0 {
		return t.Fixed
	}
	if h.Duration <= 0 || h.Duration > t.Max { // far above, the product would not fit
		return t.Max
	}
	return min(t.Max, runBase+slowestRun*h.Duration)
}

// Head is what is known of a video before it is downloaded.
type Head struct {
	Duration time.Duration // 0 where it is not known
	Size     int64         // of the file, in bytes; 0 where it is not known
}

// headTimeout bounds the look at a video's head: a few range requests. Who asks
// to be answered at once waits for it too, so a source that drips is left to
// the worker.
const headTimeout = 4 * time.Second

// lookAtVideo reads the head of the video where it can be read cheaply. It
// refuses what is surely refused later, and otherwise knows nothing rather
// than fail: a source that is slow or has no ranges may still be fine.
func (s *Jobs) lookAtVideo(ctx context.Context, sub httpapi.Submission) (Head, error) {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	r, size, err := s.openHead(ctx, sub)
	if err != nil {
		return Head{}, headRefusal(err)
	}
	defer r.Close()
	if err := s.tooLarge(sub, size); err != nil {
		return Head{}, err
	}
	info, err := mp4.Parse(r, size)
	head, err := judgeHead(info, err, s.Policy.Limits)
	head.Size = max(0, size)
	return head, err
}

// headRefusal is err where it refuses the job: where even we may not go nobody
// will, and a page is no video. Any other may be a passing one: it is nil.
func headRefusal(err error) error {
	switch apigpu.CodeOf(err) {
	case apigpu.BlockedAddress, apigpu.SourceIsHTML:
		return apigpu.AsError(err).WithField("url_video")
	}
	return nil
}

// tooLarge refuses a video at an address that is longer than an upload may be.
func (s *Jobs) tooLarge(sub httpapi.Submission, size int64) error {
	if sub.Upload == "" && size > s.Policy.MaxUpload {
		return apigpu.E(apigpu.TooLarge, nil, "The video has %d bytes; at most %d are accepted.", size, s.Policy.MaxUpload).WithField("url_video")
	}
	return nil
}

// judgeHead decides what a parsed head means for the job.
func judgeHead(info mp4.Info, err error, limits Limits) (Head, error) {
	switch {
	case errors.Is(err, mp4.ErrNoVideo):
		return Head{}, apigpu.E(apigpu.NoVideoStream, err, "The file has no video to put captions on.")
	case err != nil:
		return Head{}, nil // another format, or a damaged head: the worker finds out
	case limits.MaxDuration > 0 && max(info.Duration, info.Claimed) > limits.MaxDuration:
		// Headers lie: one of a 1 s file said 143,165 s. Whoever sent it can
		// mend it for nothing, and a machine to find out costs money.
		return Head{}, apigpu.E(apigpu.MediaTooLong, nil, "The video says that it is %s long; at most %s is accepted.",
			max(info.Duration, info.Claimed).Round(time.Second), limits.MaxDuration).
			WithHint("If it is shorter, its header is wrong: ffmpeg -i in.mp4 -c copy out.mp4 writes a new one.")
	case limits.MaxPixels > 0 && info.Width*info.Height > limits.MaxPixels:
		return Head{}, apigpu.E(apigpu.MediaTooBig, nil, "The picture is %d x %d, more than this server accepts.", info.Width, info.Height)
	}
	return Head{Duration: info.Duration}, nil
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

// openHead opens the video for reading at offsets: the upload, or its source
// by range requests.
func (s *Jobs) openHead(ctx context.Context, sub httpapi.Submission) (readerAtCloser, int64, error) {
	if sub.Upload != "" {
		content, object, err := s.Blob.Open(ctx, sub.Upload)
		if err != nil {
			return nil, 0, err
		}
		return seekerAt{content}, object.Size, nil
	}
	remote, err := s.Fetch.ReaderAt(ctx, sub.Spec.URLVideo, sub.Spec.HeadersVideo)
	if err != nil {
		return nil, 0, err
	}
	return noClose{remote}, remote.Size(), nil
}

// seekerAt reads at offsets by seeking: for one reader at a time.
type seekerAt struct{ io.ReadSeekCloser }

func (s seekerAt) ReadAt(p []byte, off int64) (int, error) {
	if _, err := s.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

type noClose struct{ io.ReaderAt }

func (noClose) Close() error { return nil }
