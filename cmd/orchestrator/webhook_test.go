package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/api-gpu/api-gpu"
)

// serving runs an orchestrator that finds no worker, and returns its address.
func serving(t *testing.T, dir string, more ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, args(dir, more...), io.Discard, log) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + log.find(t, `listening address=(\S+)`)
}

func secretOf(t *testing.T, flags ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append([]string{"webhook-secret"}, flags...), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// send posts a request for work and decodes its answer.
func send(t *testing.T, base, body, key string) (int, http.Header, apigpu.Result) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/video/caption", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Prefer", "respond-async")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, nil, apigpu.Result{}
	}
	defer resp.Body.Close()
	var result apigpu.Result
	if resp.StatusCode/100 == 2 {
		if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
			t.Error(err)
		}
	}
	return resp.StatusCode, resp.Header, result
}

const inlineSRT = `"srt": "1\n00:00:00,000 --> 00:00:01,000\nHi\n"`

// The end of a job is told to its webhook, signed with the secret that the
// program prints, and with a link that can be opened from elsewhere.
func TestWebhookIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := run(t.Context(), []string{"webhook-secret", "--database-url=sqlite:" + filepath.Join(dir, "db")}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("without a database: %v", err)
	}
	base := serving(t, dir, "--allow-private-hosts=127.0.0.1")
	verifier, err := standardwebhooks.NewWebhook(secretOf(t, "--database-url=sqlite:"+filepath.Join(dir, "db")))
	if err != nil {
		t.Fatal(err)
	}
	type event struct {
		Type string
		Data apigpu.Job
	}
	events := make(chan event, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		var e event
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil {
			t.Error(err)
		}
		events <- e
	}))
	defer receiver.Close()
	code, _, result := send(t, base, `{"url_video": "http://video.invalid/v.mp4", `+inlineSRT+`, "webhook_url": "`+receiver.URL+`/hook?signature=x"}`, "")
	if code != http.StatusAccepted || result.Job.Webhook == nil {
		t.Fatalf("%d %+v", code, result)
	}
	resp, err := http.Post(base+"/jobs/"+result.Job.ID+"/cancel", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case e := <-events:
		if e.Type != "job.canceled" || e.Data.ID != result.Job.ID || e.Data.VideoURL != result.VideoURL || !strings.HasPrefix(e.Data.VideoURL, base+"/files/") {
			t.Errorf("received %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody called")
	}
	resp, err = http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(metrics, []byte(`api_gpu_webhook_tries_total{outcome="failed"} 0`)) || bytes.Contains(metrics, []byte("signature")) {
		t.Errorf("metrics: %v", err)
	}
}

func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	const one, two = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	if got := secretOf(t, "--webhook-secret="+one+","+two); got != one+"\n"+two {
		t.Errorf("prints %s", got)
	}
	database := "--database-url=sqlite:" + filepath.Join(t.TempDir(), "db")
	serving(t, filepath.Dir(strings.TrimPrefix(database, "--database-url=sqlite:")))
	first := secretOf(t, database)
	if second := secretOf(t, database); first != second || !strings.HasPrefix(first, "whsec_") {
		t.Errorf("prints %s, then %s", first, second)
	}
	if other := secretOf(t, database, "--gpu-api-key=another root"); other == first {
		t.Error("the root secret makes no difference")
	}
	elsewhere := filepath.Join(t.TempDir(), "db")
	err := run(t.Context(), []string{"webhook-secret", "--database-url=sqlite:" + elsewhere}, io.Discard, io.Discard)
	if _, statErr := os.Stat(elsewhere); err == nil || !strings.Contains(err.Error(), "there is no database yet") || !errors.Is(statErr, fs.ErrNotExist) {
		t.Errorf("in another folder: %v, and the database: %v", err, statErr)
	}
}

// Ten clients that post the same at once get one job.
func TestTenAtOnce(t *testing.T) {
	t.Parallel()
	base := serving(t, t.TempDir())
	body := `{"url_video": "http://video.invalid/v.mp4", ` + inlineSRT + `}`
	var wg sync.WaitGroup
	ids, replayed := make(chan string, 10), make(chan string, 10)
	for range cap(ids) {
		wg.Go(func() {
			code, header, result := send(t, base, body, "order 7")
			if code != http.StatusAccepted {
				t.Errorf("status %d", code)
			}
			ids <- result.Job.ID
			replayed <- header.Get("Idempotency-Replayed")
		})
	}
	wg.Wait()
	first, recorded := <-ids, 0
	for range cap(ids) - 1 {
		if id := <-ids; id != first {
			t.Errorf("jobs %s and %s", first, id)
		}
	}
	for range cap(replayed) {
		if <-replayed == "" {
			recorded++
		}
	}
	if recorded != 1 {
		t.Errorf("%d answers say that they are the first", recorded)
	}
	if code, _, _ := send(t, base, strings.Replace(body, "v.mp4", "w.mp4", 1), "order 7"); code != http.StatusUnprocessableEntity {
		t.Errorf("another body: %d", code)
	}
}
