package ffmpeg

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

const (
	bars  = "testsrc2=s=160x120:r=10:d=1"
	x264  = "-c:v libx264 -preset ultrafast"
	white = "color=white:s=160x120:r=10:d=1,drawbox=x=80:w=80:h=120:c=black:t=fill" // left half white
)

// clip is a small video to render, and what must hold for the result.
type clip struct {
	name string
	long bool     // left to make test: each asks FFmpeg some ten times
	make []string // ffmpeg commands, each split at "|", the last of which writes in.*
	then func(t *testing.T, path string)
	ext  string
	w, h int // as displayed
	// sound is the codec of each track of the result; "=" before it means
	// that the sound is the source's, bit by bit.
	sound []string
	notes []string
	check func(t *testing.T, first picture, out Probe)
}

func clips() []clip {
	return []clip{
		{name: "plain", ext: "mp4", w: 160, h: 120, sound: []string{"=aac"},
			make: []string{"-f|lavfi|-i|" + bars + "|-f|lavfi|-i|sine=d=1|" + x264 + "|-c:a|aac"}},
		{name: "phone", ext: "mp4", w: 120, h: 160, make: []string{"-f|lavfi|-i|" + white + "|" + x264},
			then: func(t *testing.T, path string) { turn(t, path, 0, 1, -1, 0) },
			check: func(t *testing.T, first picture, out Probe) {
				// A quarter clockwise, the left half is the upper half.
				if first.at(60, 10) < 200 || first.at(100, 110) > 50 {
					t.Error("the picture is not upright")
				}
			}},
		{name: "selfie", long: true, ext: "mp4", w: 160, h: 120, make: []string{"-f|lavfi|-i|" + white + "|" + x264},
			then: func(t *testing.T, path string) { turn(t, path, -1, 0, 0, 1) },
			check: func(t *testing.T, first picture, out Probe) {
				if first.at(10, 10) > 50 || first.at(150, 10) < 200 {
					t.Error("the picture is not mirrored")
				}
			}},
		{name: "anamorphic", long: true, ext: "mp4", w: 320, h: 120, make: []string{"-f|lavfi|-i|" + bars + ",setsar=2|" + x264}},
		{name: "odd", ext: "webm", w: 162, h: 122, sound: []string{"aac"}, notes: []string{"audio_converted"},
			make: []string{"-f|lavfi|-i|testsrc=s=161x121:r=10:d=1|-f|lavfi|-i|sine=d=1|-c:v|libvpx-vp9|-cpu-used|8|-deadline|realtime|-c:a|libopus"}},
		{name: "irregular", ext: "mp4", w: 160, h: 120,
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=30:d=1,select=not(between(n\\,5\\,12)),settb=1/57600,setpts=(N*0.03+0.01*mod(N*3\\,7))/TB|-fps_mode|passthrough|-enc_time_base|1/57600|-video_track_timescale|57600|" + x264}},
		{name: "slides", ext: "mp4", w: 160, h: 120, // a second, then two pictures of ten
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=10:d=20.2,select=lt(n\\,10)+eq(n\\,100)+eq(n\\,200)|-fps_mode|vfr|" + x264}},
		{name: "two slides", long: true, ext: "mp4", w: 160, h: 120,
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=10:d=31,select=eq(n\\,0)+eq(n\\,300)|-fps_mode|vfr|" + x264}},
		{name: "slides in mkv", long: true, ext: "mkv", w: 160, h: 120, sound: []string{"=aac"},
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=30:d=20,select=lt(n\\,30)+not(mod(n\\,75))|-f|lavfi|-i|sine=d=20|-fps_mode|vfr|" + x264 + "|-c:a|aac"}},
		{name: "mildly irregular", long: true, ext: "mp4", w: 160, h: 120,
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=30:d=4,select=lt(n\\,30)+not(mod(n\\,3))|-fps_mode|vfr|" + x264}},
		{name: "high bit depth", long: true, ext: "mkv", w: 160, h: 120, sound: []string{"aac", "=mp3"}, notes: []string{"audio_converted"},
			make: []string{"-f|lavfi|-i|" + bars + "|-f|lavfi|-i|sine=d=1|-f|lavfi|-i|sine=d=1:f=900|-map|0|-map|1|-map|2|-pix_fmt|yuv422p10le|-c:v|ffv1|-c:a:0|pcm_s16le|-c:a:1|libmp3lame"}},
		{name: "interlaced", long: true, ext: "ts", w: 160, h: 120, notes: []string{"deinterlaced"},
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=20:d=1,interlace|-flags|+ilme+ildct|-c:v|mpeg2video|-q:v|2"}},
		{name: "full range", long: true, ext: "mp4", w: 160, h: 120, make: []string{"-f|lavfi|-i|" + white + ",format=yuvj420p|" + x264},
			check: func(t *testing.T, first picture, out Probe) {
				if out.Video.Range == "pc" || first.at(20, 20) < 230 || first.at(20, 20) > 240 {
					t.Errorf("range %q, white is %d", out.Video.Range, first.at(20, 20))
				}
			}},
		{name: "PQ", long: true, ext: "mkv", w: 160, h: 120, notes: []string{"hdr_tone_mapped"},
			make: []string{"-f|lavfi|-i|" + white + "|-vf|format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv|-c:v|ffv1"},
			check: func(t *testing.T, _ picture, out Probe) {
				if v := out.Video; v.Space != "bt709" || v.Transfer != "bt709" || v.Primaries != "bt709" {
					t.Errorf("colours %q %q %q", v.Space, v.Transfer, v.Primaries)
				}
			}},
		{name: "transparent", long: true, ext: "mov", w: 160, h: 120, notes: []string{"transparency_lost"},
			make: []string{"-f|lavfi|-i|color=white:s=160x120:r=10:d=1,format=rgba,colorchannelmixer=aa=0.25|-c:v|qtrle"},
			check: func(t *testing.T, first picture, out Probe) {
				if y := first.at(20, 20); y < 60 || y > 80 || out.Video.Space != "bt709" { // a quarter of white: 16 + 219/4
					t.Errorf("white at a quarter came out as %d in %q", y, out.Video.Space)
				}
			}},
		{name: "late start", long: true, ext: "ts", w: 160, h: 120, sound: []string{"=aac"},
			make: []string{"-f|lavfi|-i|" + bars + "|-itsoffset|-0.2|-f|lavfi|-i|sine=d=1.2|" + x264 + "|-c:a|aac|-output_ts_offset|100"}},
		{name: "edit list", long: true, ext: "mp4", w: 160, h: 120, sound: []string{"=aac"},
			make: []string{"-f|lavfi|-i|testsrc2=s=160x120:r=10:d=3|-f|lavfi|-i|sine=d=3|-c:v|libx264|-preset|veryfast|-g|10|-c:a|aac|whole.mp4",
				"-ss|1.35|-i|whole.mp4|-c|copy"}},
		{name: "cover first", long: true, ext: "mkv", w: 160, h: 120, sound: []string{"=aac"},
			make: []string{"-f|lavfi|-i|color=red:s=64x64:d=0.1|-frames:v|1|cover.png",
				"-f|lavfi|-i|" + bars + "|-f|lavfi|-i|sine=d=1|" + x264 + "|-c:a|aac|-attach|cover.png|-metadata:s:t|mimetype=image/png|-metadata:s:t|filename=cover.png"}},
		{name: "size changes", long: true, ext: "ts", w: 160, h: 120,
			make: []string{"-f|lavfi|-i|" + bars + "|-tune|zerolatency|" + x264 + "|a.ts", "-f|lavfi|-i|testsrc2=s=320x180:r=10:d=1|-tune|zerolatency|" + x264 + "|-output_ts_offset|1|b.ts",
				"-i|concat:a.ts\\|b.ts|-c|copy"}},
	}
}

// command splits a command at its bars; "\|" is a bar, and spaces in the
// constant x264 part words as well.
func command(s string) []string {
	var args []string
	for part := range strings.SplitSeq(strings.ReplaceAll(s, `\|`, "\x00"), "|") {
		part = strings.ReplaceAll(part, "\x00", "|")
		if strings.HasPrefix(part, "-c:v ") {
			args = append(args, strings.Fields(part)...)
		} else {
			args = append(args, part)
		}
	}
	return args
}

func TestRender(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools := testTools(t)
	able := Abilities{Encoder: X264, Threads: 1, ToneMap: true}
	for _, c := range clips() {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				need.Long(t)
			}
			t.Parallel()
			dir := t.TempDir()
			made := "in." + c.ext
			for i, line := range c.make {
				args := command(line)
				if i == len(c.make)-1 {
					args = append(args, made)
				}
				ffmpeg(t, dir, args...)
			}
			source, input := filepath.Join(dir, made), filepath.Join(dir, InputFile)
			if c.then != nil {
				c.then(t, source)
			}
			if err := os.Rename(source, input); err != nil {
				t.Fatal(err)
			}
			in, err := tools.Probe(t.Context(), input)
			if err != nil {
				t.Fatal(err)
			}
			if w, h := in.Display(); w != c.w || h != c.h {
				t.Fatalf("displayed at %d x %d, want %d x %d", w, h, c.w, c.h)
			}
			compareNotes(t, Notes(Spec{}, in, able), c.notes)
			writeScript(t, dir, c.w, c.h)

			limits := DefaultLimits()
			frames, err := tools.Frames(t.Context(), input, in)
			if err != nil {
				t.Fatal(err)
			}
			spec := Spec{Output: apigpu.Output{Quality: apigpu.High}, Limits: limits, Frames: frames}
			var log bytes.Buffer
			report, err := tools.Run(t.Context(), Render{Dir: dir, Args: Args(spec, in, able), Limits: limits, Log: &log})
			if err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			result := filepath.Join(dir, OutputFile)
			out, err := tools.Verify(t.Context(), result, spec, in, report)
			if err != nil {
				t.Fatal(err)
			}
			compareTimes(t, tools, frames, in, result, out)
			compareSound(t, dir, in, out, c.sound, false)
			first := firstFrame(t, result, c.w, c.h)
			compareBox(t, first, c.w, c.h)
			if c.check != nil {
				c.check(t, first, out)
			}
		})
	}
}

func compareNotes(t *testing.T, notes []apigpu.Warning, want []string) {
	t.Helper()
	var codes []string
	for _, n := range notes {
		codes = append(codes, n.Code)
	}
	if !slices.Equal(codes, want) {
		t.Errorf("notes %q, want %q", codes, want)
	}
}

// compareTimes checks that every frame is there, at its own time: the times of
// the source, on the clock of the result, are those in the result; and that
// the end is the same within the shortest frame.
func compareTimes(t *testing.T, tools Tools, source Frames, in Probe, result string, out Probe) {
	t.Helper()
	frames, err := tools.Frames(t.Context(), result, out)
	if err != nil {
		t.Fatal(err)
	}
	want, got := source.Times, frames.Times
	if len(want) == 0 || len(got) != len(want) {
		t.Fatalf("%d frames of %d", len(got), len(want))
	}
	shortest := source.End - source.Last
	for i := range want {
		if d := got[i] - want[i]; d < -1 || d > 1 {
			t.Fatalf("frame %d at %d ms, want %d (all: %d, want %d)", i, got[i], want[i], got, want)
		}
		if i > 0 {
			shortest = min(shortest, time.Duration(want[i]-want[i-1])*time.Millisecond)
		}
	}
	end := time.Duration(got[0])*time.Millisecond + out.Video.Duration
	if shortest += time.Millisecond; (end - source.End).Abs() > shortest {
		t.Errorf("ends at %s, want %s within %s", end, source.End, shortest)
	}
}

// compareSound checks the codec of each track and, where it was copied, every
// byte of it and, unless the picture was moved, when it begins.
func compareSound(t *testing.T, dir string, in, out Probe, want []string, moved bool) {
	t.Helper()
	if len(out.Audio) != len(want) || len(in.Audio) != len(want) {
		t.Fatalf("%d audio tracks of %d, want %d", len(out.Audio), len(in.Audio), len(want))
	}
	for i, w := range want {
		codec, copied := strings.CutPrefix(w, "=")
		if out.Audio[i].Codec != codec {
			t.Errorf("track %d is %s, want %s", i, out.Audio[i].Codec, codec)
		}
		if !copied {
			continue
		}
		lead := func(p Probe) time.Duration {
			return ticks(p.Audio[i].StartPTS, p.Audio[i].TimeBase) - ticks(p.Video.StartPTS, p.Video.TimeBase)
		}
		if was, is := lead(in), lead(out); !moved && (is-was).Abs() > 2*time.Millisecond {
			t.Errorf("track %d began %s from the picture, and now %s", i, was, is)
		}
		// Through ADTS and MP3 alike, the samples say whether it is the same.
		sum := func(file string, stream int) string {
			args := []string{"-i", file, "-map", "0:" + string(rune('0'+stream)), "-c", "copy"}
			switch codec {
			case "aac":
				args = append(args, "-f", "adts", "-")
			case "mp3":
				args = append(args, "-f", codec, "-write_xing", "0", "-id3v2_version", "0", "-")
			default:
				args = append(args, "-f", "md5", "-")
			}
			return string(ffmpeg(t, dir, args...))
		}
		if sum(InputFile, in.Audio[i].Index) != sum(OutputFile, out.Audio[i].Index) {
			t.Errorf("track %d was changed", i)
		}
	}
}

// compareBox checks that the caption covers the left half of the lowest
// quarter and nothing else: so it is neither turned nor stretched.
func compareBox(t *testing.T, p picture, w, h int) {
	t.Helper()
	for _, at := range [][2]int{{4, h - 4}, {w/2 - 8, h - 4}, {4, h*3/4 + 4}} {
		if y := p.at(at[0], at[1]); y < 225 || y > 245 {
			t.Errorf("no caption at %v: %d", at, y)
		}
	}
}

func TestRunLimits(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	ffmpeg(t, dir, append(command("-f|lavfi|-i|testsrc2=s=320x240:r=10:d=8,noise=alls=40:allf=t|"+x264), "-f", "mp4", InputFile)...)
	writeScript(t, dir, 320, 240)
	in, err := tools.Probe(t.Context(), filepath.Join(dir, InputFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		limits Limits
		want   apigpu.Code
	}{
		{"bytes", Limits{MaxBytes: 100_000}, apigpu.TooLarge},
		{"duration", Limits{MaxDuration: 2 * time.Second}, apigpu.MediaTooLong},
		{"pixels", Limits{MaxPixels: 100}, apigpu.MediaTooBig},
		{"exact duration", Limits{MaxDuration: 8 * time.Second}, ""},
	} {
		_, err := tools.Run(t.Context(), Render{Dir: dir, Args: Args(Spec{Output: apigpu.Output{Quality: apigpu.Draft}, Limits: c.limits}, in, Abilities{Encoder: X264}), Limits: c.limits})
		if apigpu.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// A file whose data is noise: FFmpeg 5.1 calls some of these a success.
func TestRunDamaged(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	ffmpeg(t, dir, append(command("-f|lavfi|-i|testsrc2=s=160x120:r=25:d=4|"+x264), "-f", "mp4", "-movflags", "+faststart", "whole.mp4")...)
	whole, err := os.ReadFile(filepath.Join(dir, "whole.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	writeScript(t, dir, 160, 120)
	input := filepath.Join(dir, InputFile)
	render := func(file []byte) (Report, Probe, error) {
		t.Helper()
		if err := os.WriteFile(input, file, 0o644); err != nil {
			t.Fatal(err)
		}
		in, err := tools.Probe(t.Context(), input)
		if err != nil {
			return Report{}, in, err
		}
		r, err := tools.Run(t.Context(), Render{Dir: dir, Args: Args(Spec{}, in, Abilities{Encoder: X264})})
		return r, in, err
	}
	cut := whole[:len(whole)*2/3]
	report, in, err := render(cut)
	if err != nil {
		t.Fatalf("cut off: %v", err)
	}
	out, err := tools.Verify(t.Context(), filepath.Join(dir, OutputFile), Spec{}, in, report)
	if err != nil {
		t.Fatalf("cut off: %v", err)
	}
	var codes []string
	for _, w := range report.Warnings(in, out) {
		codes = append(codes, w.Code)
	}
	if !slices.Contains(codes, "video_shorter") {
		t.Errorf("cut off: warnings %q", codes)
	}

	noise := slices.Clone(whole)
	data := bytes.Index(noise, []byte("mdat"))
	for i := data + 1000; i < len(noise); i++ {
		noise[i] = byte(i * i >> 3)
	}
	if _, _, err := render(noise); apigpu.CodeOf(err) != apigpu.MediaUndecodable {
		t.Errorf("noise: %v", err)
	}
}
