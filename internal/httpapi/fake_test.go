package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

// start is the time at which every fake job is made.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ttl is how long the links of fake jobs last.
const ttl = time.Hour

// fakeJobs is Jobs in memory. It does nothing on its own: a test drives each
// job with progress, finish and fail.
type fakeJobs struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and made anew at each change
	jobs      map[string]*fakeJob
	order     []string
	uploads   map[string][]byte
	received  int
	waits     int // calls of Wait so far
	submitErr error
	waitErr   error
	asked     apigpu.PreviewAsk // of the last preview
	panics    string            // the name of a method that panics
}

type fakeJob struct {
	job     apigpu.Job
	owner   string
	request Submission
	video   []byte
	gone    bool
}

func newFakeJobs() *fakeJobs {
	return &fakeJobs{changed: make(chan struct{}), jobs: map[string]*fakeJob{}, uploads: map[string][]byte{}}
}

func (f *fakeJobs) Receive(_ context.Context, _ Caller, r io.Reader) (string, error) {
	f.mu.Lock()
	f.received++
	name := fmt.Sprintf("upload_%d", f.received)
	f.uploads[name] = nil
	f.mu.Unlock()
	raw, err := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		delete(f.uploads, name)
		return "", fmt.Errorf("receive upload: %w", err)
	}
	f.uploads[name] = raw
	return name, nil
}

func (f *fakeJobs) Discard(upload string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.uploads, upload)
}

func (f *fakeJobs) Submit(_ context.Context, who Caller, s Submission) (apigpu.Job, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics == "Submit" {
		panic("a fault of ours")
	}
	if f.submitErr != nil {
		return apigpu.Job{}, false, f.submitErr
	}
	for _, j := range f.jobs {
		if s.Key != "" && j.request.Key == s.Key && j.owner == who.Name {
			return j.job, true, nil
		}
	}
	j := &fakeJob{owner: who.Name, request: s, video: f.uploads[s.Upload]}
	delete(f.uploads, s.Upload) // taken over
	j.job = apigpu.Job{
		ID: fmt.Sprintf("job_%04d", len(f.order)+1), Operation: apigpu.CaptionOperation,
		Status: apigpu.Queued, Phase: apigpu.WaitingGPU, Revision: 1, CreatedAt: start,
		ExpiresAt: start.Add(ttl / 2), LinkUntil: start.Add(ttl), Filename: s.Spec.Output.Filename,
	}
	f.jobs[j.job.ID] = j
	f.order = append(f.order, j.job.ID)
	return j.job, false, nil
}

func (f *fakeJobs) Preview(_ context.Context, _ Caller, s Submission, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.submitErr != nil {
		return apigpu.Preview{}, f.submitErr
	}
	f.asked = ask
	p := apigpu.Preview{PNG: s.Subtitle, At: []float64{1.2346, 2}, Background: apigpu.BackgroundPlain, Warnings: []string{"charset_guessed"}}
	if s.Spec.URLVideo != "" || s.Upload != "" {
		p.Background, p.Warnings = apigpu.BackgroundVideo, nil
	}
	return p, nil
}

func (f *fakeJobs) Validate(_ context.Context, _ Caller, s Submission, cues bool) (apigpu.Validation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.submitErr != nil {
		return apigpu.Validation{}, f.submitErr
	}
	v := apigpu.Validation{Object: "validation", Captions: apigpu.Captions{Format: "srt", CuesIn: 1, CuesUsed: 1}, Warnings: []apigpu.Warning{}}
	if cues {
		v.Cues = []apigpu.CueText{{End: 1, Text: string(s.Subtitle)}}
	}
	if s.Spec.URLVideo != "" || s.Upload != "" {
		v.Video = &apigpu.VideoHead{Reachable: true, Bytes: int64(len(f.uploads[s.Upload]))}
	}
	return v, nil
}

func (f *fakeJobs) find(who Caller, id string) (*fakeJob, error) {
	j, ok := f.jobs[id]
	if !ok || !who.MayUse(j.owner) {
		return nil, apigpu.E(apigpu.JobNotFound, nil, "There is no job %s.", id)
	}
	return j, nil
}

func (f *fakeJobs) Job(_ context.Context, who Caller, id string) (apigpu.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, err := f.find(who, id)
	if err != nil {
		return apigpu.Job{}, err
	}
	return j.job, nil
}

func (f *fakeJobs) Wait(ctx context.Context, who Caller, id string, after int64) (apigpu.Job, error) {
	f.mu.Lock()
	f.waits++
	f.mu.Unlock()
	for {
		f.mu.Lock()
		j, err := f.find(who, id)
		if err == nil {
			err = f.waitErr
		}
		if err != nil || j.job.Revision > after || ctx.Err() != nil {
			defer f.mu.Unlock()
			if err != nil {
				return apigpu.Job{}, err
			}
			return j.job, nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (f *fakeJobs) List(_ context.Context, who Caller, q Filter) ([]apigpu.Job, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page []apigpu.Job
	for _, id := range slices.Backward(f.order) {
		j := f.jobs[id]
		switch {
		case !who.MayUse(j.owner), q.Status != "" && j.job.Status != q.Status, j.job.CreatedAt.Before(q.Since),
			q.Cursor != "" && id >= q.Cursor:
			continue
		case len(page) == q.Limit:
			return page, page[len(page)-1].ID, nil
		}
		page = append(page, j.job)
	}
	return page, "", nil
}

func (f *fakeJobs) Cancel(_ context.Context, who Caller, id string) (apigpu.Job, error) {
	f.mu.Lock()
	j, err := f.find(who, id)
	if err == nil && j.job.Status.Final() {
		err = apigpu.E(apigpu.Conflict, nil, "The job has ended.").WithJob(id)
	}
	f.mu.Unlock()
	if err != nil {
		return apigpu.Job{}, err
	}
	f.change(id, func(j *fakeJob) { j.job.Status, j.job.Phase = apigpu.JobCanceled, apigpu.Done })
	return f.Job(context.Background(), who, id)
}

func (f *fakeJobs) Delete(_ context.Context, who Caller, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, err := f.find(who, id)
	if err != nil {
		return err
	}
	if !j.job.Status.Final() {
		e := apigpu.E(apigpu.Conflict, nil, "The job has not ended yet.").WithJob(id)
		e.RetryAfter = 2
		return e
	}
	delete(f.jobs, id)
	f.order = slices.DeleteFunc(f.order, func(o string) bool { return o == id })
	return nil
}

func (f *fakeJobs) Thumbnail(ctx context.Context, who Caller, id string) (Video, error) {
	job, err := f.Job(ctx, who, id)
	if err == nil && !job.Thumbnail {
		err = NoThumbnail(nil)
	}
	if err != nil {
		return Video{}, err
	}
	picture, err := f.Video(ctx, who, id)
	picture.Filename = ""
	return picture, err
}

func (f *fakeJobs) Video(_ context.Context, who Caller, id string) (Video, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, err := f.find(who, id)
	switch {
	case err != nil:
		return Video{}, err
	case j.gone:
		return Video{}, apigpu.E(apigpu.Gone, nil, "The result is gone.")
	case j.job.Error != nil:
		return Video{}, j.job.Error
	case j.job.Status != apigpu.Succeeded:
		return Video{}, apigpu.E(apigpu.NotReady, nil, "The job has no result yet.")
	}
	content := io.ReadSeeker(bytes.NewReader(j.video))
	if f.panics == "Video.Content" {
		content = &tornReader{ReadSeeker: content}
	}
	return Video{Content: readSeekNopCloser{content}, SHA256: "abc123", ModTime: start, Filename: j.job.Filename}, nil
}

type readSeekNopCloser struct{ io.ReadSeeker }

func (readSeekNopCloser) Close() error { return nil }

// tornReader panics after three bytes.
type tornReader struct {
	io.ReadSeeker
	torn bool
}

func (t *tornReader) Read(p []byte) (int, error) {
	if t.torn {
		panic("the disk is gone")
	}
	t.torn = true
	return t.ReadSeeker.Read(p[:min(len(p), 3)])
}

// change edits a job, raises its revision and wakes all who wait.
func (f *fakeJobs) change(id string, edit func(j *fakeJob)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f.jobs[id])
	f.jobs[id].job.Revision++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeJobs) progress(id string, percent float64) {
	f.change(id, func(j *fakeJob) {
		eta := 100 - percent
		j.job.Status, j.job.Phase, j.job.Progress, j.job.ETASeconds = apigpu.Running, apigpu.Rendering, percent, &eta
	})
}

func (f *fakeJobs) finish(id string, video string) {
	f.change(id, func(j *fakeJob) {
		end := start.Add(1500 * time.Millisecond)
		j.job.Status, j.job.Phase, j.job.Progress, j.job.FinishedAt = apigpu.Succeeded, apigpu.Done, 100, &end
		j.job.Warnings = []apigpu.Warning{{Code: "charset_guessed", Message: "Read as windows-1252."}}
		j.video = []byte(video)
	})
}

func (f *fakeJobs) fail(id string, code apigpu.Code) {
	f.change(id, func(j *fakeJob) {
		j.job.Status, j.job.Phase = apigpu.Failed, apigpu.Done
		j.job.Error = apigpu.E(code, errors.New("/srv/secret/path"), "It failed.")
	})
}

// last returns what the last job was made from.
func (f *fakeJobs) last() (Submission, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.order) == 0 {
		return Submission{}, false
	}
	return f.jobs[f.order[len(f.order)-1]].request, true
}

func (f *fakeJobs) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.uploads)
}

// forget drops all jobs.
func (f *fakeJobs) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs, f.order = map[string]*fakeJob{}, nil
}

// world is an API over fakeJobs, with two keys: admin's is "root", bob's "b0b".
type world struct {
	*API
	jobs *fakeJobs
	log  *bytes.Buffer // read it only after the request has ended
}

func newWorld(t testing.TB, edit ...func(*Config)) *world {
	t.Helper()
	keys, err := ParseKeys("admin:root,bob:b0b")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{jobs: newFakeJobs(), log: &bytes.Buffer{}}
	cfg := Config{
		Jobs: w.jobs, Guard: keys.Require, LinkSecret: []byte("secret"), MaxUpload: 1 << 20,
		Title: "test", Version: "1", Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Now: func() time.Time { return start },
	}
	for _, f := range edit {
		f(&cfg)
	}
	w.API = New(cfg)
	t.Cleanup(w.Stop)
	return w
}

// submit makes a job of bob's, past HTTP.
func (w *world) submit(t testing.TB) string {
	t.Helper()
	spec := apigpu.CaptionSpec{URLVideo: "http://v/a.mp4", URLSRT: "http://v/a.srt"}.Clean()
	job, _, err := w.jobs.Submit(t.Context(), Caller{Name: "bob"}, Submission{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return job.ID
}

// do sends a request of bob's. headers are "Name: value".
func (w *world) do(method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("X-API-Key", "b0b")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Result()
}

// client serves the API over pipes in memory until the test ends, so that it
// runs in a synctest bubble, where hours take no time. It sends bob's key.
func (w *world) client(t testing.TB) *http.Client {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(l) }()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &http.Client{Transport: withKey{transport}}
}

type withKey struct{ http.RoundTripper }

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-API-Key", "b0b")
	return k.RoundTripper.RoundTrip(r)
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// decode reads a JSON answer of this status, or fails the test.
func decode[T any](t testing.TB, res *http.Response, status int) T {
	t.Helper()
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, status, raw)
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// problem reads a problem of this code, and checks what all of them have.
func problem(t testing.TB, res *http.Response, code apigpu.Code) apigpu.Problem {
	t.Helper()
	p := decode[apigpu.Problem](t, res, Status(code))
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	if p.Code != code || p.Status != res.StatusCode || p.Title == "" || p.Detail == "" || p.Message != p.Detail || p.Error != p.Title || p.Details == nil {
		t.Errorf("problem %+v", p)
	}
	return p
}

const goodBody = `{"url_video": "http://v/a.mp4", "url_srt": "http://v/a.srt"}`
