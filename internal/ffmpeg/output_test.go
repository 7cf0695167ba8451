package ffmpeg

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
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
		{name: "soft of an edit list", long: true, ext: "mp4", spec: soft, w: 160, h: 120, sound: []string{"=aac"},
			make: "-f|lavfi|-i|testsrc2=s=160x120:r=10:d=3|-f|lavfi|-i|sine=d=3|-c:v|libx264|-preset|veryfast|-g|10|-c:a|aac",
			then: func(t *testing.T, path string) {
				ffmpeg(t, filepath.Dir(path), "-ss", "1.35", "-i", path, "-c", "copy", "cut.mp4")
				if err := os.Rename(filepath.Join(filepath.Dir(path), "cut.mp4"), path); err != nil {
					t.Fatal(err)
				}
			}},
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
