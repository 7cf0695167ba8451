// Package server answers clients on the VPS: it implements the jobs API with
// the queue and the store, checks inputs before a worker is asked for, and
// keeps results for as long as was promised.
package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// Policy is what the operator decided about jobs.
type Policy struct {
	QueueTTL  time.Duration // how long a job may wait for a worker
	JobTimer  Timer         // how long one run may take
	ResultTTL time.Duration // how long a result is kept
	MaxUpload int64         // bytes of an uploaded video
	// MaxJobsPerKey is how many jobs that have not ended a key may have, but
	// for the admin's; 0 is any number.
	MaxJobsPerKey int
	Limits        Limits
	// Afford says BudgetExceeded of a job that no budget could ever pay for;
	// nil is no budget.
	Afford func(context.Context, queue.Ask) error
	// Expect is what a job with a video of this length and size is expected to
	// take; nil where nobody knows.
	Expect func(ctx context.Context, video time.Duration, bytes int64) (apigpu.Estimate, error)
}

// Jobs implements httpapi.Jobs on the VPS.
type Jobs struct {
	Queue  *queue.Queue
	Blob   *blob.Store
	Fetch  *fetch.Client
	Fonts  *Fonts // nil keeps none
	Policy Policy
	// Previews draws pictures of requests; nil where that is switched off.
	Previews *Previews
	Log      *slog.Logger
	Now      func() time.Time

	closed  atomic.Bool
	uploads uploads
}

var _ httpapi.Jobs = (*Jobs)(nil)

// uploadPrefix begins the keys of uploaded videos.
const uploadPrefix = "upload-"

// Receive streams an uploaded video into the store, which reserves room as it
// comes.
func (s *Jobs) Receive(ctx context.Context, who httpapi.Caller, r io.Reader) (string, error) {
	if err := s.accepts(ctx); err != nil {
		return "", err
	}
	end, err := s.uploads.begin(who)
	if err != nil {
		return "", err
	}
	defer end()
	key := uploadPrefix + strings.ToLower(rand.Text())
	if _, err := s.Blob.Receive(ctx, key, r, s.Policy.MaxUpload); err != nil {
		return "", refusal(err)
	}
	crash.Point("server.received")
	return key, nil
}

// accepts says why no new work is taken: a full disk, or a stop under way.
func (s *Jobs) accepts(ctx context.Context) error {
	if s.closed.Load() {
		return apigpu.E(apigpu.Unavailable, nil, "The server is about to stop.").WithHint("Send it again in a minute.")
	}
	return refusal(s.Blob.Roomy(ctx))
}

// Close refuses new work from now on. Everything else is served.
func (s *Jobs) Close() { s.closed.Store(true) }

// Discard removes an upload that no job has taken over.
func (s *Jobs) Discard(upload string) {
	if upload == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	needed, err := s.Queue.Needs(ctx, upload)
	if err == nil && !needed {
		err = s.Blob.Delete(ctx, upload)
	}
	if err != nil { // the sweep removes it later
		s.Log.Warn("upload not removed", "error", err)
	}
}

// Submit reads the subtitles, looks at the head of the video, and records the
// job: a bad file costs no second of a GPU. A job for whose result there is no
// room is not recorded. A replayed request does none of it, so that it is
// answered though its sources are gone by now.
func (s *Jobs) Submit(ctx context.Context, who httpapi.Caller, sub httpapi.Submission) (job apigpu.Job, replayed bool, err error) {
	once, err := s.once(ctx, sub)
	if err != nil {
		return apigpu.Job{}, false, err
	}
	if once.Key != "" {
		j, found, err := s.Queue.Repeated(ctx, who.Name, once)
		if err != nil || found {
			return j.Job, found, err
		}
	}
	if err := s.accepts(ctx); err != nil {
		return apigpu.Job{}, false, err
	}
	if err := s.checkWebhook(sub.WebhookURL); err != nil {
		return apigpu.Job{}, false, err
	}
	raw, document, err := s.readSubtitle(ctx, sub)
	if err != nil {
		return apigpu.Job{}, false, err
	}
	drawn, err := s.castOf(ctx, who, sub, document)
	if err != nil {
		return apigpu.Job{}, false, err
	}
	head, err := s.lookAtVideo(ctx, sub)
	if err != nil {
		return apigpu.Job{}, false, err
	}
	// Recording must not be cut short by a client that hangs up: it would
	// send the same request again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	room := resultRoom(head, sub.Spec.Output.Quality)
	run := s.Policy.JobTimer.For(head)
	if s.Policy.Afford != nil {
		if err := s.Policy.Afford(ctx, queue.Ask{Run: run, Size: head.Size, Room: room}); err != nil {
			return apigpu.Job{}, false, err
		}
	}
	hold, err := s.Blob.Reserve(ctx, room)
	if err != nil {
		return apigpu.Job{}, false, refusal(err)
	}
	defer hold.Release()
	fonts, err := s.keepSent(ctx, drawn)
	if err != nil {
		return apigpu.Job{}, false, err
	}
	spec := sub.Spec
	spec.URLSRT, spec.HeadersSRT = "", nil
	// The worker reads the same bytes, and does not hear what the server of
	// the file said of them.
	spec.Charset = document.Charset
	most := s.Policy.MaxJobsPerKey
	if who.Admin {
		most = 0
	}
	j, replayed, err := s.Queue.SubmitOnce(ctx, queue.Draft{
		Client: who.Name, Spec: spec, Subtitle: raw, Upload: sub.Upload, Fonts: fonts,
		Captions: account(document, drawn), Warnings: append(subtitle.Warnings(document.Notes), drawn.warnings...),
		WaitFor: s.Policy.QueueTTL, RunFor: run, KeepFor: s.Policy.ResultTTL,
		Room: room, Video: head.Duration, Size: head.Size, MaxOpen: most, Base: sub.Base, WebhookURL: sub.WebhookURL,
	}, once)
	if err != nil {
		return apigpu.Job{}, false, refusal(err)
	}
	if replayed { // another of the same key was faster
		return j.Job, true, nil
	}
	hold.Settle()
	s.Log.InfoContext(ctx, "job queued", "job", j.ID, "client", who.Name, "cues", len(document.Cues), "duration", head.Duration, "room", room)
	return j.Job, false, nil
}

// account is what is told of the captions.
func account(document caption.Document, drawn cast) apigpu.Captions {
	c := subtitle.Account(document, len(document.Cues))
	if len(drawn.use.Families) > 0 {
		c.Fonts = drawn.use.Families
	}
	return c
}

// readSubtitle gets the subtitle file and reads it as the worker will.
func (s *Jobs) readSubtitle(ctx context.Context, sub httpapi.Submission) ([]byte, caption.Document, error) {
	raw, field, contentType := sub.Subtitle, "srt", ""
	if sub.Spec.URLSRT != "" {
		field = "url_srt"
		fetched, info, err := s.Fetch.Bytes(ctx, sub.Spec.URLSRT, sub.Spec.HeadersSRT, apigpu.MaxSubtitle)
		if err != nil {
			return nil, caption.Document{}, apigpu.AsError(err).WithField(field)
		}
		raw, contentType = fetched, info.ContentType
	}
	document, err := subtitle.Read(raw, sub.Spec, contentType)
	if err != nil {
		return nil, caption.Document{}, aboutSubtitles(err, field)
	}
	return bytes.Clone(raw), document, nil
}

// aboutSubtitles names the field of a fault of the subtitles, where the fault
// does not name its own.
func aboutSubtitles(err error, field string) error {
	e := apigpu.AsError(err)
	if e.Field != "" {
		return e
	}
	return e.WithField(field)
}

// Job returns a job that the caller may see.
func (s *Jobs) Job(ctx context.Context, who httpapi.Caller, id string) (apigpu.Job, error) {
	j, err := s.mine(ctx, who, id)
	return j.Job, err
}

func (s *Jobs) mine(ctx context.Context, who httpapi.Caller, id string) (queue.Job, error) {
	j, err := s.Queue.Job(ctx, id)
	if err == nil && !who.MayUse(j.Client) {
		return queue.Job{}, apigpu.E(apigpu.JobNotFound, nil, "There is no job %q.", id)
	}
	return j, err
}

// Wait returns a job once it has changed, or ctx ends.
func (s *Jobs) Wait(ctx context.Context, who httpapi.Caller, id string, after int64) (apigpu.Job, error) {
	j, err := s.Queue.Wait(ctx, id, after)
	if err == nil && !who.MayUse(j.Client) {
		err = apigpu.E(apigpu.JobNotFound, nil, "There is no job %q.", id)
	}
	if err != nil {
		return apigpu.Job{}, err
	}
	return j.Job, nil
}

// List returns one page of jobs.
func (s *Jobs) List(ctx context.Context, who httpapi.Caller, f httpapi.Filter) ([]apigpu.Job, string, error) {
	filter := queue.Filter{Client: who.Name, Status: f.Status, Since: f.Since, Before: f.Cursor, Limit: f.Limit + 1}
	if who.Admin {
		filter.Client = ""
	}
	rows, err := s.Queue.List(ctx, filter)
	if err != nil {
		return nil, "", err
	}
	cursor := ""
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		cursor = rows[f.Limit-1].ID
	}
	jobs := make([]apigpu.Job, len(rows))
	for i, j := range rows {
		jobs[i] = j.Job
	}
	return jobs, cursor, nil
}

// Cancel asks for the end of a job.
func (s *Jobs) Cancel(ctx context.Context, who httpapi.Caller, id string) (apigpu.Job, error) {
	if _, err := s.mine(ctx, who, id); err != nil {
		return apigpu.Job{}, err
	}
	j, err := s.Queue.Cancel(ctx, id)
	return j.Job, err
}

// cancelWait is how long a delete waits for the end that it asked for.
const cancelWait = 10 * time.Second

// Delete forgets a job and its files; one that goes on is canceled first.
func (s *Jobs) Delete(ctx context.Context, who httpapi.Caller, id string) error {
	j, err := s.mine(ctx, who, id)
	if err != nil {
		return err
	}
	if !j.Status.Final() {
		if _, err := s.Queue.Cancel(ctx, id); err != nil && apigpu.CodeOf(err) != apigpu.Conflict {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, cancelWait)
		defer cancel()
		if _, err := s.Queue.Final(wait, id); err != nil {
			return err
		}
	}
	if j, err = s.Queue.Delete(ctx, id); err != nil {
		return err
	}
	for _, key := range []string{j.Result, j.Upload} {
		if key != "" {
			err = errors.Join(err, s.remove(context.WithoutCancel(ctx), key))
		}
	}
	return err
}

// Video opens the result of a job.
func (s *Jobs) Video(ctx context.Context, who httpapi.Caller, id string) (httpapi.Video, error) {
	j, err := s.finished(ctx, who, id)
	if err != nil {
		return httpapi.Video{}, err
	}
	content, object, err := s.Blob.Open(ctx, j.Result)
	if errors.Is(err, fs.ErrNotExist) {
		return httpapi.Video{}, gone(err)
	}
	if err != nil {
		return httpapi.Video{}, fmt.Errorf("open result: %w", err)
	}
	return httpapi.Video{Content: content, SHA256: j.Job.Video.SHA256, ModTime: object.ModTime, Filename: j.Filename}, nil
}

// Thumbnail opens the thumbnail of a job's result.
func (s *Jobs) Thumbnail(ctx context.Context, who httpapi.Caller, id string) (httpapi.Video, error) {
	j, err := s.mine(ctx, who, id)
	if err == nil && !j.Thumbnail {
		return httpapi.Video{}, httpapi.NoThumbnail(nil)
	}
	if err == nil {
		j, err = s.finished(ctx, who, id)
	}
	if err != nil {
		return httpapi.Video{}, err
	}
	content, object, err := s.Blob.Open(ctx, queue.ThumbnailOf(j.Result))
	if errors.Is(err, fs.ErrNotExist) {
		return httpapi.Video{}, httpapi.NoThumbnail(err)
	}
	if err != nil {
		return httpapi.Video{}, fmt.Errorf("open thumbnail: %w", err)
	}
	return httpapi.Video{Content: content, SHA256: object.SHA256, ModTime: object.ModTime}, nil
}

// finished returns a job whose result is here, or why it is not.
func (s *Jobs) finished(ctx context.Context, who httpapi.Caller, id string) (queue.Job, error) {
	j, err := s.mine(ctx, who, id)
	switch {
	case err != nil:
		return j, err
	case j.Evicted:
		return j, evicted()
	case j.Status == apigpu.Succeeded && (j.Result == "" || !s.Now().Before(j.ExpiresAt)):
		return j, gone(nil)
	case j.Status == apigpu.Succeeded:
		return j, nil
	case j.Status.Final():
		return j, j.Error
	}
	return j, apigpu.E(apigpu.NotReady, nil, "The video is not ready yet: the job is %s.", j.Status)
}

func gone(cause error) error {
	return apigpu.E(apigpu.Gone, cause, "This video was kept until its end and is gone.")
}

// evicted is why a result is gone before its time.
func evicted() error {
	return apigpu.E(apigpu.Gone, nil, "This video was removed before its time: the server needed the room for newer work.").
		WithHint("Fetch a result within the first half of RESULT_TTL, for which it is always kept. Its operator can raise STORAGE_MAX.")
}
