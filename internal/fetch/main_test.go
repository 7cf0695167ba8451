package fetch

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestClient makes a Client that may read from 127.0.0.1 and is in a hurry.
func newTestClient(t *testing.T, change func(*Options)) *Client {
	t.Helper()
	o := Options{
		AllowHosts: []string{"127.0.0.1"},
		Connect:    5 * time.Second,
		Header:     5 * time.Second,
		Idle:       5 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	c := New(o)
	c.backoff = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

// serve starts a server on 127.0.0.1 and returns its address without a path.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// text answers with s.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

// wantCode fails unless err is an error for strangers of this code.
func wantCode(t *testing.T, err error, code apigpu.Code) *apigpu.Error {
	t.Helper()
	if apigpu.CodeOf(err) != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
	return apigpu.AsError(err)
}

// video returns n bytes that look like an MP4 and repeat nowhere within reach.
func video(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	copy(b, "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomavc1")
	return b
}

// source serves a video, badly. Its fields are faults.
type source struct {
	content  []byte
	etag     string
	noRange  bool // answers 200 to a Range request
	quiet    bool // names neither version nor ranges
	strict   bool // a second Range must name the version it belongs to
	cutAfter int  // bytes of each of the first cuts answers
	cuts     int64

	requests atomic.Int64
	// replace, if set, may put another file in place before the nth answer.
	replace func(n int64)
	mu      sync.Mutex // of content and etag
	// mangle, if set, changes the header of the nth answer.
	mangle func(n int64, h http.Header)
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1)
	s.mu.Lock()
	if s.replace != nil {
		s.replace(n)
	}
	whole, etag := s.content, s.etag
	s.mu.Unlock()
	content := whole
	if r.Header.Get("Accept-Encoding") != "identity" {
		http.Error(w, "packed videos have no ranges", http.StatusTeapot)
		return
	}
	h := w.Header()
	if !s.quiet {
		h.Set("ETag", etag)
		h.Set("Accept-Ranges", "bytes")
	}
	if s.strict && n > 1 && r.Header.Get("If-Range") == "" && r.Header.Get("Range") != "" {
		http.Error(w, "goes on without naming the version it has", http.StatusTeapot)
		return
	}
	first, status := 0, http.StatusOK
	rng := r.Header.Get("Range")
	condition := r.Header.Get("If-Range")
	if rng != "" && !s.noRange && (condition == "" || condition == etag) {
		fmt.Sscanf(rng, "bytes=%d-", &first)
		if first >= len(content) {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(content)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		last := len(content) - 1
		if _, to, _ := strings.Cut(rng, "-"); to != "" {
			fmt.Sscanf(to, "%d", &last)
			last = min(last, len(content)-1)
		}
		content = content[:last+1]
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(whole)))
	}
	h.Set("Content-Length", fmt.Sprint(len(content)-first))
	if s.mangle != nil {
		s.mangle(n, h)
	}
	w.WriteHeader(status)
	body := content[first:]
	if s.cutAfter > 0 && n <= s.cuts && len(body) > s.cutAfter {
		_, _ = w.Write(body[:s.cutAfter])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // how net/http is told to cut the line
	}
	_, _ = w.Write(body)
}

// newFile makes a file with this beginning.
func newFile(t *testing.T, beginning []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "video")
	if err := os.WriteFile(path, beginning, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// fakeDNS answers A questions with what answer returns, and every other with
// nothing. It speaks just enough of RFC 1035.
func fakeDNS(t *testing.T, answer func(name string) net.IP) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return // closed by the test's end
			}
			_, _ = conn.WriteTo(dnsReply(b[:n], answer), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// dnsReply answers a query of one question (RFC 1035, section 4.1).
func dnsReply(query []byte, answer func(name string) net.IP) []byte {
	const header = 12
	var labels []string
	at := header
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	question := query[header : at+5]
	ip := answer(strings.Join(labels, ".")).To4()
	count := byte(0)
	var record []byte
	if isA := question[len(question)-3] == 1; isA && ip != nil {
		count = 1
		// The name by reference, type A, class IN, TTL 0, four bytes.
		record = append([]byte{0xC0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4}, ip...)
	}
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0}, question...)
	return append(reply, record...)
}
