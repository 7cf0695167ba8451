package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// Events are sent at most every eventGap per client, and a comment every
// keepAlive of silence, so that proxies keep the connection.
const (
	eventGap  = 50 * time.Millisecond
	keepAlive = 15 * time.Second
)

// events streams a job as server-sent events (WHATWG HTML, section 9.2): one
// event "job" a change, its data the job, its id the revision. The stream
// ends after the event of a final state, and when the server stops. A client
// that comes back with Last-Event-ID misses nothing: each event is the whole
// job. One that has seen the end gets 204, which tells EventSource to stay
// away: it would come back for ever.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	job, err := a.cfg.Jobs.Job(ctx, CallerOf(ctx), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if job.Status.Final() && r.Header.Get("Last-Event-ID") == strconv.FormatInt(job.Revision, 10) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !a.held.enter(CallerOf(ctx)) {
		e := apigpu.E(apigpu.Unavailable, nil, "Too many event streams are open.").WithHint("Close some, or ask GET /jobs/{id} from time to time.")
		e.RetryAfter = 5
		a.fail(w, r, e)
		return
	}
	defer a.held.leave(CallerOf(ctx))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx holds events back otherwise
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	stream := http.NewResponseController(w)
	for {
		if err := writeEvent(w, a.decorate(ctx, job)); err != nil || stream.Flush() != nil || job.Status.Final() {
			return
		}
		if !pause.For(ctx, eventGap) {
			return
		}
		next, ok := a.nextChange(ctx, w, stream, job)
		if !ok {
			return
		}
		job = next
	}
}

// nextChange waits for the next revision, with a sign of life whenever it
// takes long. It reports false when the client or the job is gone.
func (a *API) nextChange(ctx context.Context, w http.ResponseWriter, stream *http.ResponseController, job apigpu.Job) (apigpu.Job, bool) {
	for ctx.Err() == nil {
		quiet, cancel := context.WithTimeout(ctx, keepAlive)
		next, err := a.cfg.Jobs.Wait(quiet, CallerOf(ctx), job.ID, job.Revision)
		cancel()
		if err != nil {
			return job, false
		}
		if next.Revision > job.Revision {
			return next, true
		}
		if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil || stream.Flush() != nil {
			return job, false
		}
	}
	return job, false
}

func writeEvent(w http.ResponseWriter, job apigpu.Job) error {
	data, err := marshal(job) // one line: JSON escapes line ends
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: job\nid: %d\ndata: %s\n\n", job.Revision, data)
	return err
}
