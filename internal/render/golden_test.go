package render

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/test/need"
)

// update writes the pictures anew: go test ./internal/render -run TestPresets -update
var update = flag.Bool("update", false, "write the pictures of presets, here and in docs/pictures")

const (
	pictures = "../../docs/pictures"
	// far is how far apart pictures are that look different: see apart.
	far = 8
	// maxPicture bounds a picture of the guide, in bytes.
	maxPicture = 40 << 10
)

// sentence is what the pictures show, in the middle of which a word is spoken.
func sentence() caption.Document {
	return caption.Document{Format: caption.SRT, Cues: []caption.Cue{
		{End: 4 * time.Second, Text: "Most people never notice this small trick, but it changes everything."},
	}}
}

// TestPresets draws each preset on a wide, a tall and a square picture, and
// compares them with those that were looked at. Another version of libass or of
// the fonts moves edges by a part of a pixel: that is borne.
func TestPresets(t *testing.T) {
	for _, preset := range apigpu.Presets() {
		t.Run(string(preset), func(t *testing.T) {
			if preset != apigpu.PresetBoldSocial {
				need.Long(t)
			}
			t.Parallel()
			got := shapes(t, preset)
			path := filepath.Join("testdata", string(preset)+".png")
			if *update {
				save(t, path, got)
				return
			}
			want, err := readPNG(path)
			if err != nil {
				t.Fatal(err)
			}
			if off := apart(got, want); off > far {
				out := filepath.Join(os.TempDir(), string(preset)+".png")
				save(t, out, got)
				t.Errorf("it is %.1f apart from %s: look at %s", off, path, out)
			}
		})
	}
}

// TestPicturesOfTheGuide are there for each preset, and small.
func TestPicturesOfTheGuide(t *testing.T) {
	if *update {
		drawGuide(t)
	}
	for _, preset := range apigpu.Presets() {
		info, err := os.Stat(filepath.Join(pictures, string(preset)+".jpg"))
		if err != nil || info.Size() > maxPicture {
			t.Errorf("%s: %v %v: make docs-pictures draws it", preset, info, err)
		}
	}
	there, err := os.ReadDir(pictures)
	if err != nil || len(there) != len(apigpu.Presets()) {
		t.Errorf("there are %d pictures, and %d presets (%v)", len(there), len(apigpu.Presets()), err)
	}
}

// shapes is a preset on three pictures, side by side.
func shapes(t *testing.T, preset apigpu.Preset) *image.RGBA {
	t.Helper()
	s := studio(t)
	all := image.NewRGBA(image.Rect(0, 0, 480+8+270+8+300, 480))
	draw.Draw(all, all.Bounds(), image.White, image.Point{}, draw.Src)
	x := 0
	for _, size := range []image.Point{{480, 270}, {270, 480}, {300, 300}} {
		p, err := s.Draw(t.Context(), Order{
			Document: sentence(), Spec: apigpu.CaptionSpec{Style: apigpu.Style{Preset: preset}},
			Ask: apigpu.PreviewAsk{At: at(1.62), Width: size.X, Height: size.Y},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Warnings) > 0 {
			t.Errorf("%v: %v", size, p.Warnings)
		}
		picture := decode(t, p)
		draw.Draw(all, image.Rect(x, 0, x+size.X, size.Y), picture, picture.Bounds().Min, draw.Src)
		x += size.X + 8
	}
	return all
}

// drawGuide writes the pictures of the guide: each preset on a frame of a video
// that this test makes.
func drawGuide(t *testing.T) {
	t.Helper()
	s := studio(t)
	film := filmed(t, "a.mp4", "-f", "lavfi", "-i", "nullsrc=s=640x360:r=5:d=5,format=gbrp,geq=r='50+140*Y/H':g='80+70*X/W':b='150-70*Y/H'",
		"-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p")
	for _, preset := range apigpu.Presets() {
		p, err := s.Draw(t.Context(), Order{
			Document: sentence(), Spec: apigpu.CaptionSpec{Style: apigpu.Style{Preset: preset}}, Ask: apigpu.PreviewAsk{At: at(1.62)}, Video: film.video(),
		})
		if err != nil || p.Background != apigpu.BackgroundVideo {
			t.Fatalf("%s %v", p.Background, err)
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, decode(t, p), &jpeg.Options{Quality: 82}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(pictures, string(preset)+".jpg"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func save(t *testing.T, path string, picture image.Image) {
	t.Helper()
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// apart is how far two pictures are from each other where anything is drawn, in
// steps of 255: the mean difference of blocks of four by four pixels.
func apart(a, b image.Image) float64 {
	if a.Bounds() != b.Bounds() {
		return 255
	}
	var sum float64
	var drawn int
	for y := 0; y+4 <= a.Bounds().Dy(); y += 4 {
		for x := 0; x+4 <= a.Bounds().Dx(); x += 4 {
			inA, inB := block(a, x, y), block(b, x, y)
			d := 0.
			for i := range inA {
				d += abs(inA[i]-inB[i]) / 3
			}
			if busy(a, x, y) || busy(b, x, y) {
				drawn++
				sum += d
			} else if d > 6 {
				return 255
			}
		}
	}
	return sum / float64(max(drawn, 1))
}

// busy reports whether a block is of more than one colour.
func busy(p image.Image, x, y int) bool {
	first := color.RGBAModel.Convert(p.At(x, y)).(color.RGBA)
	for i := range 16 {
		c := color.RGBAModel.Convert(p.At(x+i%4, y+i/4)).(color.RGBA)
		if abs(float64(c.R)-float64(first.R)) > 12 || abs(float64(c.G)-float64(first.G)) > 12 || abs(float64(c.B)-float64(first.B)) > 12 {
			return true
		}
	}
	return false
}

func block(p image.Image, x, y int) (mean [3]float64) {
	for i := range 16 {
		r, g, b, _ := p.At(x+i%4, y+i/4).RGBA()
		mean[0], mean[1], mean[2] = mean[0]+float64(r>>8)/16, mean[1]+float64(g>>8)/16, mean[2]+float64(b>>8)/16
	}
	return mean
}

func abs(f float64) float64 { return max(f, -f) }

// TestApart tells presets apart, and a picture not from itself.
func TestApart(t *testing.T) {
	t.Parallel()
	pictures := map[apigpu.Preset]image.Image{}
	for _, preset := range apigpu.Presets() {
		picture, err := readPNG(filepath.Join("testdata", string(preset)+".png"))
		if err != nil {
			t.Fatal(err)
		}
		pictures[preset] = picture
	}
	for a := range pictures {
		for b := range pictures {
			if off := apart(pictures[a], pictures[b]); (off > far) != (a != b) {
				t.Errorf("%s is %.1f apart from %s", a, off, b)
			}
		}
	}
}
