package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func contentOf(t *testing.T, f *os.File) []byte {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever breaks on the way, the file is whole and right at the end.
func TestFile(t *testing.T) {
	t.Parallel()
	film := video(1 << 20)
	for name, c := range map[string]struct {
		source    *source
		beginning []byte
		requests  int64 // wanted
	}{
		"whole":                 {&source{etag: `"1"`}, nil, 1},
		"cut at 90 %":           {&source{etag: `"1"`, cutAfter: 9 << 20 / 10, cuts: 1, strict: true}, nil, 2},
		"cut again and again":   {&source{etag: `"1"`, cutAfter: enough + tailBytes, cuts: 99}, nil, 4},
		"cut before the sniff":  {&source{etag: `"1"`, cutAfter: 100, cuts: 3}, nil, 4},
		"cut without a version": {&source{quiet: true, cutAfter: 600_000, cuts: 1}, nil, 2},
		// A connection that goes on is refused, and the next begins again.
		"cut without ranges":     {&source{etag: `"1"`, noRange: true, cutAfter: 600_000, cuts: 1}, nil, 3},
		"half of it there":       {&source{etag: `"1"`}, film[:1<<19], 1},
		"a byte there":           {&source{etag: `"1"`}, film[:1], 1},
		"all of it there":        {&source{etag: `"1"`}, film, 1},
		"another file there":     {&source{etag: `"1"`}, video(1 << 19)[7:], 2},
		"more than all there":    {&source{etag: `"1"`}, append(film[:len(film):len(film)], 1, 2, 3), 2},
		"more than may be there": {&source{etag: `"1"`}, append(film[:len(film):len(film)], film...), 1},
		"half there, no ranges":  {&source{etag: `"1"`, noRange: true}, film[:1<<19], 2},
		"a Content-Range that lies": {&source{etag: `"1"`, mangle: func(n int64, h http.Header) {
			if h.Get("Content-Range") != "" {
				h.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 1<<20-1, 1<<20))
			}
		}}, film[:1<<19], 2},
		"a length of too much": {&source{etag: `"1"`, quiet: true, mangle: func(n int64, h http.Header) {
			if n == 1 {
				h.Set("Content-Length", fmt.Sprint(1<<20+5)) // which then stays away
			}
		}}, nil, 3},
		"chunks without a length": {&source{etag: `"1"`, mangle: func(n int64, h http.Header) { h.Del("Content-Length") }}, nil, 1},
		"busy at first":           {&source{etag: `"1"`, cutAfter: 1, cuts: 2}, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.source.content = film
			home := serve(t, c.source.ServeHTTP)
			f := newFile(t, c.beginning)
			var done, total int64
			info, err := newTestClient(t, nil).File(t.Context(), home, nil, f, 3<<19, func(d, n int64) { done, total = d, n })
			if err != nil || !bytes.Equal(contentOf(t, f), film) {
				t.Fatalf("got %d bytes, %v", len(contentOf(t, f)), err)
			}
			if info.Size != 1<<20 || (done != 1<<20 && c.requests > 1) {
				t.Errorf("told size %d and progress %d of %d", info.Size, done, total)
			}
			if got := c.source.requests.Load(); got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
		})
	}
}

// A connection that brought something does not count against the source,
// however often it breaks.
func TestFileGoesOnWhileItGains(t *testing.T) {
	t.Parallel()
	film := video(maxTries * 2 * enough)
	s := &source{content: film, etag: `"1"`, cutAfter: enough + tailBytes, cuts: math.MaxInt64}
	f := newFile(t, nil)
	_, err := newTestClient(t, nil).File(t.Context(), serve(t, s.ServeHTTP), nil, f, int64(len(film)), nil)
	if err != nil || !bytes.Equal(contentOf(t, f), film) || s.requests.Load() <= maxTries {
		t.Errorf("got %d bytes in %d requests, %v", len(contentOf(t, f)), s.requests.Load(), err)
	}
}

// An answer is believed where it agrees with the request and with itself.
func TestDescribe(t *testing.T) {
	t.Parallel()
	const from = 100
	for _, c := range []struct {
		status int
		span   string
		length int64
		first  int64
		size   int64
		want   error
	}{
		{206, "bytes 100-199/200", 100, 100, 200, nil},
		{206, "bytes 100-199/*", -1, 100, -1, nil},
		{206, "bytes 100-149/200", 50, 100, 200, nil}, // less than asked for: allowed
		{206, "bytes 99-198/200", 100, 0, 0, ErrNoRange},
		{206, "bytes 100-199/200", 99, 0, 0, ErrNoRange},
		{206, "bytes 100-199/150", 100, 0, 0, ErrNoRange},
		{206, "", 100, 0, 0, ErrNoRange},
		{200, "", 200, 0, 200, nil},
		{416, "bytes */100", 0, 100, 100, nil},
		{416, "bytes */99", 0, 0, 0, ErrChanged},
	} {
		u := &url.URL{Scheme: "http", Host: "a"}
		resp := &http.Response{StatusCode: c.status, ContentLength: c.length, Request: &http.Request{URL: u},
			Header: http.Header{"Content-Range": {c.span}}}
		info, first, err := describe("a", resp, true, from)
		if !errors.Is(err, c.want) || err == nil && (first != c.first || info.Size != c.size) {
			t.Errorf("%d %q of %d: got first %d, size %d, %v", c.status, c.span, c.length, first, info.Size, err)
		}
	}
}

// A file that is replaced on the way is fetched anew, once.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	for name, quiet := range map[string]bool{"with a version": false, "without one": true} {
		for _, changes := range []int64{1, 99} {
			t.Run(fmt.Sprintf("%s, %d times", name, changes), func(t *testing.T) {
				t.Parallel()
				film := video(1 << 20)
				s := &source{content: film, etag: `"0"`, quiet: quiet, cutAfter: 600_000, cuts: 99}
				s.replace = func(n int64) {
					if n > 1 && n <= changes+1 {
						// As long, and different everywhere but in its first bytes.
						s.content = append(bytes.Clone(film[:64]), bytes.Repeat([]byte{byte(n)}, len(film)-64)...)
						s.etag = fmt.Sprintf(`"%d"`, n)
					}
				}
				home := serve(t, s.ServeHTTP)
				f := newFile(t, nil)
				_, err := newTestClient(t, nil).File(t.Context(), home, nil, f, 1<<20, nil)
				if changes == 1 && (err != nil || !bytes.Equal(contentOf(t, f), s.content)) {
					t.Errorf("one change: %v, or two films in one file", err)
				}
				// Begun, found changed; begun again, found changed again.
				if got := s.requests.Load(); changes > 1 && (!errors.Is(err, ErrChanged) || got != 4) {
					t.Errorf("got %v after %d requests, want ErrChanged after 4", err, got)
				}
			})
		}
	}
}

func TestFileRefuses(t *testing.T) {
	t.Parallel()
	film := video(100_000)
	stream := func(b []byte) http.HandlerFunc { // without a Content-Length
		return func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(b)
		}
	}
	typed := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, body)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    apigpu.Code // "" for success
	}{
		"a length above the limit":  {(&source{content: video(100_001)}).ServeHTTP, apigpu.TooLarge},
		"bytes above the limit":     {stream(video(100_001)), apigpu.TooLarge},
		"bytes at the limit":        {stream(film), ""},
		"a page":                    {typed("text/html; charset=utf-8", "<!DOCTYPE html><title>Log in</title>"), apigpu.SourceIsHTML},
		"a page called a video":     {typed("video/mp4", "\n <HTML><body>Google Drive"), apigpu.SourceIsHTML},
		"XHTML":                     {typed("application/xhtml+xml", `<?xml version="1.0"?><html/>`), apigpu.SourceIsHTML},
		"a video called a page":     {typed("text/html", string(film)), ""},
		"nothing":                   {stream(nil), apigpu.SourceUnreachable},
		"a source that always cuts": {(&source{content: film, etag: `"1"`, cutAfter: 1 + tailBytes, cuts: math.MaxInt64}).ServeHTTP, apigpu.SourceUnreachable},
		"cuts and has no ranges":    {(&source{content: film, etag: `"1"`, cutAfter: 50_000, cuts: math.MaxInt64, noRange: true}).ServeHTTP, apigpu.SourceUnreachable},
		"gzip all the same": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(film)
		}, apigpu.SourceUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := serve(t, c.handler)
			f := newFile(t, nil)
			_, err := newTestClient(t, nil).File(t.Context(), home, nil, f, 100_000, nil)
			if apigpu.CodeOf(err) != c.want {
				t.Errorf("got %v, want code %q", err, c.want)
			}
			if n := len(contentOf(t, f)); n > 100_000 {
				t.Errorf("%d bytes reached the disk", n)
			}
		})
	}
}

// A full disk is not the source's fault, and comes back as what it is.
func TestFileCannotWrite(t *testing.T) {
	t.Parallel()
	home := serve(t, (&source{content: video(1000), etag: `"1"`}).ServeHTTP)
	f, err := os.Open(newFile(t, nil).Name()) // to read only
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = newTestClient(t, nil).File(t.Context(), home, nil, f, 1<<20, nil)
	if err == nil || apigpu.CodeOf(err) != apigpu.Internal {
		t.Errorf("got %v", err)
	}
}

func TestFileCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(video(5000))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	f := newFile(t, nil)
	_, err := newTestClient(t, nil).File(ctx, home, nil, f, 1<<20, func(int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
	if len(contentOf(t, f)) == 0 {
		t.Error("the beginning was not kept")
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	film := video(1 << 20)
	for name, c := range map[string]struct {
		source *source
		offset int64
		want   error
	}{
		"from the start":       {&source{etag: `"1"`}, 0, nil},
		"from the middle":      {&source{etag: `"1"`}, 700_001, nil},
		"cut on the way":       {&source{etag: `"1"`, cutAfter: 300_000, cuts: 2}, 10, nil},
		"at the end":           {&source{etag: `"1"`}, 1 << 20, nil},
		"after the end":        {&source{etag: `"1"`}, 1<<20 + 1, ErrChanged},
		"middle without range": {&source{etag: `"1"`, noRange: true}, 5, ErrNoRange},
		"cut without range":    {&source{etag: `"1"`, noRange: true, cutAfter: 300_000, cuts: 1}, 0, ErrNoRange},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.source.content = film
			home := serve(t, c.source.ServeHTTP)
			r, info, err := newTestClient(t, nil).Open(t.Context(), home, nil, c.offset)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			if !bytes.Equal(got, film[c.offset:]) {
				t.Errorf("got %d other bytes", len(got))
			}
			if info.Size != 1<<20 || info.ETag != `"1"` || !info.RangeOK || !strings.HasPrefix(info.FinalURL, home) {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestInfoSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b Info
		want bool
	}{
		{Info{Size: -1}, Info{Size: 5, ETag: "x"}, true},
		{Info{Size: 5}, Info{Size: 6}, false},
		{Info{Size: 5, ETag: "x"}, Info{Size: 5, ETag: "y"}, false},
		// Mirrors agree on the content's tag and differ in its date.
		{Info{Size: 5, ETag: "x", LastModified: "a"}, Info{Size: 5, ETag: "x", LastModified: "b"}, true},
		{Info{Size: 5, LastModified: "a"}, Info{Size: 5, LastModified: "b"}, false},
	} {
		if got := c.a.Same(c.b); got != c.want {
			t.Errorf("%+v same as %+v: %v", c.a, c.b, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes 0-10/10", "Bytes 0-0/1", "bytes -1-2/3", "bytes 0-9223372036854775808/*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseContentRange(s)
		if ok && (r.first < 0 || r.last < r.first || (r.total >= 0 && r.last >= r.total)) {
			t.Errorf("%q was read as %+v", s, r)
		}
		total := fmt.Sprint(r.total)
		if r.total < 0 {
			total = "*"
		}
		if again, ok2 := parseContentRange(fmt.Sprintf("bytes %d-%d/%s", r.first, r.last, total)); ok && (!ok2 || again != r) {
			t.Errorf("%q was read as %+v, and that as %+v", s, r, again)
		}
	})
}

func TestKeepTail(t *testing.T) {
	t.Parallel()
	all := video(10 * tailBytes)
	for _, piece := range []int{1, 100, tailBytes - 1, tailBytes, tailBytes + 1, 3 * tailBytes} {
		var tail []byte
		for at := 0; at < len(all); {
			n := min(piece, len(all)-at)
			tail = keepTail(tail, all[at:at+n])
			at += n
			if want := all[max(0, at-tailBytes):at]; !bytes.Equal(tail, want) {
				t.Fatalf("pieces of %d: wrong tail at %d", piece, at)
			}
		}
	}
}
