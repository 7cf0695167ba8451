package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// ownJobs serves the jobs API from memory: a worker alone, on somebody's own
// GPU, is already useful. It implements httpapi.Jobs.
type ownJobs Worker

var _ httpapi.Jobs = (*ownJobs)(nil)

func (o *ownJobs) worker() *Worker { return (*Worker)(o) }

func (o *ownJobs) Receive(ctx context.Context, _ httpapi.Caller, r io.Reader) (string, error) {
	w := o.worker()
	file, err := os.CreateTemp(w.cfg.WorkDir, uploadPrefix+"*")
	if err != nil {
		return "", fmt.Errorf("store upload: %w", err)
	}
	n, err := io.Copy(file, io.LimitReader(r, w.cfg.MaxInput+1))
	err = errors.Join(err, file.Close())
	if err == nil && n > w.cfg.MaxInput {
		err = apigpu.E(apigpu.TooLarge, nil, "The video is longer than %d bytes.", w.cfg.MaxInput)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	name := filepath.Base(file.Name())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uploads[name] = file.Name()
	return name, nil
}

// take hands an upload over, to a job or to its end.
func (w *Worker) take(upload string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := w.uploads[upload]
	delete(w.uploads, upload)
	return path
}

func (o *ownJobs) Discard(upload string) {
	w := o.worker()
	path := w.take(upload)
	if path == "" {
		return
	}
	if err := os.Remove(path); err != nil {
		w.cfg.Log.Error("upload not removed", "error", err)
	}
}

// Submit keeps no keys and sends no webhooks: both are promises that outlive
// this process, and its memory does not.
func (o *ownJobs) Submit(ctx context.Context, who httpapi.Caller, s httpapi.Submission) (apigpu.Job, bool, error) {
	for field, value := range map[string]string{"Idempotency-Key": s.Key, "webhook_url": s.WebhookURL} {
		if value != "" {
			return apigpu.Job{}, false, apigpu.E(apigpu.InvalidRequest, nil, "A worker alone does not know %s: an orchestrator does.", field).WithField(field)
		}
	}
	j, err := o.submit(ctx, who, s)
	return j, false, err
}

// Validate reads the subtitles. A worker is what others pay for: it tells
// nothing of cost, and looks at no video before it has it.
func (o *ownJobs) Validate(ctx context.Context, _ httpapi.Caller, s httpapi.Submission, cues bool) (apigpu.Validation, error) {
	document, err := o.worker().readSubtitle(ctx, s)
	if err != nil {
		return apigpu.Validation{}, err
	}
	v := apigpu.Validation{
		Object: "validation", Captions: subtitle.Account(document, len(document.Cues)),
		Warnings: append([]apigpu.Warning{}, subtitle.Warnings(document.Notes)...),
	}
	if cues {
		for _, c := range document.Cues {
			v.Cues = append(v.Cues, apigpu.CueText{Start: c.Start.Seconds(), End: c.End.Seconds(), Text: c.Text, Speaker: c.Speaker, Line: c.Line})
		}
	}
	return v, nil
}

// Preview draws what Submit would make.
func (o *ownJobs) Preview(ctx context.Context, _ httpapi.Caller, s httpapi.Submission, ask apigpu.PreviewAsk) (apigpu.Preview, error) {
	w := o.worker()
	document, err := w.readSubtitle(ctx, s)
	if err != nil {
		return apigpu.Preview{}, err
	}
	for _, b := range s.Fonts {
		if _, err := font.Check(b); err != nil {
			return apigpu.Preview{}, apigpu.AsError(err).WithField("font")
		}
	}
	return w.studio.Draw(ctx, render.Order{Document: document, Spec: s.Spec, Ask: ask, Fonts: s.Fonts, Video: w.film(s)})
}

// readSubtitle gets the subtitle file and reads it.
func (w *Worker) readSubtitle(ctx context.Context, s httpapi.Submission) (caption.Document, error) {
	raw, field, contentType := s.Subtitle, "srt", ""
	if s.Spec.URLSRT != "" {
		field = "url_srt"
		fetched, info, err := w.cfg.Fetch.Bytes(ctx, s.Spec.URLSRT, s.Spec.HeadersSRT, apigpu.MaxSubtitle)
		if err != nil {
			return caption.Document{}, apigpu.AsError(err).WithField(field)
		}
		raw, contentType = fetched, info.ContentType
	}
	document, err := subtitle.Read(raw, s.Spec, contentType)
	if err != nil {
		e := apigpu.AsError(err)
		if e.Field == "" {
			e = e.WithField(field)
		}
		return caption.Document{}, e
	}
	return document, nil
}

func (o *ownJobs) submit(ctx context.Context, who httpapi.Caller, s httpapi.Submission) (apigpu.Job, error) {
	w := o.worker()
	if err := w.may(s.Spec); err != nil {
		return apigpu.Job{}, err
	}
	document, err := w.readSubtitle(ctx, s)
	if err != nil {
		return apigpu.Job{}, err
	}
	j, err := w.newJob("job_"+ulid.MustNew(ulid.Timestamp(w.cfg.Now()), rand.Reader).String(), 1, s.Spec, document, keepOwn)
	if err != nil {
		return apigpu.Job{}, err
	}
	j.client = who.Name
	if err := j.bringFonts(s.Fonts); err != nil {
		return apigpu.Job{}, errors.Join(err, j.drop())
	}
	if s.Upload != "" {
		j.uploaded, err = true, os.Rename(w.take(s.Upload), filepath.Join(j.dir, ffmpeg.InputFile))
	}
	if err == nil {
		err = w.launch(j, waitOwn, runOwn)
	}
	if err != nil {
		return apigpu.Job{}, errors.Join(err, j.drop())
	}
	return j.public(), nil
}

// may refuses what this worker could do for nobody.
func (w *Worker) may(spec apigpu.CaptionSpec) error {
	abilities, _, err := w.fit(spec.Mode)
	if err != nil {
		return err
	}
	return ffmpeg.Spec{Output: spec.Output, Mode: spec.Mode}.Can(abilities)
}

// drop frees a job that was never launched.
func (j *job) drop() error {
	j.stop(nil)
	return os.RemoveAll(j.dir)
}

// newJob makes a job that nothing runs yet, in a folder of its own.
func (w *Worker) newJob(id string, attempt int, spec apigpu.CaptionSpec, document caption.Document, keep time.Duration) (*job, error) {
	dir, err := os.MkdirTemp(w.cfg.WorkDir, fmt.Sprintf("%s%s.%d.*", jobDirPrefix, strings.TrimPrefix(id, jobDirPrefix), attempt))
	if err != nil {
		return nil, fmt.Errorf("make job folder: %w", err)
	}
	ctx, stop := context.WithCancelCause(w.ctx)
	now := w.cfg.Now().UTC()
	end := now.Add(waitOwn + runOwn + keep)
	captions := subtitle.Account(document, len(document.Cues))
	return &job{
		id: id, attempt: attempt, spec: spec, document: document, dir: dir, keepFor: keep,
		ctx: ctx, stop: stop, ended: make(chan struct{}), news: newNews(),
		shown: apigpu.Job{
			ID: id, Object: "job", Operation: apigpu.CaptionOperation, Status: apigpu.Queued, Phase: apigpu.WaitingGPU, Attempt: attempt,
			Revision: 1, CreatedAt: now, ExpiresAt: end, LinkUntil: end, Filename: spec.Output.Filename, Captions: &captions,
			Thumbnail: spec.Output.Thumbnail != nil,
			Warnings:  subtitle.Warnings(document.Notes),
		},
	}, nil
}

// mine finds a job that the caller may see.
func (o *ownJobs) mine(who httpapi.Caller, id string) (*job, error) {
	j, err := o.worker().find(id)
	if err == nil && !who.MayUse(j.client) {
		return nil, apigpu.E(apigpu.JobNotFound, nil, "There is no job %q.", id)
	}
	return j, err
}

func (o *ownJobs) Job(_ context.Context, who httpapi.Caller, id string) (apigpu.Job, error) {
	j, err := o.mine(who, id)
	if err != nil {
		return apigpu.Job{}, err
	}
	return j.public(), nil
}

func (o *ownJobs) Wait(ctx context.Context, who httpapi.Caller, id string, after int64) (apigpu.Job, error) {
	j, err := o.mine(who, id)
	if err != nil {
		return apigpu.Job{}, err
	}
	return j.wait(ctx, after), nil
}

func (o *ownJobs) List(_ context.Context, who httpapi.Caller, f httpapi.Filter) ([]apigpu.Job, string, error) {
	w := o.worker()
	w.mu.Lock()
	var all []apigpu.Job
	for _, j := range w.jobs {
		shown := j.public()
		if who.MayUse(j.client) && (f.Status == "" || shown.Status == f.Status) && !shown.CreatedAt.Before(f.Since) && (f.Cursor == "" || j.id < f.Cursor) {
			all = append(all, shown)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(all, func(a, b apigpu.Job) int { return strings.Compare(b.ID, a.ID) })
	if len(all) <= f.Limit {
		return all, "", nil
	}
	return all[:f.Limit], all[f.Limit-1].ID, nil
}

func (o *ownJobs) Cancel(ctx context.Context, who httpapi.Caller, id string) (apigpu.Job, error) {
	j, err := o.mine(who, id)
	if err != nil {
		return apigpu.Job{}, err
	}
	already := j.public().Status.Final()
	if !already {
		j.stop(errCanceled)
		select { // FFmpeg obeys within 2 s or is killed
		case <-j.ended:
		case <-ctx.Done():
			return apigpu.Job{}, ctx.Err()
		}
	}
	shown := j.public()
	if already || shown.Status != apigpu.JobCanceled { // it may have ended just before
		return shown, apigpu.E(apigpu.Conflict, nil, "The job has ended already: it is %s.", shown.Status).WithJob(id)
	}
	return shown, nil
}

func (o *ownJobs) Delete(ctx context.Context, who httpapi.Caller, id string) error {
	j, err := o.mine(who, id)
	if err != nil {
		return err
	}
	j.stop(errCanceled)
	select {
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	o.worker().forget(j)
	return nil
}

// Thumbnail implements httpapi.Jobs.
func (o *ownJobs) Thumbnail(_ context.Context, who httpapi.Caller, id string) (httpapi.Video, error) {
	j, err := o.mine(who, id)
	if err != nil {
		return httpapi.Video{}, err
	}
	switch shown := j.public(); {
	case !shown.Thumbnail:
		return httpapi.Video{}, httpapi.NoThumbnail(nil)
	case shown.Status == apigpu.Succeeded:
		path := filepath.Join(j.dir, ffmpeg.ThumbnailFile)
		sum, err := sumOf(path)
		if err != nil {
			return httpapi.Video{}, httpapi.NoThumbnail(err)
		}
		file, err := os.Open(path)
		if err != nil {
			return httpapi.Video{}, httpapi.NoThumbnail(err)
		}
		return httpapi.Video{Content: file, SHA256: sum, ModTime: *shown.FinishedAt}, nil
	case shown.Status.Final():
		return httpapi.Video{}, shown.Error
	default:
		return httpapi.Video{}, apigpu.E(apigpu.NotReady, nil, "The thumbnail is not ready yet: the job is %s.", shown.Status)
	}
}

func (o *ownJobs) Video(_ context.Context, who httpapi.Caller, id string) (httpapi.Video, error) {
	j, err := o.mine(who, id)
	if err != nil {
		return httpapi.Video{}, err
	}
	switch shown := j.public(); {
	case shown.Status == apigpu.Succeeded:
		crash.Point("worker.chunk")
		file, err := os.Open(filepath.Join(j.dir, ffmpeg.OutputFile))
		if err != nil {
			return httpapi.Video{}, apigpu.E(apigpu.Gone, err, "The result is gone.")
		}
		return httpapi.Video{Content: file, SHA256: shown.Video.SHA256, ModTime: *shown.FinishedAt, Filename: shown.Filename}, nil
	case shown.Status.Final():
		return httpapi.Video{}, shown.Error
	default:
		return httpapi.Video{}, apigpu.E(apigpu.NotReady, nil, "The video is not ready yet: the job is %s.", shown.Status)
	}
}
