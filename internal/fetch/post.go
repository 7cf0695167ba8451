package fetch

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"code.dny.dev/ssrf"
)

// Post sends body to an address, byte for byte as it was given, and returns
// the status and the header of the answer; what the answer says is not read.
// It follows no redirect, tries once, and gives up after within. Errors are
// as those of Bytes: they name the host, and nothing else of the address.
func (c *Client) Post(ctx context.Context, rawURL string, header http.Header, body []byte, within time.Duration) (int, http.Header, error) {
	t, err := newTarget(rawURL, nil)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, errWhole)
	defer cancel()
	req := (&http.Request{
		Method: http.MethodPost, URL: verbatim(t.url, rawURL), Host: t.url.Host, Header: make(http.Header), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		Body:    io.NopCloser(bytes.NewReader(body)),
	}).WithContext(ctx)
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if basic := t.header.Get("Authorization"); basic != "" {
		req.Header.Set("Authorization", basic)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, explain(ctx, t.host(), err)
	}
	_ = resp.Body.Close() // unread: whatever it is, the status says it all
	return resp.StatusCode, resp.Header, nil
}

// verbatim returns u, which was parsed from raw, in a form that is sent with
// the path and the query as they stand in raw. net/url would escape some
// characters in its own way, and a signature in the address may cover them.
func verbatim(u *url.URL, raw string) *url.URL {
	v := *u
	_, rest, _ := strings.Cut(raw, "//")
	rest, _, _ = strings.Cut(rest, "#")
	path, _, _ := strings.Cut(rest, "?")
	if slash := strings.IndexByte(path, '/'); slash >= 0 && !strings.HasPrefix(path[slash:], "//") { // net/url reads // as a host
		v.Opaque = path[slash:]
	}
	return &v
}

// CheckHost refuses an address of which it is certain, without a look-up, that
// no connection to its host will be made: a private IP address, or a name for
// this machine. BlockedAddress, or InvalidRequest for what is no address.
func (c *Client) CheckHost(rawURL string) error {
	t, err := newTarget(rawURL, nil)
	if err != nil || c.allow.has(hostPort(t.url)) {
		return err
	}
	if addr, notIP := netip.ParseAddr(t.url.Hostname()); notIP == nil {
		err = c.guard.SafeAddr(addr)
	} else if Local(rawURL) {
		err = ssrf.ErrProhibitedIP
	}
	if err != nil {
		return explain(context.Background(), t.host(), err)
	}
	return nil
}

// Local reports whether an address names this machine itself (RFC 6761,
// section 6.3, for names): what a program gives out that does not know how
// others reach it.
func Local(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
}
