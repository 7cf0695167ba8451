package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

func keyedSpec(video string) httpapi.Submission {
	sub := spec(video)
	sub.Key = "order 7"
	return sub
}

// A request that comes again fetches nothing: its sources may be gone, the
// store full and the server about to stop.
func TestRepeatedRequestNeedsNoSource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var requests atomic.Int64
	var gone atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if gone.Load() {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(oneCue))
	}))
	t.Cleanup(s.Close)
	base := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	sub := httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: base + "/v.mp4", URLSRT: base + "/s.srt"}.Clean(), Key: "order 7"}

	gone.Store(true)
	_, _, err := b.Submit(t.Context(), ann(), sub)
	wantCode(t, err, apigpu.SourceUnreachable, "url_srt")
	gone.Store(false) // a refusal takes no key
	first, replayed, err := b.Submit(t.Context(), ann(), sub)
	if err != nil || replayed {
		t.Fatal(replayed, err)
	}
	gone.Store(true)
	before := requests.Load()
	b.Close()
	again, replayed, err := b.Submit(t.Context(), ann(), sub)
	if err != nil || !replayed || again.ID != first.ID || requests.Load() != before {
		t.Errorf("job %s, replayed %v, %d requests more, %v", again.ID, replayed, requests.Load()-before, err)
	}
	other := sub
	other.Spec.Output.Quality = apigpu.High
	_, _, err = b.Submit(t.Context(), ann(), other)
	wantCode(t, err, apigpu.IdempotencyMismatch, "")
	_, _, err = b.Submit(t.Context(), bob(), sub) // a key belongs to its client
	wantCode(t, err, apigpu.Unavailable, "")
}

func TestTenAtOnceMakeOneJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, _ := source(t, map[string]string{"/v.mp4": "x"})
	var wg sync.WaitGroup
	ids := make(chan string, 10)
	var recorded atomic.Int64
	for range cap(ids) {
		wg.Go(func() {
			j, replayed, err := b.Submit(t.Context(), ann(), keyedSpec(allowed+"/v.mp4"))
			if err != nil {
				t.Error(err)
			}
			if !replayed {
				recorded.Add(1)
			}
			ids <- j.ID
		})
	}
	wg.Wait()
	first := <-ids
	for range cap(ids) - 1 {
		if id := <-ids; id != first {
			t.Errorf("jobs %s and %s", first, id)
		}
	}
	jobs, _, err := b.List(t.Context(), ann(), httpapi.Filter{Limit: 100})
	if err != nil || len(jobs) != 1 || recorded.Load() != 1 {
		t.Errorf("%d jobs, %d recorded, %v", len(jobs), recorded.Load(), err)
	}
}

// An upload that comes again joins by its content, and is not kept twice.
func TestRepeatedUpload(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	upload := func(content string) httpapi.Submission {
		key, err := b.Receive(t.Context(), ann(), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Upload: key, Subtitle: []byte(oneCue), Key: "k"}
	}
	one, two, three := upload("movie"), upload("movie"), upload("another")
	first, _, err := b.Submit(t.Context(), ann(), one)
	if err != nil {
		t.Fatal(err)
	}
	second, replayed, err := b.Submit(t.Context(), ann(), two)
	if err != nil || !replayed || second.ID != first.ID {
		t.Errorf("job %s, replayed %v, %v", second.ID, replayed, err)
	}
	_, _, err = b.Submit(t.Context(), ann(), three)
	wantCode(t, err, apigpu.IdempotencyMismatch, "")
	for _, sub := range []httpapi.Submission{one, two, three} {
		b.Discard(sub.Upload)
	}
	if !b.exists(one.Upload) || b.exists(two.Upload) || b.exists(three.Upload) {
		t.Errorf("kept: %v, %v, %v", b.exists(one.Upload), b.exists(two.Upload), b.exists(three.Upload))
	}
}

// Deleting a job takes its key back.
func TestDeletedJobFreesItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, _ := source(t, nil)
	first, _, err := b.Submit(t.Context(), ann(), keyedSpec(allowed))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), ann(), first.ID); err != nil {
		t.Fatal(err)
	}
	second, replayed, err := b.Submit(t.Context(), ann(), keyedSpec(allowed))
	if err != nil || replayed || second.ID == first.ID {
		t.Errorf("job %s, replayed %v, %v", second.ID, replayed, err)
	}
}

// What is the same request, and what is another.
func TestDigest(t *testing.T) {
	t.Parallel()
	base := func() httpapi.Submission {
		return httpapi.Submission{
			Spec:     apigpu.CaptionSpec{URLVideo: "https://v/a.mp4", HeadersVideo: map[string]string{"A": "1", "B": "2"}}.Clean(),
			Subtitle: []byte(oneCue), WebhookURL: "https://n8n/x",
		}
	}
	want, err := digest(base(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*httpapi.Submission)
		same   bool
	}{
		"as it was":              {func(*httpapi.Submission) {}, true},
		"the default, said":      {func(s *httpapi.Submission) { s.Spec.Output.Quality = apigpu.Balanced }, true},
		"reached by other name":  {func(s *httpapi.Submission) { s.Base = "http://other" }, true},
		"headers in other order": {func(s *httpapi.Submission) { s.Spec.HeadersVideo = map[string]string{"B": "2", "A": "1"} }, true},
		"another quality":        {func(s *httpapi.Submission) { s.Spec.Output.Quality = apigpu.Max }, false},
		"another video":          {func(s *httpapi.Submission) { s.Spec.URLVideo += "?v=2" }, false},
		"other headers":          {func(s *httpapi.Submission) { s.Spec.HeadersVideo = nil }, false},
		"other subtitles":        {func(s *httpapi.Submission) { s.Subtitle = []byte(oneCue + "\n") }, false},
		"no subtitles":           {func(s *httpapi.Submission) { s.Subtitle = nil }, false},
		"another receiver":       {func(s *httpapi.Submission) { s.WebhookURL = "https://n8n/y" }, false},
	} {
		sub := base()
		c.change(&sub)
		got, err := digest(sub, "")
		if err != nil || (got == want) != c.same {
			t.Errorf("%s: the same is %v, want %v (%v)", name, got == want, c.same, err)
		}
	}
	if uploaded, err := digest(base(), "00ff"); err != nil || uploaded == want {
		t.Errorf("an upload changes nothing: %v", err)
	}
}

func TestWebhookAddressIsChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, _ := source(t, nil)
	for address, hints := range map[string][]string{
		"http://127.0.0.1:5678/webhook-waiting/1": {"ALLOW_PRIVATE_HOSTS", "WEBHOOK_URL"},
		"http://[::1]/":           {"ALLOW_PRIVATE_HOSTS", "WEBHOOK_URL"},
		"http://10.0.0.7/hook":    {"ALLOW_PRIVATE_HOSTS"},
		"http://169.254.169.254/": {"ALLOW_PRIVATE_HOSTS"},
	} {
		sub := spec(allowed)
		sub.WebhookURL = address
		_, _, err := b.Submit(t.Context(), ann(), sub)
		wantCode(t, err, apigpu.BlockedAddress, "webhook_url")
		hint := apigpu.AsError(err).Hint
		for _, word := range []string{"ALLOW_PRIVATE_HOSTS", "WEBHOOK_URL"} {
			if want := len(hints) == 2 || word == hints[0]; strings.Contains(hint, word) != want {
				t.Errorf("%s: the hint is %q", address, hint)
			}
		}
	}
	sub := spec(allowed)
	sub.WebhookURL, sub.Base = strings.Replace(allowed, "http://", "http://ann:s3cret@", 1)+"/hook?s3cret", "https://video.example"
	j, _, err := b.Submit(t.Context(), ann(), sub)
	if err != nil {
		t.Fatal(err)
	}
	row, err := b.Queue.Job(t.Context(), j.ID)
	if err != nil || row.WebhookURL != sub.WebhookURL || row.Base != sub.Base {
		t.Errorf("recorded %q, %q, %v", row.WebhookURL, row.Base, err)
	}
	shown, err := b.Job(t.Context(), admin(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(shown)
	if err != nil || strings.Contains(string(raw), "s3cret") || !strings.Contains(string(raw), `"webhook":{"status":"pending","tries":0,"next_at":null}`) {
		t.Errorf("shown as %s, %v", raw, err)
	}
}
