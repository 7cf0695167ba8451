package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"github.com/api-gpu/api-gpu"
)

func TestReaderAt(t *testing.T) {
	t.Parallel()
	film := video(1 << 20)
	s := &source{content: film, etag: `"1"`, cutAfter: 10, cuts: 1}
	r, err := newTestClient(t, nil).ReaderAt(t.Context(), serve(t, s.ServeHTTP), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != 1<<20 || r.Info().ETag != `"1"` {
		t.Errorf("size %d, info %+v", r.Size(), r.Info())
	}
	for _, c := range []struct{ at, n int }{{0, 16}, {1<<20 - 50, 16}, {1<<20 - 34, 34}, {8, 100}, {500_000, 300_000}, {500_010, 10}, {1<<20 - 5, 10}} {
		p := make([]byte, c.n)
		n, err := r.ReadAt(p, int64(c.at))
		want := film[c.at:min(c.at+c.n, len(film))]
		if !bytes.Equal(p[:n], want) || (n < c.n) != (err == io.EOF) {
			t.Errorf("at %d: got %d bytes, %v", c.at, n, err)
		}
	}
	// The beginning, twice for the cut; the end; the middle; the end again.
	if got := s.requests.Load(); got != 5 {
		t.Errorf("%d requests, want 5", got)
	}
}

func TestReaderAtIsReaderAt(t *testing.T) {
	t.Parallel()
	film := video(3000)
	// A server without ranges will do for what fits in one answer.
	for _, noRange := range []bool{false, true} {
		s := &source{content: film, etag: `"1"`, noRange: noRange}
		r, err := newTestClient(t, nil).ReaderAt(t.Context(), serve(t, s.ServeHTTP), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), film); err != nil {
			t.Error(err)
		}
	}
}

func TestReaderAtRefuses(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, nil)
	open := func(h http.HandlerFunc) (*Remote, error) { return c.ReaderAt(t.Context(), serve(t, h), nil) }

	if _, err := open((&source{content: video(1 << 20), noRange: true}).ServeHTTP); !errors.Is(err, ErrNoRange) {
		t.Errorf("no ranges: got %v", err)
	}
	if _, err := open((&source{content: []byte("<!doctype html><p>Sign in")}).ServeHTTP); apigpu.CodeOf(err) != apigpu.SourceIsHTML {
		t.Errorf("a page: got %v", err)
	}
	_, err := open(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9/*")
		w.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(w, "0123456789")
	})
	if !errors.Is(err, ErrNoRange) {
		t.Errorf("no length: got %v", err)
	}
}

func TestReaderAtChanged(t *testing.T) {
	t.Parallel()
	s := &source{content: video(1 << 20), etag: `"1"`}
	s.replace = func(n int64) { s.etag = fmt.Sprint(n) }
	r, err := newTestClient(t, nil).ReaderAt(t.Context(), serve(t, s.ServeHTTP), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 10), 900_000); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
}

// Nobody reads a film through a Remote: requests and bytes have a limit.
func TestReaderAtHasABudget(t *testing.T) {
	t.Parallel()
	s := &source{content: video(8 << 20), etag: `"1"`}
	r, err := newTestClient(t, nil).ReaderAt(t.Context(), serve(t, s.ServeHTTP), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		at := int64(1<<20 + (i%2)*(4<<20)) // never where the last read was
		if _, err = r.ReadAt(make([]byte, 1), at); err != nil {
			break
		}
	}
	wantCode(t, err, apigpu.TooLarge)
	if got := s.requests.Load(); got != maxRequests {
		t.Errorf("%d requests, want %d", got, maxRequests)
	}
}
