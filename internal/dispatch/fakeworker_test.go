package dispatch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// fakeWorker speaks the worker's API and does no work: its result is noise in
// two chunks. fault may answer a request in its place.
type fakeWorker struct {
	url    string
	server *httptest.Server
	result []byte

	mu          sync.Mutex
	jobs        map[string]*fakeJob
	fault       func(w http.ResponseWriter, r *http.Request) (answered bool)
	end         func(a apigpu.Assignment) *apigpu.Error // of a job; nil for success
	hold        bool                                    // jobs run until they are let go
	assignments []apigpu.Assignment
	messages    []byte // every assignment as it came
	requests    []string
}

// picture begins as a JPEG does.
const picture = "\xff\xd8\xff\xe0 a picture"

type fakeJob struct {
	attempt int
	input   []byte
	size    int64
	shown   apigpu.Job
	changed chan struct{} // closed at its end
}

func newFakeWorker(t *testing.T) *fakeWorker {
	f := &fakeWorker{result: noise(apigpu.MaxChunk/64 + 1234), jobs: map[string]*fakeJob{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /lease", func(w http.ResponseWriter, r *http.Request) {
		httpapi.WriteJSON(w, 200, apigpu.LeaseReply{Ready: true, Worker: apigpu.WorkerInfo{API: apigpu.APIVersion, Slots: 1, Encoder: "libx264"}})
	})
	mux.HandleFunc("PUT /jobs/{id}", f.assign)
	mux.HandleFunc("GET /jobs/{id}", f.job)
	mux.HandleFunc("GET /jobs/{id}/events", f.events)
	mux.HandleFunc("GET /jobs/{id}/input", f.inputState)
	mux.HandleFunc("PUT /jobs/{id}/input", f.push)
	mux.HandleFunc("GET /jobs/{id}/manifest", func(w http.ResponseWriter, r *http.Request) { httpapi.WriteJSON(w, 200, f.manifest()) })
	mux.HandleFunc("GET /jobs/{id}/video", func(w http.ResponseWriter, r *http.Request) {
		if f.find(w, r) != nil {
			http.ServeContent(w, r, "v.mp4", time.Time{}, bytes.NewReader(f.result))
		}
	})
	mux.HandleFunc("GET /jobs/{id}/thumbnail.jpg", func(w http.ResponseWriter, r *http.Request) {
		if f.find(w, r) != nil {
			http.ServeContent(w, r, "thumbnail.jpg", time.Time{}, strings.NewReader(picture))
		}
	})
	mux.HandleFunc("POST /jobs/{id}/cancel", func(w http.ResponseWriter, r *http.Request) {
		if j := f.find(w, r); j != nil {
			f.finish(j, apigpu.JobCanceled, apigpu.E(apigpu.Canceled, nil, "canceled"))
			httpapi.WriteJSON(w, 200, j.shown)
		}
	})
	mux.HandleFunc("DELETE /jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.jobs, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if r.URL.Path != "/lease" {
			f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		}
		fault := f.fault
		f.mu.Unlock()
		if r.Header.Get("X-API-Key") != "key" || r.Header.Get("X-Session-Token") != "token" {
			httpapi.WriteError(w, apigpu.E(apigpu.Unauthorized, nil, "who are you"))
			return
		}
		if fault == nil || !fault(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	f.url, f.server = server.URL, server
	t.Cleanup(func() {
		f.letGo()
		server.CloseClientConnections()
		server.Close()
	})
	return f
}

func (f *fakeWorker) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// onRequest lets fault answer requests in the worker's place, or pass.
func (f *fakeWorker) onRequest(fault func(http.ResponseWriter, *http.Request) bool) {
	f.set(func() { f.fault = fault })
}

// onEnd decides how jobs end.
func (f *fakeWorker) onEnd(end func(apigpu.Assignment) *apigpu.Error) { f.set(func() { f.end = end }) }

// held returns a job that the worker has, or nil.
func (f *fakeWorker) held(id string) *fakeJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs[id]
}

func (f *fakeWorker) find(w http.ResponseWriter, r *http.Request) *fakeJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[r.PathValue("id")]
	if j == nil {
		httpapi.WriteError(w, apigpu.E(apigpu.JobNotFound, nil, "There is no such job."))
	}
	return j
}

func (f *fakeWorker) assign(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var a apigpu.Assignment
	if err := json.Unmarshal(raw, &a); err != nil {
		httpapi.WriteError(w, err)
		return
	}
	id := r.PathValue("id")
	f.mu.Lock()
	f.assignments, f.messages = append(f.assignments, a), append(f.messages, raw...)
	j := f.jobs[id]
	if j == nil || j.attempt < a.Attempt {
		j = &fakeJob{attempt: a.Attempt, size: -1, changed: make(chan struct{}), shown: apigpu.Job{
			ID: id, Attempt: a.Attempt, Status: apigpu.Running, Phase: apigpu.Rendering, Progress: 50, Revision: 1,
		}}
		f.jobs[id] = j
	}
	ready, end := !a.Push && !f.hold, f.end
	f.mu.Unlock()
	if ready {
		f.work(j, a, end)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	httpapi.WriteJSON(w, 200, j.shown)
}

func (f *fakeWorker) work(j *fakeJob, a apigpu.Assignment, end func(apigpu.Assignment) *apigpu.Error) {
	if end != nil {
		if err := end(a); err != nil {
			f.finish(j, apigpu.Failed, err)
			return
		}
	}
	f.finish(j, apigpu.Succeeded, nil)
}

func (f *fakeWorker) finish(j *fakeJob, s apigpu.Status, err *apigpu.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j.shown.Status.Final() {
		return
	}
	j.shown.Status, j.shown.Error, j.shown.Revision = s, err, j.shown.Revision+1
	if s == apigpu.Succeeded {
		j.shown.Video = &apigpu.Video{Width: 160, Height: 120, Codec: "h264"}
	}
	close(j.changed)
}

// letGo ends all jobs well.
func (f *fakeWorker) letGo() {
	f.mu.Lock()
	f.hold = false
	jobs := make([]*fakeJob, 0, len(f.jobs))
	for _, j := range f.jobs {
		jobs = append(jobs, j)
	}
	f.mu.Unlock()
	for _, j := range jobs {
		f.finish(j, apigpu.Succeeded, nil)
	}
}

func (f *fakeWorker) job(w http.ResponseWriter, r *http.Request) {
	if j := f.find(w, r); j != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		httpapi.WriteJSON(w, 200, j.shown)
	}
}

func (f *fakeWorker) events(w http.ResponseWriter, r *http.Request) {
	j := f.find(w, r)
	if j == nil {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		f.mu.Lock()
		shown, _ := json.Marshal(j.shown)
		final := j.shown.Status.Final()
		f.mu.Unlock()
		fmt.Fprintf(w, "event: job\ndata: %s\n\n", shown)
		_ = http.NewResponseController(w).Flush()
		if final {
			return
		}
		select {
		case <-j.changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fakeWorker) inputState(w http.ResponseWriter, r *http.Request) {
	if j := f.find(w, r); j != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		httpapi.WriteJSON(w, 200, apigpu.InputState{Received: int64(len(j.input)), Size: j.size})
	}
}

// push takes what comes, also of a stream that is cut.
func (f *fakeWorker) push(w http.ResponseWriter, r *http.Request) {
	j := f.find(w, r)
	if j == nil {
		return
	}
	raw, err := io.ReadAll(r.Body)
	f.mu.Lock()
	if r.URL.Query().Get("offset") == "0" {
		j.input = nil
	}
	j.input = append(j.input, raw...)
	end, state := f.end, apigpu.InputState{Received: int64(len(j.input)), Size: int64(len(j.input))}
	if err == nil {
		j.size = state.Size
	}
	f.mu.Unlock()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.work(j, apigpu.Assignment{Attempt: j.attempt, Push: true}, end)
	httpapi.WriteJSON(w, 200, state)
}

func (f *fakeWorker) manifest() apigpu.Manifest {
	half := len(f.result) / 2
	chunk := func(from, to int) apigpu.Chunk {
		return apigpu.Chunk{Offset: int64(from), Length: int64(to - from), SHA256: sum(f.result[from:to])}
	}
	return apigpu.Manifest{Length: int64(len(f.result)), SHA256: sum(f.result), Chunks: []apigpu.Chunk{chunk(0, half), chunk(half, len(f.result))}}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// times makes a fault that answers the first n requests of a method to a path
// with this end.
func times(n int, method, suffix string, answer func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		hit := n > 0 && r.Method == method && strings.HasSuffix(r.URL.Path, suffix)
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			answer(w, r)
		}
		return hit
	}
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func problem(code apigpu.Code) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteError(w, apigpu.E(code, nil, "scripted"))
	}
}

func writeJSON(w http.ResponseWriter, v any) { httpapi.WriteJSON(w, http.StatusOK, v) }

// breakStreams ends every connection, as a restart does.
func (f *fakeWorker) breakStreams() { f.server.CloseClientConnections() }
