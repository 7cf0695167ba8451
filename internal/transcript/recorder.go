package transcript

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// maxKept bounds all that is kept of bodies, in bytes: hours of listings.
	maxKept = 64 << 20
	// maxBody bounds what is kept of one.
	maxBody = 4 << 20
)

// headers are those of an answer on which a client acts.
var headers = []string{"Content-Type", "Retry-After"}

// Recorder keeps the calls that pass through it, as they are: secrets too.
// Redacted takes those out. It is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	calls []*call
	kept  int
	lost  int
}

// call is what was said, and what was answered.
type call struct {
	began  time.Time
	took   time.Duration
	method string
	path   string
	query  url.Values
	body   []byte
	status int
	header map[string]string
	answer []byte
	err    error
}

// Through returns a transport that records what next carries.
func (r *Recorder) Through(next http.RoundTripper) http.RoundTripper { return &recording{next, r} }

// Answers counts the answers that came until now, whatever they say.
func (r *Recorder) Answers() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.status != 0 {
			n++
		}
	}
	return n
}

type recording struct {
	next http.RoundTripper
	to   *Recorder
}

// RoundTrip implements http.RoundTripper. The answer's body is read before it
// returns, and is the caller's to read again.
func (t *recording) RoundTrip(req *http.Request) (*http.Response, error) {
	c := &call{began: time.Now(), method: req.Method, path: req.URL.Path, query: req.URL.Query()}
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			c.body, _ = io.ReadAll(io.LimitReader(body, maxBody))
			_ = body.Close()
		}
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		c.status, c.header = resp.StatusCode, map[string]string{}
		for _, name := range headers {
			if value := resp.Header.Get(name); value != "" {
				c.header[name] = value
			}
		}
		c.answer, c.err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		// What was not read follows; and an error comes again.
		resp.Body = rest{io.MultiReader(bytes.NewReader(c.answer), after{resp.Body, c.err}), resp.Body}
	} else {
		c.err = err
	}
	c.took = time.Since(c.began)
	t.to.keep(c)
	return resp, err
}

// rest reads from one and closes another.
type rest struct {
	io.Reader
	io.Closer
}

// after is the rest of a body that was read up to a bound, or to an error.
type after struct {
	body io.Reader
	err  error
}

func (a after) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	return a.body.Read(p)
}

func (r *Recorder) keep(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(c.body) + len(c.answer)
	if r.kept+size > maxKept {
		r.lost++
		return
	}
	r.kept += size
	r.calls = append(r.calls, c)
}
