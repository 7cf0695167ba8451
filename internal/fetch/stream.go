package fetch

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"github.com/api-gpu/api-gpu"
)

const (
	// maxTries bounds the connections in a row that bring less than enough
	// bytes. With the pauses between them a source may be away for 15 s.
	maxTries = 6
	enough   = 256 << 10

	// tailBytes is how much of what is known already a later connection must
	// bring again. It tells a replaced file where the server names no version.
	tailBytes = 4 << 10

	// sniffBytes is what http.DetectContentType looks at.
	sniffBytes = 512
)

// Open reads a video from offset on. A connection that breaks off is made
// anew where it ended, so a read may take long; the end of ctx ends it.
// Compare Info with that of an earlier Open (Info.Same) before joining their
// bytes.
//
// The errors of Open and of Read are those of Bytes, SourceIsHTML for a page
// where a video was promised, and ErrNoRange or ErrChanged in the chain. The
// caller counts the bytes: there is no limit.
func (c *Client) Open(ctx context.Context, rawURL string, headers map[string]string, offset int64) (io.ReadCloser, Info, error) {
	t, err := newTarget(rawURL, headers)
	if err != nil {
		return nil, Info{}, err
	}
	s := &stream{c: c, ctx: ctx, t: t, limit: math.MaxInt64, offset: offset, info: Info{Size: -1}}
	if err := s.connect(); err != nil {
		return nil, Info{}, err
	}
	return s, s.info, nil
}

// stream is one remote file, read over as many connections as it takes.
type stream struct {
	c     *Client
	ctx   context.Context // of the whole download: io.Reader has none
	t     target
	limit int64 // bytes of the whole file

	info   Info   // what the answers told so far; they must agree
	offset int64  // of the next byte to hand out
	tail   []byte // the last bytes before offset, as far as we know them

	resp *http.Response // nil between connections
	body *bufio.Reader

	failures int   // connections in a row that brought less than enough
	gained   int64 // bytes of the present connection
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for { // ends with a byte, the end, or maxTries failures
		if s.resp == nil {
			if err := s.connect(); err != nil {
				return 0, err
			}
		}
		n, err := s.body.Read(p)
		if int64(n) > s.limit-s.offset {
			return 0, tooLarge(s.t.host(), s.limit)
		}
		s.offset += int64(n)
		s.gained += int64(n)
		s.tail = keepTail(s.tail, p[:n])
		switch {
		case n > 0 || len(p) == 0:
			return n, nil // the error, if any, comes again
		case err == nil:
			continue
		case err == io.EOF && (s.info.Size < 0 || s.offset == s.info.Size):
			s.info.Size = s.offset
			return 0, io.EOF
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		s.drop()
		if err := s.failed(explain(s.ctx, s.t.host(), err)); err != nil {
			return 0, err
		}
	}
}

// Close ends the download.
func (s *stream) Close() error {
	s.drop()
	return nil
}

// drop ends the present connection. What its end has to say no longer matters.
func (s *stream) drop() {
	if s.resp != nil {
		_ = s.resp.Body.Close()
		s.resp, s.body = nil, nil
	}
}

// connect makes a connection that goes on at offset.
func (s *stream) connect() error {
	for { // ends with a connection or maxTries failures
		err := s.request()
		if err == nil {
			return nil
		}
		s.drop()
		if err := s.failed(err); err != nil {
			return err
		}
	}
}

// failed counts a failure and waits until the next try. It returns err when
// there is to be none.
func (s *stream) failed(err error) error {
	if !transient(err) {
		return err
	}
	if s.gained >= enough {
		s.failures = 0
	}
	s.gained = 0
	if s.failures++; s.failures >= maxTries {
		return err
	}
	if s.c.pauseAfter(s.ctx, s.failures, err) != nil {
		return explain(s.ctx, s.t.host(), err)
	}
	return nil
}

// request asks once for the rest of the file and checks that the answer
// belongs to what we have.
func (s *stream) request() error {
	from := s.offset - int64(len(s.tail))
	ranged := s.offset > 0
	own := identity()
	if ranged {
		own.Set("Range", fmt.Sprintf("bytes=%d-", from))
		if v := validator(s.info); v != "" {
			own.Set("If-Range", v)
		}
	}
	resp, err := s.c.get(s.ctx, s.t, own)
	if err != nil {
		return err
	}
	s.resp, s.body = resp, bufio.NewReaderSize(resp.Body, 64<<10)
	got, first, err := describe(s.t.host(), resp, ranged, from)
	switch {
	case err != nil:
		return err
	case !s.info.Same(got), got.Size >= 0 && got.Size < s.offset:
		return changed(s.t.host())
	case first != from:
		return noRange(s.t.host())
	case got.Size > s.limit:
		return tooLarge(s.t.host(), s.limit)
	}
	s.info = merge(s.info, got)
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		s.body.Reset(http.NoBody) // what it holds is a message, not the file
		return nil
	}
	if s.offset == 0 {
		return s.sniff()
	}
	return s.checkTail()
}

// checkTail reads the bytes that we know already and compares them.
func (s *stream) checkTail() error {
	again := make([]byte, len(s.tail))
	if _, err := io.ReadFull(s.body, again); err != nil {
		return explain(s.ctx, s.t.host(), err)
	}
	if !bytes.Equal(again, s.tail) {
		return changed(s.t.host())
	}
	return nil
}

// sniff looks at the first bytes. Log-in pages and the "cannot scan for
// viruses" page of Google Drive come with status 200 where a video was
// promised.
func (s *stream) sniff() error {
	head, err := s.body.Peek(sniffBytes)
	switch {
	case len(head) == 0 && err == io.EOF && s.info.Size <= 0:
		return apigpu.E(apigpu.SourceUnreachable, fmt.Errorf("empty body: %w", errFinal), "%s sent an empty file.", s.t.host())
	case isHTML(head, s.info.ContentType):
		return htmlError(s.t.host())
	}
	return nil // an error comes again with the first Read
}

func htmlError(host string) error {
	return apigpu.E(apigpu.SourceIsHTML, errFinal, "%s sent a web page, not a video.", host).
		WithHint("Use a link that gives the file itself, without a log-in or a page to confirm.")
}

// isHTML goes by the bytes: servers call videos text/html by mistake. Only of
// text, such as XHTML, is the declared type believed.
func isHTML(head []byte, declared string) bool {
	sniffed := http.DetectContentType(head)
	if len(head) == 0 || !strings.HasPrefix(sniffed, "text/") {
		return false
	}
	declared = strings.ToLower(declared)
	return strings.HasPrefix(sniffed, "text/html") ||
		strings.HasPrefix(declared, "text/html") || strings.HasPrefix(declared, "application/xhtml")
}

// validator returns what If-Range may carry: a strong ETag, else a date
// (RFC 9110, section 13.1.5).
func validator(i Info) string {
	if i.ETag != "" && !strings.HasPrefix(i.ETag, "W/") {
		return i.ETag
	}
	return i.LastModified
}

// merge adds to what is known what a later answer tells.
func merge(known, got Info) Info {
	if got.Size < 0 {
		got.Size = known.Size
	}
	if got.ETag == "" {
		got.ETag = known.ETag
	}
	if got.LastModified == "" {
		got.LastModified = known.LastModified
	}
	got.RangeOK = got.RangeOK || known.RangeOK
	return got
}

// keepTail returns the last tailBytes of tail and p joined.
func keepTail(tail, p []byte) []byte {
	if len(p) >= tailBytes {
		return append(tail[:0], p[len(p)-tailBytes:]...)
	}
	tail = append(tail, p...)
	if extra := len(tail) - tailBytes; extra > 0 {
		tail = tail[:copy(tail, tail[extra:])]
	}
	return tail
}
