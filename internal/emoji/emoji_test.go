package emoji

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// discs are pictures of any emoji but x: red discs.
type discs struct{}

func (discs) Picture(text string) image.Image {
	if text == "x" {
		return nil
	}
	m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			if (x-32)*(x-32)+(y-32)*(y-32) < 30*30 {
				m.SetNRGBA(x, y, color.NRGBA{200, 0, 0, 255})
			}
		}
	}
	return m
}

func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "e.png")
	list := []caption.Emoji{
		{Text: "a", X: 11, Y: 21, Size: 20, Start: 0, End: time.Second},
		{Text: "b", X: 51, Y: 21, Size: 20, Start: time.Second, End: 2 * time.Second},
		{Text: "x", X: 31, Y: 21, Size: 20, Start: 0, End: time.Second},
		{Text: "c", X: 95, Y: 90, Size: 20, Start: time.Second, End: 3 * time.Second}, // half of it is outside
		{Text: "d", X: 500, Y: 21, Size: 20, Start: 0, End: time.Second},              // all of it is
	}
	area, err := Write(path, list, image.Pt(100, 100), discs{}, func(c apigpu.Color) apigpu.Color { c.G = c.R; return c })
	if err != nil {
		t.Fatal(err)
	}
	if want := image.Rect(10, 20, 100, 100); area != want {
		t.Errorf("area %v, want %v", area, want)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) color.NRGBA {
		c, _ := color.NRGBAModel.Convert(first.At(x-area.Min.X, y-area.Min.Y)).(color.NRGBA)
		return c
	}
	if got, want := at(21, 31), (color.NRGBA{200, 200, 0, 255}); got != want {
		t.Errorf("within: %v, want %v", got, want)
	}
	for name, p := range map[string]image.Point{"before its time": {61, 31}, "without a picture": {41, 31}} {
		if got := at(p.X, p.Y); got.A != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if frames := bytes.Count(raw, []byte("fcTL")); frames != 4 { // from 0, 1, 2 and 3 s
		t.Errorf("%d frames", frames)
	}
}

func TestWriteNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "e.png")
	if area, err := Write(path, nil, image.Pt(100, 100), discs{}, nil); err != nil || !area.Empty() {
		t.Errorf("%v %v", area, err)
	}
	var many []caption.Emoji
	for i := range MaxChanges {
		many = append(many, caption.Emoji{Text: strconv.Itoa(i), Size: 10, Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second})
	}
	if _, err := Write(path, many, image.Pt(100, 100), discs{}, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d changes: %v", len(many)+1, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file: %v", err)
	}
}

// BenchmarkWrite draws as much as is allowed, in 4K.
func BenchmarkWrite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "e.png")
	var many []caption.Emoji
	for i := range MaxChanges - 1 {
		many = append(many, caption.Emoji{Text: strconv.Itoa(i % 40), X: 1000 + i%600, Y: 1900, Size: 125, Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second})
	}
	for b.Loop() {
		if _, err := Write(path, many, image.Pt(3840, 2160), discs{}, nil); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size()), "file-bytes")
	}
}
