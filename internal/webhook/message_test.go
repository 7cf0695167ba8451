package webhook

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func ended(status apigpu.Status) apigpu.Job {
	end := noon
	return apigpu.Job{
		ID: "job_01X", Status: status, FinishedAt: &end, VideoURL: "https://v.example/files/job_01X/a.mp4?exp=1&sig=x", Links: apigpu.Links{Self: "https://v.example/jobs/job_01X"},
		Warnings: []apigpu.Warning{}, Webhook: &apigpu.Webhook{Tries: 3},
	}
}

func decodeMessage(t *testing.T, body []byte) message {
	t.Helper()
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEncode(t *testing.T) {
	t.Parallel()
	for status, want := range map[apigpu.Status]string{
		apigpu.Succeeded: "job.completed", apigpu.Failed: "job.failed", apigpu.JobCanceled: "job.canceled", apigpu.JobExpired: "job.expired",
	} {
		body, err := encode(ended(status))
		if err != nil {
			t.Fatal(err)
		}
		m := decodeMessage(t, body)
		if m.Type != want || !m.Timestamp.Equal(noon) || m.Data.ID != "job_01X" || m.Data.Webhook != nil {
			t.Errorf("%s: %+v", status, m)
		}
		if !strings.Contains(string(body), `a.mp4?exp=1&sig=x"`) {
			t.Errorf("%s: the link is not as it was: %s", status, body)
		}
	}
	if got := id("job_01X"); got != "msg_01X" {
		t.Errorf("id %s", got)
	}
}

func TestEncodeIsShort(t *testing.T) {
	t.Parallel()
	job := ended(apigpu.Failed)
	for range 1000 {
		job.Warnings = append(job.Warnings, apigpu.Warning{Code: "cue_mended", Message: strings.Repeat("ü", 100)})
	}
	job.Error = apigpu.E(apigpu.EncoderFailed, nil, "%s", strings.Repeat("ü", 20_000)).WithHint("%s", strings.Repeat("x", 5000))
	job.Error.Details = []apigpu.Detail{{Message: strings.Repeat("x", 5000)}}
	body, err := encode(job)
	if err != nil || len(body) > maxBody {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	m := decodeMessage(t, body)
	if last := m.Data.Warnings[len(m.Data.Warnings)-1]; last.Code != "warnings_cut" || last.Count != 1000 || !strings.Contains(last.Message, job.Links.Self) {
		t.Errorf("the cut is told as %+v", last)
	}
	if e := m.Data.Error; e.Code != apigpu.EncoderFailed || len(e.Message) > maxText+3 || !strings.HasSuffix(e.Message, "ü…") {
		t.Errorf("the error became %+v", e)
	}
	if len(job.Warnings) != 1000 || len(job.Error.Details) != 1 {
		t.Error("the job itself was cut")
	}

	// What fits is kept.
	job.Error = nil
	if body, err = encode(job); err != nil || len(body) > maxBody {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	m = decodeMessage(t, body)
	kept := len(m.Data.Warnings) - 1
	if last := m.Data.Warnings[kept]; kept < 20 || last.Count != 1000-kept {
		t.Errorf("%d are kept, and of the rest it says %+v", kept, last)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	encode := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for list, want := range map[string]int{
		encode(24): 1, encode(64): 1, " " + encode(32) + " , " + encode(24) + ",": 2,
		"": 0, ",": 0, encode(23): 0, encode(65): 0, "whsec_": 0, "whsec_%%%": 0, strings.TrimPrefix(encode(32), "whsec_"): 0, encode(32) + ",s3cret": 0,
	} {
		s, err := ParseSecrets(list)
		if len(s.Texts()) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d secrets, %v", list, len(s.Texts()), err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	s, err := KeySecret([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil || len(s.Texts()) != 1 {
		t.Fatal(s, err)
	}
	again, err := ParseSecrets(s.Texts()[0])
	if err != nil {
		t.Fatal(err)
	}
	a, errA := s.sign("msg_1", noon, []byte("x"))
	b, errB := again.sign("msg_1", noon, []byte("x"))
	if errA != nil || errB != nil || a != b {
		t.Errorf("%s (%v), %s (%v)", a, errA, b, errB)
	}
	// The example of the standard's own libraries.
	known, err := ParseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	signature, err := known.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || signature != want {
		t.Errorf("signature %s, %v; want %s", signature, err, want)
	}
}
