// Package selfdestroy is the worker's one call to the marketplace that it runs
// on: end me. It knows one instance, its own, by the key that the marketplace
// put into it, which can do nothing to another.
//
// Source: docs of Vast.ai, "Instance environment" (CONTAINER_ID,
// CONTAINER_API_KEY) and the API's DELETE and PUT /api/v0/instances/{id}/.
package selfdestroy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/pause"
)

// Pauses between two tries. The marketplace takes one DELETE in 3 s; a GPU
// that runs for a minute too long costs half a cent.
const (
	minPause = 4 * time.Second
	maxPause = time.Minute
	// tryTimeout bounds one request.
	tryTimeout = 30 * time.Second
	// stopAfter is how many tries in a row may come to nothing, be it for no
	// stated reason, by a refusal, or accepted without effect, before the instance
	// is asked to stop as well: 6 to 9 minutes. A stop ends this process, nobody
	// asks for the end then, and the disk is paid for until somebody does: it costs
	// more in a day than the GPU in those minutes, and is no answer to an outage.
	stopAfter = 10
	maxAnswer = 1 << 20 // bytes of an answer that are read
)

// Config names the instance. All fields are required unless their comment says
// otherwise.
type Config struct {
	URL string // of the marketplace's API, such as https://console.vast.ai
	ID  string // of the instance, digits (CONTAINER_ID)
	Key string // of the instance (CONTAINER_API_KEY)
	Log *slog.Logger
	// Transport carries the requests; nil for one of its own.
	Transport http.RoundTripper
}

// Self is the instance that this process runs in.
type Self struct {
	address string
	key     string
	http    *http.Client
	log     *slog.Logger
}

// New checks the words with which End will ask; it asks nothing. Errors name
// the setting, and do not repeat the key.
func New(c Config) (*Self, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("VAST_API_URL must look like https://host")
	}
	// Nothing but a number may become a part of the path: another path could
	// mean another instance, or all of them.
	id, err := strconv.ParseUint(c.ID, 10, 64)
	if err != nil || id == 0 {
		return nil, errors.New("CONTAINER_ID must be the number of this instance")
	}
	if c.Key == "" || strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("CONTAINER_API_KEY must be the key of this instance")
	}
	transport := c.Transport
	if transport == nil {
		// A new connection each time: one that hangs holds up no other try.
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second}
	}
	return &Self{
		address: base.JoinPath("api", "v0", "instances", strconv.FormatUint(id, 10)).String() + "/",
		key:     c.Key,
		http:    &http.Client{Transport: transport, CheckRedirect: stay},
		log:     c.Log.With("instance", id),
	}, nil
}

// stay follows no redirect: it would carry the key to another host, or the call
// to another path.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// End asks for the end of this instance until the marketplace says that there
// is no such instance, and then returns nil. An accepted request is no end: it
// asks again until then, or until this process is no more. It returns the
// error of ctx when that ends first, and no other.
//
// Where nothing comes of it for minutes, the instance is asked to stop, so that
// the GPU at least is not paid for, and its end is asked for again.
func (s *Self) End(ctx context.Context) error {
	failures, vain := 0, 0 // in a row: not accepted, and accepted
	for try := 0; ; try++ {
		what, err := s.destroy(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch what {
		case gone:
			s.log.InfoContext(ctx, "this instance is gone")
			return nil
		case accepted:
			failures = 0
			vain++
			s.log.InfoContext(ctx, "the end of this instance was accepted: asking until it comes")
		default:
			vain = 0
			failures++
			s.log.ErrorContext(ctx, "this instance does not end: trying again", "error", err)
		}
		if max(failures, vain) >= stopAfter {
			s.stop(ctx)
		}
		if !pause.For(ctx, backoff(try)) {
			return ctx.Err()
		}
	}
}

// backoff is how long to wait after so many tries: doubled each time, up to a
// bound, and up to a half more by chance, for many workers may lose their
// orchestrator at once.
func backoff(try int) time.Duration {
	d := maxPause
	if try < 10 {
		d = min(minPause<<try, maxPause)
	}
	return d + rand.N(d/2)
}

// outcome is what came of asking.
type outcome int

const (
	failed   outcome = iota // it will not, or nobody knows
	accepted                // it will
	gone                    // there is no such instance any more
)

func (s *Self) destroy(ctx context.Context) (outcome, error) {
	status, raw, err := s.ask(ctx, http.MethodDelete, "{}")
	if err != nil {
		return failed, err
	}
	return judge(status, raw)
}

// stop is the way out where destroy is not: it asks once, and what comes of it
// is only for the log.
func (s *Self) stop(ctx context.Context) {
	status, raw, err := s.ask(ctx, http.MethodPut, `{"state":"stopped"}`)
	if err == nil {
		var what outcome
		if what, err = judge(status, raw); what >= accepted {
			err = nil
		}
	}
	if err != nil {
		s.log.ErrorContext(ctx, "this instance does not stop either", "error", err)
		return
	}
	s.log.WarnContext(ctx, "this instance was asked to stop")
}

// ask makes one of the two calls that exist.
func (s *Self) ask(ctx context.Context, method, body string) (status int, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.address, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "api-gpu-worker")
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, raw, nil
}

// judge reads an answer. A status alone proves nothing: a key that is not
// accepted comes as 404 as well, and a failure as 200.
func judge(status int, raw []byte) (outcome, error) {
	var answer struct {
		Success *bool  `json:"success"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil { // a proxy's page; "API requests too frequent"
		return failed, fmt.Errorf("the marketplace answers %d, and not in its own words", status)
	}
	err := fmt.Errorf("the marketplace answers %d %q", status, code(answer.Error))
	switch {
	case status == http.StatusNotFound && (answer.Error == "no_such_instance" || answer.Error == "not_found" || answer.Error == "instances_not_found"):
		return gone, nil
	case status == http.StatusOK && answer.Success != nil && *answer.Success:
		return accepted, nil
	}
	return failed, err
}

// code is an error code for the log: a stranger's text is cut, and anything
// that is no code is left out.
func code(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		return "…"
	}
	return s
}
