package ffmpeg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestProgress(t *testing.T) {
	lines := strings.Split(`frame=12
fps=0.00
stream_0_0_q=N/A
bitrate=N/A
total_size=N/A
out_time_us=N/A
out_time=-577014:32:22.77
speed=N/A
progress=continue
frame=  720
total_size=7540612
out_time_us=30016000
out_time_ms=30016000
speed=  17x
a_new_key
progress=end`, "\n")
	var p Progress
	var reports []Progress
	for _, line := range lines {
		next, complete := p.Apply(line)
		if p = next; complete {
			reports = append(reports, p)
		}
	}
	want := []Progress{
		{Frame: 12},
		{Frame: 720, OutTime: 30016 * time.Millisecond, Size: 7540612, Speed: 17, Done: true},
	}
	if diff := cmp.Diff(want, reports); diff != "" {
		t.Error(diff)
	}
}

func TestFraction(t *testing.T) {
	for _, c := range []struct {
		p      Progress
		length time.Duration
		want   float64
	}{
		{Progress{OutTime: 5 * time.Second}, 10 * time.Second, 0.5},
		{Progress{OutTime: 50 * time.Second}, 10 * time.Second, 0.99}, // a header that lies
		{Progress{OutTime: 5 * time.Second}, 0, 0},
		{Progress{Done: true}, 0, 1},
	} {
		if got := c.p.Fraction(c.length); got != c.want {
			t.Errorf("%+v of %s: %g, want %g", c.p, c.length, got, c.want)
		}
	}
}

func FuzzProgress(f *testing.F) {
	f.Add("frame=1\nout_time_us=99999999999999999999\nprogress=end")
	f.Add("speed=NaNx\nspeed=-1x\ntotal_size=-5")
	f.Fuzz(func(t *testing.T, text string) {
		var p Progress
		for line := range strings.Lines(text) {
			next, _ := p.Apply(line)
			if next.Frame < p.Frame || next.OutTime < p.OutTime || next.Size < p.Size || !(next.Speed >= 0) {
				t.Fatalf("%q: from %+v to %+v", line, p, next)
			}
			p = next
		}
		if f := p.Fraction(time.Second); !(f >= 0 && f <= 1) {
			t.Fatalf("fraction %g", f)
		}
	})
}

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       apigpu.Code
		gpu        bool
		message    string
	}{
		{"full disk", "[h264 @ 0x1] [error] error while decoding MB 1 2\n[error] av_interleaved_write_frame(): No space left on device\n[fatal] Conversion failed!",
			apigpu.StorageFull, false, "no room"},
		{"NVENC", "[h264_nvenc @ 0x1] [error] OpenEncodeSessionEx failed: out of memory (10): (no details)\n[error] input: Invalid data found when processing input",
			apigpu.EncoderFailed, true, "GPU"},
		{"no index", "[mov,mp4 @ 0x1] [error] moov atom not found\n[error] input: Invalid data found when processing input", apigpu.MediaUndecodable, false, "decoded"},
		{"no frame, 7.1", "[dec:vp9 @ 0x1] [fatal] Decode error rate 1 exceeds maximum 0.666667", apigpu.MediaUndecodable, false, "decoded"},
		{"too many pixels", "[error] Picture size 9999x9999 exceeds specified max pixel count 100", apigpu.MediaTooBig, false, "pixels"},
		{"a fault that decoding survives", "[error] Error while decoding stream #0:0: Invalid data found when processing input\n[libx264 @ 0x1] [error] odd thing at /srv/jobs/1/output.mp4",
			apigpu.EncoderFailed, false, "odd thing at …"},
		{"silence", "", apigpu.EncoderFailed, false, "could not write the result."},
	} {
		complaints := newComplaints(nil)
		for line := range strings.Lines(c.said) {
			complaints.line([]byte(strings.TrimSuffix(line, "\n")))
		}
		err := complaints.failure(errors.New("exit status 1"))
		if err.Code != c.want || errors.Is(err, ErrGPU) != c.gpu || !strings.Contains(err.Message, c.message) {
			t.Errorf("%s: %+v, want %s with %q", c.name, err, c.want, c.message)
		}
		if strings.Contains(err.Message, "/work") {
			t.Errorf("%s: the message shows a path: %s", c.name, err.Message)
		}
	}
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"[mov,mp4 @ 0x55d2] [error] moov atom not found": "moov atom not found",
		"open /var/lib/jobs/1/input: denied":             "open … denied",
		`cannot read "C:\jobs\1\input"`:                  `cannot read "…"`,
		"'/usr/share/x y'":                               "'… y'",
		"30000/1001 is a rate":                           "30000/1001 is a rate",
		"bell\a and \xff":                                "bell  and ?",
		strings.Repeat("x", 300):                         strings.Repeat("x", 200) + "…",
	} {
		if got := scrub(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestComplaintsBoundTheLog(t *testing.T) {
	var log strings.Builder
	c := newComplaints(&log)
	for range maxLog / 100 {
		c.line([]byte(strings.Repeat("x", 200)))
	}
	if n := log.Len(); n > maxLog+100 || n < maxLog/2 {
		t.Errorf("the log grew to %d bytes", n)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "SESSION_TOKEN=secret", "X_API_KEY=secret", "CUDA_VISIBLE_DEVICES=0", "FFREPORT=file=x"})
	if diff := cmp.Diff([]string{"AV_LOG_FORCE_NOCOLOR=1", "SVT_LOG=1", "PATH=/bin", "CUDA_VISIBLE_DEVICES=0"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := &lines{take: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"a", "b\nc\n\n", strings.Repeat("d", 3*maxLine), "\nend"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.close()
	_, _ = l.Write([]byte("late\n"))
	if want := []string{"ab", "c", "", strings.Repeat("d", maxLine), "end"}; !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: %.100q", len(got), len(want), got)
	}
}

// standIn is a program in FFmpeg's place.
func standIn(t *testing.T, script string) Tools {
	t.Helper()
	need.Program(t, "sh")
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Tools{FFmpeg: path, FFprobe: path}
}

// endless reports progress once and goes on for ever. It ignores interrupts,
// as a stopped or hanging FFmpeg does.
const endless = `trap '' INT
printf 'frame=1\nprogress=continue\n'
exec sleep 60
`

func TestRunCancel(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	real := []string{"-nostdin", "-v", "error", "-progress", "pipe:1", "-stats_period", "0.1", "-f", "lavfi", "-i", "testsrc2=s=64x48", "-f", "null", "-"}
	why := errors.New("somebody asked")
	for _, c := range []struct {
		name  string
		tools Tools
	}{{"a real one", testTools(t)}, {"one that does not listen", standIn(t, endless)}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			var asked time.Time
			_, err := c.tools.Run(ctx, Render{Dir: t.TempDir(), Args: real, OnProgress: func(Progress) {
				if asked.IsZero() {
					asked = time.Now()
					cancel(why)
				}
			}})
			if err != why {
				t.Errorf("%v, want the cause of the cancel", err)
			}
			if took := time.Since(asked); took > 2*need.Slack*time.Second {
				t.Errorf("it took %s to end", took)
			}
		})
	}
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := (Tools{FFmpeg: "/nowhere"}).Run(canceled, Render{}); err != why {
		t.Errorf("canceled before the start: %v", err)
	}
}

func TestRunStalls(t *testing.T) {
	t.Parallel()
	start := time.Now()
	report, err := standIn(t, endless).Run(t.Context(), Render{Dir: t.TempDir(), Stall: 200 * time.Millisecond})
	if apigpu.CodeOf(err) != apigpu.RenderStalled || report.Frame != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// While the index is moved to the front there is no progress, but the file
// changes.
func TestWatchSparesAFileThatChanges(t *testing.T) {
	dir, stalled := t.TempDir(), make(chan struct{}, 1)
	w := newWatch(Render{Dir: dir, Stall: time.Hour}, func() { stalled <- struct{}{} })
	defer w.close()
	path := filepath.Join(dir, OutputFile)
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.due()
	if len(stalled) != 0 {
		t.Error("stalled, though the file was written")
	}
	w.due()
	if len(stalled) != 1 {
		t.Error("not stalled, though nothing was written since")
	}
}

func TestRunNoFrames(t *testing.T) {
	t.Parallel()
	_, err := standIn(t, "printf 'frame=0\\nprogress=end\\n'\n").Run(t.Context(), Render{Dir: t.TempDir()})
	if apigpu.CodeOf(err) != apigpu.MediaUndecodable {
		t.Errorf("a success without a frame: %v", err)
	}
	_, err = (Tools{FFmpeg: filepath.Join(t.TempDir(), "absent")}).Run(t.Context(), Render{Dir: t.TempDir()})
	if apigpu.CodeOf(err) != apigpu.EncoderFailed {
		t.Errorf("a program that is not there: %v", err)
	}
}
