package ffmpeg

import (
	"strings"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// TestWithin keeps the shape of the result, and bounds its short side.
func TestWithin(t *testing.T) {
	t.Parallel()
	box := func(w, h int, fit apigpu.Fit) apigpu.Resolution {
		return apigpu.Resolution{Width: w, Height: h, Fit: fit}
	}
	for name, c := range map[string]struct {
		video      Probe
		resolution apigpu.Resolution
		w, h       int
		fit        apigpu.Fit
	}{
		"small":       {Plain(320, 180), apigpu.Resolution{}, 320, 180, apigpu.FitStretch},
		"large":       {Plain(3840, 2160), apigpu.Resolution{}, 1280, 720, apigpu.FitStretch},
		"tall":        {Plain(1080, 1920), apigpu.Resolution{}, 720, 1280, apigpu.FitStretch},
		"odd":         {Plain(1001, 999), apigpu.Resolution{}, 722, 720, apigpu.FitStretch},
		"by a name":   {Plain(1920, 1080), apigpu.Resolution{Name: "480p"}, 854, 480, apigpu.FitStretch},
		"a large box": {Plain(1920, 1080), box(2160, 2160, apigpu.FitCover), 720, 720, apigpu.FitCover},
		"a small box": {Plain(1920, 1080), box(400, 500, ""), 400, 500, ""},
	} {
		o := Within(apigpu.Output{Resolution: c.resolution, FPS: 30, HDR: apigpu.HDRKeep}, c.video, 720)
		w, h := Canvas(o, c.video)
		if w != c.w || h != c.h || o.Resolution.Fit != c.fit || o.FPS != 0 || o.HDR != apigpu.HDRMap {
			t.Errorf("%s: %d x %d, %+v", name, w, h, o)
		}
	}
}

// TestStillArgs: captions are drawn at the time of the picture, and no argument
// holds text of a user.
func TestStillArgs(t *testing.T) {
	t.Parallel()
	s := Still{Spec: Spec{Limits: DefaultLimits()}, Probe: Plain(1920, 1080), At: 3200 * time.Millisecond, File: "a.png"}
	film, plain := strings.Join(s.Args(), " "), strings.Join(s.PlainArgs(), " ")
	for _, args := range []string{film, plain} {
		if !strings.Contains(args, "setpts=PTS-STARTPTS+3.200000/TB,") || !strings.Contains(args, "ass=filename=captions.ass:fontsdir=fonts,") || !strings.HasSuffix(args, " a.png") {
			t.Error(args)
		}
	}
	for _, want := range []string{"-protocol_whitelist file -format_whitelist mov", "-max_pixels 8912896", "-ss 3.198 -i input -map 0:0"} {
		if !strings.Contains(film, want) {
			t.Errorf("no %q in %s", want, film)
		}
	}
	if s.At = 0; !strings.Contains(strings.Join(s.Args(), " "), "-ss 0.000 ") {
		t.Error("it seeks to before the beginning")
	}
}
