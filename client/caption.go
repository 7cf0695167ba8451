package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
)

// Request asks for captions burnt into a video.
type Request struct {
	// Spec says what to do. Its addresses are empty where a file is sent
	// instead.
	Spec apigpu.CaptionSpec
	// Video and Subtitle are files sent with the request, or nil. They are
	// streamed, and never held in memory.
	Video, Subtitle *File
	// Fonts are font files sent with the request, for these captions alone.
	Fonts []File
	// WebhookURL is called at the end of the job; empty for none.
	WebhookURL string
	// IdempotencyKey makes the request one that may be repeated: for 24 hours
	// the server answers the same key and request with the same job. 1 to 255
	// printable ASCII characters; empty for none.
	IdempotencyKey string
	// Wait is how long the server may hold the request for the end of the
	// job: 0 to answer as soon as the job is recorded, ten minutes at most.
	Wait time.Duration
}

// File is a file to send.
type File struct {
	Name    string // its last part is told to the server
	Content io.Reader
}

// Caption submits a request and returns its job: at its end when that comes
// within the wait, else as it goes on. A job that failed within the wait is
// its own error, which names the job. An error in reading a file is returned
// wrapped, and no job is made.
//
// With an IdempotencyKey, and without files, Caption is repeated when the
// connection breaks or the server is away. Without a key it is not: the job
// may have been made, and Jobs would tell.
func (c *Client) Caption(ctx context.Context, r Request) (apigpu.Job, error) {
	k, done, err := captionCall(r, "video", "caption")
	if err != nil {
		return apigpu.Job{}, err
	}
	wait := min(max(r.Wait, 0), maxWait)
	k.silence = c.pace.submit + wait
	k.header.Set("Prefer", "respond-async")
	if wait > 0 { // whole seconds only (RFC 7240, section 4.3)
		k.header.Set("Prefer", "wait="+strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	if r.IdempotencyKey != "" {
		k.header.Set("Idempotency-Key", r.IdempotencyKey)
	}
	var result apigpu.Result
	again := patience{pace: c.pace}
	err = c.ask(ctx, k, &result)
	for r.IdempotencyKey != "" && k.stream == nil && apigpu.CodeOf(err) == apigpu.Unavailable && ctx.Err() == nil && apigpu.AsError(err).Retryable {
		if err = again.rest(ctx, err, false); err != nil {
			break
		}
		err = c.ask(ctx, k, &result)
	}
	done()
	return result.Job, err
}

// captionBody is the JSON of a request.
type captionBody struct {
	apigpu.CaptionSpec
	WebhookURL string `json:"webhook_url,omitempty"`
}

func (r Request) body() captionBody { return captionBody{r.Spec, r.WebhookURL} }

// Validate asks what Caption would find out, without a job: how the subtitles
// are read, what the head of the video tells, and what the job is expected to
// take. The video may be left out. With cues they are part of the answer.
func (c *Client) Validate(ctx context.Context, r Request, cues bool) (apigpu.Validation, error) {
	k, done, err := captionCall(r, "video", "caption", "validate")
	if err != nil {
		return apigpu.Validation{}, err
	}
	defer done()
	k.silence = c.pace.submit
	if cues {
		k.query = url.Values{"cues": {"true"}}
	}
	var v apigpu.Validation
	err = c.ask(ctx, k, &v)
	return v, err
}

// captionCall makes the call of a request. done frees what it holds once the
// call has been answered.
func captionCall(r Request, path ...string) (k call, done func(), err error) {
	if r.Video == nil && r.Subtitle == nil && len(r.Fonts) == 0 {
		k, err = jsonCall(http.MethodPost, r.body(), path...)
		return k, func() {}, err
	}
	body, contentType, done := streamForm(r)
	return call{
		method: http.MethodPost, path: path, stream: body,
		header: http.Header{"Content-Type": {contentType}},
	}, done, nil
}

// streamForm writes a multipart form as it is read. done ends the writing and
// waits until the files are not read any more.
func streamForm(r Request) (body io.Reader, contentType string, done func()) {
	out, in := io.Pipe()
	form := multipart.NewWriter(in)
	written := make(chan struct{})
	go func() {
		defer close(written)
		in.CloseWithError(errors.Join(writeForm(form, r), form.Close()))
	}()
	return out, form.FormDataContentType(), func() {
		out.Close()
		<-written
	}
}

// writeForm puts the small parts first: a server that refuses them need not
// take the video.
func writeForm(form *multipart.Writer, r Request) error {
	spec, err := json.Marshal(r.body())
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	if err := form.WriteField("request", string(spec)); err != nil {
		return err
	}
	type part struct {
		field string
		file  *File
	}
	parts := []part{{"srt", r.Subtitle}}
	for i := range r.Fonts {
		parts = append(parts, part{"font", &r.Fonts[i]})
	}
	for _, f := range append(parts, part{"video", r.Video}) {
		if f.file == nil {
			continue
		}
		part, err := form.CreateFormFile(f.field, filepath.Base(f.file.Name))
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, f.file.Content); err != nil {
			return fmt.Errorf("send %s: %w", f.field, err)
		}
	}
	return nil
}
