package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/api-gpu/api-gpu"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	packed := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, n))
			_ = z.Close()
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		limit   int64
		want    apigpu.Code // "" for success
		length  int
		says    string
	}{
		"a file":            {handler: text("1\n00:00"), limit: 7, length: 7},
		"one byte too many": {handler: text("1\n00:00"), limit: 6, want: apigpu.TooLarge, says: "6 bytes"},
		"gzip":              {handler: packed(1000), limit: 1000, length: 1000},
		"a gzip bomb":       {handler: packed(4 << 20), limit: 1000, want: apigpu.TooLarge},
		"without a length": {handler: func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				_, _ = w.Write(make([]byte, 100))
				_ = http.NewResponseController(w).Flush()
			}
		}, limit: 5000, want: apigpu.TooLarge},
		"404":    {handler: http.NotFound, limit: 10, want: apigpu.SourceUnreachable, says: "answered 404"},
		"403":    {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, limit: 10, want: apigpu.SourceUnreachable, says: "answered 403"},
		"204":    {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, limit: 10, want: apigpu.SourceUnreachable, says: "answered 204"},
		"206":    {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, limit: 10, want: apigpu.SourceUnreachable, says: "answered 206"},
		"brotli": {handler: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br") }, limit: 10, want: apigpu.SourceUnreachable},
		"always cut": {handler: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, limit: 10,
			want: apigpu.SourceUnreachable, says: "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := serve(t, c.handler)
			b, info, err := newTestClient(t, nil).Bytes(t.Context(), home, nil, c.limit)
			if c.want == "" {
				if err != nil || len(b) != c.length || info.Size != int64(c.length) {
					t.Errorf("got %d bytes, %+v, %v; want %d", len(b), info, err, c.length)
				}
				return
			}
			if e := wantCode(t, err, c.want); !strings.Contains(e.Message, c.says) {
				t.Errorf("message %q does not say %q", e.Message, c.says)
			}
		})
	}
}

// What may pass is tried again, what will not is not.
func TestBytesTriesAgain(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{404: 1, 401: 1, 503: 3, 429: 3, 500: 3} {
		var asked atomic.Int64
		home := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
		})
		_, _, err := newTestClient(t, nil).Bytes(t.Context(), home, nil, 10)
		wantCode(t, err, apigpu.SourceUnreachable)
		if asked.Load() != want {
			t.Errorf("%d: asked %d times, want %d", status, asked.Load(), want)
		}
	}
}

// Whoever keeps us waiting is left.
func TestBytesGivesUp(t *testing.T) {
	t.Parallel()
	const short = 50 * time.Millisecond
	drip := func(pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(pause):
				}
			}
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		change  func(*Options)
		says    string
	}{
		"no header":          {silent, func(o *Options) { o.Header = short }, "did not answer in time"},
		"no byte":            {drip(time.Hour), func(o *Options) { o.Idle = short }, "stopped sending"},
		"a byte now, then":   {drip(time.Millisecond), func(o *Options) { o.SlowWindow = short }, "sends too slowly"},
		"longer than it may": {drip(time.Millisecond), func(o *Options) { o.Whole = short }, "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := serve(t, c.handler)
			_, _, err := newTestClient(t, c.change).Bytes(t.Context(), home, nil, 1<<20)
			if e := wantCode(t, err, apigpu.SourceUnreachable); !strings.Contains(e.Message, c.says) {
				t.Errorf("message %q does not say %q", e.Message, c.says)
			}
		})
	}
}

// The end of the caller's context is the caller's, not the source's fault.
func TestBytesCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, _, err := newTestClient(t, nil).Bytes(ctx, home, nil, 10)
	if !errors.Is(err, context.Canceled) || apigpu.CodeOf(err) == apigpu.SourceUnreachable {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + closed.Addr().String()
	_ = closed.Close()
	plain := serve(t, text("no TLS here"))
	c := newTestClient(t, nil)
	c.resolver = fakeDNS(t, func(string) net.IP { return nil })
	for name, tc := range map[string]struct{ address, says string }{
		"nobody listens":      {address, "refused the connection"},
		"https where is none": {strings.Replace(plain, "http:", "https:", 1), "does not speak https"},
		"an unknown name":     {"http://unknown.example/", "not a known host"},
	} {
		_, _, err := c.Bytes(t.Context(), tc.address, nil, 10)
		if e := wantCode(t, err, apigpu.SourceUnreachable); !strings.Contains(e.Message, tc.says) {
			t.Errorf("%s: message %q does not say %q", name, e.Message, tc.says)
		}
	}
}

// The clock of a download runs only while we wait for the source: a reader who
// takes his time is not the source's fault.
func TestWatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, reader time.Duration // pause before each byte: of the source, of us
		want           error
	}{
		"a slow reader":   {time.Millisecond, time.Hour, nil},
		"a steady source": {900 * time.Millisecond, 0, nil},
		"a slow source":   {1100 * time.Millisecond, 0, errSlow},
		"a dead source":   {time.Hour, 0, errIdle},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				o := Options{SlowBytes: 60}.withDefaults() // one byte a second
				w := newWatch(ctx, cancel, dripping{ctx, c.source}, o)
				var err error
				for range 200 {
					time.Sleep(c.reader)
					if _, err = w.Read(make([]byte, 1)); err != nil {
						break
					}
				}
				if err != c.want {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// dripping gives a byte after each pause, like a body whose request can be
// cancelled.
type dripping struct {
	ctx   context.Context
	pause time.Duration
}

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(d.pause):
		return copy(p, "x"), nil
	}
}

func (dripping) Close() error { return nil }
