package dispatch

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A worker that ends a job before it has its video takes no more of it: the
// job's own error is what counts.
func TestPushToEndedJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	key := b.upload([]byte("a video"))
	b.worker.set(func() { b.worker.hold = true })
	b.worker.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/input") {
			return false
		}
		if j := b.worker.held(path.Base(path.Dir(r.URL.Path))); j != nil {
			b.worker.finish(j, apigpu.Failed, apigpu.E(apigpu.NoVideoStream, nil, "There is no video."))
		}
		httpapi.WriteError(w, apigpu.E(apigpu.Conflict, nil, "The job has ended."))
		return true
	})
	b.start()
	j := b.final(b.submit(func(d *queue.Draft) { d.Spec.URLVideo, d.Upload = "", key }).ID)
	if j.Status != apigpu.Failed || j.Error.Code != apigpu.NoVideoStream {
		t.Errorf("%s %v, want the worker's own no_video_stream", j.Status, j.Error)
	}
}

func (b *bench) upload(video []byte) string {
	b.t.Helper()
	if _, err := b.blob.Receive(b.t.Context(), "upload-1", bytes.NewReader(video), 1<<30); err != nil {
		b.t.Fatal(err)
	}
	return "upload-1"
}

func TestUploadIsPushedAndResumed(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	video := noise(1 << 20)
	key := b.upload(video)
	var cuts atomic.Int64
	b.worker.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" || r.URL.Query().Get("attempt") == "" || cuts.Add(1) > 2 {
			return false
		}
		some := make([]byte, 100_000)
		n, _ := io.ReadFull(r.Body, some)
		b.worker.set(func() {
			for _, j := range b.worker.jobs {
				j.input = append(j.input, some[:n]...)
			}
		})
		panic(http.ErrAbortHandler)
	})
	var held *fakeJob
	b.worker.onEnd(func(apigpu.Assignment) *apigpu.Error {
		b.worker.set(func() {
			for _, held = range b.worker.jobs { // there is one
			}
		})
		return nil
	})
	b.start()
	j := b.final(b.submit(func(d *queue.Draft) { d.Spec.URLVideo, d.Upload = "", key }).ID)
	b.wantResult(j)
	b.worker.mu.Lock()
	defer b.worker.mu.Unlock()
	if held == nil || !bytes.Equal(held.input, video) || cuts.Load() != 3 || j.Attempt != 1 {
		t.Errorf("%d pushes, attempt %d", cuts.Load(), j.Attempt)
	}
}

// source serves a video to whoever sends the header, and notes who asked.
func source(t *testing.T, video []byte) (url string, asked func() []string) {
	var mu sync.Mutex
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Get("Authorization"))
		mu.Unlock()
		http.ServeContent(w, r, "v.mp4", time.Time{}, bytes.NewReader(video))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func TestPrivateVideoIsPushed(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	video := noise(300_000)
	url, asked := source(t, video)
	b.start()
	job := b.submit(func(d *queue.Draft) {
		d.Spec.URLVideo, d.Spec.HeadersVideo = url+"/v.mp4?sig=private", map[string]string{"Authorization": "Bearer private"}
	})
	b.wantResult(b.final(job.ID))
	if who := asked(); len(who) == 0 || who[0] != "Bearer private" {
		t.Errorf("the source was asked with %q", who)
	}
	b.worker.set(func() {
		if bytes.Contains(b.worker.messages, []byte("private")) || bytes.Contains(b.worker.messages, []byte("127.0.0.1")) {
			t.Errorf("the worker was told %s", b.worker.messages)
		}
	})
}

// The worker cannot reach the source, and we can: the second attempt pushes,
// and nobody is blamed.
func TestUnreachableForWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) {})
	b.worker.onEnd(func(a apigpu.Assignment) *apigpu.Error {
		if a.Push {
			return nil
		}
		return apigpu.E(apigpu.SourceUnreachable, nil, "The source refused the connection.")
	})
	b.start()
	job := b.submit(func(d *queue.Draft) { d.Spec.URLVideo = "http://video.invalid/v.mp4" })
	// Nobody can reach it: the push fails for good, with the source's error.
	j := b.final(job.ID)
	if j.Status != apigpu.Failed || j.Error.Code != apigpu.SourceUnreachable || j.Attempt != 2 || j.Blamed != 0 || !j.Push {
		t.Errorf("%s %v, attempt %d, blamed %d", j.Status, j.Error, j.Attempt, j.Blamed)
	}
}
