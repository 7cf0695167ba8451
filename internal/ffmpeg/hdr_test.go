package ffmpeg

import (
	"path/filepath"
	"strings"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

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

func TestPaintScript(t *testing.T) {
	t.Parallel()
	p := plain()
	hdr("smpte2084")(&p)
	keep := Spec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}}
	const script = `[V4+ Styles]
Style: Default,Sans,54,&H00FFFFFF,&HFFFFFF,&H80000000,0
[Events]
Dialogue: 0,0,1,Default,,0,0,0,,&HFFFFFF {\c&HFFFFFF&\alpha&HFF&\t(\3c&HFFFFFF&)}white \{\c&HFFFFFF&
`
	const want = `[V4+ Styles]
Style: Default,Sans,54,&H00949494,&H949494,&H80000000,0
[Events]
Dialogue: 0,0,1,Default,,0,0,0,,&HFFFFFF {\c&H949494&\alpha&HFF&\t(\3c&H949494&)}white \{\c&HFFFFFF&
`
	if got := string(PaintScript([]byte(script), keep, p)); got != want {
		t.Errorf("%s", got)
	}
	if got := string(PaintScript([]byte(script), Spec{}, p)); got != script {
		t.Errorf("that is mapped: %s", got)
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
