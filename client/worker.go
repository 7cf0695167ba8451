package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/api-gpu/api-gpu"
)

// The calls of this file are answered by workers only.

// Assign gives a worker a job, or re-attaches to the same attempt of it: it
// may be repeated. StaleAttempt when the worker has a later attempt.
func (c *Client) Assign(ctx context.Context, id string, a apigpu.Assignment) (apigpu.Job, error) {
	k, err := jsonCall(http.MethodPut, a, "jobs", id)
	if err != nil {
		return apigpu.Job{}, err
	}
	var job apigpu.Job
	err = c.ask(ctx, k, &job)
	return job, err
}

// Input tells how much of a pushed video the worker has.
func (c *Client) Input(ctx context.Context, id string) (apigpu.InputState, error) {
	var state apigpu.InputState
	err := c.ask(ctx, call{method: http.MethodGet, path: []string{"jobs", id, "input"}}, &state)
	return state, err
}

// PushInput streams a video, or the rest of it, to the worker: r holds its
// bytes from offset on, which must be what the worker has. size is the length
// of the whole video; with -1, where nobody knows it, the end of r is the end
// of the video. After an error, ask Input and push from there.
//
// An error of r comes back wrapped, and never passes for the end of the
// video. r is not read any more once PushInput returned; it must fail when
// ctx ends, for PushInput waits for a read that is under way.
func (c *Client) PushInput(ctx context.Context, id string, attempt int, offset, size int64, r io.Reader) (apigpu.InputState, error) {
	query := url.Values{"attempt": {strconv.Itoa(attempt)}, "offset": {strconv.FormatInt(offset, 10)}}
	if size >= 0 {
		query.Set("size", strconv.FormatInt(size, 10))
	}
	var state apigpu.InputState
	err := c.ask(ctx, call{
		method: http.MethodPut, path: []string{"jobs", id, "input"}, query: query,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		stream: r,
	}, &state)
	return state, err
}

// PushFont gives a worker a font file that goes along with a job, by the
// SHA-256 of its bytes, in hex. It may be repeated. The code is FontUnreadable
// where the worker cannot read it.
func (c *Client) PushFont(ctx context.Context, id string, attempt int, sum string, file []byte) error {
	var kept struct{}
	return c.ask(ctx, call{
		method: http.MethodPut, path: []string{"jobs", id, "fonts", sum}, query: url.Values{"attempt": {strconv.Itoa(attempt)}},
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		stream: bytes.NewReader(file),
	}, &kept)
}

// Manifest returns the chunks of a job's result. NotReady before its end.
func (c *Client) Manifest(ctx context.Context, id string) (apigpu.Manifest, error) {
	var m apigpu.Manifest
	err := c.ask(ctx, call{method: http.MethodGet, path: []string{"jobs", id, "manifest"}}, &m)
	return m, err
}

// Chunk fetches one chunk of a result. Its length is checked; its SHA-256 is
// left to whoever stores it.
func (c *Client) Chunk(ctx context.Context, id string, chunk apigpu.Chunk) ([]byte, error) {
	last := chunk.Offset + chunk.Length - 1
	if chunk.Offset < 0 || chunk.Length < 1 || chunk.Length > apigpu.MaxChunk || last < chunk.Offset {
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "A chunk has 1 to %d bytes.", apigpu.MaxChunk).WithJob(id)
	}
	k := call{method: http.MethodGet, path: []string{"jobs", id, "video"}, header: videoHeader(), silence: c.pace.answer}
	k.header.Set("Range", "bytes="+strconv.FormatInt(chunk.Offset, 10)+"-"+strconv.FormatInt(last, 10))
	resp, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	from, to, ok := contentRange(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || !ok || from != chunk.Offset || to != last {
		return nil, apigpu.E(apigpu.Internal, nil, "The worker at %s sends another part than was asked for.", c.host()).WithJob(id)
	}
	data := make([]byte, chunk.Length)
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		return nil, c.lost(ctx, err)
	}
	// The length was promised by Content-Range; a body that is longer
	// belongs to something else.
	if n, err := resp.Body.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, c.lost(ctx, errors.New("more bytes than the range has"))
	}
	return data, nil
}

// Thumbnail fetches the picture of a result that was asked for: a JPEG of at
// most apigpu.MaxThumbnail bytes. NotFound where the worker has none.
func (c *Client) Thumbnail(ctx context.Context, id string) ([]byte, error) {
	k := call{method: http.MethodGet, path: []string{"jobs", id, "thumbnail.jpg"}, header: http.Header{"Accept": {"image/jpeg, application/problem+json"}, "Accept-Encoding": {"identity"}}, silence: c.pace.answer}
	resp, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, apigpu.MaxThumbnail+1))
	switch {
	case err != nil:
		return nil, c.lost(ctx, err)
	case len(data) > apigpu.MaxThumbnail || http.DetectContentType(data) != "image/jpeg":
		return nil, apigpu.E(apigpu.Internal, nil, "The worker at %s sends no picture, or one that is too long.", c.host()).WithJob(id)
	}
	return data, nil
}

// Lease renews the lease of a worker and returns its account of itself.
// StaleEpoch when the worker has heard of a later epoch.
func (c *Client) Lease(ctx context.Context, l apigpu.LeaseRequest) (apigpu.LeaseReply, error) {
	k, err := jsonCall(http.MethodPut, l, "lease")
	if err != nil {
		return apigpu.LeaseReply{}, err
	}
	var reply apigpu.LeaseReply
	err = c.ask(ctx, k, &reply)
	return reply, err
}
