package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu"
)

// caption answers POST /video/caption.
func (a *API) caption(w http.ResponseWriter, r *http.Request) {
	ctx, who := r.Context(), CallerOf(r.Context())
	key, err := idempotencyKey(r) // before a video is received in vain
	if err != nil {
		a.fail(w, r, err)
		return
	}
	sub, bodyWait, err := a.readSubmission(w, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// Discard frees nothing that Submit has taken over.
	defer a.cfg.Jobs.Discard(sub.Upload)
	sub.Key, sub.Base = key, baseOf(ctx)
	usual := a.cfg.SyncWait
	if sub.WebhookURL != "" { // who is called need not wait, unless it says so
		usual = 0
	}
	wish, err := wishOf(r, bodyWait, usual)
	if err == nil {
		sub, err = sub.validate()
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	job, replayed, err := a.cfg.Jobs.Submit(ctx, who, sub)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	job, err = a.waitFinal(ctx, who, job, wish.Wait)
	if err != nil {
		a.fail(w, r, apigpu.AsError(err).WithJob(job.ID))
		return
	}
	a.answer(w, r, job, wish)
}

// job answers GET /jobs/{id}: the job itself, 202 while it goes on and 200
// after its end, however it ended. With follow, or for the video itself, it
// answers as the POST would have.
func (a *API) job(w http.ResponseWriter, r *http.Request) {
	ctx, who := r.Context(), CallerOf(r.Context())
	wish, err := wishOf(r, nil, 0)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	job, err := a.cfg.Jobs.Job(ctx, who, r.PathValue("id"))
	if err == nil {
		job, err = a.waitFinal(ctx, who, job, wish.Wait)
	}
	if wish.Applied != "" {
		w.Header().Set("Preference-Applied", wish.Applied)
	}
	switch {
	case err != nil:
		a.fail(w, r, err)
	case wish.Follow || wish.Bytes:
		a.answer(w, r, job, wish)
	case job.Status.Final():
		WriteJSON(w, http.StatusOK, a.decorate(ctx, job))
	default:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(job)))
		WriteJSON(w, http.StatusAccepted, a.decorate(ctx, job))
	}
}

// followed answers POST /jobs/{id}: curl -L -X POST keeps its method on a
// redirect, and goes on with an empty body. Without follow it is refused.
func (a *API) followed(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("follow") {
		w.Header().Set("Allow", "DELETE, GET, HEAD")
		a.fail(w, r, apigpu.E(apigpu.MethodNotAllowed, nil, "%s does not accept POST.", r.URL.Path).WithHint("Use GET."))
		return
	}
	a.job(w, r)
}

// waitFinal waits until the job has ended, the wait is over, the client is
// gone, or the server stops.
func (a *API) waitFinal(ctx context.Context, who Caller, job apigpu.Job, wait time.Duration) (apigpu.Job, error) {
	if wait <= 0 || !a.held.enter(who) { // with too many held it is answered now, and may ask again
		return job, nil
	}
	defer a.held.leave(who)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stop := context.AfterFunc(a.stopping, cancel)
	defer stop()
	for !job.Status.Final() && ctx.Err() == nil {
		next, err := a.cfg.Jobs.Wait(ctx, who, job.ID, job.Revision)
		if err != nil {
			return job, err
		}
		job = next
	}
	return job, nil
}

// answer ends a request for work in one of its ways: the result, the job's
// own problem, or word that the job goes on.
func (a *API) answer(w http.ResponseWriter, r *http.Request, job apigpu.Job, wish Wish) {
	ctx := r.Context()
	job = a.decorate(ctx, job)
	w.Header().Set("X-Job-Id", job.ID)
	if wish.Applied != "" {
		w.Header().Set("Preference-Applied", wish.Applied)
	}
	switch {
	case job.Status == apigpu.Succeeded && wish.Bytes:
		a.serveVideo(w, r, CallerOf(ctx), job.ID)
	case job.Status == apigpu.Succeeded:
		WriteJSON(w, http.StatusOK, result(job))
	case job.Status.Final():
		WriteError(w, keyed(r, jobError(job)))
	case wish.Follow:
		w.Header().Set("Location", followPath(r, job.ID))
		w.Header().Set("Retry-After", "0")
		WriteJSON(w, http.StatusSeeOther, accepted(job))
	case wish.Bytes:
		w.Header().Set("Location", job.Links.Self)
		e := apigpu.E(apigpu.WaitOver, nil, "The video is not ready yet. Its job goes on.").WithJob(job.ID).
			WithHint("Ask again at %s/video, or add ?follow=true to the request.", job.Links.Self)
		e.RetryAfter = retryAfter(job)
		WriteError(w, e)
	default:
		w.Header().Set("Location", job.Links.Self)
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(job)))
		WriteJSON(w, http.StatusAccepted, accepted(job))
	}
}

// idempotencyKey reads the header Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header): "" where there is none.
func idempotencyKey(r *http.Request) (string, error) {
	const maxKey = 255
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	odd := strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' })
	if len(values) > 1 || key == "" || len(key) > maxKey || odd {
		return "", apigpu.E(apigpu.InvalidRequest, nil, "Idempotency-Key must be sent once, with 1 to %d printable ASCII characters.", maxKey).
			WithField("Idempotency-Key")
	}
	return key, nil
}

// followPath is the next hop of a followed request, relative to this one, so
// that it holds behind any proxy and any path prefix.
func followPath(r *http.Request, id string) string {
	up := ""
	if r.Method == http.MethodPost { // POST /video/caption
		up = "../jobs/"
	}
	return fmt.Sprintf("%s%s?wait=%d&follow=true", up, url.PathEscape(id), followWait)
}

func result(job apigpu.Job) apigpu.Result {
	end := job.CreatedAt
	if job.FinishedAt != nil {
		end = *job.FinishedAt
	}
	took := end.Sub(job.CreatedAt)
	return apigpu.Result{
		Code: http.StatusOK, Message: "Video caption added successfully", VideoURL: job.VideoURL,
		Execution: &apigpu.Execution{StartTime: job.CreatedAt, EndTime: end, DurationMS: took.Milliseconds(), DurationSeconds: took.Seconds()},
		Stats:     job.Stats, Job: job,
	}
}

func accepted(job apigpu.Job) apigpu.Result {
	return apigpu.Result{
		Code: http.StatusAccepted,
		Message: fmt.Sprintf("The job goes on. Ask GET %s?wait=%d until its status is succeeded; then video_url opens.",
			job.Links.Self, followWait),
		VideoURL: job.VideoURL, Stats: job.Stats, Job: job,
	}
}

// jobError is why a job ended without a result.
func jobError(job apigpu.Job) *apigpu.Error {
	if job.Error != nil {
		return job.Error.WithJob(job.ID)
	}
	code := apigpu.Internal
	switch job.Status {
	case apigpu.JobCanceled:
		code = apigpu.Canceled
	case apigpu.JobExpired:
		code = apigpu.QueueExpired
	}
	return apigpu.E(code, nil, "The job ended as %s.", job.Status).WithJob(job.ID)
}

// keyed says of a job that failed how to try again, which the same request
// does not do where its key stays with that job.
func keyed(r *http.Request, e *apigpu.Error) *apigpu.Error {
	if r.Header.Get("Idempotency-Key") == "" || !e.Retryable {
		return e
	}
	return e.WithHint("%s", strings.TrimSpace(e.Hint+" To try again, send a new Idempotency-Key: this one stays with job "+e.JobID+"."))
}

// retryAfter is when asking again makes sense, in whole seconds from 1 to 60.
func retryAfter(job apigpu.Job) int {
	if job.ETASeconds == nil {
		return 5
	}
	return int(min(max(*job.ETASeconds, 1), 60))
}

// video answers GET /jobs/{id}/video.
func (a *API) video(w http.ResponseWriter, r *http.Request) {
	a.serveVideo(w, r, CallerOf(r.Context()), r.PathValue("id"))
}

// thumbnail answers GET /jobs/{id}/thumbnail.jpg.
func (a *API) thumbnail(w http.ResponseWriter, r *http.Request) {
	a.serveThumbnail(w, r, CallerOf(r.Context()), r.PathValue("id"))
}

// file answers a signed link. The signature stands for the key.
func (a *API) file(w http.ResponseWriter, r *http.Request) {
	id, name, q := r.PathValue("id"), r.PathValue("name"), r.URL.Query()
	if !a.signer.check(id, name, q.Get("exp"), q.Get("sig")) {
		a.fail(w, r, apigpu.E(apigpu.NotFound, nil, "This link is not one of ours.").
			WithHint("Copy video_url whole, with everything after the question mark."))
		return
	}
	gone := apigpu.E(apigpu.Gone, nil, "This video was kept until its end and is gone.").WithJob(id)
	exp, err := strconv.ParseInt(q.Get("exp"), 10, 64)
	if err != nil || a.now().After(time.Unix(exp, 0)) {
		a.fail(w, r, gone)
		return
	}
	wish, err := wishOf(r, nil, 0)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	bearer := Caller{Name: linkName + id, Admin: true}
	job, err := a.cfg.Jobs.Job(r.Context(), bearer, id)
	if err == nil {
		_, err = a.waitFinal(r.Context(), bearer, job, wish.Wait)
	}
	switch {
	case apigpu.CodeOf(err) == apigpu.JobNotFound:
		a.fail(w, r, gone)
	case err != nil:
		a.fail(w, r, err)
	case name == thumbnailName:
		a.serveThumbnail(w, r, bearer, id)
	default:
		a.serveVideo(w, r, bearer, id)
	}
}

// linkName begins the name of a caller who has a link and no key. No key has
// such a name: see keyName.
const linkName = "link:"

// serveVideo sends the result with ranges and an ETag, or says why not.
func (a *API) serveVideo(w http.ResponseWriter, r *http.Request, who Caller, id string) {
	video, err := a.cfg.Jobs.Video(r.Context(), who, id)
	if err != nil {
		a.failFile(w, r, id, err)
		return
	}
	if job, err := a.cfg.Jobs.Job(r.Context(), who, id); err == nil && len(job.Warnings) > 0 {
		w.Header().Set("X-Job-Warnings", warningCodes(job.Warnings))
	}
	serveFile(w, r, id, "video/mp4", video)
}

// serveThumbnail does the same with the thumbnail.
func (a *API) serveThumbnail(w http.ResponseWriter, r *http.Request, who Caller, id string) {
	picture, err := a.cfg.Jobs.Thumbnail(r.Context(), who, id)
	if err != nil {
		a.failFile(w, r, id, err)
		return
	}
	picture.Filename = thumbnailName
	serveFile(w, r, id, "image/jpeg", picture)
}

// failFile says why there is no file.
func (a *API) failFile(w http.ResponseWriter, r *http.Request, id string, err error) {
	e := apigpu.AsError(err).WithJob(id)
	if e.Code == apigpu.NotReady && e.RetryAfter == 0 {
		e.RetryAfter = 5
	}
	a.fail(w, r, e)
}

// serveFile sends a file of a job, and closes it.
func serveFile(w http.ResponseWriter, r *http.Request, id, kind string, file Video) {
	defer file.Content.Close()
	h := w.Header()
	fileHeaders(h)
	h.Set("Content-Type", kind)
	h.Set("ETag", `"`+file.SHA256+`"`)
	h.Set("Content-Disposition", disposition(file.Filename))
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("X-Job-Id", id)
	http.ServeContent(&rangeWriter{ResponseWriter: w}, r, "", file.ModTime, file.Content)
}

// disposition names a result to whoever saves it: in ASCII, which every client
// understands, and beside it as it is (RFC 6266, section 4.3).
func disposition(filename string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '_'
		}
		return r
	}, filename)
	header := fmt.Sprintf("inline; filename=%q", plain)
	if plain != filename {
		header += "; filename*=UTF-8''" + url.PathEscape(filename)
	}
	return header
}

// rangeWriter turns the one error that http.ServeContent writes by itself
// into a problem: a range that the file does not have.
type rangeWriter struct {
	http.ResponseWriter
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (w *rangeWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	for _, name := range []string{"Content-Disposition", "Content-Length", "Content-Encoding", "ETag"} {
		w.Header().Del(name)
	}
	WriteError(w.ResponseWriter, apigpu.E(apigpu.RangeNotSatisfiable, nil, "The video does not reach that far."))
}

// Write implements io.Writer: the words of ServeContent are dropped where
// ours were written.
func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom lets the kernel send the file, as without this writer.
func (w *rangeWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }

func warningCodes(warnings []apigpu.Warning) string {
	codes := make([]string, len(warnings))
	for i, warning := range warnings {
		codes[i] = warning.Code
	}
	list, err := json.Marshal(codes)
	if err != nil {
		return "[]"
	}
	return string(list)
}
