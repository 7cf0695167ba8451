package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// maxBody bounds a webhook, in bytes: Standard Webhooks advises 20 KB.
const maxBody = 20_000

// maxText bounds a message within a webhook that would be too long, in bytes.
const maxText = 500

// message is the body of a webhook.
type message struct {
	Type      string     `json:"type"`
	Timestamp time.Time  `json:"timestamp"` // the end of the job, in each try
	Data      apigpu.Job `json:"data"`
}

// types are the events: one a job, for each way to end.
var types = map[apigpu.Status]string{
	apigpu.Succeeded: "job.completed", apigpu.Failed: "job.failed", apigpu.JobCanceled: "job.canceled", apigpu.JobExpired: "job.expired",
}

// id names the one event of a job: the same in each try, so that a receiver
// can tell a repeated message.
func id(job string) string { return "msg_" + strings.TrimPrefix(job, "job_") }

// encode returns the body for a job that has ended, the same in each try. What
// it says of the job is what GET /jobs/{id} shows, but for its webhook. One
// that would be longer than maxBody loses the last of its warnings, and then
// the details and the tail of its error.
func encode(job apigpu.Job) ([]byte, error) {
	job.Webhook = nil
	m := message{Type: types[job.Status], Data: job}
	if job.FinishedAt != nil {
		m.Timestamp = *job.FinishedAt
	}
	body, err := marshal(m)
	for kept := len(job.Warnings); err == nil && len(body) > maxBody && kept > 0; {
		kept /= 2
		m.Data.Warnings = append(slices.Clone(job.Warnings[:kept]), apigpu.Warning{
			Code: "warnings_cut", Count: len(job.Warnings) - kept, Message: fmt.Sprintf("The other warnings stand at %s.", job.Links.Self),
		})
		body, err = marshal(m)
	}
	if err == nil && len(body) > maxBody && job.Error != nil {
		short := *job.Error
		short.Details, short.Message, short.Hint = nil, cut(short.Message), cut(short.Hint)
		m.Data.Error = &short
		body, err = marshal(m)
	}
	return body, err
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// marshal leaves & as it is: people copy video_url from a log.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode webhook: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
