package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// memory is a server's jobs in memory. Each job goes through the states of
// script, one each time that somebody waits for the next: so tests see the
// same lines however slow the machine is.
type memory struct {
	script []apigpu.Job
	video  []byte
	// onWait, if not nil, is called with each job that is waited for.
	onWait func(apigpu.Job)
	// refuse, if not nil, is the answer to a submission.
	refuse error
	drawn  httpapi.Submission // of the last preview
	asked  apigpu.PreviewAsk

	mu       sync.Mutex
	jobs     map[string]*held
	uploads  map[string][]byte
	order    []string
	canceled chan string
}

type held struct {
	job  apigpu.Job
	left []apigpu.Job
	sub  httpapi.Submission
	sent []byte // the uploaded video
}

var born = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// plan is the usual way of a job.
func plan(video []byte) []apigpu.Job {
	sum := sha256.Sum256(video)
	second, eta := 1, 12.4
	done := born.Add(9300 * time.Millisecond)
	return []apigpu.Job{
		{Status: apigpu.Queued, Phase: apigpu.WaitingGPU, QueuePosition: &second},
		{Status: apigpu.Running, Phase: apigpu.Rendering, Progress: 41.7, ETASeconds: &eta},
		{Status: apigpu.Running, Phase: apigpu.Rendering, Progress: 45},
		{Status: apigpu.Succeeded, Phase: apigpu.Done, Progress: 100, FinishedAt: &done,
			Video:    &apigpu.Video{Bytes: int64(len(video)), SHA256: hex.EncodeToString(sum[:]), Duration: 63, Width: 1920, Height: 1080, Codec: "h264", Audio: "aac"},
			Warnings: []apigpu.Warning{{Code: "overlap", Message: "Cues overlap; both are shown.", Count: 3}},
			Stats: apigpu.Stats{QueueMS: 400, DownloadMS: 1200, RenderMS: 7000, UploadMS: 700,
				Encoder: "libx264", RealtimeFactor: 9}},
	}
}

func newMemory() *memory {
	video := bytes.Repeat([]byte("mp4 "), 1000)
	return &memory{script: plan(video), video: video, jobs: map[string]*held{}, uploads: map[string][]byte{}, canceled: make(chan string, 1)}
}

// serve starts a server over m that knows the key "secret".
func serve(t *testing.T, m *memory, health string, more ...func(*http.ServeMux)) string {
	t.Helper()
	keys, err := httpapi.ParseKeys("secret")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{
		Jobs: m, Guard: keys.Require, LinkSecret: []byte("links"), MaxUpload: 1 << 30,
		Title: "test", Version: "1", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return born },
	})
	api.Mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, health) })
	for _, add := range more {
		add(api.Mux)
	}
	server := httptest.NewServer(api)
	t.Cleanup(func() { api.Stop(); server.Close() })
	return server.URL
}

func notFound(id string) error {
	return apigpu.E(apigpu.JobNotFound, nil, "There is no job %s.", id)
}

func (m *memory) Receive(_ context.Context, _ httpapi.Caller, r io.Reader) (string, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uploads["upload"] = raw
	return "upload", nil
}

func (m *memory) Discard(string) {}

func (m *memory) Submit(_ context.Context, _ httpapi.Caller, s httpapi.Submission) (apigpu.Job, bool, error) {
	if m.refuse != nil {
		return apigpu.Job{}, false, m.refuse
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := "job_" + string(rune('a'+len(m.jobs)))
	h := &held{left: slices.Clone(m.script), sub: s, sent: m.uploads[s.Upload]}
	h.job = apigpu.Job{ID: id, Operation: apigpu.CaptionOperation, Status: apigpu.Queued, Phase: apigpu.Checking, Revision: 1,
		CreatedAt: born, ExpiresAt: born.Add(24 * time.Hour), LinkUntil: born.Add(48 * time.Hour), Filename: s.Spec.Output.Filename}
	m.jobs[id] = h
	m.order = append(m.order, id)
	return h.job, false, nil
}

func (m *memory) Preview(_ context.Context, _ httpapi.Caller, s httpapi.Submission, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	if m.refuse != nil {
		return apigpu.Preview{}, m.refuse
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drawn, m.asked = s, ask
	p := apigpu.Preview{PNG: []byte("a picture"), At: []float64{3.2}, Background: apigpu.BackgroundPlain, Warnings: []string{"charset_guessed"}}
	if s.Spec.URLVideo != "" || s.Upload != "" {
		p.Background, p.Warnings = apigpu.BackgroundVideo, nil
	}
	return p, nil
}

func (m *memory) Validate(_ context.Context, _ httpapi.Caller, s httpapi.Submission, cues bool) (apigpu.Validation, error) {
	if m.refuse != nil {
		return apigpu.Validation{}, m.refuse
	}
	v := apigpu.Validation{
		Object: "validation", Captions: apigpu.Captions{Format: "srt", Charset: "windows-1252", Confidence: 0.9, CuesIn: 3, CuesUsed: 2},
		Warnings: []apigpu.Warning{{Code: "cue_dropped_no_text", Message: "Cues without text were left out.", Count: 1, Lines: []int{7}}},
	}
	if cues {
		v.Cues = []apigpu.CueText{{Start: 1, End: 2.5, Text: "Olá\nmundo"}}
	}
	if s.Spec.URLVideo != "" {
		v.Video = &apigpu.VideoHead{Reachable: true, Bytes: 5_000_000, Duration: 61.5, Width: 1080, Height: 1920, FPS: 30, Codec: "h264", Audio: "aac"}
		v.Estimate = &apigpu.Estimate{Seconds: 70, CostUSD: 0.0038, Basis: "the cheapest of 12 offers"}
	}
	return v, nil
}

func (m *memory) Job(_ context.Context, _ httpapi.Caller, id string) (apigpu.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.jobs[id]
	if !ok {
		return apigpu.Job{}, notFound(id)
	}
	return h.job, nil
}

func (m *memory) Wait(ctx context.Context, who httpapi.Caller, id string, after int64) (apigpu.Job, error) {
	job, err := m.Job(ctx, who, id)
	if err != nil || job.Revision > after {
		return job, err
	}
	if m.onWait != nil {
		m.onWait(job)
	}
	m.mu.Lock()
	h := m.jobs[id]
	if len(h.left) > 0 {
		next := h.left[0]
		h.left = h.left[1:]
		next.ID, next.Operation, next.CreatedAt, next.Filename = id, h.job.Operation, h.job.CreatedAt, h.job.Filename
		next.ExpiresAt, next.LinkUntil = h.job.ExpiresAt, h.job.LinkUntil
		next.Revision, next.Attempt = h.job.Revision+1, 1
		h.job = next
		defer m.mu.Unlock()
		return h.job, nil
	}
	m.mu.Unlock()
	<-ctx.Done()
	return m.Job(ctx, who, id)
}

func (m *memory) List(_ context.Context, _ httpapi.Caller, f httpapi.Filter) ([]apigpu.Job, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []apigpu.Job
	for _, id := range slices.Backward(m.order) {
		if j := m.jobs[id].job; f.Status == "" || f.Status == j.Status {
			out = append(out, j)
		}
	}
	if len(out) > f.Limit {
		return out[:f.Limit], out[f.Limit-1].ID, nil
	}
	return out, "", nil
}

func (m *memory) Cancel(_ context.Context, _ httpapi.Caller, id string) (apigpu.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.jobs[id]
	if !ok {
		return apigpu.Job{}, notFound(id)
	}
	if h.job.Status.Final() {
		return apigpu.Job{}, apigpu.E(apigpu.Conflict, nil, "The job has ended.")
	}
	h.job.Status, h.left = apigpu.JobCanceled, nil
	h.job.Revision++
	m.canceled <- id
	return h.job, nil
}

func (m *memory) Delete(context.Context, httpapi.Caller, string) error { return nil }

func (m *memory) Video(_ context.Context, _ httpapi.Caller, id string) (httpapi.Video, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.jobs[id]
	if !ok {
		return httpapi.Video{}, notFound(id)
	}
	if h.job.Video == nil {
		return httpapi.Video{}, apigpu.E(apigpu.NotReady, nil, "Not yet.")
	}
	return httpapi.Video{Content: content{bytes.NewReader(m.video)}, SHA256: h.job.Video.SHA256, Filename: h.job.Filename}, nil
}

func (m *memory) Thumbnail(context.Context, httpapi.Caller, string) (httpapi.Video, error) {
	return httpapi.Video{}, httpapi.NoThumbnail(nil)
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }
