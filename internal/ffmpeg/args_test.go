package ffmpeg

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
)

var update = flag.Bool("update", false, "write the golden files anew")

// plain is an ordinary video, from which the cases differ.
func plain() Probe {
	return Probe{
		Format: "mov,mp4,m4a,3gp,3g2,mj2", Duration: 30 * time.Second, Streams: 2,
		Video: Video{
			Codec: "h264", PixFmt: "yuv420p", Width: 1920, Height: 1080, SAR: Rational{1, 1},
			AvgRate: Rational{30, 1}, Rate: Rational{30, 1}, TimeBase: Rational{1, 15360},
			Range: "tv", Space: "bt709", Transfer: "bt709", Primaries: "bt709", FieldOrder: "progressive",
		},
		Audio: []Audio{{Index: 1, Codec: "aac", Channels: 2, SampleRate: 48000}},
	}
}

func TestArgsGolden(t *testing.T) {
	cpu := Abilities{Encoder: X264, Threads: 2, ToneMap: true}
	gpu := Abilities{Encoder: NVENC, GPU: "RTX 4090", Threads: 8, ToneMap: true}
	with := func(change func(p *Probe)) Probe { p := plain(); change(&p); return p }
	audio := func(codec string, channels, rate int) Probe {
		return with(func(p *Probe) { p.Audio = []Audio{{Index: 1, Codec: codec, Channels: channels, SampleRate: rate}} })
	}
	cases := []struct {
		name    string
		probe   Probe
		able    Abilities
		quality apigpu.Quality
		frames  Frames
	}{
		{"plain", plain(), cpu, apigpu.Balanced, Frames{}},
		{"draft", plain(), cpu, apigpu.Draft, Frames{}},
		{"high", plain(), cpu, apigpu.High, Frames{}},
		{"max", plain(), cpu, apigpu.Max, Frames{}},
		{"nvenc", plain(), gpu, apigpu.Balanced, Frames{}},
		{"nvenc_max", plain(), gpu, apigpu.Max, Frames{}},
		{"nvenc_too_small", with(func(p *Probe) { p.Video.Width, p.Video.Height = 128, 96 }), gpu, "", Frames{}},
		{"threads_unknown", plain(), Abilities{Encoder: X264}, "", Frames{}},
		{"rotated", with(func(p *Probe) { p.Video.Rotation = 90 }), cpu, "", Frames{}},
		{"sar_2x1", with(func(p *Probe) { p.Video.Width, p.Video.SAR = 960, Rational{2, 1} }), cpu, "", Frames{}},
		{"odd_vp9", with(func(p *Probe) {
			p.Format = "matroska,webm"
			p.Video.Codec, p.Video.Width, p.Video.Height, p.Video.TimeBase = "vp9", 161, 121, Rational{1, 1000}
			p.Audio = []Audio{{Index: 1, Codec: "vorbis", Channels: 1, SampleRate: 44100}}
		}), cpu, "", Frames{}},
		{"silent", with(func(p *Probe) { p.Audio = nil }), cpu, "", Frames{}},
		{"pcm", audio("pcm_s16le", 2, 48000), cpu, "", Frames{}},
		{"opus_5.1", audio("opus", 6, 48000), cpu, "", Frames{}},
		{"pcm_quad", audio("pcm_s16le", 4, 48000), cpu, "", Frames{}},
		{"mp3", audio("mp3", 2, 44100), cpu, "", Frames{}},
		{"mp3_low_rate", audio("mp3", 1, 11025), cpu, "", Frames{}},
		{"hdr_pq", with(hdr("smpte2084")), cpu, "", Frames{}},
		{"hdr_hlg", with(hdr("arib-std-b67")), cpu, "", Frames{}},
		{"hdr_no_zscale", with(hdr("smpte2084")), Abilities{Encoder: X264, Threads: 2}, "", Frames{}},
		{"bt2020_sdr", with(hdr("bt2020-10")), cpu, "", Frames{}},
		{"interlaced", with(func(p *Probe) { p.Video.FieldOrder = "tt" }), cpu, "", Frames{}},
		{"full_range", with(func(p *Probe) { p.Video.Range, p.Video.PixFmt = "pc", "yuvj420p" }), cpu, "", Frames{}},
		{"rgb_alpha", with(func(p *Probe) { p.Video.Codec, p.Video.PixFmt, p.Video.Space = "qtrle", "argb", "gbr" }), cpu, "", Frames{}},
		{"second_video_two_audio", with(func(p *Probe) {
			p.Video.Index = 2
			p.Audio = []Audio{{Index: 1, Codec: "aac", Channels: 2}, {Index: 4, Codec: "ac3", Channels: 6}}
		}), cpu, "", Frames{}},
		{"vfr_nanoseconds", with(func(p *Probe) { p.Video.Rate, p.Video.TimeBase = Rational{57600, 1}, Rational{1, 1_000_000_000} }), cpu, "", Frames{}},
		{"uneven", plain(), cpu, "", Frames{Times: []int64{0, 33}, Last: 33 * time.Millisecond, End: 30 * time.Second, Uneven: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			golden(t, c.name, Args(Spec{Output: apigpu.Output{Quality: c.quality}, Limits: DefaultLimits(), Frames: c.frames}, c.probe, c.able))
		})
	}
}

// TestOutputGolden is the same for what can be asked for.
func TestOutputGolden(t *testing.T) {
	cpu := Abilities{Encoder: X264, More: []string{X265, SVTAV1}, Threads: 2, ToneMap: true}
	gpu := Abilities{Encoder: NVENC, More: []string{NVENCHEVC, NVENCAV1, X265}, GPU: "RTX 4090", Threads: 8, ToneMap: true}
	pq := func() Probe { p := plain(); hdr("smpte2084")(&p); return p }
	studio := Light{Primaries: [8]int{13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450}, Most: 10_000_000, Least: 1, Peak: 1000, Mean: 400}
	known := Frames{Times: []int64{0, 33}, Last: 33 * time.Millisecond, End: 30 * time.Second}
	box := func(fit apigpu.Fit) apigpu.Output {
		return apigpu.Output{Resolution: apigpu.Resolution{Width: 1080, Height: 1920, Fit: fit}}
	}
	for _, c := range []struct {
		name  string
		spec  Spec
		probe Probe
		able  Abilities
	}{
		{"hevc", Spec{Output: apigpu.Output{Codec: apigpu.HEVC}}, plain(), cpu},
		{"emoji", Spec{Overlay: &Overlay{X: 640, Y: 900}}, plain(), cpu},
		{"emoji_hdr_nvenc", Spec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}, Overlay: &Overlay{X: 2, Y: 0}}, pq(), gpu},
		{"hevc_nvenc", Spec{Output: apigpu.Output{Codec: apigpu.HEVC, Quality: apigpu.High}}, plain(), gpu},
		{"av1", Spec{Output: apigpu.Output{Codec: apigpu.AV1, Quality: apigpu.Draft}}, plain(), cpu},
		{"av1_nvenc", Spec{Output: apigpu.Output{Codec: apigpu.AV1}}, plain(), gpu},
		{"av1_libaom", Spec{Output: apigpu.Output{Codec: apigpu.AV1}}, plain(), Abilities{Encoder: X264, More: []string{AOM}, Threads: 2}},
		{"hdr_kept", Spec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}, Light: studio}, pq(), cpu},
		{"hdr_kept_nvenc", Spec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}}, pq(), gpu},
		{"contain", Spec{Output: box("")}, plain(), cpu},
		{"cover", Spec{Output: box(apigpu.FitCover)}, plain(), cpu},
		{"stretch", Spec{Output: box(apigpu.FitStretch)}, plain(), cpu},
		{"480p", Spec{Output: apigpu.Output{Resolution: apigpu.Resolution{Name: "480p"}}}, plain(), cpu},
		{"fps", Spec{Output: apigpu.Output{FPS: 29.97}, Frames: known}, plain(), cpu},
		{"bitrate", Spec{Output: apigpu.Output{BitrateKbps: 2500}}, plain(), cpu},
		{"bitrate_nvenc", Spec{Output: apigpu.Output{BitrateKbps: 2500}}, plain(), gpu},
		{"max_size", Spec{Output: apigpu.Output{MaxSizeMB: 8, Codec: apigpu.AV1}}, plain(), cpu},
		{"audio_none", Spec{Output: apigpu.Output{Audio: apigpu.AudioNone}}, plain().Silent(), cpu},
		{"soft_copied", Spec{Mode: apigpu.Soft, Language: "pt-BR", Frames: known}, plain(), cpu},
		{"soft_encoded", Spec{Mode: apigpu.Soft, Language: "pt-BR"}, plain(), cpu},
		{"both", Spec{Mode: apigpu.Both}, plain(), cpu},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.spec.Limits = DefaultLimits()
			golden(t, "output_"+c.name, Args(c.spec, c.probe, c.able))
		})
	}
}

// golden compares arguments with those in a file.
func golden(t *testing.T, name string, args []string) {
	t.Helper()
	got := strings.Join(args, "\n") + "\n"
	path := filepath.Join("testdata", name+".args")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("arguments differ from %s (-want +got):\n%s", path, diff)
	}
}

func hdr(transfer string) func(*Probe) {
	return func(p *Probe) {
		p.Video.Codec, p.Video.PixFmt = "hevc", "yuv420p10le"
		p.Video.Space, p.Video.Primaries, p.Video.Transfer = "bt2020nc", "bt2020", transfer
	}
}

func TestEncoderFor(t *testing.T) {
	for _, c := range []struct {
		w, h          int
		encoder, want string
	}{
		{1920, 1080, NVENC, NVENC},
		{1920, 1080, X264, X264},
		{4096, 2160, NVENC, NVENC},
		{7680, 4320, NVENC, X264},
		{2160, 4098, NVENC, X264},
		{128, 128, NVENC, X264},
	} {
		p := plain()
		p.Video.Width, p.Video.Height = c.w, c.h
		if got := EncoderFor(Spec{}, p, Abilities{Encoder: c.encoder}); got != c.want {
			t.Errorf("%d x %d with %s: %s, want %s", c.w, c.h, c.encoder, got, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	p := plain()
	if notes := Notes(Spec{}, p, Abilities{}); notes != nil {
		t.Errorf("a plain video needs no note: %v", notes)
	}
	hdr("smpte2084")(&p)
	p.Audio = append(p.Audio, Audio{Codec: "opus", Channels: 2}, Audio{Codec: "flac", Channels: 2})
	got := Notes(Spec{}, p, Abilities{ToneMap: true})
	var codes []string
	for _, n := range got {
		codes = append(codes, n.Code)
	}
	if diff := cmp.Diff([]string{"hdr_tone_mapped", "audio_converted"}, codes); diff != "" {
		t.Fatal(diff)
	}
	if got[1].Count != 2 {
		t.Errorf("%d tracks converted, want 2", got[1].Count)
	}
}
