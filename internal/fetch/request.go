package fetch

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// target is a parsed address with the headers that the user wants sent. Both
// may hold secrets.
type target struct {
	url    *url.URL
	header http.Header
}

// host is how messages call the source: never its path or query, which may
// hold a signature.
func (t target) host() string { return t.url.Host }

// newTarget parses an address. A user name and password in it become a Basic
// Authorization header, unless the user sends one: so they follow the rules of
// headers, and appear in no error.
func newTarget(raw string, headers map[string]string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// err repeats the address; it is no cause to keep.
		return target{}, apigpu.E(apigpu.InvalidRequest, errFinal, "This is not an address.")
	}
	if err := checkURL(u); err != nil {
		return target{}, err
	}
	h := make(http.Header, len(headers)+1)
	for name, value := range headers {
		h.Set(name, value)
	}
	// These are the download's own; a spec that sets them was refused before.
	for _, name := range []string{"Host", "Range", "If-Range", "Accept-Encoding", "Connection", "Content-Length", "Transfer-Encoding"} {
		h.Del(name)
	}
	if u.User != nil && h.Get("Authorization") == "" {
		password, _ := u.User.Password()
		pair := u.User.Username() + ":" + password
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return target{url: u, header: h}, nil
}

// get asks for t and follows its redirects. own are the headers of this
// download (Range, Accept-Encoding): they go to every hop. The body of the
// answer, of whatever status, is watched and must be closed.
func (c *Client) get(ctx context.Context, t target, own http.Header) (*http.Response, error) {
	watched, cancel := context.WithCancelCause(ctx)
	resp, err := c.follow(watched, t, own)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = newWatch(watched, cancel, resp.Body, c.opts)
	return resp, nil
}

// follow sends the request and goes where redirects lead. It does by hand
// what http.Client would do, because that passes a user's own headers
// (X-Api-Key) on to any host, and the first address as Referer.
func (c *Client) follow(ctx context.Context, t target, own http.Header) (*http.Response, error) {
	u, header := t.url, t.header
	for range c.opts.MaxRedirects + 1 {
		resp, err := c.send(ctx, u, header, own)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return resp, nil
		}
		_ = resp.Body.Close() // a redirect's body has no use, nor has its error
		next, err := redirect(u, resp.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		// Once dropped they stay dropped: the other host could send us back
		// to a place of its choice.
		if origin(next) != origin(u) {
			header = nil
		}
		u = next
	}
	return nil, apigpu.E(apigpu.SourceUnreachable, errFinal, "%s redirects more than %d times.", t.host(), c.opts.MaxRedirects)
}

// redirect returns where location, found at u, leads.
func redirect(u *url.URL, location string) (*url.URL, error) {
	next, err := u.Parse(location)
	if err != nil || location == "" {
		return nil, apigpu.E(apigpu.SourceUnreachable, errFinal, "%s redirects to nowhere.", u.Host)
	}
	next.User, next.Fragment, next.RawFragment = nil, "", ""
	return next, checkURL(next)
}

// send makes one hop.
func (c *Client) send(ctx context.Context, u *url.URL, header, own http.Header) (*http.Response, error) {
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header)}).WithContext(ctx)
	req.Header.Set("User-Agent", c.opts.UserAgent)
	for _, set := range []http.Header{header, own} {
		for name, values := range set {
			req.Header[name] = values
		}
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, explain(ctx, u.Host, err)
	}
	return resp, nil
}

// describe reads the header of an answer to a request for the bytes from
// `from` on, or for the whole file where ranged is false. first is the offset
// at which the body begins. It believes a Content-Range only where it agrees
// with the request, with itself and with Content-Length.
func describe(host string, resp *http.Response, ranged bool, from int64) (info Info, first int64, err error) {
	info = Info{
		Size:         resp.ContentLength,
		ETag:         resp.Header.Get("ETag"),
		LastModified: resp.Header.Get("Last-Modified"),
		ContentType:  resp.Header.Get("Content-Type"),
		FinalURL:     resp.Request.URL.String(),
		RangeOK:      strings.EqualFold(resp.Header.Get("Accept-Ranges"), "bytes"),
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return info, 0, apigpu.E(apigpu.SourceUnreachable, fmt.Errorf("content encoding: %w", errFinal),
			"%s sends the file in a compressed form that was not asked for.", host)
	}
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNonAuthoritativeInfo:
		return info, 0, nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && ranged:
		// "bytes */N" for a request from N on: there is nothing more.
		if resp.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", from) {
			return info, 0, changed(host)
		}
		info.Size, info.RangeOK = from, true
		return info, from, nil
	case resp.StatusCode != http.StatusPartialContent || !ranged:
		return info, 0, badStatus(host, resp)
	}
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || r.first != from || (resp.ContentLength >= 0 && resp.ContentLength != r.last-r.first+1) {
		return info, 0, noRange(host)
	}
	info.Size, info.RangeOK = r.total, true
	return info, r.first, nil
}

func changed(host string) error {
	return apigpu.E(apigpu.SourceUnreachable, ErrChanged, "%s changed the file while it was being read.", host)
}

func noRange(host string) error {
	return apigpu.E(apigpu.SourceUnreachable, ErrNoRange, "%s cannot go on in the middle of a file.", host)
}

// contentRange is a Content-Range of RFC 9110, section 14.4. total is -1
// where it is unknown.
type contentRange struct{ first, last, total int64 }

// parseContentRange reads "bytes 0-99/1000" or "bytes 0-99/*".
func parseContentRange(s string) (contentRange, bool) {
	var r contentRange
	unit, rest, _ := strings.Cut(s, " ")
	span, total, ok := strings.Cut(rest, "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 || !strings.EqualFold(unit, "bytes") {
		return r, false
	}
	r.total = -1
	ok = decimal(first, &r.first) && decimal(last, &r.last) && (total == "*" || decimal(total, &r.total))
	return r, ok && r.first <= r.last && (r.total < 0 || r.last < r.total)
}

// decimal reads digits and nothing else: no sign, no space.
func decimal(s string, n *int64) bool {
	v, err := strconv.ParseUint(s, 10, 63)
	*n = int64(v)
	return err == nil
}

// rest waits before try n+1 (n counts failures from 1): base, doubled with
// each failure, or what the server asked for, at most half a minute.
func rest(ctx context.Context, base time.Duration, n int, retryAfter time.Duration) error {
	d := min(max(base<<min(n-1, 10), retryAfter), 30*time.Second)
	if !pause.For(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}

// watch is a body that gives up when its source does. See Options.Idle and
// Options.SlowBytes.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	opts   Options
	timer  *time.Timer // armed only while a Read waits

	waited time.Duration // in Read, in this window
	got    int64         // bytes in this window
}

func newWatch(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, o Options) *watch {
	w := &watch{ctx: ctx, cancel: cancel, body: body, opts: o}
	w.timer = time.AfterFunc(o.Idle, func() { cancel(errIdle) })
	w.timer.Stop()
	return w
}

// Read implements io.Reader.
func (w *watch) Read(p []byte) (int, error) {
	began := time.Now()
	w.timer.Reset(w.opts.Idle)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && err != io.EOF {
		// The cancelled read does not say why it was cancelled.
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
		return n, err
	}
	w.waited += time.Since(began)
	w.got += int64(n)
	if w.waited >= w.opts.SlowWindow {
		if w.got < w.opts.SlowBytes && err == nil {
			w.cancel(errSlow)
			return n, errSlow
		}
		w.waited, w.got = 0, 0
	}
	return n, err
}

// Close ends the request.
func (w *watch) Close() error {
	w.timer.Stop()
	err := w.body.Close()
	w.cancel(nil)
	return err
}
