package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/api-gpu/api-gpu"
)

// FuzzSecrets: what is accepted signs what a receiver with that secret accepts,
// and what is not is not repeated.
func FuzzSecrets(f *testing.F) {
	for _, seed := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ,whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", ",", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=",
	} {
		f.Add(seed)
	}
	at := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, setting string) {
		s, err := ParseSecrets(setting)
		if err != nil {
			if len(setting) > 20 && strings.Contains(err.Error(), setting) {
				t.Errorf("the error repeats %q", setting)
			}
			return
		}
		signature, err := s.sign("msg", at, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range s.Texts() {
			receiver, err := standardwebhooks.NewWebhook(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			header := http.Header{"Webhook-Id": {"msg"}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": {signature}}
			if err := receiver.VerifyIgnoringTimestamp([]byte("{}"), header); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

// FuzzVerdict: whatever a receiver answers, the next try comes neither sooner
// than the schedule has it nor later than was asked for within bounds.
func FuzzVerdict(f *testing.F) {
	f.Add(503, "120", 1)
	f.Add(200, "", 7)
	f.Add(429, "Wed, 21 Oct 2099 07:28:00 GMT", 2)
	f.Add(301, "-1", 0)
	f.Add(410, "99999999999999999999", 100)
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, status int, retry string, try int) {
		o := judge(answer{status: status, header: http.Header{"Retry-After": {retry}}}, try, "example.com", now, 0.5)
		switch o.Status {
		case apigpu.WebhookDelivered:
			if status < 200 || status > 299 {
				t.Errorf("%d counts as delivered", status)
			}
		case apigpu.WebhookPending:
			least, more := delay(try, 0)
			if wait := o.Next.Sub(now); !more || wait < least || wait > longestWait*11/10 || o.Error == "" {
				t.Errorf("%d: try %d, then again in %s: %q", status, try, wait, o.Error)
			}
		case apigpu.WebhookFailed:
			if o.Error == "" || !o.Next.IsZero() {
				t.Errorf("%d: %+v", status, o)
			}
		default:
			t.Errorf("%d: status %q", status, o.Status)
		}
	})
}
