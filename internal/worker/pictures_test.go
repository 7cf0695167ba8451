package worker

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/test/need"
)

var draw = flag.Bool("draw", false, "make the pictures anew")

// TestPictures holds captions in the scripts of the world, and emoji, against
// pictures of them that somebody has looked at: testdata/pictures. They are
// made through all of a job. After a change that is meant, look at what
// go test ./internal/worker -run TestPictures -draw makes.
func TestPictures(t *testing.T) {
	t.Parallel()
	if !*draw {
		need.Long(t)
	}
	need.FFmpeg(t)
	need.Fonts(t)
	b := realBench(t, nil)
	background := slate(t)
	for name, c := range map[string]struct{ text, language string }{
		"latin":    {text: "Most people never notice this trick, ção ñ ß"},
		"arabic":   {text: "معظم الناس لا يلاحظون هذه الحيلة (2024) أبدًا!", language: "ar"},
		"hebrew":   {text: "רוב האנשים לא שמים לב לטריק הזה (2024)!", language: "he"},
		"hindi":    {text: "ज़्यादातर लोग इस छोटी सी तरकीब पर ध्यान नहीं देते।", language: "hi"},
		"thai":     {text: "คนส่วนใหญ่ไม่เคยสังเกตเห็นเคล็ดลับเล็กๆ นี้เลย", language: "th"},
		"chinese":  {text: "大多数人从来没有注意到这个小技巧，骨直。", language: "zh-Hans"},
		"japanese": {text: "ほとんどの人はこのコツに気づいていません。骨直", language: "ja"},
		"korean":   {text: "대부분의 사람들은 이 작은 요령을 알아채지 못합니다.", language: "ko"},
		"emoji":    {text: "I ❤️ 🍕 with 👩‍👩‍👧 and 👍🏽\nin 🇧🇷, 1️⃣ of 🎉 ☺"},
	} {
		job, err := b.client.Caption(t.Context(), client.Request{
			Spec:     apigpu.CaptionSpec{Language: c.language, Output: apigpu.Output{Quality: apigpu.High}},
			Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(background)},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader("1\n00:00:00,000 --> 00:00:02,000\n" + c.text + "\n")},
			Wait:     time.Minute,
		})
		if err != nil || job.Status != apigpu.Succeeded || len(job.Warnings) > 0 {
			t.Fatalf("%s: %v %+v", name, err, job.Warnings)
		}
		var out bytes.Buffer
		if err := b.client.Download(t.Context(), job, &out); err != nil {
			t.Fatal(err)
		}
		picture(t, filepath.Join("testdata", "pictures", name+".png"), out.Bytes())
		if err := b.client.Delete(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// slate is a video of one colour, 16:9.
func slate(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slate.mp4")
	if _, err := run("-f", "lavfi", "-i", "color=0x2f5d62:size=960x540:rate=25:duration=0.2", "-c:v", "libx264", "-pix_fmt", "yuv420p", path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picture compares the lower half of the first frame with the picture at path,
// at a third of the size.
func picture(t *testing.T, path string, video []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.mp4")
	if err := os.WriteFile(file, video, 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := run("-i", file, "-frames:v", "1", "-vf", "crop=iw:ih/2:0:ih/2,scale=480:-1:flags=area", "-f", "image2pipe", "-c:v", "png", "-pred", "mixed", "pipe:1")
	if err != nil {
		t.Fatal(err)
	}
	if *draw {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if off := apart(t, raw, want); off > 0.015 {
		t.Errorf("%s: %.3f of the picture differs", path, off)
	}
}

// apart is which share of a picture's pixels differs by more than 48 of 255 in
// a colour: the edges of letters may, a letter that is missing does.
func apart(t *testing.T, a, b []byte) float64 {
	t.Helper()
	left, err := png.Decode(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	right, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if left.Bounds() != right.Bounds() {
		return 1
	}
	n := 0
	for y := range left.Bounds().Dy() {
		for x := range left.Bounds().Dx() {
			if distance(left, right, x, y) > 48 {
				n++
			}
		}
	}
	return float64(n) / float64(left.Bounds().Dx()*left.Bounds().Dy())
}

func distance(a, b image.Image, x, y int) (most int) {
	r1, g1, b1, _ := a.At(x, y).RGBA()
	r2, g2, b2, _ := b.At(x, y).RGBA()
	for _, d := range []int{int(r1>>8) - int(r2>>8), int(g1>>8) - int(g2>>8), int(b1>>8) - int(b2>>8)} {
		most = max(most, d, -d)
	}
	return most
}
