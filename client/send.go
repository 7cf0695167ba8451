package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
)

// maxJSON bounds an answer in JSON, in bytes. The largest is a page of 100
// jobs.
const maxJSON = 8 << 20

// call is one request. The zero values of query, header and bodies mean none.
type call struct {
	method string
	path   []string // segments below the base, not escaped
	query  url.Values
	header http.Header
	json   []byte    // a body in memory, or
	stream io.Reader // one of unknown length
	// silence is how long nothing may move in either direction.
	silence time.Duration
}

// send returns a 2xx answer, whose body the caller closes, or the error that
// any other answer means.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	resp, err := c.exchange(ctx, k)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	return resp, nil
}

// exchange returns the answer to a call, whatever its status. The caller
// closes its body. Once exchange returned, the call's own stream is not read
// any more.
func (c *Client) exchange(ctx context.Context, k call) (*http.Response, error) {
	guarded, watch := newWatch(ctx, k.silence)
	stream := &requestBody{r: k.stream, watch: watch}
	req, err := c.request(guarded, k, stream)
	if err != nil {
		watch.stop()
		return nil, err
	}
	resp, err := c.http.Do(req)
	if fault := stream.release(); fault != nil {
		// Whatever the server makes of half a body, this is why.
		if err == nil {
			resp.Body.Close()
		}
		watch.stop()
		return nil, fmt.Errorf("read body: %w", fault)
	}
	if err != nil {
		watch.stop()
		return nil, c.lost(ctx, err)
	}
	resp.Body = &answerBody{ReadCloser: resp.Body, watch: watch}
	return resp, nil
}

func (c *Client) request(ctx context.Context, k call, stream *requestBody) (*http.Request, error) {
	segments := make([]string, len(k.path))
	for i, s := range k.path {
		if s == "" || s == "." || s == ".." { // would lead to another path
			return nil, apigpu.E(apigpu.InvalidRequest, nil, "%q is not an id.", s)
		}
		segments[i] = url.PathEscape(s)
	}
	u := c.base.JoinPath(segments...)
	u.RawQuery = k.query.Encode()
	var body io.Reader
	switch {
	case k.json != nil:
		body = bytes.NewReader(k.json) // net/http knows its length, and can send it again
	case k.stream != nil:
		body = stream
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, apigpu.E(apigpu.InvalidRequest, err, "The request is malformed.")
	}
	req.Header = c.header.Clone()
	maps.Copy(req.Header, k.header)
	if k.stream != nil {
		// A server that refuses says so before the bytes are sent, and its
		// answer is not lost in a connection that breaks under them.
		req.Header.Set("Expect", "100-continue")
	}
	return req, nil
}

// ask sends a call and decodes its answer; into may be nil for one that has
// no body. Members that are not known are left out: the server may be newer.
func (c *Client) ask(ctx context.Context, k call, into any) error {
	if k.silence == 0 {
		k.silence = c.pace.answer
	}
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	switch {
	case err != nil:
		return c.lost(ctx, err)
	case len(raw) > maxJSON:
		return apigpu.E(apigpu.Internal, ErrForeign, "The answer of %s is longer than %d bytes.", c.host(), maxJSON)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return apigpu.E(apigpu.Internal, errors.Join(ErrForeign, err), "The answer of %s is not in the words of api-gpu.", c.host()).
			WithHint("Compare the address of the server, and the versions on both sides.")
	}
	return nil
}

// jsonCall is a call that carries v.
func jsonCall(method string, v any, path ...string) (call, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return call{}, apigpu.E(apigpu.InvalidRequest, err, "The request cannot be written as JSON.")
	}
	return call{
		method: method, path: path, json: raw,
		header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// watch ends a context when nothing moved for a while. A time limit of the
// whole would either cut long transfers or let dead ones linger.
type watch struct {
	timer   *time.Timer
	silence time.Duration
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

var errSilent = errors.New("no byte for too long")

func newWatch(ctx context.Context, silence time.Duration) (context.Context, *watch) {
	w := &watch{silence: silence}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(silence, func() { w.cancel(errSilent) })
	return w.ctx, w
}

// touch says that something moved.
func (w *watch) touch() {
	if w.ctx.Err() == nil {
		w.timer.Reset(w.silence)
	}
}

// pause stops the clock until the next touch.
func (w *watch) pause() { w.timer.Stop() }

// stop frees the watch and ends its context.
func (w *watch) stop() {
	w.cancel(nil)
	w.timer.Stop()
}

// answerBody touches its watch with each read.
type answerBody struct {
	io.ReadCloser
	watch *watch
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.touch()
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.watch.stop()
	return b.ReadCloser.Close()
}

// requestBody is a body that comes from a reader of the caller's. net/http
// may read a body after its request has ended: release ends that. The clock
// of the watch stands still while the caller's reader is slow, for that says
// nothing about the server.
type requestBody struct {
	watch *watch

	mu       sync.Mutex
	r        io.Reader
	fault    error // of r, other than io.EOF
	released bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return 0, io.ErrClosedPipe
	}
	b.watch.pause()
	n, err := b.r.Read(p)
	b.watch.touch()
	if err != nil && !errors.Is(err, io.EOF) {
		b.fault = err
	}
	return n, err
}

// release waits for a read that is under way, lets none follow, and returns
// the error with which the caller's reader failed.
func (b *requestBody) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	return b.fault
}
