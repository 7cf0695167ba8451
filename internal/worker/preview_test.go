package worker

import (
	"bytes"
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

// TestPreviewShowsTheResult compares a preview with the frame that the job then
// makes.
func TestPreviewShowsTheResult(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	request := func() client.Request {
		return client.Request{
			Spec:     apigpu.CaptionSpec{Style: apigpu.Style{Preset: apigpu.PresetBoxed, Position: apigpu.Position{Name: "top_left"}, Color: "#FFD400"}},
			Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(black(t))},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)}, Wait: time.Minute,
		}
	}
	when := 0.6
	p, err := b.client.Preview(t.Context(), request(), apigpu.PreviewAsk{At: &when})
	if err != nil || p.Background != apigpu.BackgroundVideo || len(p.At) != 1 || p.At[0] != when {
		t.Fatalf("%+v %v", p, err)
	}
	picture, err := png.Decode(bytes.NewReader(p.PNG))
	if err != nil || picture.Bounds().Dx() != 160 || picture.Bounds().Dy() != 120 {
		t.Fatal(err)
	}
	job, err := b.client.Caption(t.Context(), request())
	if err != nil || job.Status != apigpu.Succeeded {
		t.Fatalf("%+v %v", job, err)
	}
	var video bytes.Buffer
	if err := b.client.Download(t.Context(), job, &video); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := os.WriteFile(path, video.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	frame, err := run("-ss", "0.6", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
	if err != nil {
		t.Fatal(err)
	}
	sum, bright := 0, 0
	for i, want := range frame {
		r, g, bl, _ := picture.At(i/3%160, i/3/160).RGBA()
		got := []uint32{r >> 8, g >> 8, bl >> 8}[i%3]
		sum += max(int(got)-int(want), int(want)-int(got))
		if want > 100 {
			bright++
		}
	}
	if mean := float64(sum) / float64(len(frame)); mean > 2 || bright < 20 {
		t.Errorf("it is %.2f apart from the result, of which %d values are bright", mean, bright)
	}
}

// TestPreviewOfAnUnprovenWorker is as one of its jobs would be.
func TestPreviewOfAnUnprovenWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.mu.Lock()
	b.proven, b.unfit = false, "it is proving its encoder"
	b.mu.Unlock()
	_, err := b.client.Preview(t.Context(), client.Request{Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)}}, apigpu.PreviewAsk{})
	wantCode(t, err, apigpu.Unavailable)
}
