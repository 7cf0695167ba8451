package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// Shares of a job here, in percent: getting the video, then rendering.
const (
	downloadShare = 10.0
	renderShare   = 90.0
)

var (
	errCanceled = errors.New("cancel was asked for")
	errDeadline = errors.New("the running deadline has passed")
	errReplaced = errors.New("a newer attempt has come")
)

// launch makes a job known and runs it as soon as a slot is free, in a
// goroutine of its own. wait bounds the wait for the slot, run the run. After
// an error the job is still the caller's.
func (w *Worker) launch(j *job, wait, run time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return apigpu.E(apigpu.Unavailable, nil, "This worker stops.")
	case w.jobs[j.id] != nil:
		return apigpu.E(apigpu.Conflict, nil, "There is a job %q already.", j.id)
	}
	w.jobs[j.id] = j
	w.wg.Go(func() {
		defer close(j.ended)
		defer j.stop(nil)
		err := w.inSlot(j.ctx, j, wait, run)
		w.finish(j, err)
	})
	return nil
}

// inSlot waits for a slot and runs the job in it.
func (w *Worker) inSlot(ctx context.Context, j *job, wait, run time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-timer.C:
		return apigpu.E(apigpu.QueueExpired, nil, "No slot was free before the job's waiting time was over.")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, run, errDeadline)
	defer cancel()
	err := w.caption(ctx, j)
	if cause := context.Cause(ctx); cause != nil {
		return cause // whatever broke, this is why
	}
	return err
}

// finish shows how the job ended, and frees what is not its result.
func (w *Worker) finish(j *job, err error) {
	status, why := outcome(err)
	if why != nil {
		w.cfg.Log.Info("job ended", "job", j.id, "attempt", j.attempt, "status", string(status), "error", err)
		if err := os.RemoveAll(j.dir); err != nil {
			w.cfg.Log.Error("job folder not removed", "job", j.id, "error", err)
		}
	}
	crash.Point("worker.finish")
	now := w.cfg.Now()
	j.change(func(shown *apigpu.Job) {
		shown.Status, shown.Phase, shown.Error = status, apigpu.Done, why
		shown.FinishedAt, shown.ExpiresAt = &now, now.Add(j.keepFor)
		if status == apigpu.Succeeded {
			shown.Progress = 100
		}
	})
}

// outcome is the end of a job whose run returned err.
func outcome(err error) (apigpu.Status, *apigpu.Error) {
	switch {
	case err == nil:
		return apigpu.Succeeded, nil
	case errors.Is(err, errDeadline):
		return apigpu.Failed, apigpu.E(apigpu.JobTimeout, err, "The job ran longer than it may.")
	case errors.Is(err, errCanceled), errors.Is(err, errReplaced):
		return apigpu.JobCanceled, apigpu.E(apigpu.Canceled, err, "The job was canceled.")
	case errors.Is(err, context.Canceled): // the worker is told to stop
		return apigpu.Failed, apigpu.E(apigpu.Unavailable, err, "The worker was stopped.")
	case apigpu.CodeOf(err) == apigpu.QueueExpired:
		return apigpu.JobExpired, apigpu.AsError(err)
	}
	return apigpu.Failed, apigpu.AsError(err)
}

// caption does the work: video in, captions on, result out.
func (w *Worker) caption(ctx context.Context, j *job) (err error) {
	defer func() { // one poisoned file must not end the jobs of others
		if fault := recover(); fault != nil {
			err = apigpu.E(apigpu.Internal, fmt.Errorf("panic: %v\n%s", fault, debug.Stack()), "Something went wrong on our side.")
		}
	}()
	abilities, fonts, err := w.fit(j.spec.Mode)
	if err != nil {
		return err
	}
	want := j.want(w.cfg.Limits)
	if j.requireGPU {
		if abilities = abilities.GPUOnly(); abilities.Best(want.Output.Codec) == "" {
			return apigpu.E(apigpu.NoEncoder, nil, "A GPU is required, and this worker has proven none for this codec.")
		}
	}
	if err := want.Can(abilities); err != nil {
		return err
	}
	w.begin(j)
	if err := w.getVideo(ctx, j); err != nil {
		return err
	}
	if fonts, err = j.fonts.with(ctx, fonts); err != nil {
		return err
	}
	path := filepath.Join(j.dir, ffmpeg.InputFile)
	defer os.Remove(path) // only the result is kept
	probe, err := w.look(ctx, path, &want)
	if err != nil {
		return err
	}
	if err := want.Check(probe, abilities); err != nil {
		return err
	}
	if err := w.writeCaptions(j, &want, probe, fonts); err != nil {
		return err
	}
	crash.Point("worker.render")
	done, err := w.render(ctx, j, want, probe, abilities)
	if err != nil {
		return err
	}
	crash.Point("worker.rendered")
	return w.seal(ctx, j, done)
}

// want is what the job asks of FFmpeg.
func (j *job) want(limits ffmpeg.Limits) ffmpeg.Spec {
	return ffmpeg.Spec{Output: j.spec.Output, Mode: j.spec.Mode, Language: j.spec.Language, Limits: limits}
}

// look finds out what the video is, and when its frames are shown.
func (w *Worker) look(ctx context.Context, path string, want *ffmpeg.Spec) (ffmpeg.Probe, error) {
	probe, err := w.cfg.Tools.Probe(ctx, path)
	if err == nil {
		err = w.cfg.Limits.Check(probe)
	}
	if err != nil {
		return probe, err
	}
	if want.Output.Audio == apigpu.AudioNone {
		probe = probe.Silent()
	}
	want.Frames, err = w.cfg.Tools.Frames(ctx, path, probe)
	if want.KeepsHDR(probe) {
		want.Light = w.cfg.Tools.Light(ctx, path, probe)
	}
	return probe, err
}

func (w *Worker) begin(j *job) {
	now := w.cfg.Now()
	j.change(func(shown *apigpu.Job) {
		shown.Status, shown.Phase, shown.QueuePosition = apigpu.Running, apigpu.Downloading, nil
		shown.StartedAt = &now
		shown.Stats.QueueMS = now.Sub(shown.CreatedAt).Milliseconds()
	})
}

// writeCaptions turns the cues into what FFmpeg reads: a script to draw, a text
// track, or both.
func (w *Worker) writeCaptions(j *job, want *ffmpeg.Spec, p ffmpeg.Probe, fonts *font.Set) error {
	cues, late := caption.Within(j.document.Cues, end(p, want.Frames.Times))
	if len(cues) == 0 {
		return apigpu.E(apigpu.SubtitleEmpty, nil, "No cue begins before the end of the video.")
	}
	captions, warnings := subtitle.Account(j.document, len(cues)), subtitle.Warnings(late)
	if want.Mode != apigpu.Soft {
		sheet, more, err := render.Write(j.dir, render.Captions{Cues: cues, Script: j.document.Script, Spec: j.spec}, want, p, fonts)
		if err != nil {
			return err
		}
		captions.CuesUsed, captions.Timing, captions.Fonts = sheet.Shown, string(sheet.Timing), sheet.Families
		warnings = append(warnings, more...)
	}
	if want.Mode == apigpu.Soft || want.Mode == apigpu.Both {
		track := caption.WriteSRT(caption.Flat(until(cues, want.Frames.End)))
		if err := os.WriteFile(filepath.Join(j.dir, ffmpeg.TrackFile), track, 0o600); err != nil {
			return fmt.Errorf("write text track: %w", err)
		}
	}
	j.change(func(shown *apigpu.Job) {
		shown.Captions = &captions
		shown.Warnings = append(shown.Warnings, warnings...)
	})
	return nil
}

// until ends cues with the picture, so that a text track is no longer than it.
// An end of 0 is not known.
func until(cues []caption.Cue, end time.Duration) []caption.Cue {
	if end <= 0 {
		return cues
	}
	cues = slices.Clone(cues)
	for i := range cues {
		cues[i].End = max(min(cues[i].End, end), cues[i].Start+time.Millisecond)
	}
	return cues
}

// end is where the picture ends: after the last frame where the frames are
// known, else as the header promises.
func end(p ffmpeg.Probe, times []int64) time.Duration {
	if len(times) == 0 {
		return 0 // the header may lie: drop no cue for it
	}
	return time.Duration(times[len(times)-1]+1) * time.Millisecond
}
