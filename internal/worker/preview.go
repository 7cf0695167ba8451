package worker

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/render"
)

// means are what previews are drawn with: all that jobs are drawn with, but for
// an encoder.
func (w *Worker) means(context.Context) (render.Means, error) {
	abilities, fonts, err := w.fit(apigpu.Burn)
	if err != nil {
		return render.Means{}, err
	}
	return render.Means{Tools: w.cfg.Tools, Able: abilities, Fonts: fonts, Limits: w.cfg.Limits}, nil
}

// film is where the video of a request is read; nil where it has none.
func (w *Worker) film(s httpapi.Submission) *render.Video {
	switch {
	case s.Upload != "":
		path := w.upload(s.Upload)
		return &render.Video{
			Open: func(context.Context) (io.ReaderAt, int64, error) { return openSized(path) },
			Whole: func(_ context.Context, to *os.File, limit int64) error {
				from, size, err := openSized(path)
				if err != nil {
					return err
				}
				defer from.Close()
				if size > limit {
					return apigpu.E(apigpu.TooLarge, nil, "The video has %d bytes; a preview reads %d of it.", size, limit)
				}
				_, err = io.Copy(to, from)
				return err
			},
			Close: func(r io.ReaderAt) {
				if c, ok := r.(io.Closer); ok {
					_ = c.Close() // it was read only
				}
			},
		}
	case s.Spec.URLVideo != "":
		return &render.Video{
			Open: func(ctx context.Context) (io.ReaderAt, int64, error) {
				remote, err := w.cfg.Fetch.ReaderAt(ctx, s.Spec.URLVideo, s.Spec.HeadersVideo)
				if err != nil {
					return nil, 0, err
				}
				return remote, remote.Size(), nil
			},
			Whole: func(ctx context.Context, to *os.File, limit int64) error {
				_, err := w.cfg.Fetch.File(ctx, s.Spec.URLVideo, s.Spec.HeadersVideo, to, limit, nil)
				return err
			},
		}
	}
	return nil
}

// upload is the path of an upload that nothing has taken over.
func (w *Worker) upload(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.uploads[name]
}

func openSized(path string) (*os.File, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}
