package httpapi

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// NewServer returns a server of h with limits on what a client may hold up:
// its header for 10 s, its body for bodyIdle without a byte, its connection
// for 2 min without a request. Answers have none: waits and videos are long.
func NewServer(h http.Handler, bodyIdle time.Duration, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: unstalled(h, bodyIdle), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// unstalled serves next and lets no client hold a connection by a body that
// does not come: each read of it must bring something within idle. net/http
// has one time limit for a whole body or none, and an upload of any length is
// welcome. It also bounds the wait for what is left of a body that next does
// not read, as after a request without a key.
func unstalled(next http.Handler, idle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			b := &livelyBody{ReadCloser: r.Body, idle: idle, deadline: http.NewResponseController(w).SetReadDeadline}
			b.extend()
			// A copy: by its own body net/http knows what is left of it.
			r = r.WithContext(r.Context())
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// livelyBody moves the deadline of its connection with each read. After its
// end there is none: net/http goes on reading, to notice a client that leaves.
type livelyBody struct {
	io.ReadCloser
	idle     time.Duration
	deadline func(time.Time) error

	mu  sync.Mutex
	cut bool
}

// extend sets the deadline anew. A connection that has none, as in a test, is
// no worse off than before.
func (b *livelyBody) extend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cut {
		_ = b.deadline(time.Now().Add(b.idle))
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
	b.extend()
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.mu.Lock()
		defer b.mu.Unlock()
		_ = b.deadline(time.Time{})
	}
	return n, err
}
