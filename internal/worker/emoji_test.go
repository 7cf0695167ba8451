package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestEmojiInColour burns emoji alone, which libass does not draw: they are on
// exactly the frames of their cue, also where frames come unevenly.
func TestEmojiInColour(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	need.Fonts(t)
	b := realBench(t, nil)
	srt := strings.ReplaceAll(oneCue, "Hello", "🌕🌕")
	for name, c := range map[string]struct {
		video []byte
		out   apigpu.Output
		want  []int
	}{
		"constant": {video: black(t), want: frames10to19()},
		"uneven":   {video: uneven(t), want: []int{5, 6, 7, 8, 9, 10, 11}},
		"10 bits":  {video: dark(t), out: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}, want: frames10to19()},
	} {
		job, err := b.client.Caption(t.Context(), client.Request{
			Spec:     apigpu.CaptionSpec{Output: c.out},
			Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(c.video)},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(srt)},
			Wait:     time.Minute,
		})
		if err != nil || job.Status != apigpu.Succeeded || len(job.Warnings) > 0 {
			t.Fatalf("%s: %+v %v", name, job, err)
		}
		var out bytes.Buffer
		if err := b.client.Download(t.Context(), job, &out); err != nil {
			t.Fatal(err)
		}
		if lit := litAbove(t, out.Bytes(), 100); !slices.Equal(lit, c.want) {
			t.Errorf("%s: emoji are on frames %v, want %v", name, lit, c.want)
		}
		if err := b.client.Delete(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// dark is a black video in HDR10.
func dark(t *testing.T) []byte {
	t.Helper()
	return film(t, "-f", "lavfi", "-i", "color=black:size=160x120:rate=25:duration=1.2", "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
		"-x265-params", "log-level=none", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
}

// uneven is a black video whose first frames stand for 80 ms each, and those
// from 0.64 s on for 40 ms.
func uneven(t *testing.T) []byte {
	t.Helper()
	return film(t, "-f", "lavfi", "-i", "color=black:size=160x120:rate=25:duration=2",
		"-vf", "select=gte(n\\,16)+not(mod(n\\,2))", "-fps_mode", "vfr", "-c:v", "libx264", "-preset", "ultrafast")
}

// film is what FFmpeg makes.
func film(t *testing.T, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mp4")
	if _, err := run(append(args, path)...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
