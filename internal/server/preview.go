package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/render"
)

// Previews says who draws previews.
type Previews struct {
	// Studio draws here. Its PreviewUnavailable passes the preview on.
	Studio *render.Studio
	// Worker returns a worker that is ready and has nothing to do, and nil
	// where there is none. Nothing is rented for it.
	Worker func(context.Context) (*client.Client, error)
}

// Preview draws what Submit would make: here, where FFmpeg and fonts are, else
// on a worker that is ready.
func (s *Jobs) Preview(ctx context.Context, who httpapi.Caller, sub httpapi.Submission, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	raw, document, err := s.readSubtitle(ctx, sub)
	if err != nil {
		return apigpu.Preview{}, err
	}
	drawn, err := s.castOf(ctx, who, sub, document)
	if err != nil {
		return apigpu.Preview{}, err
	}
	if s.Previews == nil {
		return apigpu.Preview{}, render.Unavailable(nil, "they are switched off (PREVIEW)")
	}
	fonts, err := s.bytesOf(ctx, drawn)
	if err != nil {
		return apigpu.Preview{}, err
	}
	p, err := s.Previews.Studio.Draw(ctx, render.Order{Document: document, Spec: sub.Spec, Ask: ask, Fonts: fonts, Video: s.film(sub)})
	if apigpu.CodeOf(err) != apigpu.PreviewUnavailable {
		return p, err
	}
	worker, faulty := s.Previews.Worker(ctx)
	if faulty != nil {
		s.Log.WarnContext(ctx, "no worker for a preview", "error", faulty)
	}
	if worker == nil {
		return p, err
	}
	return s.drawnElsewhere(ctx, worker, sub, raw, document, ask)
}

// bytesOf are the fonts of clients that captions are drawn with.
func (s *Jobs) bytesOf(ctx context.Context, c cast) ([][]byte, error) {
	fonts := slices.Clone(c.sent)
	for _, key := range c.keys {
		content, _, err := s.Blob.Open(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("open font: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(content, apigpu.MaxFont))
		if err = errors.Join(err, content.Close()); err != nil {
			return nil, fmt.Errorf("read font: %w", err)
		}
		fonts = append(fonts, b)
	}
	return fonts, nil
}

// film is where the video of a request is read; nil where it has none.
func (s *Jobs) film(sub httpapi.Submission) *render.Video {
	if sub.Spec.URLVideo == "" && sub.Upload == "" {
		return nil
	}
	return &render.Video{
		Open: func(ctx context.Context) (io.ReaderAt, int64, error) {
			r, size, err := s.openHead(ctx, sub)
			if err == nil {
				err = s.tooLarge(sub, size)
			}
			return r, size, err
		},
		Whole: func(ctx context.Context, to *os.File, limit int64) error {
			if sub.Upload == "" {
				_, err := s.Fetch.File(ctx, sub.Spec.URLVideo, sub.Spec.HeadersVideo, to, limit, nil)
				return err
			}
			r, size, err := s.openHead(ctx, sub)
			if err != nil {
				return err
			}
			defer r.Close()
			if size > limit {
				return apigpu.E(apigpu.TooLarge, nil, "The video has %d bytes; a preview reads %d of it.", size, limit)
			}
			_, err = io.Copy(to, io.NewSectionReader(r, 0, size))
			return err
		},
		Close: func(r io.ReaderAt) {
			if c, ok := r.(io.Closer); ok {
				_ = c.Close() // it was read only
			}
		},
	}
}

// drawnElsewhere lets a worker draw. It is told what it would be told of a job,
// and no more: the address of a video that is everybody's to fetch, no header,
// and nothing of a private network. Of any other video it learns the size.
func (s *Jobs) drawnElsewhere(ctx context.Context, worker *client.Client, sub httpapi.Submission, raw []byte, document caption.Document, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	spec := sub.Spec
	spec.URLSRT, spec.HeadersSRT, spec.HeadersVideo, spec.Charset, spec.Strict = "", nil, nil, document.Charset, false
	named := spec.URLVideo != "" || sub.Upload != ""
	private := sub.Upload != "" || len(sub.Spec.HeadersVideo) > 0 || spec.URLVideo != "" && s.Fetch.Private(spec.URLVideo)
	if private {
		head, err := s.describeVideo(ctx, sub)
		if err != nil {
			return apigpu.Preview{}, err
		}
		spec.URLVideo = ""
		if httpapi.CheckPreviewSize(head.Width, head.Height) == nil {
			ask.Width, ask.Height = head.Width, head.Height
		}
	}
	p, err := worker.Preview(ctx, client.Request{Spec: spec, Subtitle: &client.File{Name: "captions", Content: bytes.NewReader(raw)}}, ask)
	if err != nil {
		if e := apigpu.AsError(err); e.Code == apigpu.Unavailable || e.Code == apigpu.GPULost || e.Code == apigpu.Internal {
			return p, render.Unavailable(err, "FFmpeg or fonts are not installed here, and the worker that was asked did not answer")
		}
		return p, err
	}
	if named && private {
		p.Warnings = append(p.Warnings, apigpu.PreviewPlain)
	}
	return p, nil
}
