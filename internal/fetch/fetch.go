// Package fetch downloads what users name by URL, and trusts neither the
// address nor the answer.
//
// Every address is checked when the connection is dialled, so a name that
// resolves twice to different addresses, or a redirect, gains nothing. Every
// length is counted rather than believed. A download that breaks off goes on
// where it stopped, after proof that the file is still the same.
package fetch

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"code.dny.dev/ssrf"
)

// Options says whom a Client may talk to and how long it waits. A zero field
// takes the default that stands beside it.
type Options struct {
	// AllowHosts are hosts that may be private: "minio", "minio:9000",
	// "127.0.0.1", "[::1]:8080". A name without a port allows all of its
	// ports. The match is exact but for case; a redirect to any other
	// private host is refused.
	AllowHosts []string
	UserAgent  string // "api-gpu"

	Connect time.Duration // name lookup and TCP, per address tried: 10 s
	TLS     time.Duration // handshake: 10 s
	Header  time.Duration // from the request to the end of the answer's header: 30 s
	Idle    time.Duration // longest wait for one more byte: 30 s
	Whole   time.Duration // all of Bytes, retries included: 60 s

	// An answer that brings fewer than SlowBytes while we waited SlowWindow
	// for it is given up. Only time spent waiting for the source counts: a
	// slow reader is not the source's fault. 60 KiB in 60 s.
	SlowBytes  int64
	SlowWindow time.Duration

	MaxRedirects int // 5
}

func (o Options) withDefaults() Options {
	if o.UserAgent == "" {
		o.UserAgent = "api-gpu"
	}
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{
		{&o.Connect, 10 * time.Second},
		{&o.TLS, 10 * time.Second},
		{&o.Header, 30 * time.Second},
		{&o.Idle, 30 * time.Second},
		{&o.Whole, 60 * time.Second},
		{&o.SlowWindow, 60 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
	}
	if o.SlowBytes == 0 {
		o.SlowBytes = 60 << 10
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 5
	}
	return o
}

// Client downloads. It is safe for concurrent use; Close frees its idle
// connections.
type Client struct {
	opts      Options
	allow     allowList
	transport *http.Transport
	// backoff is the wait after the first failure; it doubles with each more.
	backoff time.Duration

	// guard and resolver are fields so that tests can stand in for the
	// internet. A nil resolver is the system's.
	guard    *ssrf.Guardian
	resolver *net.Resolver
}

// maxHeaderBytes bounds the header of an answer; the default of net/http is
// 10 MiB, and nobody needs more than this.
const maxHeaderBytes = 64 << 10

// New makes a Client.
func New(o Options) *Client {
	o = o.withDefaults()
	c := &Client{
		opts:    o,
		allow:   newAllowList(o.AllowHosts),
		backoff: 500 * time.Millisecond,
		// Any port: object stores and development servers use many, and it
		// is the address that makes a service private.
		guard: ssrf.New(ssrf.WithAnyPort()),
	}
	// A RoundTripper, not a Client: that would follow redirects by its own
	// rules (see follow).
	c.transport = &http.Transport{
		// A proxy would dial for us, and check nothing. HTTP/2 stays off (a
		// DialContext of our own sees to that): one download, one connection.
		Proxy:                  nil,
		DialContext:            c.dial,
		TLSHandshakeTimeout:    o.TLS,
		ResponseHeaderTimeout:  o.Header,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    2,
		MaxIdleConns:           16,
		IdleConnTimeout:        30 * time.Second,
	}
	return c
}

// Close frees the idle connections. Downloads under way go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// dial connects to addr ("host:port", as the URL of this very hop names it).
// The check sees the address that is about to be connected to, after name
// resolution. Pooled connections are kept by host and port, so one that was
// dialled for an allowed host serves no other.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: c.opts.Connect, Resolver: c.resolver}
	if !c.allow.has(addr) {
		d.Control = c.guard.Safe
	}
	return d.DialContext(ctx, network, addr)
}

// Private reports whether an address is for this machine alone and must not
// be handed to a rented one: its host is in AllowHosts, or it carries a user
// name or password. It is false for what is no address.
func (c *Client) Private(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	return u.User != nil || c.allow.has(hostPort(u))
}

// Info tells what an answer said about its file.
type Info struct {
	// Size is the length in bytes, -1 while it is unknown.
	Size int64
	// ETag and LastModified identify a version of the file, where given.
	ETag         string
	LastModified string
	ContentType  string
	// FinalURL is where the redirects led. It may hold a signature: keep it
	// out of logs and answers.
	FinalURL string
	// RangeOK is true where the server reads from any offset.
	RangeOK bool
}

// Same reports whether b may describe the same version of the file as a:
// nothing that both tell differs. Use it before going on at an offset with a
// second Open.
func (a Info) Same(b Info) bool {
	if a.Size >= 0 && b.Size >= 0 && a.Size != b.Size {
		return false
	}
	if a.ETag != "" && b.ETag != "" {
		return a.ETag == b.ETag
	}
	return a.LastModified == "" || b.LastModified == "" || a.LastModified == b.LastModified
}
