package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// schedule is the time before each try, from the end of the job and then from
// the try before: the one that Standard Webhooks suggests, up to 17.6 hours.
// n8n answers 409 when a job ends before its workflow has reached the Wait
// node; the second try is for that.
var schedule = [...]time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour}

// longestWait bounds what a receiver may ask for by Retry-After.
const longestWait = 10 * time.Hour

// delay is how long after the end of this try, counted from 1, the next one
// comes; false when it was the last. random, from 0 to 1, spreads receivers
// that failed together over a tenth more.
func delay(try int, random float64) (time.Duration, bool) {
	if try < 1 || try >= len(schedule) {
		return 0, false
	}
	d := schedule[try]
	return d + time.Duration(random*float64(d)/10), true
}

// answer is what came of one try: a status and a header, or an error.
type answer struct {
	status int
	header http.Header
	err    error
}

// judge decides what an answer means for try number try. The reason is for
// the job's owner and the log: it names no more of the address than the host.
func judge(a answer, try int, host string, now time.Time, random float64) queue.WebhookOutcome {
	reason := fmt.Sprintf("%s answered %d.", host, a.status)
	final := false
	switch {
	case a.err != nil:
		e := apigpu.AsError(a.err)
		reason = strings.TrimSpace(e.Message + " " + e.Hint)
	case a.status >= 200 && a.status < 300:
		return queue.WebhookOutcome{Status: apigpu.WebhookDelivered}
	case a.status >= 300 && a.status < 400:
		reason = fmt.Sprintf("%s answered %d: redirects are not followed.", host, a.status)
	case a.status == http.StatusGone, a.status == http.StatusUnauthorized:
		// Nobody listens there any more (Make after 5 days), or the address
		// carries a wrong token (n8n): no later try mends that.
		final = true
	}
	wait, more := delay(try, random)
	if final || !more {
		return queue.WebhookOutcome{Status: apigpu.WebhookFailed, Error: reason}
	}
	// Never sooner than the schedule: a receiver could use up all tries.
	wait = max(wait, min(retryAfter(a.header, now), longestWait))
	return queue.WebhookOutcome{Status: apigpu.WebhookPending, Error: reason, Next: now.Add(wait)}
}

// retryAfter reads the header Retry-After in both of its forms (RFC 9110,
// section 10.2.3): 0 where there is none, or none that makes sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
