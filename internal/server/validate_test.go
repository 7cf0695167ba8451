package server

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

// clip is a video of two seconds.
func clip(t *testing.T) string {
	t.Helper()
	need.FFmpeg(t)
	path := filepath.Join(t.TempDir(), "clip.mp4")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=10:d=2",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.Expect = func(_ context.Context, video time.Duration, bytes int64) (apigpu.Estimate, error) {
		return apigpu.Estimate{Seconds: video.Seconds(), CostUSD: apigpu.Nanodollars(bytes), Basis: "a test"}, nil
	}
	video := clip(t)
	allowed, blocked := source(t, map[string]string{"/v.mp4": video, "/page": "<!doctype html><html></html>", "/noise": strings.Repeat("x", 2000), "/whole": video})
	late := "2\n00:00:05,000 --> 00:00:06,000\ntoo late\n"
	ask := func(address, srt string) httpapi.Submission {
		return httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: address}.Clean(), Subtitle: []byte(srt)}
	}
	t.Run("all is known", func(t *testing.T) {
		v, err := b.Validate(t.Context(), ann(), ask(allowed+"/v.mp4", oneCue+"\n"+late), true)
		if err != nil {
			t.Fatal(err)
		}
		if c := v.Captions; c.CuesIn != 2 || c.CuesUsed != 1 || c.Format != "srt" || c.Confidence != 1 {
			t.Errorf("captions %+v", c)
		}
		if len(v.Warnings) != 1 || v.Warnings[0].Code != "cue_dropped_past_end" || len(v.Warnings[0].Lines) != 1 {
			t.Errorf("warnings %+v", v.Warnings)
		}
		if len(v.Cues) != 2 || v.Cues[0].Text != "Hello" || v.Cues[1].Start != 5 {
			t.Errorf("cues %+v", v.Cues)
		}
		if h := v.Video; h == nil || !h.Reachable || h.Bytes != int64(len(video)) || h.Duration != 2 || h.Width != 160 || h.Height != 90 || h.FPS != 10 || h.Codec != "h264" {
			t.Errorf("video %+v", v.Video)
		}
		if e := v.Estimate; e == nil || e.Seconds != 2 || e.CostUSD != apigpu.Nanodollars(int64(len(video))) {
			t.Errorf("estimate %+v", v.Estimate)
		}
	})
	t.Run("subtitles alone", func(t *testing.T) {
		v, err := b.Validate(t.Context(), ann(), ask("", oneCue), false)
		if err != nil || v.Video != nil || v.Estimate != nil || v.Cues != nil || v.Warnings == nil {
			t.Errorf("%+v, %v", v, err)
		}
	})
	t.Run("a video that tells nothing", func(t *testing.T) {
		for _, path := range []string{"/noise", "/whole", "/missing"} {
			v, err := b.Validate(t.Context(), ann(), ask(allowed+path, oneCue), false)
			if err != nil || v.Video == nil || v.Video.Reachable == (path == "/missing") || v.Video.Reason == "" || v.Estimate != nil {
				t.Errorf("%s: %+v, %v", path, v.Video, err)
			}
		}
	})
	for name, c := range map[string]struct {
		sub   httpapi.Submission
		code  apigpu.Code
		field string
	}{
		"a blocked video":       {ask(blocked+"/v.mp4", oneCue), apigpu.BlockedAddress, "url_video"},
		"a page":                {ask(allowed+"/page", oneCue), apigpu.SourceIsHTML, "url_video"},
		"no subtitles":          {ask(allowed+"/v.mp4", "prose"), apigpu.SubtitleUnparseable, "srt"},
		"all captions too late": {ask(allowed+"/v.mp4", late), apigpu.SubtitleEmpty, ""},
	} {
		_, err := b.Validate(t.Context(), ann(), c.sub, false)
		if e := apigpu.AsError(err); err == nil || e.Code != c.code || e.Field != c.field {
			t.Errorf("%s: %v, want %s of %q", name, err, c.code, c.field)
		}
	}
	if jobs, err := b.Queue.List(t.Context(), queue.Filter{Limit: 10}); err != nil || len(jobs) > 0 {
		t.Errorf("%d jobs were made, %v", len(jobs), err)
	}
}
