package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/api-gpu/api-gpu"
)

const (
	// readAhead is the least that one request of a Remote brings: the boxes
	// before and after a video's header are small and lie close together.
	readAhead = 64 << 10

	// A Remote reads headers, not films: no more than this in all. The
	// largest header that package mp4 accepts is 64 MiB.
	maxRequests = 64
	maxRead     = 80 << 20
)

// Remote is a video read here and there, by Range requests. It implements
// io.ReaderAt and is safe for concurrent use. It holds no connection that
// needs closing.
type Remote struct {
	c    *Client
	ctx  context.Context // of all reads: io.ReaderAt has none
	t    target
	info Info

	mu       sync.Mutex
	windows  [2]window // the file's beginning, and what was read last
	requests int
	read     int64
}

// window is a piece of the file.
type window struct {
	first int64
	data  []byte
}

// ReaderAt asks for the beginning of a video and returns a reader for the
// rest of it. ctx bounds all later reads too. ErrNoRange is in the chain of
// the error when the source reads only from the start, or tells no length.
// The other errors are those of Open.
func (c *Client) ReaderAt(ctx context.Context, rawURL string, headers map[string]string) (*Remote, error) {
	t, err := newTarget(rawURL, headers)
	if err != nil {
		return nil, err
	}
	r := &Remote{c: c, ctx: ctx, t: t, info: Info{Size: -1}}
	head, err := r.fetch(0, readAhead)
	if err != nil {
		return nil, err
	}
	if isHTML(head.data[:min(len(head.data), sniffBytes)], r.info.ContentType) {
		return nil, htmlError(t.host())
	}
	r.windows[0] = head
	return r, nil
}

// Size returns the length of the video in bytes.
func (r *Remote) Size() int64 { return r.info.Size }

// Info returns what the source said about the video.
func (r *Remote) Info() Info { return r.info }

// ReadAt implements io.ReaderAt. Its errors are those of Open, and TooLarge
// when more was asked for than a header can hold.
func (r *Remote) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read a remote file: negative offset")
	}
	if off >= r.info.Size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.info.Size-off)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.windows {
		if off >= w.first && off+want <= w.first+int64(len(w.data)) {
			return atEnd(copy(p, w.data[off-w.first:]), len(p))
		}
	}
	w, err := r.fetch(off, min(max(want, readAhead), r.info.Size-off))
	if err != nil {
		return 0, err
	}
	r.windows[1] = w
	return atEnd(copy(p, w.data), len(p))
}

// atEnd gives the error of a read that the file's end cut short.
func atEnd(n, want int) (int, error) {
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

// fetch reads n bytes from first on, fewer where the file ends.
func (r *Remote) fetch(first, n int64) (window, error) {
	var w window
	err := r.c.retry(r.ctx, r.t, func() error {
		if r.requests++; r.requests > maxRequests || r.read+n > maxRead {
			return apigpu.E(apigpu.TooLarge, errFinal, "The header of the video at %s is scattered over too much of the file.", r.t.host())
		}
		data, err := r.fetchOnce(first, n)
		r.read += int64(len(data))
		w = window{first, data}
		return err
	})
	return w, err
}

func (r *Remote) fetchOnce(first, n int64) ([]byte, error) {
	own := identity()
	own.Set("Range", fmt.Sprintf("bytes=%d-%d", first, first+n-1))
	if v := validator(r.info); v != "" {
		own.Set("If-Range", v)
	}
	resp, err := r.c.get(r.ctx, r.t, own)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	info, at, err := describe(r.t.host(), resp, true, first)
	switch {
	case err != nil:
		return nil, err
	case !r.info.Same(info):
		return nil, changed(r.t.host())
	case at != first, info.Size < 0:
		return nil, noRange(r.t.host())
	case resp.StatusCode != http.StatusPartialContent && info.Size > n:
		return nil, noRange(r.t.host()) // the whole film was coming
	}
	want := min(n, info.Size-first)
	data := make([]byte, want)
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		return nil, explain(r.ctx, r.t.host(), err)
	}
	if r.info.Size < 0 {
		r.info = info // the first answer's, and then for good: it is read without the lock
	}
	return data, nil
}
