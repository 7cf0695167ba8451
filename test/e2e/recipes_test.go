package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/test/need"
)

// media serves a short video and its subtitles.
func media(t testing.TB) (dir, address string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "s.srt", cues)
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
		filepath.Join(dir, "v.mp4"))
	return dir, files(t, dir, 0)
}

// jobs returns all jobs of a server.
func (s *server) jobs() []apigpu.Job {
	s.t.Helper()
	page, err := s.client().Jobs(s.t.Context(), client.Filter{})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Data
}

// flaky stands between a client and a server and lets the answer to the first
// request for work be lost.
func flaky(t testing.TB, server string) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodPost && lost.CompareAndSwap(false, true) {
				return fmt.Errorf("lost on the way")
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

func isVideo(t testing.TB, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "result.mp4")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if codec := command(t, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=codec_name", "-of", "csv=p=0", path); !bytes.HasPrefix(codec, []byte("h264")) {
		t.Errorf("the result is %q", codec)
	}
}

// The workflow that waits: through redirects, and though an answer was lost.
func TestN8NWaits(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	s := start(t, "SYNC_WAIT=0s") // so that it is redirected
	_, source := media(t)
	n := newN8N(t, addresses(flaky(t, s.url), source))
	results, err := n.run(recipe("n8n-wait.json"))
	if err != nil {
		t.Fatal(err)
	}
	isVideo(t, results["Caption"].binary["data"])
	if jobs := s.jobs(); len(jobs) != 1 {
		t.Errorf("the retry made %d jobs", len(jobs))
	}
}

// The workflow that is called: though an answer was lost, and though the job
// ends before the workflow waits.
func TestN8NIsCalled(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	s := start(t)
	_, source := media(t)
	through := flaky(t, s.url)
	n := newN8N(t, addresses(through, source))
	n.beforeWait = func() {
		select {
		case <-n.early:
		case <-time.After(time.Minute):
			t.Error("nobody called before it waited")
		}
	}
	results, err := n.run(recipe("n8n-webhook.json"))
	if err != nil {
		t.Fatal(err)
	}
	isVideo(t, results["Download"].binary["data"])
	if link := text(dig(results["Wait for the end"].json, "body.data.video_url")); base(link) != through {
		t.Errorf("video_url is %s, and the server was reached at %s", link, through)
	}
	jobs := s.jobs()
	if len(jobs) != 1 {
		t.Fatalf("the retry made %d jobs", len(jobs))
	}
	s.webhook(jobs[0].ID, func(w *apigpu.Webhook) bool { return w.Status == apigpu.WebhookDelivered && w.Tries == 2 })
}

// A job that fails takes the workflow's other way.
func TestN8NIsToldOfAFailure(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	s := start(t)
	dir, source := media(t)
	write(t, dir, "v.mp4", strings.Repeat("no video at all ", 100))
	n := newN8N(t, addresses(s.url, source))
	if _, err := n.run(recipe("n8n-webhook.json")); err == nil || !strings.Contains(err.Error(), "node Stop: No captions: ") || strings.Contains(err.Error(), "nil") {
		t.Errorf("it ended with %v", err)
	}
}

// webhook waits for what a job shows of its webhook.
func (s *server) webhook(id string, holds func(*apigpu.Webhook) bool) {
	s.t.Helper()
	var last *apigpu.Webhook
	eventually(s.t, 90*time.Second, "the webhook of "+id, func() bool {
		job, err := s.client().Job(s.t.Context(), id, 0)
		if err != nil {
			return false
		}
		last = job.Webhook
		return holds(last)
	})
}

// Make: a scenario that asks, within its 40 s, and one that is called. A
// custom webhook takes 5 MB and answers Accepted, whatever comes of it.
func TestMake(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	page, err := os.ReadFile(recipe("make.md"))
	if err != nil {
		t.Fatal(err)
	}
	content := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	if content == nil {
		t.Fatal("make.md shows no request content")
	}
	bundles := make(chan map[string]any, 10)
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 5<<20))
		var bundle map[string]any
		if err == nil {
			err = json.Unmarshal(raw, &bundle)
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if len(raw) > 20_000 {
			t.Errorf("a call of %d bytes", len(raw))
		}
		bundles <- bundle
		fmt.Fprint(w, "Accepted")
	}))
	t.Cleanup(hooks.Close)
	s := start(t)
	_, source := media(t)
	body := addresses(s.url, source, "https://hook.eu2.make.com", hooks.URL).Replace(string(content[1]))

	// The HTTP module sends no Accept.
	req, err := http.NewRequest(http.MethodPost, s.url+"/video/caption", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Idempotency-Key", "row 7")
	resp, err := (&http.Client{Timeout: 40 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer apigpu.Result
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	select {
	case bundle := <-bundles:
		if bundle["type"] != "job.completed" || dig(bundle, "data.id") != answer.Job.ID {
			t.Fatalf("called with %v", bundle)
		}
		path := s.fetch(text(dig(bundle, "data.video_url"))) // Get a file
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		isVideo(t, raw)
	case <-time.After(time.Minute):
		t.Fatal("the scenario was not started")
	}
}

// Ten clients that post the same at once: one job, ten equal answers.
func TestTenClientsOneJob(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	s := start(t)
	_, source := media(t)
	body := fmt.Sprintf(`{"url_video": "%s/v.mp4", "url_srt": "%s/s.srt", "wait": 300}`, source, source)
	answers := make(chan string, 10)
	var wg sync.WaitGroup
	for range cap(answers) {
		wg.Go(func() {
			req, err := http.NewRequest(http.MethodPost, s.url+"/video/caption", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("X-API-Key", key)
			req.Header.Set("Idempotency-Key", "order 7")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s %v", resp.Status, err)
			}
			answers <- string(raw)
		})
	}
	wg.Wait()
	if len(answers) != cap(answers) {
		t.Fatalf("%d answers", len(answers))
	}
	first := <-answers
	for range cap(answers) - 1 {
		if other := <-answers; other != first {
			t.Errorf("two answers:\n%s\n%s", first, other)
		}
	}
	if jobs := s.jobs(); len(jobs) != 1 {
		t.Errorf("%d jobs", len(jobs))
	}
}

// The server is killed after the receiver took a message and before that is
// recorded: it comes again, with the same id, and signed.
func TestKillBetweenCallAndRecord(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	s := start(t)
	_, source := media(t)
	secret := strings.TrimSpace(string(commandIn(t, s.dir, filepath.Join(bin, "orchestrator"), "webhook-secret")))
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	ids, kill, killed := make(chan string, 10), make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Error(err)
		}
		ids <- r.Header.Get("webhook-id")
		if calls.Add(1) == 1 {
			close(kill)
			<-killed
		}
	}))
	t.Cleanup(receiver.Close)
	var r apigpu.Result
	if status := s.post("", map[string]any{"url_video": source + "/v.mp4", "url_srt": source + "/s.srt", "webhook_url": receiver.URL + "/hook"}, &r); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	select {
	case <-kill:
	case <-time.After(time.Minute):
		t.Fatal("nobody called")
	}
	s.kill()
	close(killed)
	s.run()
	s.webhook(r.Job.ID, func(w *apigpu.Webhook) bool { return w.Status == apigpu.WebhookDelivered && w.Tries == 2 })
	if first, second := <-ids, <-ids; first != second || len(ids) > 0 {
		t.Errorf("called with %s, then %s, and %d times more", first, second, len(ids))
	}
}
