package httpapi

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for key, good := range map[string]bool{
		"a": true, `"8e03978e-40d5-43dd-bc93-6894a57f9324"`: true, "order 7 / ~!": true, strings.Repeat("k", 255): true,
		"": false, strings.Repeat("k", 256): false, "ordem nº 7": false, "a\tb": false,
	} {
		res := w.do("POST", "/video/caption", goodBody, "Idempotency-Key: "+key, async)
		if good {
			decode[apigpu.Result](t, res, 202)
			if sub, _ := w.jobs.last(); sub.Key != key {
				t.Errorf("key %q became %q", key, sub.Key)
			}
			continue
		}
		if p := problem(t, res, apigpu.InvalidRequest); p.Field != "Idempotency-Key" {
			t.Errorf("%q: field %q", key, p.Field)
		}
	}
	r, err := http.NewRequest("POST", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Idempotency-Key"] = []string{"a", "b"}
	if _, err := idempotencyKey(r); apigpu.CodeOf(err) != apigpu.InvalidRequest {
		t.Errorf("two keys: %v", err)
	}
	decode[apigpu.Result](t, w.do("POST", "/video/caption", goodBody, async), 202)
	if sub, _ := w.jobs.last(); sub.Key != "" {
		t.Errorf("no key became %q", sub.Key)
	}
}

// A bad key is refused before a video is received.
func TestBadKeyComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	part, err := m.CreateFormFile("video", "v.mp4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write([]byte("movie")); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	problem(t, w.do("POST", "/video/caption", form.String(), "Content-Type: "+m.FormDataContentType(), "Idempotency-Key: ü"), apigpu.InvalidRequest)
	if w.jobs.received != 0 {
		t.Error("the video was received")
	}
}

// A request that joins gives the answer that its job gives now.
func TestReplayedAnswers(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		send := func(headers ...string) *http.Response {
			return <-post(w, "", append(headers, "Idempotency-Key: k")...)
		}
		if res := send(async); res.StatusCode != 202 || res.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the first: %d, %v", res.StatusCode, res.Header)
		}
		if res := send(async); res.StatusCode != 202 || res.Header.Get("Idempotency-Replayed") != "true" || res.Header.Get("X-Job-Id") != firstID {
			t.Errorf("while it goes on: %d, %v", res.StatusCode, res.Header)
		}
		joined := post(w, "", "Idempotency-Key: k") // waits with the first
		w.jobs.finish(firstID, "movie")
		res := <-joined
		if got := decode[apigpu.Result](t, res, 200); got.Job.ID != firstID || res.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("at its end: %+v", got)
		}
		if res := send("Accept: video/mp4"); res.StatusCode != 200 || res.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("as video: %d %s", res.StatusCode, res.Header.Get("Content-Type"))
		}
	})
}

// A job that failed fails each request with its key, and says how to try again.
func TestReplayedFailure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code apigpu.Code
		hint bool
	}{{apigpu.GPULost, true}, {apigpu.NoVideoStream, false}} {
		w := newWorld(t)
		decode[apigpu.Result](t, w.do("POST", "/video/caption", goodBody, async, "Idempotency-Key: k"), 202)
		w.jobs.fail(firstID, c.code)
		for range 2 {
			p := problem(t, w.do("POST", "/video/caption", goodBody, "Idempotency-Key: k"), c.code)
			if p.JobID != firstID || strings.Contains(p.Hint, "new Idempotency-Key") != c.hint {
				t.Errorf("problem %+v", p)
			}
		}
		// The job itself tells no such thing.
		if j := decode[apigpu.Job](t, w.do("GET", "/jobs/"+firstID, ""), 200); j.Error.Hint != "" {
			t.Errorf("the job says %q", j.Error.Hint)
		}
	}
}

// A webhook makes a request asynchronous, unless it says how long it waits.
func TestWebhookURL(t *testing.T) {
	t.Parallel()
	const hook = "https://n8n.example/webhook-waiting/231?signature=0a%2Fb&x=|"
	waiting(t, func(t *testing.T, w *world) {
		body := strings.Replace(goodBody, "}", `, "webhook_url": " `+strings.ReplaceAll(hook, "|", "%7c")+`\n"}`, 1)
		for _, c := range []struct {
			query   string
			headers []string
			after   time.Duration
		}{
			{"", nil, 0}, {"?wait=5", nil, 5 * time.Second}, {"", []string{"Prefer: wait=7"}, 7 * time.Second}, {"", []string{async}, 0},
		} {
			began := time.Now()
			res := w.do("POST", "/video/caption"+c.query, body, c.headers...)
			got := decode[apigpu.Result](t, res, 202)
			if took := time.Since(began); took != c.after {
				t.Errorf("%s %v answered after %s, want %s", c.query, c.headers, took, c.after)
			}
			if sub, _ := w.jobs.last(); sub.WebhookURL != strings.ReplaceAll(hook, "|", "%7c") || sub.Base != "http://example.com" {
				t.Errorf("webhook %q, base %q", sub.WebhookURL, sub.Base)
			}
			if got.Job.ID == "" || strings.Contains(got.Message, "signature") {
				t.Errorf("answer %+v", got)
			}
		}
	})
	w := newWorld(t)
	decode[apigpu.Result](t, w.do("POST", "/video/caption", "url_video=http://v/a&url_srt=http://v/b&webhook_url="+"https://n8n.example/x", "Content-Type: application/x-www-form-urlencoded"), 202)
	if sub, _ := w.jobs.last(); sub.WebhookURL != "https://n8n.example/x" {
		t.Errorf("from a form: %q", sub.WebhookURL)
	}
	for _, bad := range []string{"n8n.example", "ftp://n8n.example/", "http:///x", "https://n8n.example/a b", "https://n8n.example/ü", "https://n8n.example/#top", "https://n8n.example/" + strings.Repeat("x", 2048), "http://[::1"} {
		p := problem(t, w.do("POST", "/video/caption", strings.Replace(goodBody, "}", `, "webhook_url": "`+bad+`"}`, 1)), apigpu.InvalidRequest)
		if p.Field != "webhook_url" || len(p.Detail) > 200 {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	job := apigpu.Job{ID: "job_1", Filename: "a.mp4", LinkUntil: start}
	for public, want := range map[string]string{"": "http://inside:3000/", "https://video.example/": "https://video.example/"} {
		w := newWorld(t, func(c *Config) { c.PublicURL = public })
		shown := w.Show("http://inside:3000", job)
		if !strings.HasPrefix(shown.VideoURL, want+"files/job_1/a.mp4?") || shown.Links.Self != want+"jobs/job_1" {
			t.Errorf("PUBLIC_URL=%s: %s, %s", public, shown.VideoURL, shown.Links.Self)
		}
	}
}
