package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

func equal(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCaptionByAddress(t *testing.T) {
	t.Parallel()
	var prefer, body string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		prefer, body = r.Header.Get("Prefer"), string(raw)
		writeJSON(w, http.StatusAccepted, apigpu.Result{Job: apigpu.Job{ID: "job_1", Status: apigpu.Queued}})
	})
	spec := apigpu.CaptionSpec{URLVideo: "http://a/v.mp4", URLSRT: "http://a/s.srt", Output: apigpu.Output{Quality: apigpu.High}}
	for wait, want := range map[time.Duration]string{
		0: "respond-async", 1200 * time.Millisecond: "wait=2", time.Hour: "wait=600",
	} {
		job, err := c.Caption(t.Context(), Request{Spec: spec, Wait: wait})
		if err != nil || job.ID != "job_1" {
			t.Fatal(job, err)
		}
		if prefer != want {
			t.Errorf("wait %s: Prefer is %q, want %q", wait, prefer, want)
		}
	}
	if want := `{"url_video":"http://a/v.mp4","url_srt":"http://a/s.srt","output":{"quality":"high"}}`; body != want {
		t.Errorf("body %s, want %s", body, want)
	}
}

// With a key a request is repeated until the server is there; without one, or
// with a file, it is not.
func TestCaptionIsRepeatedWithAKey(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys, bodies []string
	seen := func() (list []string) { // since the last look
		mu.Lock()
		defer mu.Unlock()
		list, keys = keys, nil
		return list
	}
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		mu.Lock()
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(raw))
		n := len(keys)
		mu.Unlock()
		switch n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			writeProblem(w, http.StatusServiceUnavailable, apigpu.Unavailable)
		default:
			writeJSON(w, http.StatusAccepted, apigpu.Result{Job: apigpu.Job{ID: "job_1", Status: apigpu.Queued}})
		}
	})
	r := Request{Spec: apigpu.CaptionSpec{URLVideo: "http://a/v.mp4"}, WebhookURL: "https://n8n/x?a=1&b=2", IdempotencyKey: "order 7"}
	job, err := c.Caption(t.Context(), r)
	if err != nil || job.ID != "job_1" {
		t.Fatal(job, err)
	}
	equal(t, seen(), []string{"order 7", "order 7", "order 7"})
	mu.Lock()
	for _, body := range bodies {
		if body != `{"url_video":"http://a/v.mp4","webhook_url":"https://n8n/x?a=1\u0026b=2"}` {
			t.Errorf("body %s", body)
		}
	}
	mu.Unlock()
	r.IdempotencyKey = ""
	if _, err := c.Caption(t.Context(), r); apigpu.CodeOf(err) != apigpu.Unavailable || len(seen()) != 1 {
		t.Errorf("without a key: %v", err)
	}
	r.IdempotencyKey, r.Subtitle = "order 7", &File{Name: "s.srt", Content: strings.NewReader("1")}
	if _, err := c.Caption(t.Context(), r); apigpu.CodeOf(err) != apigpu.Unavailable || len(seen()) != 1 {
		t.Errorf("with a file: %v", err)
	}
}

func TestCaptionUploads(t *testing.T) {
	t.Parallel()
	// More than any buffer on the way holds.
	video := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
	var got []string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		form, err := r.MultipartReader()
		if err != nil {
			writeProblem(w, http.StatusUnsupportedMediaType, apigpu.UnsupportedMediaType)
			return
		}
		for {
			part, err := form.NextPart()
			if err != nil {
				break
			}
			raw, _ := io.ReadAll(part)
			if part.FormName() == "video" && bytes.Equal(raw, video) {
				raw = []byte("as sent")
			}
			got = append(got, part.FormName()+" "+part.FileName()+" "+string(raw))
		}
		writeJSON(w, http.StatusAccepted, apigpu.Result{Job: apigpu.Job{ID: "job_1"}})
	})
	job, err := c.Caption(t.Context(), Request{
		Spec:     apigpu.CaptionSpec{Output: apigpu.Output{Quality: apigpu.Draft}},
		Video:    &File{"/home/me/clip.mp4", iotest.HalfReader(bytes.NewReader(video))},
		Subtitle: &File{"s.srt", strings.NewReader("1\n")},
	})
	if err != nil || job.ID != "job_1" {
		t.Fatal(job, err)
	}
	equal(t, got, []string{`request  {"output":{"quality":"draft"}}`, "srt s.srt 1\n", "video clip.mp4 as sent"})
}

func TestCaptionFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	served := make(chan error, 1)
	c := clientOf(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		served <- err
		panic(http.ErrAbortHandler)
	})
	_, err := c.Caption(t.Context(), Request{Video: &File{"v.mp4", io.MultiReader(
		bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken))}})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if err := <-served; err == nil {
		t.Error("the server took half a body for a whole one")
	}
}

func TestCaptionRefusedBeforeTheVideoIsSent(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusUnauthorized, apigpu.Unauthorized)
	})
	sent := &countingReader{r: io.LimitReader(zeros{}, 1<<30)}
	_, err := c.Caption(t.Context(), Request{Video: &File{"v.mp4", sent}})
	wantCode(t, err, apigpu.Unauthorized)
	if sent.n > 16<<20 { // of a gigabyte
		t.Errorf("%d bytes were read for a request that was refused", sent.n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
