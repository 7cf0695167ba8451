package vast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// answer is what came back from one call.
type answer struct {
	call     string // its name, for errors
	creating bool
	pause    time.Duration // after a 429 that does not say how long

	status  int
	header  http.Header
	body    []byte
	object  object // of the body; nil when it is no JSON object
	success bool   // the body says so
	failure bool   // the body says that it is none
	code    string // the API's word for what is wrong
	msg     string // its sentence
	quote   string // of a body that is no JSON: nothing is concluded from it
}

func newAnswer(r request, status int, header http.Header, body []byte) answer {
	a := answer{
		call: r.name, creating: r.creating, pause: r.lane.pause(),
		status: status, header: header, body: body, object: parseObject(body),
	}
	said, known := a.object.yes("success")
	a.success, a.failure = said && known, known && !said
	a.code = a.object.text("error")
	for _, name := range []string{"msg", "message", "detail"} {
		if a.msg == "" {
			a.msg = a.object.text(name)
		}
	}
	// A page of HTML explains nothing.
	if a.object == nil && !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		a.quote = string(body[:min(len(body), maxText)])
	}
	return a
}

// said are the words of the API itself, in small letters: never those of
// somebody on the way, who does not speak JSON.
func (a answer) said() string { return strings.ToLower(a.code + " " + a.msg) }

// isEnvelope tells whether the body is the API's word on the call.
func (a answer) isEnvelope() bool {
	return a.object != nil && (a.failure || a.success || a.code != "" || a.msg != "")
}

// err wraps a kind of error with what the API said.
func (a answer) err(kind error) error {
	detail := strings.TrimSpace(a.code + " " + a.msg + a.quote)
	if at, err := url.Parse(a.header.Get("Location")); a.status/100 == 3 && err == nil && at.Host != "" {
		detail = "it redirects to " + at.Host + ": set VAST_API_URL to where the API is"
	}
	if detail = oneLine(detail); detail != "" {
		detail = ": " + detail
	}
	return fmt.Errorf("vast: %s: %w (HTTP %d%s)", a.call, kind, a.status, detail)
}

// The words by which the API's refusals are known. Its statuses mean little:
// the same refusal comes as 400, 403, 404 and 200, a bad key as 404.
var (
	authCodes  = []string{"auth_error"}
	authWords  = []string{"invalid user key", "requires login", "session expired", "two factor"}
	goneCodes  = []string{"no_such_instance", "not_found", "instances_not_found"}
	fundsCodes = []string{"insufficient_credit", "missing_billing", "spend_rate_limit"}
	fundsWords = []string{"lacks credit", "lack credit", "billing page", "spend_rate_limit"}
	limitCodes = []string{"rate_limit_exceeded"}
	limitWords = []string{"requests too frequent"}
	// offerWords are about the one offer that was asked for. A host cannot
	// rent from itself, and neither can whom it has blacklisted.
	offerCodes = []string{"no_such_ask", "no_such_instance", "not_found"}
	offerWords = []string{"no_such_ask", "is not available", "no longer available", "blacklisted host", "own machine"}
	offerCode  = regexp.MustCompile(`\b4\d\d/(3603|3907)\b`)
)

func anyIn(s string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// outcome tells what the API answered: nil for success, or an error that wraps
// one of the errors of package gpu, or one that wraps none, where the answer
// is no definite one. Words come before statuses; but a server that says that
// it failed (5xx) is believed a code, not a phrase.
func (a answer) outcome() error {
	said := a.said()
	if a.status/100 == 5 {
		said = ""
	}
	is := func(codes, words []string) bool { return slices.Contains(codes, a.code) || anyIn(said, words) }
	switch {
	case a.success && a.status/100 == 2:
		return nil
	case a.success:
		return a.err(errOdd)
	case a.status == http.StatusTooManyRequests, is(limitCodes, limitWords):
		return a.err(gpu.RateLimited{After: a.retryAfter()})
	case is(authCodes, authWords):
		return a.err(gpu.ErrAuth)
	case a.creating && (is(offerCodes, offerWords) || offerCode.MatchString(said)):
		return a.err(gpu.ErrOfferGone)
	case is(goneCodes, nil):
		return a.err(gpu.ErrGone)
	case is(fundsCodes, fundsWords):
		return a.err(gpu.ErrFunds)
	}
	return a.byStatus()
}

// byStatus is the outcome where no word is known.
func (a answer) byStatus() error {
	switch {
	case a.status/100 == 2 && !a.failure:
		return a.err(errOdd)
	case !a.isEnvelope():
		// Somebody on the way, who does not know what the API did.
		return a.err(errNoWord)
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return a.err(gpu.ErrAuth)
	case refuses(a.status) && a.code != "server_error":
		return a.err(gpu.ErrRefused)
	}
	return a.err(errFailed)
}

// list is the array under a name, which answers of that kind must have. An
// answer without it is an error, never an empty list: an older client that took
// "no list" for "no instances" rented again and again.
func (a answer) list(name string) ([]json.RawMessage, error) {
	rows, ok := parseList(a.object[name])
	if a.status/100 == 2 && !a.failure && ok {
		return rows, nil
	}
	if err := a.outcome(); err != nil {
		return nil, err
	}
	return nil, a.err(errOdd)
}

// refuses tells whether the status alone says that nothing was done. Not so
// 408, 409 and 425, which may be about an earlier try of somebody on the way.
func refuses(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly:
		return false
	}
	return status/100 == 4
}

var threshold = regexp.MustCompile(`threshold=([0-9]+(?:\.[0-9]+)?)`)

// limit is the least time between two calls that a 429 names, if it does.
func (a answer) limit() time.Duration {
	m := threshold.FindSubmatch(a.body)
	if m == nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || seconds > maxGap.Seconds() {
		return 0
	}
	return time.Duration(1.1 * seconds * float64(time.Second))
}

// maxAfter bounds what a header can do to us.
const maxAfter = 10 * time.Minute

// retryAfter is how long a 429 says to stay away.
func (a answer) retryAfter() time.Duration {
	after := a.pause
	if limit := a.limit(); limit > 0 {
		after = limit
	}
	value := strings.TrimSpace(a.header.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e6 {
		after = time.Duration(seconds * float64(time.Second))
	} else if at, err := http.ParseTime(value); err == nil {
		after = time.Until(at)
	}
	return min(max(after, 0), maxAfter)
}
