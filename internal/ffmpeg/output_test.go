package ffmpeg

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

const tone = "-f|lavfi|-i|sine=d=1|"

// wish is one thing that is asked for of a small video, and what must hold.
type wish struct {
	name  string
	long  bool
	make  string // ffmpeg command; in.* is added
	ext   string
	then  func(t *testing.T, path string)
	spec  Spec
	w, h  int // of the result, as displayed
	codec string
	sound []string
	notes []string
	copy  bool
	check func(t *testing.T, first picture, in, out Probe)
}

func pqClip(transfer string) string {
	return "-f|lavfi|-i|" + white + "|-vf|format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=" + transfer +
		":range=tv|-c:v|libx265|-preset|ultrafast|-x265-params|log-level=error|-color_primaries|bt2020|-color_trc|" + transfer + "|-colorspace|bt2020nc"
}

func wishes() []wish {
	out := func(change func(*apigpu.Output)) Spec {
		var s Spec
		change(&s.Output)
		return s
	}
	codec := func(c apigpu.Codec) Spec { return out(func(o *apigpu.Output) { o.Codec = c }) }
	box := func(w, h int, fit apigpu.Fit) Spec {
		return out(func(o *apigpu.Output) { o.Resolution = apigpu.Resolution{Width: w, Height: h, Fit: fit} })
	}
	fps := func(f apigpu.FrameRate) Spec { return out(func(o *apigpu.Output) { o.FPS = f }) }
	audio := func(c apigpu.AudioChoice) Spec { return out(func(o *apigpu.Output) { o.Audio = c }) }
	keep := out(func(o *apigpu.Output) { o.Codec, o.HDR = apigpu.HEVC, apigpu.HDRKeep })
	soft := Spec{Mode: apigpu.Soft, Language: "pt-BR"}
	plain := "-f|lavfi|-i|" + bars + "|" + x264
	left := "-f|lavfi|-i|" + white + "|" + x264
	return []wish{
		{name: "hevc", make: plain, ext: "mp4", spec: codec(apigpu.HEVC), w: 160, h: 120, codec: "hevc"},
		{name: "av1", make: plain, ext: "mp4", spec: codec(apigpu.AV1), w: 160, h: 120, codec: "av1"},
		{name: "av1 of irregular frames", long: true, ext: "mp4", spec: codec(apigpu.AV1), w: 160, h: 120, codec: "av1",
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=30:d=1,select=not(between(n\\,5\\,12)),settb=1/57600,setpts=(N*0.03+0.01*mod(N*3\\,7))/TB|-fps_mode|passthrough|-enc_time_base|1/57600|-video_track_timescale|57600|" + x264},
		{name: "hevc of slides", long: true, ext: "mp4", spec: codec(apigpu.HEVC), w: 160, h: 120, codec: "hevc",
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=10:d=20.2,select=lt(n\\,10)+eq(n\\,100)+eq(n\\,200)|-fps_mode|vfr|" + x264},
		{name: "contain", make: left, ext: "mp4", spec: box(180, 320, ""), w: 180, h: 320, check: func(t *testing.T, p picture, _, _ Probe) {
			if p.at(20, 20) > 20 || p.at(20, 160) < 200 { // bars above and below
				t.Errorf("bar %d, picture %d", p.at(20, 20), p.at(20, 160))
			}
		}},
		{name: "cover", long: true, make: left, ext: "mp4", spec: box(100, 101, apigpu.FitCover), w: 100, h: 102, check: func(t *testing.T, p picture, _, _ Probe) {
			if p.at(5, 5) < 200 || p.at(95, 5) > 50 {
				t.Errorf("left %d, right %d", p.at(5, 5), p.at(95, 5))
			}
		}},
		{name: "stretch", long: true, make: left, ext: "mp4", spec: box(320, 60, apigpu.FitStretch), w: 320, h: 60},
		{name: "never larger", long: true, make: plain, ext: "mp4", spec: out(func(o *apigpu.Output) { o.Resolution.Name = "480p" }), w: 160, h: 120},
		{name: "smaller", long: true, make: "-f|lavfi|-i|testsrc2=s=1280x720:r=5:d=1|" + x264, ext: "mp4", w: 854, h: 480,
			spec: out(func(o *apigpu.Output) { o.Resolution.Name = "480p" })},
		{name: "smaller and upright", long: true, make: "-f|lavfi|-i|testsrc2=s=1280x720:r=5:d=1|" + x264, ext: "mp4", w: 480, h: 854,
			then: func(t *testing.T, path string) { turn(t, path, 0, 1, -1, 0) },
			spec: out(func(o *apigpu.Output) { o.Resolution.Name = "480p" })},
		{name: "fps", make: plain, ext: "mp4", spec: fps(29.97), w: 160, h: 120, check: rate(30000, 1001, 30)},
		{name: "fps from a late start", long: true, ext: "ts", spec: fps(25), w: 160, h: 120, sound: []string{"=aac"}, check: rate(25, 1, 31),
			make: "-f|lavfi|-i|" + bars + "|-itsoffset|-0.2|-f|lavfi|-i|sine=d=1.2|" + x264 + "|-c:a|aac|-output_ts_offset|100"},
		{name: "fps of slides", long: true, ext: "mp4", spec: fps(10), w: 160, h: 120, check: rate(10, 1, 201),
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=10:d=20.2,select=lt(n\\,10)+eq(n\\,100)+eq(n\\,200)|-fps_mode|vfr|" + x264},
		{name: "fps of one a second", long: true, ext: "mp4", spec: fps(10), w: 160, h: 120, check: rate(10, 1, 30),
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=1:d=3|" + x264},
		{name: "PQ kept", ext: "mp4", make: pqClip("smpte2084"), spec: keep, w: 160, h: 120, codec: "hevc", check: isHDR("smpte2084")},
		{name: "HLG kept", long: true, ext: "mp4", make: pqClip("arib-std-b67"), spec: keep, w: 160, h: 120, codec: "hevc", check: isHDR("arib-std-b67")},
		{name: "no HDR to keep", long: true, ext: "mp4", make: plain, spec: keep, w: 160, h: 120, codec: "hevc", notes: []string{"hdr_absent"}},
		{name: "no sound", make: "-f|lavfi|-i|" + bars + "|" + tone + x264 + "|-c:a|aac", ext: "mp4", spec: audio(apigpu.AudioNone), w: 160, h: 120},
		{name: "no sound in TS", long: true, ext: "ts", spec: audio(apigpu.AudioNone), w: 160, h: 120,
			make: "-f|lavfi|-i|" + bars + "|-itsoffset|-0.2|-f|lavfi|-i|sine=d=1.2|" + x264 + "|-c:a|aac|-output_ts_offset|100"},
		{name: "sound as it is", ext: "mkv", spec: audio(apigpu.AudioCopy), w: 160, h: 120, sound: []string{"=opus", "=flac", "=ac3", "=alac", "=eac3", "aac"}, notes: []string{"audio_converted"},
			make: "-f|lavfi|-i|" + bars + "|" + tone + "-map|0|-map|1|-map|1|-map|1|-map|1|-map|1|-map|1|" + x264 + "|-c:a:0|libopus|-c:a:1|flac|-c:a:2|ac3|-c:a:3|alac|-c:a:4|eac3|-c:a:5|libvorbis"},
		{name: "sound as aac", long: true, ext: "mkv", spec: audio(apigpu.AudioAAC), w: 160, h: 120, sound: []string{"=aac", "aac"},
			make: "-f|lavfi|-i|" + bars + "|" + tone + "-map|0|-map|1|-map|1|" + x264 + "|-c:a:0|aac|-c:a:1|libmp3lame"},
		{name: "soft", make: "-f|lavfi|-i|" + bars + "|" + tone + x264 + "|-c:a|aac", ext: "mp4", spec: soft, w: 160, h: 120, sound: []string{"=aac"}, copy: true},
		{name: "soft of a phone", long: true, make: plain, ext: "mp4", spec: soft, w: 120, h: 160, copy: true,
			then: func(t *testing.T, path string) { turn(t, path, 0, 1, -1, 0) }},
		{name: "soft hevc in mkv", long: true, ext: "mkv", make: "-f|lavfi|-i|" + bars + "|-c:v|libx265|-preset|ultrafast|-x265-params|log-level=error|-pix_fmt|yuv420p", spec: soft, w: 160, h: 120, codec: "hevc", copy: true},
		{name: "soft of irregular frames", long: true, ext: "mkv", spec: soft, w: 160, h: 120, copy: true,
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=30:d=20,select=lt(n\\,30)+not(mod(n\\,75))|-fps_mode|vfr|" + x264},
		{name: "soft of HDR that is kept", long: true, ext: "mp4", make: pqClip("smpte2084"), w: 160, h: 120, codec: "hevc", copy: true, check: isHDR("smpte2084"),
			spec: Spec{Mode: apigpu.Soft, Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}}},
		{name: "soft vp9", ext: "webm", spec: soft, w: 162, h: 122, make: "-f|lavfi|-i|testsrc=s=161x121:r=10:d=1|-c:v|libvpx-vp9|-cpu-used|8|-deadline|realtime"},
		{name: "soft of another codec", long: true, make: plain, ext: "mp4", w: 160, h: 120, codec: "hevc",
			spec: Spec{Mode: apigpu.Soft, Output: apigpu.Output{Codec: apigpu.HEVC}}},
		{name: "both", make: plain, ext: "mp4", spec: Spec{Mode: apigpu.Both, Language: "ja"}, w: 160, h: 120},
		{name: "a bit rate", long: true, make: "-f|lavfi|-i|testsrc2=s=320x240:r=25:d=4,noise=alls=20:allf=t|" + x264, ext: "mp4", w: 320, h: 240,
			spec: out(func(o *apigpu.Output) { o.BitrateKbps = 300 })},
	}
}

// rate wants frames at a constant rate from 0 on.
func rate(num, den int64, frames int) func(*testing.T, picture, Probe, Probe) {
	return func(t *testing.T, _ picture, _, out Probe) {
		if r := out.Video.AvgRate; r != (Rational{num, den}) || int(out.Video.Frames) != frames {
			t.Errorf("%d frames at %d/%d, want %d at %d/%d", out.Video.Frames, r.Num, r.Den, frames, num, den)
		}
	}
}

// isHDR wants ten bits, and captions of a white that does not blind.
func isHDR(transfer string) func(*testing.T, picture, Probe, Probe) {
	return func(t *testing.T, _ picture, in, out Probe) {
		v := out.Video
		if v.PixFmt != "yuv420p10le" || v.Transfer != transfer || v.Space != "bt2020nc" || v.Primaries != "bt2020" || v.Range != "tv" {
			t.Errorf("%+v", v)
		}
	}
}

func TestOutput(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools := testTools(t)
	able := Abilities{Encoder: X264, More: []string{X265, SVTAV1}, Threads: 1, ToneMap: true}
	for _, c := range wishes() {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				need.Long(t)
			}
			t.Parallel()
			dir := t.TempDir()
			ffmpeg(t, dir, append(command(c.make), "in."+c.ext)...)
			input := filepath.Join(dir, InputFile)
			if c.then != nil {
				c.then(t, filepath.Join(dir, "in."+c.ext))
			}
			if err := os.Rename(filepath.Join(dir, "in."+c.ext), input); err != nil {
				t.Fatal(err)
			}
			in, err := tools.Probe(t.Context(), input)
			if err != nil {
				t.Fatal(err)
			}
			spec := c.spec
			spec.Limits = DefaultLimits()
			if spec.Output.Audio == apigpu.AudioNone {
				in = in.Silent()
			}
			if spec.Frames, err = tools.Frames(t.Context(), input, in); err != nil {
				t.Fatal(err)
			}
			if err := spec.Check(in, able); err != nil {
				t.Fatal(err)
			}
			compareNotes(t, Notes(spec, in, able), c.notes)
			if got := EncoderFor(spec, in, able); (got == Copy) != c.copy {
				t.Fatalf("encoder %s", got)
			}
			writeScript(t, dir, c.w, c.h)
			cue := "1\n00:00:00,200 --> 00:00:00,600\nOlá <\u2060b> {\u2060\\\u2060an8}\n\n"
			if err := os.WriteFile(filepath.Join(dir, TrackFile), []byte(cue), 0o644); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			report, err := tools.Run(t.Context(), Render{Dir: dir, Args: Args(spec, in, able), Limits: spec.Limits, Log: &log})
			if err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			result := filepath.Join(dir, OutputFile)
			out, err := tools.Verify(t.Context(), result, spec, in, report)
			if err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			if w, h := out.Display(); w != c.w || h != c.h {
				t.Errorf("%d x %d, want %d x %d", w, h, c.w, c.h)
			}
			if want := string(codecOf(apigpu.Codec(c.codec))); out.Video.Codec != want {
				t.Errorf("codec %s, want %s", out.Video.Codec, want)
			}
			if spec.Output.FPS == 0 {
				compareTimes(t, tools, spec.Frames, in, result, out)
			}
			compareSound(t, dir, in, out, c.sound, spec.Output.FPS != 0)
			compareTrack(t, dir, spec)
			if c.copy {
				compareCopy(t, dir)
			}
			first := firstFrame(t, result, c.w, c.h)
			if spec.burns() && out.Video.PixFmt == "yuv420p" {
				compareBox(t, first, c.w, c.h)
			}
			if n := spec.Output.BitrateKbps; n > 0 {
				compareRate(t, result, out.Duration, n)
			}
			if c.check != nil {
				c.check(t, first, in, out)
			}
		})
	}
}

// compareTrack reads the text track back.
func compareTrack(t *testing.T, dir string, spec Spec) {
	t.Helper()
	if !spec.tracks() {
		return
	}
	got := string(ffmpeg(t, dir, "-i", OutputFile, "-map", "0:s:0", "-f", "srt", "-"))
	if want := "1\n00:00:00,200 --> 00:00:00,600\nOlá <\u2060b> {\u2060\\\u2060an8}\n\n"; got != want {
		t.Errorf("the text track holds %q, want %q", got, want)
	}
	tags := string(ffmpeg(t, dir, "-i", OutputFile, "-map", "0:s:0", "-c", "copy", "-f", "ffmetadata", "-"))
	if want := "language=" + trackLanguage(spec.Language); !strings.Contains(tags, want) && trackLanguage(spec.Language) != "und" {
		t.Errorf("%q lacks %s", tags, want)
	}
}

// compareCopy wants every frame as it was.
func compareCopy(t *testing.T, dir string) {
	t.Helper()
	sum := func(file string) string {
		return string(ffmpeg(t, dir, "-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "md5", "-"))
	}
	if sum(InputFile) != sum(OutputFile) {
		t.Error("the picture was changed")
	}
}

func compareRate(t *testing.T, path string, length time.Duration, kbps int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	got := float64(info.Size()*8) / length.Seconds() / 1000
	if math.Abs(got/float64(kbps)-1) > 0.3 { // a few seconds are too short to keep a mean
		t.Errorf("%.0f kb/s, want %d", got, kbps)
	}
}

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

func TestPaint(t *testing.T) {
	t.Parallel()
	p := plain()
	keep := Spec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}}
	red, white, black := apigpu.Color{R: 255, A: 9}, apigpu.Color{R: 255, G: 255, B: 255, A: 255}, apigpu.Color{A: 255}
	if got := Paint(keep, p)(red); got != red {
		t.Errorf("standard range: %v", got)
	}
	for transfer, want := range map[string]uint8{"smpte2084": 148, "arib-std-b67": 191} { // 58 % and 75 %
		hdr(transfer)(&p)
		paint := Paint(keep, p)
		if got := paint(white); got != (apigpu.Color{R: want, G: want, B: want, A: 255}) {
			t.Errorf("%s: white is %v, want %d", transfer, got, want)
		}
		if got := paint(black); got != black {
			t.Errorf("%s: black is %v", transfer, got)
		}
		if got := paint(red); got.A != 9 || got.R >= want || got.R < got.G || got.G < got.B || got.B == 0 {
			t.Errorf("%s: red is %v", transfer, got)
		}
		if got := Paint(Spec{}, p)(white); got != white {
			t.Errorf("%s that is mapped: %v", transfer, got)
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

func TestThumbnail(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools := testTools(t)
	for _, c := range []struct {
		name, make string
		at         time.Duration
		w, h       int
	}{
		{"the last frame", "-f|lavfi|-i|" + bars + "|" + x264, time.Hour, 160, 120},
		{"wide noise", "-f|lavfi|-i|testsrc2=s=1600x900:r=5:d=1,noise=alls=100:allf=t|" + x264, 300 * time.Millisecond, 1280, 720},
		{"tall", "-f|lavfi|-i|testsrc2=s=90x160:r=5:d=1,setsar=2|" + x264, 0, 180, 160},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ffmpeg(t, dir, append(command(c.make), OutputFile)...)
			out, err := tools.Probe(t.Context(), filepath.Join(dir, OutputFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := tools.Thumbnail(t.Context(), dir, out, Spec{}.Shown(c.at, out), Abilities{}); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, ThumbnailFile))
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > apigpu.MaxThumbnail || !bytes.HasPrefix(raw, []byte("\xff\xd8\xff")) {
				t.Errorf("%d bytes", len(raw))
			}
			luma := ffmpeg(t, dir, "-i", ThumbnailFile, "-vf", "extractplanes=y", "-f", "rawvideo", "-")
			if len(luma) != c.w*c.h {
				t.Errorf("%d pixels, want %d x %d", len(luma), c.w, c.h)
			}
		})
	}
}

func TestEncodersListed(t *testing.T) {
	t.Parallel()
	list := " V..... = Video\n ------\n V....D libx265              libx265 H.265 / HEVC (codec hevc)\n V..... libsvtav1            SVT-AV1 (codec av1)\n"
	if got := listed(list, X265, SVTAV1, AOM); !slices.Equal(got, []string{X265, SVTAV1}) {
		t.Errorf("%q", got)
	}
}

// What HDR10 says about its light goes through x265 unchanged.
func TestLight(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	want := Light{Primaries: [8]int{13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450}, Most: 10_000_000, Least: 50, Peak: 1000, Mean: 400}
	args := append([]string{"-f", "lavfi", "-i", bars, "-frames:v", "2"}, encoder(X265, effort{deep: true, light: want, threads: 1})...)
	ffmpeg(t, dir, append(args, "in.mp4")...)
	path := filepath.Join(dir, "in.mp4")
	in, err := tools.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got := tools.Light(t.Context(), path, in); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	ffmpeg(t, dir, append(command("-f|lavfi|-i|"+bars+"|"+x264), "plain.mp4")...)
	if got := tools.Light(t.Context(), filepath.Join(dir, "plain.mp4"), in); got != (Light{}) {
		t.Errorf("a plain video: %+v", got)
	}
}

func FuzzLight(f *testing.F) {
	f.Add([]byte(`{"frames":[{"side_data_list":[{"side_data_type":"Mastering display metadata","red_x":"34000/50000","max_luminance":"1000/0"}]}]}`))
	f.Add([]byte(`{"frames":[{"side_data_list":[{"side_data_type":"Content light level metadata","max_content":1e300,"max_average":-1}]}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if options := parseLight(answer).x265(); strings.Trim(options, ":=-,()0123456789abcdefghijklmnopqrstuvwxyzBGLPRW") != "" {
			t.Errorf("%q", options)
		}
	})
}
