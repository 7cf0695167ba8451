package ffmpeg

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

func TestCanvas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		w, h       int
		resolution apigpu.Resolution
		want       string
	}{
		{1920, 1080, apigpu.Resolution{}, "1920x1080"},
		{1921, 1081, apigpu.Resolution{Name: "source"}, "1922x1082"},
		{1920, 1080, apigpu.Resolution{Name: "720p"}, "1280x720"},
		{1080, 1920, apigpu.Resolution{Name: "720p"}, "720x1280"},
		{640, 360, apigpu.Resolution{Name: "4k"}, "640x360"},
		{4096, 2160, apigpu.Resolution{Name: "4k"}, "4096x2160"},
		{1000, 563, apigpu.Resolution{Name: "480p"}, "852x480"},
		{640, 360, apigpu.Resolution{Width: 1080, Height: 1920}, "1080x1920"},
		{640, 360, apigpu.Resolution{Width: 101, Height: 101, Fit: apigpu.FitCover}, "102x102"},
		{640, 360, apigpu.Resolution{Width: 101}, "640x360"},
	} {
		p := plain()
		p.Video.Width, p.Video.Height = c.w, c.h
		w, h := Canvas(apigpu.Output{Resolution: c.resolution}, p)
		if got := fmt.Sprintf("%dx%d", w, h); got != c.want {
			t.Errorf("%d x %d as %+v: %s, want %s", c.w, c.h, c.resolution, got, c.want)
		}
	}
}

func TestFrameRate(t *testing.T) {
	t.Parallel()
	for fps, want := range map[apigpu.FrameRate]Rational{
		0: {}, 25: {25, 1}, 23.976: {24000, 1001}, 23.98: {24000, 1001}, 29.97: {30000, 1001}, 59.94: {60000, 1001}, 119.88: {120000, 1001},
		30: {30, 1}, 12.5: {25, 2}, 1: {1, 1}, 29.9: {299, 10}, 120: {120, 1}, apigpu.FrameRate(math.NaN()): {},
	} {
		if got := FrameRate(fps); got != want {
			t.Errorf("%v: %v, want %v", fps, got, want)
		}
	}
}

func TestTrackLanguage(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"": "und", "pt-BR": "por", "pt_BR": "por", "en": "eng", "zh-Hant": "zho", "de": "deu", "yue": "yue", "x-private": "und", "und": "und", "??": "und", "q": "und",
	} {
		if got := trackLanguage(tag); got != want {
			t.Errorf("%q: %s, want %s", tag, got, want)
		}
	}
}

// TestCan refuses a codec before any work, and falls back on the CPU where the
// GPU lacks it.
func TestCan(t *testing.T) {
	t.Parallel()
	gpu := Abilities{Encoder: NVENC, GPU: "RTX 3090", More: []string{NVENCHEVC, X265, SVTAV1}}
	for _, c := range []struct {
		name  string
		able  Abilities
		codec apigpu.Codec
		want  string
	}{
		{"h264", gpu, "", NVENC},
		{"hevc", gpu, apigpu.HEVC, NVENCHEVC},
		{"av1 by the CPU", gpu, apigpu.AV1, SVTAV1},
		{"hevc without the GPU", gpu.WithoutGPU(), apigpu.HEVC, X265},
		{"h264 without the GPU", gpu.WithoutGPU(), apigpu.H264, X264},
		{"only the GPU", gpu.GPUOnly(), apigpu.AV1, ""},
		{"libaom before nothing", Abilities{Encoder: X264, More: []string{AOM}}, apigpu.AV1, AOM},
		{"nothing", Abilities{Encoder: X264}, apigpu.AV1, ""},
	} {
		spec := Spec{Output: apigpu.Output{Codec: c.codec}}
		if got := EncoderFor(spec, plain(), c.able); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for _, err := range []error{spec.Can(c.able), spec.Check(plain(), c.able)} {
			if want := map[bool]apigpu.Code{true: apigpu.NoEncoder}[c.want == ""]; apigpu.CodeOf(err) != want {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	tiny := Spec{Output: apigpu.Output{Codec: apigpu.AV1, Resolution: apigpu.Resolution{Width: 32, Height: 32}}}
	if err := tiny.Check(plain(), gpu); apigpu.CodeOf(err) != apigpu.InvalidRequest {
		t.Errorf("a tiny box: %v", err)
	}
	big := Spec{Limits: DefaultLimits(), Output: apigpu.Output{Resolution: apigpu.Resolution{Width: 8192, Height: 8192}}}
	if err := big.Check(plain(), gpu); apigpu.CodeOf(err) != apigpu.MediaTooBig {
		t.Errorf("a huge box: %v", err)
	}
}

func TestMaxSize(t *testing.T) {
	t.Parallel()
	spec := func(mb float64) Spec { return Spec{Output: apigpu.Output{MaxSizeMB: mb}} }
	p := plain() // 30 s with AAC of unknown rate
	able := Abilities{Encoder: X264}
	if err := spec(0.3).Check(p, able); apigpu.CodeOf(err) != apigpu.TooLarge {
		t.Errorf("less than the sound alone: %v", err)
	}
	if rate := spec(1000).rate(p); rate != 0 {
		t.Errorf("plenty of bytes: %d", rate)
	}
	s := spec(10)
	first := s.rate(p)
	if total := float64(first) * 30 / 8; total > 10e6 || total < 8e6 {
		t.Errorf("the picture of 10 MB has %.0f bytes", total)
	}
	next, err := s.Shrink(p, 12e6, 30*time.Second)
	if err != nil || next.rate(p) >= first*9/10 || next.rate(p) < first/2 {
		t.Errorf("after 12 MB of %d: %d, %v", first, next.rate(p), err)
	}
	if again, err := next.Shrink(p, 10.1e6, 30*time.Second); err != nil || again.rate(p) >= next.rate(p) {
		t.Errorf("after 10.1 MB of %d: %d, %v", next.rate(p), again.rate(p), err)
	}
	// The header promised nothing, and the quality that was tried was too good.
	p.Duration = 0
	if rate := s.rate(p); rate != 0 {
		t.Errorf("of unknown length: %d", rate)
	}
	if next, err := s.Shrink(p, 50e6, 30*time.Second); err != nil || next.rate(p) != first {
		t.Errorf("known at last: %d, %v, want %d", next.rate(p), err, first)
	}
	if _, err := spec(0.3).Shrink(p, 50e6, 30*time.Second); apigpu.CodeOf(err) != apigpu.TooLarge {
		t.Errorf("nothing would do: %v", err)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	out := Probe{Duration: time.Second, Video: Video{Duration: time.Second, TimeBase: Rational{1, 1000}, AvgRate: Rational{10, 1}}}
	uneven := Spec{Frames: Frames{Times: []int64{0, 100, 900}}}
	even := Spec{Output: apigpu.Output{FPS: 10}}
	for _, c := range []struct {
		spec     Spec
		at, want time.Duration
	}{
		{uneven, 0, 0}, {uneven, 100 * ms, 100 * ms}, {uneven, 899 * ms, 100 * ms}, {uneven, time.Hour, 900 * ms},
		{even, 0, 0}, {even, 100 * ms, 100 * ms}, {even, 199 * ms, 100 * ms}, {even, time.Hour, 900 * ms},
		{Spec{}, 350 * ms, 350 * ms}, {Spec{}, time.Hour, 900 * ms},
	} {
		if got := c.spec.Shown(c.at, out); got != c.want {
			t.Errorf("%+v at %s: %s, want %s", c.spec.Output, c.at, got, c.want)
		}
	}
}

func TestEncodersListed(t *testing.T) {
	t.Parallel()
	list := " V..... = Video\n ------\n V....D libx265              libx265 H.265 / HEVC (codec hevc)\n V..... libsvtav1            SVT-AV1 (codec av1)\n"
	if got := listed(list, X265, SVTAV1, AOM); !slices.Equal(got, []string{X265, SVTAV1}) {
		t.Errorf("%q", got)
	}
}
