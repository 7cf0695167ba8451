// Package client speaks the jobs API of api-gpu: to an orchestrator, for
// people and their programs, and to a worker, for the orchestrator.
//
// Every error that came from a server, or from the way to it, is an
// *apigpu.Error: act on its code. The one exception is a context that was
// canceled, whose own error comes back.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// ErrForeign is the cause of an error that was not made by a server of
// api-gpu: something on the way answered, or something else at its address.
// Its message names the host.
var ErrForeign = errors.New("not an answer of api-gpu")

// Options say who asks, and how.
type Options struct {
	// Key is sent as X-API-Key; empty for a server that asks for none.
	Key string
	// Token is sent as X-Session-Token: workers ask for one.
	Token string
	// Transport carries the requests; nil for one with timeouts of its own.
	// It must be safe for concurrent use.
	Transport http.RoundTripper
	// TLS says how a server with https is recognized; nil for a certificate
	// that this machine trusts, by TLS 1.2 or newer. NextProtos, where it is
	// set, lists the versions of HTTP that are spoken. It is not used where
	// Transport is set.
	TLS *tls.Config
	// UserAgent names the program; empty for api-gpu-go.
	UserAgent string
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	header    http.Header
	http      *http.Client
	ownsConns bool
	pace      pace
}

// pace holds the times and bounds of a client, so that tests can hurry.
type pace struct {
	answer     time.Duration // silence allowed before and within an answer
	submit     time.Duration // the same for a submission: the server reads the sources first
	firstEvent time.Duration // the first event is sent at once; later means that it is held back
	silence    time.Duration // of an event stream
	poll       time.Duration // wait of each poll, where no stream comes through
	backoff    time.Duration // before the first new try; doubled up to maxBackoff
	maxBackoff time.Duration
	tries      int // in a row without anything new
}

func defaultPace() pace {
	return pace{
		answer: 30 * time.Second, submit: 2 * time.Minute,
		firstEvent: 10 * time.Second,
		// The server sends a comment after 15 s without an event: two of
		// them are missing.
		silence: 40 * time.Second,
		poll:    20 * time.Second,
		// 40 tries span about five minutes: a server that restarts, or moves
		// to another machine, is back by then.
		backoff: 500 * time.Millisecond, maxBackoff: 10 * time.Second, tries: 40,
	}
}

// New makes a client of the server at baseURL, such as
// https://gpu.example.com or http://localhost:3000/prefix. It sends nothing.
// The error is an *apigpu.Error of code InvalidRequest.
func New(baseURL string, o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimSpace(baseURL))
	switch {
	case err != nil:
		return nil, apigpu.E(apigpu.InvalidRequest, err, "The address of the server is malformed.")
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "The address of the server must look like http://host:port.")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "The address of the server must end before any ? or #.")
	}
	c := &Client{base: base, header: http.Header{}, pace: defaultPace()}
	c.header.Set("User-Agent", "api-gpu-go")
	for name, value := range map[string]string{"X-API-Key": o.Key, "X-Session-Token": o.Token, "User-Agent": o.UserAgent} {
		if value != "" {
			c.header.Set(name, value)
		}
	}
	transport := o.Transport
	if transport == nil {
		transport, c.ownsConns = newTransport(o.TLS), true
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: stay}
	return c, nil
}

// Close frees idle connections, unless the transport is the caller's. The
// client stays usable.
func (c *Client) Close() {
	if c.ownsConns {
		c.http.CloseIdleConnections()
	}
}

// stay follows no redirect: it would carry the key to whatever host the
// answer names, and turn a POST into a GET.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newTransport(secure *tls.Config) *http.Transport {
	if secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       secure.Clone(),
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     len(secure.NextProtos) == 0 || slices.Contains(secure.NextProtos, "h2"),
		// An HTTP/2 connection whose other end is gone is found by pings, not
		// by the next request that hangs on it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// host names the server in messages.
func (c *Client) host() string { return c.base.Host }

// lost is the error of a request whose answer did not come, or not whole.
// ctx is the caller's own.
func (c *Client) lost(ctx context.Context, err error) error {
	switch own := ctx.Err(); {
	case errors.Is(own, context.Canceled):
		return own
	case own != nil:
		return apigpu.E(apigpu.Unavailable, own, "The server at %s did not answer in time.", c.host())
	}
	return noAnswer(c.host(), err)
}

// noAnswer is the error of a connection that failed, with what to do about it
// where the cause is known and lies with whoever asks.
func noAnswer(host string, err error) *apigpu.Error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e := apigpu.E(apigpu.Unavailable, err, "The certificate of %s is not trusted.", host).
			WithHint("Use the name that the certificate was made for, or trust its issuer on this machine.")
		e.Retryable = false
		return e
	}
	e := apigpu.E(apigpu.Unavailable, err, "The server at %s does not answer.", host)
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return e.WithHint("It does not speak TLS there: try http:// in its address.")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return e.WithHint("No host of this name is known: compare the address of the server.")
	}
	return e
}
