package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/show"
)

// captionCmd is the main thing: one video, one subtitle file, one result.
type captionCmd struct {
	Video   string `arg:"" help:"The video: a file, or an http(s) address."`
	SRT     string `arg:"" name:"srt" help:"The subtitles: a file, an http(s) address, or - for standard input."`
	Out     string `short:"o" placeholder:"FILE" help:"Where to write the result: a file, a folder, or - for standard output (default: name of the video with .captioned.mp4, in the current folder)."`
	Quality string `enum:",draft,balanced,high,max" default:"" help:"How much of the picture is kept: draft, balanced, high or max (default: balanced)."`
	Preset  string `placeholder:"NAME" help:"Look of the captions: clean, boxed, bold_social, karaoke, word_pop, podcast, broadcast or none."`
	Request string `placeholder:"FILE" help:"A file with further fields of the request as JSON, such as style and output; flags win over it."`
	JSON    bool   `name:"json" help:"Write the job as JSON to standard output, and nothing else."`
	Webhook string `placeholder:"URL" help:"Address that the server tells of the end of the job."`
	Once    string `name:"idempotency-key" placeholder:"KEY" help:"Join the job of an earlier, same request with this key (kept for 24 hours)."`
	NoWait  bool   `help:"Leave the job to the server and quit."`
	Force   bool   `short:"f" help:"Replace the result file if it exists."`
}

// Run submits the job, waits for its end and fetches the video.
func (k *captionCmd) Run(a *app) error {
	if k.JSON && k.Out == "-" {
		return usage("--json and -o - both want standard output.")
	}
	video, err := openSource(k.Video, "video")
	if err != nil {
		return err
	}
	defer video.close()
	srt, err := openSubtitles(k.SRT, a.stdin)
	if err != nil {
		return err
	}
	defer srt.close()
	var out *output
	if !k.NoWait {
		if out, err = openOutput(k.outName(), k.Force, video.info, a.stdout); err != nil {
			return err
		}
		defer out.discard()
	}
	m := newMeter(a.stderr)
	defer m.clear()
	request, err := k.request(video, srt, m)
	if err != nil {
		return err
	}
	job, err := a.submit(request)
	m.clear()
	switch {
	case err != nil:
		return err
	case a.ctx.Err() != nil:
		return a.cancelInterrupted(job, k.JSON)
	case k.NoWait:
		return k.left(a, job)
	}
	last, err := a.client.Follow(a.ctx, job.ID, func(j apigpu.Job) { m.show(stepOf(j)) })
	m.clear()
	switch {
	case a.ctx.Err() != nil && !last.Status.Final():
		// last may be empty, when no event came; job has the id.
		return a.cancelInterrupted(job, k.JSON)
	case err != nil && apigpu.AsError(err).Retryable:
		return apigpu.AsError(err).WithHint("The job may go on without us. See: api-gpu job %s --wait", job.ID)
	case err != nil:
		return err
	}
	job = last // with its video, or its error
	return k.finish(a, job, out, m)
}

// outName is the file to write to.
func (k *captionCmd) outName() string {
	if k.Out == "" {
		return resultName(k.Video)
	}
	if info, err := os.Stat(k.Out); err == nil && info.IsDir() {
		return filepath.Join(k.Out, resultName(k.Video))
	}
	return k.Out
}

// request is what to ask of the server. The result's name there is that of
// the file here, so that the link is recognised.
func (k *captionCmd) request(video, srt source, m *meter) (client.Request, error) {
	name := filepath.Base(k.outName())
	if k.Out == "-" {
		name = resultName(k.Video)
	}
	spec, err := readSpec(k.Request)
	if err != nil {
		return client.Request{}, err
	}
	spec.URLVideo, spec.URLSRT, spec.Output.Filename = video.address, srt.address, name
	if k.Quality != "" {
		spec.Output.Quality = apigpu.Quality(k.Quality)
	}
	if k.Preset != "" {
		spec.Style.Preset = apigpu.Preset(k.Preset)
	}
	r := client.Request{Spec: spec, Subtitle: srt.file, WebhookURL: k.Webhook, IdempotencyKey: k.Once}
	if video.file != nil {
		label := "Sending " + filepath.Base(video.file.Name)
		r.Video = &client.File{Name: video.file.Name, Content: &countingReader{video.file.Content, counted{meter: m, label: label, size: video.size}}}
	}
	return r, nil
}

// maxSpec bounds a file of further fields, in bytes.
const maxSpec = 1 << 20

// readSpec reads further fields of a request from a file; without one there
// are none. The server checks what they say.
func readSpec(path string) (apigpu.CaptionSpec, error) {
	if path == "" {
		return apigpu.CaptionSpec{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return apigpu.CaptionSpec{}, usage("The file %s cannot be opened: %v.", path, err)
	}
	defer file.Close()
	dec := json.NewDecoder(io.LimitReader(file, maxSpec))
	dec.DisallowUnknownFields()
	var spec apigpu.CaptionSpec
	if err := dec.Decode(&spec); err != nil {
		return apigpu.CaptionSpec{}, usage("The file %s is not the JSON of a request: %v.", path, err)
	}
	return spec, nil
}

// submitGrace is how long an answer is waited for after an interrupt: without
// it a job may run whose id nobody knows.
const submitGrace = 10 * time.Second

// submit makes the job. After an error there is none, as far as anybody knows.
func (a *app) submit(r client.Request) (apigpu.Job, error) {
	if r.Video != nil { // an upload that is cut short makes no job
		return a.client.Caption(a.ctx, r)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.ctx))
	defer cancel()
	stop := context.AfterFunc(a.ctx, func() {
		t := time.AfterFunc(submitGrace, cancel)
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	defer stop()
	return a.client.Caption(ctx, r)
}

// left tells of a job that goes on without us.
func (k *captionCmd) left(a *app, job apigpu.Job) error {
	if k.JSON {
		return show.JSON(a.stdout, job)
	}
	show.Lines(a.stdout,
		"Job   "+job.ID,
		fmt.Sprintf("Link  %s (opens when the job is done, until %s at the latest)", job.VideoURL, dateWords(job.ExpiresAt)),
		"Next  api-gpu job "+job.ID+" --wait")
	return nil
}

// finish fetches the video of a job that has ended, if it has one.
func (k *captionCmd) finish(a *app, job apigpu.Job, out *output, m *meter) error {
	err := ended(job)
	if err == nil {
		err = a.save(job, out, m)
	}
	switch {
	case k.JSON:
		if err == nil {
			show.Lines(a.stderr, "Saved "+out.path)
		}
		return errors.Join(err, show.JSON(a.stdout, job))
	case err != nil:
		return err
	case out.path == "-":
		show.Lines(a.stderr, summary(job, "")...)
	default:
		show.Lines(a.stdout, summary(job, out.path)...)
	}
	return nil
}

// save fetches the video. It is finished whatever happens here, so each error
// says where it stays.
func (a *app) save(job apigpu.Job, out *output, m *meter) error {
	var size int64
	if job.Video != nil {
		size = job.Video.Bytes
	}
	err := a.client.Download(a.ctx, job, &countingWriter{out, counted{meter: m, label: "Saving", size: size}})
	m.clear()
	if err == nil {
		return out.commit()
	}
	if a.ctx.Err() != nil {
		return &exitError{code: exitInterrupted, message: "Interrupted. The video is finished, and stays on the server.", hint: job.VideoURL}
	}
	if e, ok := errors.AsType[*apigpu.Error](err); ok {
		return e.WithHint("The video stays at %s", job.VideoURL)
	}
	return fmt.Errorf("save video: %w", err) // our own disk
}

// cancelInterrupted ends a job that nobody waits for any more.
func (a *app) cancelInterrupted(job apigpu.Job, asJSON bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), submitGrace)
	defer cancel()
	e := &exitError{code: exitInterrupted}
	canceled, err := a.client.Cancel(ctx, job.ID)
	switch {
	case err == nil:
		job, e.message = canceled, fmt.Sprintf("Interrupted. The server was told to cancel %s.", job.ID)
	case apigpu.CodeOf(err) == apigpu.Conflict:
		e.message, e.hint = fmt.Sprintf("Interrupted. %s had ended by then.", job.ID), "See: api-gpu job "+job.ID
	default:
		e.message, e.hint = fmt.Sprintf("Interrupted, and %s could not be canceled: it goes on.", job.ID), "Try: api-gpu cancel "+job.ID
	}
	if asJSON {
		return errors.Join(e, show.JSON(a.stdout, job))
	}
	return e
}
