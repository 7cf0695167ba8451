package client

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/api-gpu/api-gpu"
)

// maxProblem bounds the part of an error answer that is looked at, in bytes.
const maxProblem = 1 << 20

// refusal is the error that an answer other than 2xx means: the problem in
// its body, or a guess by its status where somebody else answered, such as a
// proxy with a page of its own.
func (c *Client) refusal(resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		raw = nil // cut short: the status still tells
	}
	return refusalOf(c.host(), resp.StatusCode, resp.Header, raw)
}

func refusalOf(host string, status int, header http.Header, body []byte) *apigpu.Error {
	e, ok := problemIn(body)
	if !ok {
		e = foreign(host, status, header)
	}
	if e.RetryAfter == 0 {
		// A date is allowed too (RFC 9110, section 10.2.3); none of ours
		// sends one.
		if n, err := strconv.Atoi(header.Get("Retry-After")); err == nil && n > 0 {
			e.RetryAfter = n
		}
	}
	return e
}

// problemIn reads a problem of ours. A code is what makes it one.
func problemIn(body []byte) (*apigpu.Error, bool) {
	var p apigpu.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return nil, false
	}
	e := p.AsError()
	// Who answers need not be as careful as we are: an error says something,
	// and nobody waits until yesterday.
	e.Message = cmp.Or(e.Message, p.Title, string(p.Code))
	e.RetryAfter = max(0, e.RetryAfter)
	return e, true
}

// foreign is the error of an answer that is not in our words.
func foreign(host string, status int, header http.Header) *apigpu.Error {
	e := apigpu.E(foreignCode(status), ErrForeign, "%s answers %d %s, and not in the words of api-gpu.", host, status, http.StatusText(status))
	switch {
	case status/100 == 3:
		return e.WithHint("It points to %s: use the address of the server itself.", header.Get("Location"))
	case status == http.StatusRequestEntityTooLarge:
		return e.WithHint("A proxy before the server accepts no upload of this size.")
	case status == http.StatusNotFound:
		return e.WithHint("Compare the address of the server.")
	}
	return e
}

func foreignCode(status int) apigpu.Code {
	switch {
	case status == http.StatusUnauthorized:
		return apigpu.Unauthorized
	case status == http.StatusForbidden:
		return apigpu.Forbidden
	case status == http.StatusNotFound:
		return apigpu.NotFound
	case status == http.StatusRequestEntityTooLarge:
		return apigpu.TooLarge
	case status == http.StatusTooManyRequests:
		return apigpu.RateLimited
	case status == http.StatusInternalServerError:
		return apigpu.Internal
	case status > http.StatusInternalServerError: // gateways, Cloudflare's 52x and 530 too
		return apigpu.Unavailable
	}
	return apigpu.InvalidRequest
}
