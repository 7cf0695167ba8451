package ffmpeg

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

const (
	defaultStall = time.Minute
	// killAfter is how long FFmpeg may take to obey an interrupt. It would
	// use the time to finish a file that nobody wants.
	killAfter = 1500 * time.Millisecond
	// maxLog bounds what one run adds to the log, in bytes.
	maxLog = 1 << 20
)

var errStalled = errors.New("no progress")

// Render is one run of FFmpeg.
type Render struct {
	Dir    string   // the job's folder, with InputFile and ScriptFile
	Args   []string // from Args
	Limits Limits   // those that Args had
	// Stall ends a run that made no progress for so long; 0 is a minute.
	Stall time.Duration
	// Log gets FFmpeg's complaints, up to 1 MiB; nil drops them.
	Log io.Writer
	// OnProgress is called four times a second, never by two at once, and
	// never after Run returned. It must not block. It may be nil.
	OnProgress func(Progress)
}

// Report is what a run did.
type Report struct {
	Progress
	// Damaged counts what the decoder could not read in full: frames with
	// faults, and packets that gave no frame.
	Damaged int
	// MissingGlyphs counts the characters of the captions that no font has:
	// each is drawn as a hollow box.
	MissingGlyphs int
	// LastLine is FFmpeg's last complaint, without addresses and paths;
	// empty if it had none.
	LastLine string
}

// Run runs FFmpeg until it is done, ctx ends, or it stalls. When ctx ends
// FFmpeg is interrupted at once, killed after 1.5 s, and the cause of ctx is
// returned. Codes of other errors: MediaUndecodable, MediaTooLong,
// MediaTooBig, TooLarge, RenderStalled, StorageFull, JobTimeout (its processor
// time is used up), EncoderFailed (which wraps ErrGPU where the GPU is to
// blame).
//
// FFmpeg calls a result good that it cut at a limit, or that it made from a
// file it could hardly read. Run does not.
func (t Tools) Run(ctx context.Context, r Render) (Report, error) {
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	complaints := newComplaints(r.Log)
	watch := newWatch(r, func() { cancel(errStalled) })
	defer watch.close()

	cmd := exec.CommandContext(ctx, t.FFmpeg, r.Args...)
	cmd.Dir, cmd.Env = r.Dir, environment(os.Environ())
	b := r.bounds(ctx, t.memory())
	t.bound(cmd, b)
	progress, stderr := &lines{take: watch.line}, &lines{take: complaints.line}
	cmd.Stdout, cmd.Stderr = progress, stderr
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.WaitDelay = killAfter
	err := runLocked(cmd)
	progress.close()
	stderr.close()

	report := Report{Progress: watch.close(), Damaged: complaints.damaged, MissingGlyphs: len(complaints.glyphs), LastLine: scrub(complaints.last)}
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return report, apigpu.E(apigpu.RenderStalled, err, "FFmpeg made no progress for %s.", watch.stall)
	case ctx.Err() != nil: // before err: an interrupted FFmpeg fails too, with status 255
		return report, context.Cause(ctx)
	case err != nil && b.spent(cmd.ProcessState):
		return report, cpuSpent(err)
	case err != nil:
		return report, complaints.failure(err)
	}
	return report, report.check(r.Limits)
}

// check finds the results that FFmpeg calls good and we do not.
func (r Report) check(l Limits) error {
	switch {
	case r.Frame == 0:
		return apigpu.E(apigpu.MediaUndecodable, nil, "No frame of the video could be decoded.")
	case l.MaxBytes > 0 && r.Size >= l.MaxBytes:
		return apigpu.E(apigpu.TooLarge, nil, "The result would be larger than %d bytes.", l.MaxBytes).
			WithHint("Ask for a lower quality.")
	case l.MaxDuration > 0 && r.OutTime > l.MaxDuration+grace/2:
		return tooLong(l)
	case int64(r.Damaged) > r.Frame/2: // FFmpeg itself gives up at two thirds, since version 6
		return apigpu.E(apigpu.MediaUndecodable, nil, "The video is damaged: %d faults in %d frames.", r.Damaged, r.Frame)
	}
	return nil
}

func cpuSpent(cause error) *apigpu.Error {
	return apigpu.E(apigpu.JobTimeout, cause, "FFmpeg used all the processor time that the job may take.")
}

func tooLong(l Limits) error {
	return apigpu.E(apigpu.MediaTooLong, nil, "The video is longer than the %s that are accepted.", l.MaxDuration)
}

// modTime returns when the result was last written to, and the zero time
// while there is none.
func modTime(dir string) time.Time {
	info, err := os.Stat(filepath.Join(dir, OutputFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
