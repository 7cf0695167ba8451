package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

// script answers request by request; what comes after its end fails the test.
type script struct {
	t     *testing.T
	steps []http.HandlerFunc

	mu    sync.Mutex
	asked []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, r.URL.RequestURI())
	s.mu.Unlock()
	if n >= len(s.steps) {
		s.t.Errorf("request %d for %s was not expected", n+1, r.URL)
		writeProblem(w, http.StatusNotFound, apigpu.JobNotFound)
		return
	}
	s.steps[n](w, r)
}

func job(revision int64, status apigpu.Status) apigpu.Job {
	return apigpu.Job{ID: "job_1", Attempt: 1, Revision: revision, Status: status}
}

// stream sends jobs as events and then does what end says.
func stream(end func(http.ResponseWriter, *http.Request), jobs ...apigpu.Job) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": hello\n\nevent: weather\ndata: fine\n\n")
		for _, j := range jobs {
			data, _ := json.Marshal(j)
			_, _ = fmt.Fprintf(w, "event: job\nid: %d\ndata: %s\n\n", j.Revision, data)
		}
		_ = http.NewResponseController(w).Flush()
		end(w, r)
	}
}

func endNow(http.ResponseWriter, *http.Request)        {}
func endCut(w http.ResponseWriter, _ *http.Request)    { cut(w) }
func endSilent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func problem(status int, code apigpu.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeProblem(w, status, code) }
}

func page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", status) }
}

func poll(j apigpu.Job) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusAccepted, j) }
}

func TestFollow(t *testing.T) {
	t.Parallel()
	const events, pollPath = "/jobs/job_1/events", "/jobs/job_1?wait=1"
	running, done, failed := job(2, apigpu.Running), job(9, apigpu.Succeeded), job(9, apigpu.Failed)
	again := job(1, apigpu.Queued)
	again.Attempt = 2
	for _, tt := range []struct {
		name  string
		steps []http.HandlerFunc
		hasty func(*pace) // shortens what this case waits for, and no more
		asked []string    // nil: as many streams as steps
		seen  []int64     // revisions told of
		end   apigpu.Status
		code  apigpu.Code
	}{
		{name: "one stream", steps: []http.HandlerFunc{stream(endNow, job(1, apigpu.Queued), running, done)},
			seen: []int64{1, 2, 9}, end: apigpu.Succeeded},
		{name: "a failed job is no error", steps: []http.HandlerFunc{stream(endNow, failed)}, seen: []int64{9}, end: apigpu.Failed},
		{name: "cut, away, back", steps: []http.HandlerFunc{stream(endCut, running), page(502), page(404), problem(503, apigpu.Unavailable), stream(endNow, running, done)},
			seen: []int64{2, 9}, end: apigpu.Succeeded},
		{name: "silence", hasty: func(p *pace) { p.silence = 300 * time.Millisecond }, steps: []http.HandlerFunc{stream(endSilent, running), stream(endNow, done)}, seen: []int64{2, 9}, end: apigpu.Succeeded},
		{name: "what is older is left out, a new attempt is not", steps: []http.HandlerFunc{stream(endCut, job(5, apigpu.Running)), stream(endNow, running, again, done)},
			seen: []int64{5, 1, 9}, end: apigpu.Succeeded},
		{name: "held back", hasty: func(p *pace) { p.firstEvent = 100 * time.Millisecond }, steps: []http.HandlerFunc{stream(endSilent), poll(running), poll(done)},
			asked: []string{events, pollPath, pollPath}, seen: []int64{2, 9}, end: apigpu.Succeeded},
		{name: "headers held back too", hasty: func(p *pace) { p.firstEvent = 100 * time.Millisecond }, steps: []http.HandlerFunc{endSilent, poll(done)},
			asked: []string{events, pollPath}, seen: []int64{9}, end: apigpu.Succeeded},
		{name: "not a stream", steps: []http.HandlerFunc{page(200), poll(running), page(502), poll(done)},
			asked: []string{events, pollPath, pollPath, pollPath}, seen: []int64{2, 9}, end: apigpu.Succeeded},
		{name: "no such job", steps: []http.HandlerFunc{problem(404, apigpu.JobNotFound)}, code: apigpu.JobNotFound},
		{name: "no such path at first", steps: []http.HandlerFunc{page(404)}, code: apigpu.NotFound},
		{name: "deleted meanwhile", steps: []http.HandlerFunc{stream(endCut, running), problem(404, apigpu.JobNotFound)}, seen: []int64{2}, code: apigpu.JobNotFound},
		{name: "no key", steps: []http.HandlerFunc{problem(401, apigpu.Unauthorized)}, code: apigpu.Unauthorized},
		{name: "not this address", steps: []http.HandlerFunc{problem(403, apigpu.AddressNotAllowed)}, code: apigpu.AddressNotAllowed},
		{name: "away for too long", steps: slices.Repeat([]http.HandlerFunc{page(502)}, hurried().tries+1), code: apigpu.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, steps: tt.steps}
			c := clientOf(t, s.ServeHTTP)
			if tt.hasty != nil {
				tt.hasty(&c.pace)
			}
			var seen []int64
			got, err := c.Follow(t.Context(), "job_1", func(j apigpu.Job) { seen = append(seen, j.Revision) })
			switch {
			case tt.code != "":
				wantCode(t, err, tt.code)
			case err != nil:
				t.Error(err)
			case got.Status != tt.end:
				t.Errorf("ended as %s, want %s", got.Status, tt.end)
			}
			equal(t, seen, tt.seen)
			if tt.asked == nil {
				tt.asked = slices.Repeat([]string{events}, len(tt.steps))
			}
			equal(t, s.asked, tt.asked)
		})
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := clientOf(t, stream(endSilent, job(1, apigpu.Running)))
	ctx, cancel := context.WithCancel(t.Context())
	got, err := c.Follow(ctx, "job_1", func(apigpu.Job) { cancel() })
	if !errors.Is(err, context.Canceled) || got.Revision != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A stream gets another chance after some polls.
func TestFollowTriesTheStreamAgain(t *testing.T) {
	t.Parallel()
	steps := []http.HandlerFunc{page(200)}
	steps = append(steps, slices.Repeat([]http.HandlerFunc{poll(job(1, apigpu.Running))}, pollsInARow)...)
	s := &script{t: t, steps: append(steps, stream(endNow, job(2, apigpu.Succeeded)))}
	if _, err := clientOf(t, s.ServeHTTP).Follow(t.Context(), "job_1", nil); err != nil {
		t.Fatal(err)
	}
	if last := s.asked[len(s.asked)-1]; !strings.HasSuffix(last, "/events") {
		t.Errorf("the last request was for %s", last)
	}
}
