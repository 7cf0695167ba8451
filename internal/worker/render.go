package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
)

// rendered is a result with all that made it.
type rendered struct {
	want   ffmpeg.Spec
	in     ffmpeg.Probe
	able   ffmpeg.Abilities
	report ffmpeg.Report
	out    ffmpeg.Probe // what the result is
}

// maxRuns bounds how often a video is rendered until it is small enough.
const maxRuns = 3

// render makes the result and reads it back. Where it must not be larger than
// so many bytes and is, it is made again with fewer.
func (w *Worker) render(ctx context.Context, j *job, want ffmpeg.Spec, p ffmpeg.Probe, a ffmpeg.Abilities) (rendered, error) {
	path := filepath.Join(j.dir, ffmpeg.OutputFile)
	for run := 1; ; run++ {
		report, used, err := w.renderHere(ctx, j, want, p, a)
		if err != nil {
			return rendered{}, err
		}
		out, err := w.cfg.Tools.Verify(ctx, path, want, p, report)
		if err != nil {
			return rendered{}, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return rendered{}, fmt.Errorf("measure result: %w", err)
		}
		if want.MaxSize() == 0 || info.Size() <= want.MaxSize() {
			return rendered{want, p, used, report, out}, nil
		}
		w.cfg.Log.Info("result too large", "job", j.id, "bytes", info.Size(), "most", want.MaxSize(), "run", run)
		if run == maxRuns {
			return rendered{}, apigpu.E(apigpu.TooLarge, nil, "The result has %d bytes after %d tries, more than output.max_size_mb.", info.Size(), run).
				WithField("output.max_size_mb").WithHint("Allow more, or ask for a lower resolution or another codec.")
		}
		if want, err = want.Shrink(p, info.Size(), out.Duration); err != nil {
			return rendered{}, err
		}
		a = used // a GPU that failed once is not asked again
	}
}

// renderHere runs FFmpeg, and once more on the CPU where the GPU failed and may
// be done without. It returns the abilities that did it.
func (w *Worker) renderHere(ctx context.Context, j *job, want ffmpeg.Spec, p ffmpeg.Probe, a ffmpeg.Abilities) (ffmpeg.Report, ffmpeg.Abilities, error) {
	report, err := w.renderOnce(ctx, j, want, p, a)
	if errors.Is(err, ffmpeg.ErrGPU) && !j.requireGPU && ctx.Err() == nil {
		if want.Check(p, a.WithoutGPU()) != nil { // the CPU has no encoder of this codec
			return report, a, err
		}
		w.cfg.Log.Warn("GPU failed, trying the CPU", "job", j.id, "error", err)
		a = a.WithoutGPU()
		j.change(func(shown *apigpu.Job) {
			shown.Warnings = append(shown.Warnings, apigpu.Warning{Code: "gpu_failed", Message: "The GPU's encoder failed; the CPU did the work."})
		})
		report, err = w.renderOnce(ctx, j, want, p, a)
	}
	return report, a, err
}

func (w *Worker) renderOnce(ctx context.Context, j *job, want ffmpeg.Spec, p ffmpeg.Probe, a ffmpeg.Abilities) (ffmpeg.Report, error) {
	began := w.cfg.Now()
	encoder := ffmpeg.EncoderFor(want, p, a)
	gpu := a.GPU
	if !ffmpeg.OnGPU(encoder) {
		gpu = ""
	}
	j.change(func(shown *apigpu.Job) {
		shown.Phase, shown.Stats.Encoder, shown.Stats.GPU = apigpu.Rendering, encoder, gpu
	})
	report, err := w.cfg.Tools.Run(ctx, ffmpeg.Render{
		Dir: j.dir, Args: ffmpeg.Args(want, p, a), Limits: w.cfg.Limits,
		Log: logWriter{w.cfg.Log.With("job", j.id)},
		OnProgress: func(now ffmpeg.Progress) {
			crash.Point("worker.rendering")
			percent := downloadShare + renderShare*now.Fraction(p.Duration)
			j.change(func(shown *apigpu.Job) { shown.Progress = max(shown.Progress, min(percent, 99)) })
		},
	})
	took := w.cfg.Now().Sub(began)
	j.change(func(shown *apigpu.Job) {
		shown.Stats.RenderMS += took.Milliseconds()
		if took > 0 {
			shown.Stats.RealtimeFactor = float64(int(100*report.OutTime.Seconds()/took.Seconds())) / 100
		}
	})
	return report, err
}

// thumbnail makes the picture that was asked for. A job does not fail for want
// of it.
func (w *Worker) thumbnail(ctx context.Context, j *job, r rendered) []apigpu.Warning {
	at := j.spec.Output.Thumbnail
	if at == nil {
		return nil
	}
	when := r.want.Shown(time.Duration(*at*float64(time.Second)), r.out)
	err := w.cfg.Tools.Thumbnail(ctx, j.dir, r.out, when, r.able)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	w.cfg.Log.Warn("no thumbnail", "job", j.id, "error", err)
	return []apigpu.Warning{{Code: apigpu.ThumbnailFailed, Message: "The thumbnail could not be made."}}
}
