package apigpu

import (
	"net/url"
	"strings"
	"time"
)

// MaxWebhookURL bounds the address of a webhook, in bytes. That of n8n's Wait
// node carries a signature.
const MaxWebhookURL = 2048

// WebhookStatus says what became of a webhook.
type WebhookStatus string

// The statuses of a webhook.
const (
	WebhookPending   WebhookStatus = "pending"   // the job goes on, or the receiver did not take it yet
	WebhookDelivered WebhookStatus = "delivered" // the receiver answered 2xx
	WebhookFailed    WebhookStatus = "failed"    // given up
)

// Webhook tells what became of the message about a job's end. It may change
// after the job has ended, and raises no revision.
type Webhook struct {
	Status    WebhookStatus `json:"status" enum:"pending,delivered,failed"`
	Tries     int           `json:"tries" doc:"Times that it was sent"`
	LastError string        `json:"last_error,omitempty" doc:"Why the last try was not taken"`
	NextAt    *time.Time    `json:"next_at" doc:"When it is sent next; null before the job's end, and where nothing more is sent"`
}

// CheckWebhookURL checks the address of a webhook, which is called as it is,
// byte for byte. The error is an *Error of code InvalidRequest, or nil.
func CheckWebhookURL(raw string) error {
	const field = "webhook_url"
	fault := func(what string) error {
		return E(InvalidRequest, nil, "%s %s", field, what).WithField(field)
	}
	u, err := url.Parse(raw)
	switch {
	case len(raw) > MaxWebhookURL:
		return fault("is longer than 2048 bytes")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fault("holds a space, a control character or one beyond ASCII: it is called as it is, so escape it")
	case err != nil:
		return fault("is not an address")
	case u.Scheme != "http" && u.Scheme != "https":
		return fault("must begin with http:// or https://")
	case u.Hostname() == "":
		return fault("names no host")
	case !validPort(u):
		return fault("names a port that is none: use 1 to 65535")
	case strings.Contains(raw, "#"):
		return fault("ends in a fragment (#…), which is never sent")
	}
	return nil
}
