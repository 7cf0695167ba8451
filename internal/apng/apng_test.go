package apng

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"testing"
	"time"
)

func filled(r image.Rectangle, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(r)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// TestWriter holds a file against what the format says, and against a reader
// of still pictures, which sees the first frame.
func TestWriter(t *testing.T) {
	t.Parallel()
	red, none := color.NRGBA{255, 0, 0, 200}, color.NRGBA{}
	frames := []Frame{
		{filled(image.Rect(0, 0, 8, 6), red), 40 * time.Millisecond},
		{filled(image.Rect(2, 1, 5, 4), none), 140 * time.Second}, // longer than one frame may stand
		{filled(image.Rect(7, 5, 8, 6), red), 0},
	}
	var file bytes.Buffer
	w, err := New(&file, 8, 6, 1+Parts(140*time.Second)+1)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.Frame(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := png.Decode(bytes.NewReader(file.Bytes()))
	if err != nil || first.Bounds() != image.Rect(0, 0, 8, 6) {
		t.Fatalf("a reader of PNG: %v", err)
	}
	if got := color.NRGBAModel.Convert(first.At(3, 3)); got != red {
		t.Errorf("first frame: %v, want %v", got, red)
	}
	var sequence uint32
	total := 0
	for b := file.Bytes()[8:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint32(b))
		kind, data := string(b[4:8]), b[8:8+n]
		if kind == "fcTL" || kind == "fdAT" {
			if got := binary.BigEndian.Uint32(data); got != sequence {
				t.Errorf("%s has number %d, want %d", kind, got, sequence)
			}
			sequence++
		}
		if kind == "fcTL" {
			total += int(binary.BigEndian.Uint16(data[20:])) // ms
		}
		b = b[12+n:]
	}
	if want := 40 + 140_000; total != want {
		t.Errorf("frames stand for %d ms, want %d", total, want)
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(&bytes.Buffer{}, 0, 5, 1); err == nil {
		t.Error("a picture without width")
	}
	for name, r := range map[string]image.Rectangle{
		"outside": image.Rect(4, 4, 9, 9), "not whole": image.Rect(0, 0, 4, 4), "empty": image.Rect(2, 2, 2, 2),
	} {
		w, err := New(&bytes.Buffer{}, 8, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Frame(Frame{image.NewNRGBA(r), 0}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w, err := New(&bytes.Buffer{}, 8, 8, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("closed with frames missing")
	}
}
