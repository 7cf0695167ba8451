package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	ff "github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/subtitle"
	"github.com/api-gpu/api-gpu/internal/typeset"
	"github.com/api-gpu/api-gpu/test/need"
)

// maxOverhead is what a whole job may take, as a multiple of its own FFmpeg
// arguments run by hand.
const maxOverhead = 1.10

// BenchmarkWarmJob compares a whole job on a warm worker, from the request to
// its 200, with the same FFmpeg arguments run by hand: 30 s of 720p over
// loopback, in pairs. Run it with -benchtime=5x on a quiet machine.
func BenchmarkWarmJob(b *testing.B) {
	need.FFmpeg(b)
	media := b.TempDir()
	ffmpeg(b, "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=30", "-f", "lavfi", "-i", "sine=duration=30",
		"-vf", "noise=alls=8:allf=t", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", filepath.Join(media, "v.mp4"))
	var srt strings.Builder
	for i := range 15 {
		srt.WriteString(strconv.Itoa(i+1) + "\n00:00:" + two(2*i) + ",000 --> 00:00:" + two(2*i+1) + ",900\nline one of a cue\nand line two\n\n")
	}
	write(b, media, "s.srt", srt.String())
	base := files(b, media, 0)
	s := start(b)
	s.caption(b, base+"/v.mp4", base+"/s.srt") // warms the worker
	args := prepare(b, media, srt.String())
	var ratios []float64
	for b.Loop() {
		began := time.Now()
		var r apigpu.Result
		if status := s.post("?wait=300", map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt"}, &r); status != http.StatusOK {
			b.Fatalf("status %d", status)
		}
		whole := time.Since(began)
		began = time.Now()
		cmd := exec.Command("ffmpeg", args...)
		cmd.Dir = media
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		byHand := time.Since(began)
		ratios = append(ratios, whole.Seconds()/byHand.Seconds())
		b.Logf("whole job %.2f s, by hand %.2f s, ratio %.3f (download %d ms, render %d ms, upload %d ms)",
			whole.Seconds(), byHand.Seconds(), whole.Seconds()/byHand.Seconds(), r.Stats.DownloadMS, r.Stats.RenderMS, r.Stats.UploadMS)
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	b.ReportMetric(median, "whole/by-hand")
	if median > maxOverhead {
		b.Errorf("a whole job takes %.3f times its FFmpeg, want at most %.2f", median, maxOverhead)
	}
}

// prepare puts in a folder what a worker puts in a job's, and returns the
// arguments of its FFmpeg.
func prepare(b *testing.B, dir, srt string) []string {
	b.Helper()
	if err := os.Link(filepath.Join(dir, "v.mp4"), filepath.Join(dir, ff.InputFile)); err != nil {
		b.Fatal(err)
	}
	tools, err := ff.Find()
	if err != nil {
		b.Fatal(err)
	}
	abilities, err := tools.Prove(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	probe, err := tools.Probe(b.Context(), filepath.Join(dir, ff.InputFile))
	if err != nil {
		b.Fatal(err)
	}
	document, err := subtitle.Parse([]byte(srt), subtitle.Options{})
	if err != nil {
		b.Fatal(err)
	}
	width, height := probe.Display()
	sheet, err := typeset.Set(typeset.Job{Cues: document.Cues, Size: typeset.Size{Width: width, Height: height}})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ff.ScriptFile), sheet.ASS, 0o600); err != nil {
		b.Fatal(err)
	}
	return ff.Args(ff.Spec{Output: apigpu.Output{Quality: apigpu.Balanced}, Limits: ff.DefaultLimits()}, probe, abilities)
}

func two(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// TestIdle checks what an orchestrator costs while nothing happens: at most
// 40 MB resident and 1 % of a core.
func TestIdle(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", "1\n00:00:00,000 --> 00:00:01,000\nhello\n")
	ffmpeg(t, "-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", filepath.Join(media, "v.mp4"))
	base := files(t, media, 0)
	s := start(t, "IDLE_TIMEOUT=1s", "LOG_LEVEL=info")
	s.caption(t, base+"/v.mp4", base+"/s.srt")
	eventually(t, time.Minute, "the idle worker is gone", func() bool { return len(processes(s.dir)) == 0 })

	const window = 10 * time.Second
	before := s.cpu()
	time.Sleep(window) // an idle process gives no signal to wait for
	if used := s.cpu() - before; used > window/100 {
		t.Errorf("%s of a core in %s, want at most 1 %%", used, window)
	}
	if kb := s.resident(); kb > 40*1000 {
		t.Errorf("%d kB resident, want at most 40 MB", kb)
	}
}

// cpu is the time that the orchestrator has spent on a core.
func (s *server) cpu() time.Duration {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "stat"))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(fields[11]) // utime and stime are fields 14 and 15 of proc(5)
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// resident is the memory that the orchestrator holds, in kB.
func (s *server) resident() int {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status"))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	kb, _ := strconv.Atoi(strings.Fields(rest)[0])
	return kb
}
