package httpapi

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// answerIdle is how long a client may take for the next answerPiece bytes of
// its answer: 4 KB a second at the least, below any network in use. It also
// ends an event stream whose client has stopped reading, once the buffers in
// between are full.
const (
	answerIdle  = time.Minute
	answerPiece = 256 << 10
)

// NewServer returns a server of h with limits on what a client may hold up:
// its header for 10 s, its body for bodyIdle without leastBody of it, its answer for
// a minute without progress, its connection for 2 min without a request.
// There is none for a whole body or answer: uploads, waits and videos are long.
func NewServer(h http.Handler, bodyIdle time.Duration, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: unstalled(h, bodyIdle, answerIdle), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ConnState: bounded(maxConnections),
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// unstalled serves next and lets no client hold a connection by a body that
// does not come, or an answer that it does not take: each read of the body
// must bring leastBody bytes within bodyIdle, each piece of the answer must be gone
// within answerIdle. net/http has one time limit for a whole body or answer,
// or none. It also bounds the wait for what is left of a body that next does
// not read, as after a request without a key.
func unstalled(next http.Handler, bodyIdle, answerIdle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w)
		lively := &livelyAnswer{ResponseWriter: w, conn: conn, idle: answerIdle}
		lively.extend() // of the request before, it may have passed: 100 Continue is written too
		defer lively.extend()
		if r.Body != nil && r.Body != http.NoBody {
			b := &livelyBody{ReadCloser: r.Body, idle: bodyIdle, deadline: conn.SetReadDeadline}
			b.arm(time.Now())
			// A copy: by its own body net/http knows what is left of it.
			r = r.WithContext(r.Context())
			r.Body = b
		}
		next.ServeHTTP(lively, r)
	})
}

// livelyAnswer moves the deadline of its connection with each piece written.
type livelyAnswer struct {
	http.ResponseWriter
	conn *http.ResponseController
	idle time.Duration
}

// extend sets the deadline anew. A connection that has none, as in a test, is
// no worse off than before.
func (a *livelyAnswer) extend() { _ = a.conn.SetWriteDeadline(time.Now().Add(a.idle)) }

// Write implements io.Writer.
func (a *livelyAnswer) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(n+answerPiece, len(p))]
		a.extend()
		wrote, err := a.ResponseWriter.Write(piece)
		if n += wrote; err != nil || n == len(p) {
			return n, err
		}
	}
}

// ReadFrom lets the kernel send a file (sendfile), piece by piece.
func (a *livelyAnswer) ReadFrom(r io.Reader) (n int64, err error) {
	whole, bounded := r.(*io.LimitedReader)
	if !bounded {
		return io.Copy(struct{ io.Writer }{a}, r)
	}
	for whole.N > 0 {
		// The file itself and not a reader of it: net looks one reader deep.
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, answerPiece)}
		a.extend()
		sent, err := io.Copy(a.ResponseWriter, piece)
		n += sent
		whole.N -= sent
		if err != nil || piece.N > 0 { // an error, or the end of the file
			return n, err
		}
	}
	return n, nil
}

// FlushError implements what http.ResponseController looks for.
func (a *livelyAnswer) FlushError() error {
	a.extend()
	return a.conn.Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (a *livelyAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// leastBody is how many bytes of a body must come within its idle time, unless
// it ends: whoever sends one byte a minute holds a connection, and the room
// that was promised to an upload, for ever.
const leastBody = 16 << 10

// livelyBody sets the deadline of its connection at each read, so that in every
// idle time spent waiting for its bytes leastBody of them come, or its end.
// What its reader does in between does not count. After its end there is no
// deadline: net/http goes on reading, to notice a client that leaves.
type livelyBody struct {
	io.ReadCloser
	idle     time.Duration
	deadline func(time.Time) error

	mu     sync.Mutex
	cut    bool
	fresh  int           // bytes since waited was last 0
	waited time.Duration // for them
}

// arm sets the deadline of a read that begins now. A connection that has none,
// as in a test, is no worse off than before.
func (b *livelyBody) arm(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cut {
		_ = b.deadline(now.Add(b.idle - b.waited))
	}
}

// came counts what a read brought, and how long it took.
func (b *livelyBody) came(n int, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh, b.waited = b.fresh+n, b.waited+took
	if b.fresh >= leastBody {
		b.fresh, b.waited = 0, 0
	}
}

// Cut implements Cutter.
func (b *livelyBody) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = true
	_ = b.deadline(time.Unix(1, 0))
}

// Cutter is a body that can be given up: a read that waits fails, and so does
// any other. The bodies of requests that NewServer's servers receive are some.
// It may be called from any goroutine while the request is handled.
type Cutter interface{ Cut() }

// Read implements io.Reader.
func (b *livelyBody) Read(p []byte) (int, error) {
	began := time.Now()
	b.arm(began)
	n, err := b.ReadCloser.Read(p)
	b.came(n, time.Since(began))
	if errors.Is(err, io.EOF) {
		b.mu.Lock()
		defer b.mu.Unlock()
		_ = b.deadline(time.Time{})
	}
	return n, err
}

// maxConnections bounds the connections of a server: with each of them comes a
// file descriptor, which the database and the results need too.
const maxConnections = 8192

// bounded closes each connection that is one too many, at once: a client that
// is turned away knows more than one that waits unheard. It watches the states
// of a server's connections: a net.Conn of our own would cost sendfile.
func bounded(most int64) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > most {
				_ = c.Close() // nobody to tell
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}
