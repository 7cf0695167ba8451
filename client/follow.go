package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// Follow waits for the end of a job, however it ends, and returns it then
// with a nil error. onChange, if not nil, is called with the job as it first
// is and after each change that is noticed, one call at a time.
//
// A cut or silent stream is opened anew, and a server that is away is waited
// for: about five minutes without anything new, then the last error is
// returned. Where no stream comes through, as behind a proxy that holds
// answers back, the job is polled. Errors that waiting cannot mend (no such
// job, no right to see it) are returned at once; when ctx ends, its error.
func (c *Client) Follow(ctx context.Context, id string, onChange func(apigpu.Job)) (apigpu.Job, error) {
	f := follower{c: c, id: id, onChange: onChange}
	again := patience{pace: c.pace}
	for {
		before := f.news
		err := f.listen(ctx)
		switch {
		case f.job.Status.Final():
			return f.job, nil
		case ctx.Err() != nil:
			return f.job, ctx.Err()
		case f.permanent(err):
			return f.job, err
		}
		if err := again.rest(ctx, err, f.news > before); err != nil {
			return f.job, err
		}
	}
}

// follower is the state of one Follow.
type follower struct {
	c        *Client
	id       string
	onChange func(apigpu.Job)
	job      apigpu.Job // the newest seen
	news     int        // answers with the job in them so far
	polls    int        // polls to go before a stream is tried again
}

// pollsInARow is how often a job is polled once its stream was held back:
// about five minutes, after which the stream gets another chance.
const pollsInARow = 15

// errHeldBack means that a stream was opened and nothing came of it.
var errHeldBack = errors.New("the stream gives nothing")

// listen takes in what one stream, or one poll, tells.
func (f *follower) listen(ctx context.Context) error {
	if f.polls == 0 {
		err := f.stream(ctx)
		if !errors.Is(err, errHeldBack) {
			return err
		}
		f.polls = pollsInARow
	}
	f.polls--
	job, err := f.c.Job(ctx, f.id, f.c.pace.poll)
	if err != nil {
		return err
	}
	f.take(job)
	return nil
}

// stream takes in events until the final one, or until the stream breaks.
func (f *follower) stream(outer context.Context) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	first := time.AfterFunc(f.c.pace.firstEvent, func() { cancel(errHeldBack) })
	defer first.Stop()
	resp, err := f.c.send(ctx, call{
		method: http.MethodGet, path: []string{"jobs", f.id, "events"}, silence: f.c.pace.silence,
		header: http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-store"}},
	})
	switch {
	case errors.Is(context.Cause(ctx), errHeldBack):
		if err == nil {
			resp.Body.Close()
		}
		return errHeldBack
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return errHeldBack
	}
	before := f.news
	for e, err := range events(resp.Body) {
		switch {
		case err != nil && f.news == before && outer.Err() == nil:
			return errHeldBack
		case err != nil:
			return f.c.lost(outer, err)
		case e.name != "job":
			continue
		}
		first.Stop()
		var job apigpu.Job
		if err := json.Unmarshal(e.data, &job); err != nil {
			return apigpu.E(apigpu.Internal, err, "An event of %s is not in the words of api-gpu.", f.c.host())
		}
		if f.take(job); job.Status.Final() {
			return nil
		}
	}
	return nil // not reached: the events end with an error
}

// take notes the job and tells of a change. What is older than what was seen,
// as a server that lags behind may say, is left out.
func (f *follower) take(job apigpu.Job) {
	f.news++
	known := f.news > 1
	if known && job.Attempt <= f.job.Attempt && job.Revision <= f.job.Revision {
		return
	}
	f.job = job
	if f.onChange != nil {
		f.onChange(job)
	}
}

// permanent reports whether waiting cannot mend err.
func (f *follower) permanent(err error) bool {
	e, ok := errors.AsType[*apigpu.Error](err)
	switch {
	case !ok || e.Retryable:
		return false
	case e.Code == apigpu.NotFound && f.news > 0:
		// The path was there: a proxy answers for a server that restarts.
		return false
	}
	return true
}
