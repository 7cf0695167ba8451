package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// maxMessage bounds a message of an orchestrator: a subtitle file in base64,
// and everything else.
const maxMessage = 2*apigpu.MaxSubtitle + 1<<20

// routes adds what an orchestrator asks beside the jobs API.
func (w *Worker) routes() {
	guarded := func(pattern string, h func(http.ResponseWriter, *http.Request) (any, error)) {
		w.api.Mux.Handle(pattern, w.cfg.Guard.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			answer, err := h(rw, r)
			if err != nil {
				httpapi.WriteError(rw, err)
				return
			}
			httpapi.WriteJSON(rw, http.StatusOK, answer)
		})))
	}
	guarded("PUT /jobs/{id}", w.assign)
	guarded("GET /jobs/{id}/input", w.inputState)
	guarded("PUT /jobs/{id}/input", w.pushInput)
	guarded("PUT /jobs/{id}/fonts/{sum}", w.pushFont)
	guarded("GET /jobs/{id}/manifest", w.getManifest)
	guarded("PUT /lease", w.putLease)
	w.api.Mux.HandleFunc("GET /health", w.health)
}

// assign takes a job of an orchestrator. The same attempt again is answered
// with the job as it is; a newer one replaces what is here.
func (w *Worker) assign(rw http.ResponseWriter, r *http.Request) (any, error) {
	var a apigpu.Assignment
	if err := decode(rw, r, &a); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if !validID(id) {
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "%q is no job id.", id).WithField("id")
	}
	// One at a time: the same message may come several times at once, and two
	// attempts may cross.
	select {
	case w.assigning <- struct{}{}:
		defer func() { <-w.assigning }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w.mu.Lock()
	held := w.jobs[id]
	w.mu.Unlock()
	switch {
	case held == nil:
	case a.Attempt < held.attempt:
		return nil, apigpu.E(apigpu.StaleAttempt, nil, "This worker has attempt %d.", held.attempt)
	case a.Attempt == held.attempt:
		return held.public(), nil
	}
	j, err := w.fromAssignment(id, a)
	if err != nil {
		return nil, err
	}
	if held != nil {
		if err := w.replace(r.Context(), held); err != nil {
			return nil, errors.Join(err, j.drop())
		}
	}
	run := time.Duration(min(a.DeadlineSeconds, maxRunSeconds) * float64(time.Second))
	crash.Point("worker.assign")
	if err := w.launch(j, run, run); err != nil {
		return nil, errors.Join(err, j.drop())
	}
	crash.Point("worker.assigned")
	return j.public(), nil
}

// maxRunSeconds bounds a running deadline: one that is longer is a mistake,
// and may not fit a time.Duration.
const maxRunSeconds = 7 * 24 * 3600

// replace ends an attempt for which a newer one has come.
func (w *Worker) replace(ctx context.Context, held *job) error {
	held.stop(errReplaced)
	select {
	case <-held.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.forget(held)
	return nil
}

// fromAssignment makes a job in a folder of its own.
func (w *Worker) fromAssignment(id string, a apigpu.Assignment) (*job, error) {
	spec := a.Spec.Clean()
	if err := w.may(spec); err != nil {
		return nil, err
	}
	if err := spec.Validate(a.Push, true); err != nil {
		return nil, err
	}
	if err := checkFontSums(a.Fonts); err != nil {
		return nil, err
	}
	if a.Attempt < 1 || a.DeadlineSeconds <= 0 {
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "attempt and deadline_seconds must be above 0.")
	}
	spec.Strict = false // the orchestrator was, before it knew of this worker
	document, err := subtitle.Read(a.Subtitle, spec, "")
	if err != nil {
		return nil, err
	}
	j, err := w.newJob(id, a.Attempt, spec, document, keepAssigned)
	if err != nil {
		return nil, err
	}
	j.client, j.requireGPU = orchestrator, a.RequireGPU
	j.fonts = newFontFiles(j.dir, a.Fonts)
	// The orchestrator read the same file: it has shown these already.
	j.shown.Warnings = nil
	if a.Push {
		j.input = newInput(filepath.Join(j.dir, ffmpeg.InputFile), w.cfg.MaxInput)
	}
	return j, nil
}

// orchestrator is the client of jobs that an orchestrator assigned.
const orchestrator = "orchestrator"

func (w *Worker) inputState(_ http.ResponseWriter, r *http.Request) (any, error) {
	j, err := w.find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if j.input == nil {
		return nil, apigpu.E(apigpu.Conflict, nil, "The video of this job is not pushed.")
	}
	return j.input.now(), nil
}

func (w *Worker) pushInput(rw http.ResponseWriter, r *http.Request) (any, error) {
	j, err := w.find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	attempt, attemptErr := strconv.Atoi(q.Get("attempt"))
	offset, offsetErr := strconv.ParseInt(q.Get("offset"), 10, 64)
	size := int64(-1)
	var sizeErr error
	if s := q.Get("size"); s != "" {
		size, sizeErr = strconv.ParseInt(s, 10, 64)
	}
	if err := errors.Join(attemptErr, offsetErr, sizeErr); err != nil || offset < 0 {
		return nil, apigpu.E(apigpu.InvalidRequest, err, "attempt, offset and size must be whole numbers.")
	}
	switch {
	case attempt != j.attempt:
		return nil, apigpu.E(apigpu.StaleAttempt, nil, "This worker has attempt %d.", j.attempt)
	case j.input == nil:
		return nil, apigpu.E(apigpu.Conflict, nil, "The video of this job is not pushed.")
	case j.public().Status.Final():
		return nil, apigpu.E(apigpu.Conflict, nil, "The job has ended.")
	}
	body := &pushBody{r: r.Body}
	defer context.AfterFunc(j.ctx, body.cut)()
	return j.input.write(r.Context(), offset, size, body)
}

func (w *Worker) getManifest(_ http.ResponseWriter, r *http.Request) (any, error) {
	j, err := w.find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if status := j.public().Status; status != apigpu.Succeeded {
		return nil, apigpu.E(apigpu.NotReady, nil, "The job is %s.", status)
	}
	crash.Point("worker.manifest")
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.manifest, nil
}

func (w *Worker) putLease(rw http.ResponseWriter, r *http.Request) (any, error) {
	var req apigpu.LeaseRequest
	if err := decode(rw, r, &req); err != nil {
		return nil, err
	}
	if err := w.lease.renew(req); err != nil {
		return nil, err
	}
	crash.Point("worker.lease")
	w.awaitProof(r.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	reply := apigpu.LeaseReply{Ready: w.unfit == "", Reason: w.unfit, Worker: w.info(), UptimeSeconds: w.uptime(), Jobs: []apigpu.HeldJob{}}
	for _, j := range w.jobs {
		reply.Jobs = append(reply.Jobs, apigpu.HeldJob{ID: j.id, Attempt: j.attempt, Status: j.public().Status})
	}
	return reply, nil
}

// uptime is for how long this worker runs, in seconds.
func (w *Worker) uptime() float64 { return w.cfg.Now().Sub(w.began).Seconds() }

// proofPatience is how long an answer about the lease waits for the end of the
// proof: whoever asks wants to hear that this worker is ready, and would ask
// again a moment later.
const proofPatience = time.Second

// awaitProof waits until the proof is over, for a moment at most.
func (w *Worker) awaitProof(ctx context.Context) {
	w.mu.Lock()
	proven := w.proven
	w.mu.Unlock()
	if proven {
		return
	}
	timer := time.NewTimer(proofPatience)
	defer timer.Stop()
	select {
	case <-w.tried:
	case <-timer.C:
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
}

// info is the worker's account of itself. The caller holds w.mu.
func (w *Worker) info() apigpu.WorkerInfo {
	base, set := "", ""
	if w.fonts != nil {
		base, set = w.fonts.Base(), w.fonts.Hash()
	}
	return apigpu.WorkerInfo{
		Version: w.cfg.Version, API: apigpu.APIVersion, FFmpeg: w.abilities.Version, Encoder: w.abilities.Encoder, GPU: w.abilities.GPU,
		Cores: ffmpeg.Cores(), Load: load(), Slots: w.cfg.Slots, Font: base, Fonts: set,
	}
}

// Health is the body of GET /health: ok or not for everybody, the rest for
// those who may speak to this worker.
type Health struct {
	Status    string             `json:"status"` // healthy, starting
	Service   string             `json:"service"`
	Timestamp time.Time          `json:"timestamp"`
	Reason    string             `json:"reason,omitempty"`
	Uptime    float64            `json:"uptime,omitempty"` // seconds
	Worker    *apigpu.WorkerInfo `json:"worker,omitempty"`
}

func (w *Worker) health(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	unfit, info := w.unfit, w.info()
	w.mu.Unlock()
	h := Health{Status: "healthy", Service: "api-gpu worker", Timestamp: w.cfg.Now().UTC()}
	status := http.StatusOK
	if unfit != "" {
		h.Status, status = "starting", http.StatusServiceUnavailable
	}
	if w.cfg.Guard.Admits(r) {
		h.Reason, h.Uptime, h.Worker = unfit, w.uptime(), &info
	}
	httpapi.WriteJSON(rw, status, h)
}

// load is the host's load average over one minute; 0 where it is not told.
func load() float64 {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), " ")
	f, _ := strconv.ParseFloat(first, 64)
	return f
}

// messageTime is how long a message may take to arrive: 11 MB at 1.5 Mbit/s.
const messageTime = time.Minute

// decode reads one JSON message. Unknown fields pass: a newer orchestrator
// may know more.
func decode(rw http.ResponseWriter, r *http.Request, into any) error {
	if body, ok := r.Body.(httpapi.Cutter); ok {
		late := time.AfterFunc(messageTime, body.Cut)
		defer late.Stop()
	}
	raw, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxMessage))
	if err != nil {
		return apigpu.E(apigpu.TooLarge, err, "The message is too long or was cut short.")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return apigpu.E(apigpu.InvalidRequest, err, "The message is not the JSON that was expected.")
	}
	return nil
}

// validID reports whether an id may name a folder.
func validID(id string) bool {
	return len(id) > 0 && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-'
	})
}
