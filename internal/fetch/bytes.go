package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/api-gpu/api-gpu"
)

// bytesTries bounds the requests of one Bytes, and of one read of a Remote.
const bytesTries = 3

// Bytes fetches a small file whole, unpacking gzip. headers are the user's:
// they go to the first origin only, and no further than a redirect to another.
//
// Its errors are *apigpu.Error: BlockedAddress, TooLarge above limit bytes
// (counted after unpacking), InvalidRequest for what is no address, and
// SourceUnreachable for the rest; or wrap the cause of ctx, once that ended.
func (c *Client) Bytes(ctx context.Context, rawURL string, headers map[string]string, limit int64) ([]byte, Info, error) {
	t, err := newTarget(rawURL, headers)
	if err != nil {
		return nil, Info{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Whole, errWhole)
	defer cancel()
	var body []byte
	var info Info
	err = c.retry(ctx, t, func() error {
		body, info, err = c.bytesOnce(ctx, t, limit)
		return err
	})
	return body, info, err
}

func (c *Client) bytesOnce(ctx context.Context, t target, limit int64) ([]byte, Info, error) {
	// Without an Accept-Encoding of ours the transport asks for gzip and
	// unpacks it.
	resp, err := c.get(ctx, t, nil)
	if err != nil {
		return nil, Info{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	info, _, err := describe(t.host(), resp, false, 0)
	if err != nil {
		return nil, Info{}, err
	}
	if info.Size > limit {
		return nil, Info{}, tooLarge(t.host(), limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, Info{}, explain(ctx, t.host(), err)
	}
	if int64(len(body)) > limit {
		return nil, Info{}, tooLarge(t.host(), limit)
	}
	info.Size = int64(len(body))
	return body, info, nil
}

// retry calls fetch until it succeeds, fails for good, or has had its tries.
func (c *Client) retry(ctx context.Context, t target, fetch func() error) error {
	for failures := 1; ; failures++ {
		err := fetch()
		if err == nil || !transient(err) || failures == bytesTries {
			return err
		}
		if c.pauseAfter(ctx, failures, err) != nil {
			return explain(ctx, t.host(), err)
		}
	}
}

// pauseAfter waits after the nth failure in a row, which was err.
func (c *Client) pauseAfter(ctx context.Context, n int, err error) error {
	var wish statusError
	if status, ok := errors.AsType[*statusError](err); ok {
		wish = *status
	}
	return rest(ctx, c.backoff, n, wish.retryAfter)
}

func tooLarge(host string, limit int64) error {
	return apigpu.E(apigpu.TooLarge, errFinal, "The file at %s is larger than %d bytes, the most that is accepted.", host, limit)
}

// identity is the Accept-Encoding of videos: a packed one has no ranges.
func identity() http.Header { return http.Header{"Accept-Encoding": {"identity"}} }
