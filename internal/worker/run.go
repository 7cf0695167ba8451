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
	"github.com/api-gpu/api-gpu/internal/subtitle"
	"github.com/api-gpu/api-gpu/internal/typeset"
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
	abilities, fonts, err := w.fit()
	if err != nil {
		return err
	}
	if j.requireGPU && abilities.Encoder != ffmpeg.NVENC {
		return apigpu.E(apigpu.NoEncoder, nil, "A GPU is required, and this worker has proven none.")
	}
	w.begin(j)
	if err := w.getVideo(ctx, j); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(j.dir, ffmpeg.InputFile)) // only the result is kept
	probe, err := w.cfg.Tools.Probe(ctx, filepath.Join(j.dir, ffmpeg.InputFile))
	if err == nil {
		err = w.cfg.Limits.Check(probe)
	}
	if err != nil {
		return err
	}
	frames, err := w.cfg.Tools.Frames(ctx, filepath.Join(j.dir, ffmpeg.InputFile), probe)
	if err != nil {
		return err
	}
	if err := w.writeScript(j, probe, frames.Times, fonts); err != nil {
		return err
	}
	crash.Point("worker.render")
	report, used, err := w.render(ctx, j, probe, frames, abilities)
	if err != nil {
		return err
	}
	crash.Point("worker.rendered")
	return w.seal(ctx, j, probe, used, report)
}

func (w *Worker) begin(j *job) {
	now := w.cfg.Now()
	j.change(func(shown *apigpu.Job) {
		shown.Status, shown.Phase, shown.QueuePosition = apigpu.Running, apigpu.Downloading, nil
		shown.StartedAt = &now
		shown.Stats.QueueMS = now.Sub(shown.CreatedAt).Milliseconds()
	})
}

// writeScript turns the cues into the script that libass draws, on the frames
// of this very video.
func (w *Worker) writeScript(j *job, p ffmpeg.Probe, times []int64, fonts *font.Set) error {
	cues, late := caption.Within(j.document.Cues, end(p, times))
	if len(cues) == 0 {
		return apigpu.E(apigpu.SubtitleEmpty, nil, "No cue begins before the end of the video.")
	}
	width, height := p.Display()
	sheet, err := typeset.Set(typeset.Job{
		Cues: placed(cues, j.spec.KeepPositions), Script: j.document.Script, Style: drawable(j.spec.Style), Language: j.spec.Language,
		Size: typeset.Size{Width: width, Height: height}, Fonts: fonts, Clock: frameClock(times, p),
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.dir, ffmpeg.ScriptFile), sheet.ASS, 0o600); err != nil {
		return fmt.Errorf("write script: %w", err)
	}
	if err := installFonts(filepath.Join(j.dir, ffmpeg.FontsFolder), fonts.Files(append(slices.Clone(sheet.Families), fonts.Base()))); err != nil {
		return err
	}
	captions := subtitle.Account(j.document, sheet.Shown)
	captions.Timing, captions.Fonts = string(sheet.Timing), sheet.Families
	j.change(func(shown *apigpu.Job) {
		shown.Captions = &captions
		shown.Warnings = append(shown.Warnings, subtitle.Warnings(late)...)
		shown.Warnings = append(shown.Warnings, typeset.Warnings(sheet.Notes)...)
		shown.Warnings = append(shown.Warnings, fontReplaced(j.spec.Style, fonts)...)
	})
	return nil
}

// placed takes back where the file puts its cues, unless that is wanted. What
// it says of the edge of the picture ({\an8}) stands in any case: it is there
// to keep captions off other text.
func placed(cues []caption.Cue, keep bool) []caption.Cue {
	if keep {
		return cues
	}
	cues = slices.Clone(cues)
	for i := range cues {
		cues[i].Place = nil
	}
	return cues
}

// drawable makes outlines of emoji in colour, which nothing here draws yet.
func drawable(style apigpu.Style) apigpu.Style {
	if style.Emoji == "" || style.Emoji == apigpu.EmojiColor {
		style.Emoji = apigpu.EmojiMono
	}
	return style
}

// end is where the picture ends: after the last frame where the frames are
// known, else as the header promises.
func end(p ffmpeg.Probe, times []int64) time.Duration {
	if len(times) == 0 {
		return 0 // the header may lie: drop no cue for it
	}
	return time.Duration(times[len(times)-1]+1) * time.Millisecond
}

// render runs FFmpeg, and once more on the CPU where the GPU failed and may
// be done without. It returns the abilities that did it.
func (w *Worker) render(ctx context.Context, j *job, p ffmpeg.Probe, f ffmpeg.Frames, a ffmpeg.Abilities) (ffmpeg.Report, ffmpeg.Abilities, error) {
	a.Encoder = ffmpeg.EncoderFor(p, a)
	report, err := w.renderOnce(ctx, j, p, f, a)
	if errors.Is(err, ffmpeg.ErrGPU) && !j.requireGPU && ctx.Err() == nil {
		w.cfg.Log.Warn("GPU failed, trying the CPU", "job", j.id, "error", err)
		a.Encoder, a.GPU = ffmpeg.X264, ""
		j.change(func(shown *apigpu.Job) {
			shown.Warnings = append(shown.Warnings, apigpu.Warning{Code: "gpu_failed", Message: "The GPU's encoder failed; the CPU did the work."})
		})
		report, err = w.renderOnce(ctx, j, p, f, a)
	}
	return report, a, err
}

func (w *Worker) renderOnce(ctx context.Context, j *job, p ffmpeg.Probe, f ffmpeg.Frames, a ffmpeg.Abilities) (ffmpeg.Report, error) {
	began := w.cfg.Now()
	j.change(func(shown *apigpu.Job) {
		shown.Phase, shown.Stats.Encoder, shown.Stats.GPU = apigpu.Rendering, a.Encoder, a.GPU
	})
	report, err := w.cfg.Tools.Run(ctx, ffmpeg.Render{
		Dir: j.dir, Args: ffmpeg.Args(ffmpeg.Spec{Quality: j.spec.Output.Quality, Limits: w.cfg.Limits, Frames: f}, p, a), Limits: w.cfg.Limits,
		Log: logWriter{w.cfg.Log.With("job", j.id)},
		OnProgress: func(now ffmpeg.Progress) {
			crash.Point("worker.rendering")
			percent := downloadShare + renderShare*now.Fraction(p.Duration)
			j.change(func(shown *apigpu.Job) { shown.Progress = max(shown.Progress, min(percent, 99)) })
		},
	})
	took := w.cfg.Now().Sub(began)
	j.change(func(shown *apigpu.Job) {
		shown.Stats.RenderMS = took.Milliseconds()
		if took > 0 {
			shown.Stats.RealtimeFactor = float64(int(100*report.OutTime.Seconds()/took.Seconds())) / 100
		}
	})
	return report, err
}

// frameClock is when the frames of this video are shown: exactly, where the
// file tells, else by its rate.
func frameClock(times []int64, p ffmpeg.Probe) caption.FrameClock {
	if len(times) == 0 {
		if p.Video.VFR() {
			return caption.FrameClock{}
		}
		return caption.FrameClock{Num: p.Video.AvgRate.Num, Den: p.Video.AvgRate.Den}
	}
	clock := caption.FrameClock{Times: make([]time.Duration, len(times))}
	for i, ms := range times {
		clock.Times[i] = time.Duration(ms) * time.Millisecond
	}
	return clock
}
