package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/api-gpu/api-gpu"
)

// open begins to read the events of a job, until ctx ends.
func open(t *testing.T, ctx context.Context, client *http.Client, id string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://api/jobs/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// block reads up to the next empty line.
func block(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

func jobOf(t *testing.T, event string) apigpu.Job {
	t.Helper()
	_, data, ok := strings.Cut(event, "data: ")
	var job apigpu.Job
	if err := json.Unmarshal([]byte(data), &job); err != nil || !ok || !strings.HasPrefix(event, "event: job\nid: ") {
		t.Fatalf("event %q: %v", event, err)
	}
	return job
}

func TestEvents(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		id := w.submit(t)
		res := open(t, t.Context(), w.client(t), id)
		if h := res.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
			t.Errorf("header %v", h)
		}
		r := bufio.NewReader(res.Body)
		if job := jobOf(t, block(t, r)); job.Status != apigpu.Queued || job.VideoURL == "" {
			t.Errorf("first event %+v", job)
		}
		for percent := range 50 { // in one moment: one event tells them all
			w.jobs.progress(id, float64(percent+1))
		}
		job := jobOf(t, block(t, r))
		if job.Progress != 50 || job.Phase != apigpu.Rendering || job.ETASeconds == nil || *job.ETASeconds != 50 {
			t.Errorf("second event %+v", job)
		}
		begun := time.Now()
		if alive := block(t, r); alive != ": still here\n" {
			t.Errorf("in silence: %q", alive)
		}
		if took := time.Since(begun); took != keepAlive+eventGap {
			t.Errorf("a sign of life after %s", took)
		}
		w.jobs.finish(id, "movie")
		if job := jobOf(t, block(t, r)); job.Status != apigpu.Succeeded || job.Progress != 100 {
			t.Errorf("last event %+v", job)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

func TestEventsOfAJobThatHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit(t)
	w.jobs.fail(id, apigpu.GPULost) // revision 2
	raw, err := io.ReadAll(w.do("GET", "/jobs/"+id+"/events", "", "Last-Event-ID: 1").Body)
	if err != nil {
		t.Fatal(err)
	}
	if job := jobOf(t, string(raw)); job.Status != apigpu.Failed || job.Error.Code != apigpu.GPULost {
		t.Errorf("event %+v", job)
	}
	if res := w.do("GET", "/jobs/"+id+"/events", "", "Last-Event-ID: 2"); res.StatusCode != http.StatusNoContent {
		t.Errorf("to one who has seen the end: %d", res.StatusCode)
	}
	problem(t, w.do("GET", "/jobs/nobody/events", ""), apigpu.JobNotFound)
}

func TestHeadOfEventsDoesNotWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if res := w.do("HEAD", "/jobs/"+w.submit(t)+"/events", ""); res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// The handler of a client that is gone goes too, whatever it waits for: the
// bubble would report one that stays.
func TestHangUpFreesTheStream(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		id := w.submit(t)
		ctx, cancel := context.WithCancel(t.Context())
		res := open(t, ctx, w.client(t), id)
		block(t, bufio.NewReader(res.Body))
		time.Sleep(keepAlive / 2)
		cancel()
		synctest.Wait()
		waits := w.jobs.waits
		time.Sleep(10 * keepAlive)
		if w.jobs.waits != waits {
			t.Error("the handler still waits for events")
		}
	})
}

func TestStreamEndsWhenTheJobIsForgotten(t *testing.T) {
	t.Parallel()
	waiting(t, func(t *testing.T, w *world) {
		id := w.submit(t)
		r := bufio.NewReader(open(t, t.Context(), w.client(t), id).Body)
		block(t, r)
		w.jobs.mu.Lock()
		delete(w.jobs.jobs, id)
		w.jobs.mu.Unlock()
		if rest, err := io.ReadAll(r); err != nil || strings.Contains(string(rest), "event:") {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
