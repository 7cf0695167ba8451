package vast

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The errors that wrap nothing of package gpu: nobody knows what was done.
var (
	errNoWord  = errors.New("no answer of the API's own")
	errOdd     = errors.New("an answer that is neither success nor failure")
	errFailed  = errors.New("it failed")
	errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxBody)
)

const (
	// callTimeout bounds one call, its wait for the lane not counted. The
	// API's own client allows as much.
	callTimeout = 120 * time.Second
	// maxBody bounds what is read of an answer. 64 offers are 0.2 MB; a page of 25
	// instances can be 1.3 MB, since each shows its environment (32 KB) and its
	// script (16 KB), those of others on the account too.
	maxBody = 4 << 20
)

// request is one call of the API.
type request struct {
	name   string // for errors
	lane   *lane
	method string
	path   string
	query  url.Values
	body   any // JSON; none when nil
	// creating is set where a refusal may be about the offer.
	creating bool
	// secrets must not be repeated in errors, beside our own.
	secrets []string
}

// call waits for its lane and makes one call, exactly one. Without an error
// the API answered, whatever it said. gpu.ErrNotSent and gpu.RateLimited mean
// that nothing was sent; after any other error nobody knows what was done.
func (p *Provider) call(ctx context.Context, r request) (answer, error) {
	if err := r.lane.wait(ctx); err != nil {
		if limited, ok := errors.AsType[gpu.RateLimited](err); ok {
			return answer{}, fmt.Errorf("vast: %s: %w", r.name, limited)
		}
		return answer{}, fmt.Errorf("vast: %s: %w: %w", r.name, gpu.ErrNotSent, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %s: %w", callTimeout, context.DeadlineExceeded))
	defer cancel()
	req, connected, err := p.newRequest(ctx, r)
	if err != nil {
		return answer{}, fmt.Errorf("vast: %s: %w: %w", r.name, gpu.ErrNotSent, err)
	}
	a, err := p.send(req, r)
	r.lane.ended()
	switch {
	case err == nil:
		if limited, ok := errors.AsType[gpu.RateLimited](a.outcome()); ok {
			r.lane.pushBack(limited.After)
			r.lane.widen(a.limit())
		}
		return a, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if !connected.Load() {
		err = fmt.Errorf("%w: %w", gpu.ErrNotSent, err)
	}
	return answer{}, fmt.Errorf("vast: %s: %w", r.name, err)
}

// newRequest makes the HTTP request. connected becomes true when it got a
// connection: before that, not one byte of it can have left. That is so of a
// name that is not found, a refused connection and a failed TLS handshake.
func (p *Provider) newRequest(ctx context.Context, r request) (req *http.Request, connected *atomic.Bool, err error) {
	connected = new(atomic.Bool)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	to := p.base + r.path
	if len(r.query) > 0 {
		to += "?" + r.query.Encode()
	}
	if req, err = http.NewRequestWithContext(ctx, r.method, to, body); err != nil {
		return nil, nil, errors.New("the address cannot be used") // the cause repeats it
	}
	req.Header.Set("Authorization", "Bearer "+p.cfg.Key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "api-gpu")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, connected, nil
}

func (p *Provider) send(req *http.Request, r request) (answer, error) {
	began := time.Now()
	res, err := p.client.Do(req)
	if err == nil {
		p.noteClock(res.Header.Get("Date"), began, time.Now())
	}
	if err != nil {
		// Without the URL around it: who called knows it, and it is long.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxBody {
		return answer{}, errTooLong
	}
	return newAnswer(r, res.StatusCode, res.Header, p.redact(body, r.secrets)), nil
}

// redact takes our secrets out of an answer: what repeats a request must not
// bring them into a log.
func (p *Provider) redact(body []byte, more []string) []byte {
	for _, secret := range slices.Concat(p.secrets, more) {
		if len(secret) >= minSecret {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("[redacted]"))
		}
	}
	return body
}

// minSecret is the shortest text that is taken for a secret: shorter ones are
// words, and answers would lose their meaning.
const minSecret = 8

// loginSecrets are the secret parts of a registry login: what follows -p.
func loginSecrets(login string) (secrets []string) {
	words := strings.Fields(login)
	for n, word := range words {
		name, value, joined := strings.Cut(word, "=")
		if !joined && n+1 < len(words) {
			value = words[n+1]
		}
		if (name == "-p" || name == "--password") && len(value) >= minSecret {
			secrets = append(secrets, value)
		}
	}
	return secrets
}

// newClient returns the client of all calls. Each has a connection of its own.
// On a kept one that proves dead net/http sends a call again by itself, at once
// and behind our back: a listing sooner than its lane allows, and for a create,
// which must never be made twice, one would have to rely on the letter of the
// rule by which it does not. A handshake for each call is little, the more as
// sessions are taken up again. It follows no redirects: a body sent elsewhere is
// a second request.
//
// It speaks HTTP/1.1, where a call that got no answer takes its connection with
// it. HTTP/2 could keep it, and all calls with it, destroys too, until the kernel
// notices after a quarter of an hour that it is dead.
func newClient() *http.Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	fresh := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		Protocols:             new(http.Protocols),
		DisableKeepAlives:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)},
	}
	fresh.Protocols.SetHTTP1(true)
	return &http.Client{Transport: fresh, CheckRedirect: stay}
}
