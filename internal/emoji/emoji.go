// Package emoji draws emoji in colour over a video, which libass cannot: it
// makes one animated picture of all of them, which FFmpeg lays over the frames.
package emoji

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"slices"
	"time"

	"golang.org/x/image/draw"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/apng"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// MaxChanges bounds how often what is seen changes in one video. Each takes as
// long to draw as it is large, on a machine that is paid for.
const MaxChanges = 2000

// ErrTooMany is what Write says of more than MaxChanges.
var ErrTooMany = errors.New("too many emoji")

// Pictures knows what emoji look like.
type Pictures interface {
	// Picture returns the picture of an emoji, or nil.
	Picture(text string) image.Image
}

// Paint gives a colour the values that look like it in the result.
type Paint func(apigpu.Color) apigpu.Color

// span is a time in which the same emoji are seen.
type span struct {
	start time.Duration
	seen  []int // of the list, rising
}

// Write draws emoji into a file. What it covers lies at the returned rectangle
// of a video of this size, whose corners are even: half of its samples of
// colour are others' too. Without anything to be seen it is empty, and there
// is no file.
func Write(path string, list []caption.Emoji, size image.Point, pictures Pictures, paint Paint) (image.Rectangle, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(e caption.Emoji) bool {
		return e.End <= e.Start || e.Size < 1 || place(e).Intersect(image.Rectangle{Max: size}).Empty()
	})
	spans, err := spansOf(list)
	if err != nil || len(list) == 0 {
		return image.Rectangle{}, err
	}
	area := areaOf(list, size)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return area, fmt.Errorf("write emoji: %w", err)
	}
	buffered := bufio.NewWriter(file)
	s := sketch{list: list, area: area, pictures: pictures, paint: paint, ready: map[look]*image.NRGBA{}}
	err = s.write(buffered, spans)
	if err = errors.Join(err, buffered.Flush(), file.Close()); err != nil {
		return area, fmt.Errorf("write emoji: %w", err)
	}
	return area, nil
}

func place(e caption.Emoji) image.Rectangle {
	return image.Rect(e.X, e.Y, e.X+e.Size, e.Y+e.Size)
}

// areaOf is the least rectangle around all emoji, with even corners.
func areaOf(list []caption.Emoji, size image.Point) image.Rectangle {
	var area image.Rectangle
	for _, e := range list {
		area = area.Union(place(e))
	}
	area = area.Intersect(image.Rectangle{Max: size})
	area.Min.X, area.Min.Y = area.Min.X&^1, area.Min.Y&^1
	area.Max.X, area.Max.Y = (area.Max.X+1)&^1, (area.Max.Y+1)&^1
	return area
}

// spansOf parts time into spans, from 0 on: the last shows nothing.
func spansOf(list []caption.Emoji) ([]span, error) {
	edges := []time.Duration{0}
	for _, e := range list {
		edges = append(edges, max(e.Start, 0), max(e.End, 0))
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	if len(edges) > MaxChanges {
		return nil, ErrTooMany
	}
	spans := make([]span, len(edges))
	for i, at := range edges {
		spans[i].start = at
	}
	for n, e := range list {
		first, _ := slices.BinarySearch(edges, max(e.Start, 0))
		for i := first; i < len(edges) && edges[i] < e.End; i++ {
			spans[i].seen = append(spans[i].seen, n)
		}
	}
	return slices.CompactFunc(spans, func(a, b span) bool { return slices.Equal(a.seen, b.seen) }), nil
}

// look is what of an emoji decides its pixels.
type look struct {
	text string
	size int
}

// sketch draws spans.
type sketch struct {
	list     []caption.Emoji
	area     image.Rectangle
	pictures Pictures
	paint    Paint
	ready    map[look]*image.NRGBA
}

// write writes one frame for each span: the rectangle that changed.
func (s *sketch) write(to *bufio.Writer, spans []span) error {
	frames := 1
	delay := func(i int) time.Duration {
		if i+1 < len(spans) {
			return spans[i+1].start - spans[i].start
		}
		return time.Millisecond // the last one stays
	}
	for i := range spans[:len(spans)-1] {
		frames += apng.Parts(delay(i))
	}
	out, err := apng.New(to, s.area.Dx(), s.area.Dy(), frames)
	if err != nil {
		return err
	}
	var before image.Rectangle
	for i, sp := range spans {
		now := s.bounds(sp.seen)
		changed := now.Union(before).Intersect(s.area)
		switch {
		case i == 0:
			changed = s.area
		case changed.Empty(): // all of it is outside the picture
			changed = image.Rectangle{s.area.Min, s.area.Min.Add(image.Pt(1, 1))}
		}
		canvas := image.NewNRGBA(changed)
		for _, n := range sp.seen {
			s.draw(canvas, s.list[n])
		}
		canvas.Rect = canvas.Rect.Sub(s.area.Min)
		if err := out.Frame(apng.Frame{Pixels: canvas, Delay: delay(i)}); err != nil {
			return err
		}
		before = now
	}
	return out.Close()
}

func (s *sketch) bounds(seen []int) (r image.Rectangle) {
	for _, n := range seen {
		r = r.Union(place(s.list[n]))
	}
	return r
}

// draw lays an emoji over what is there: where two meet, the later one is on
// top.
func (s *sketch) draw(canvas *image.NRGBA, e caption.Emoji) {
	m := s.scaled(look{e.Text, e.Size})
	if m == nil {
		return
	}
	at := place(e)
	for y := max(at.Min.Y, canvas.Rect.Min.Y); y < min(at.Max.Y, canvas.Rect.Max.Y); y++ {
		for x := max(at.Min.X, canvas.Rect.Min.X); x < min(at.Max.X, canvas.Rect.Max.X); x++ {
			from, to := m.PixOffset(x-at.Min.X, y-at.Min.Y), canvas.PixOffset(x, y)
			if m.Pix[from+3] > 0 || canvas.Pix[to+3] == 0 {
				copy(canvas.Pix[to:to+4], m.Pix[from:from+4])
			}
		}
	}
}

// scaled is the picture of an emoji within a square, in the colours of the
// result.
func (s *sketch) scaled(l look) *image.NRGBA {
	if m, known := s.ready[l]; known {
		return m
	}
	var m *image.NRGBA
	if source := s.pictures.Picture(l.text); source != nil {
		m = fit(source, l.size)
		recolour(m, s.paint)
		bleed(m)
	}
	s.ready[l] = m
	return m
}

// fit scales a picture into a square, as large as it fits.
func fit(source image.Image, side int) *image.NRGBA {
	b := source.Bounds()
	w, h := side, side
	if b.Dx() > b.Dy() {
		h = max(1, side*b.Dy()/b.Dx())
	} else {
		w = max(1, side*b.Dx()/b.Dy())
	}
	left, top := (side-w)/2, (side-h)/2
	mixed := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.CatmullRom.Scale(mixed, image.Rect(left, top, left+w, top+h), source, b, draw.Src, nil)
	out := image.NewNRGBA(mixed.Rect)
	for i := 0; i < len(mixed.Pix); i += 4 {
		p := mixed.Pix[i : i+4 : i+4]
		c, ok := color.NRGBAModel.Convert(color.RGBA{p[0], p[1], p[2], p[3]}).(color.NRGBA)
		if ok {
			out.Pix[i], out.Pix[i+1], out.Pix[i+2], out.Pix[i+3] = c.R, c.G, c.B, c.A
		}
	}
	return out
}

func recolour(m *image.NRGBA, paint Paint) {
	if paint == nil {
		return
	}
	for i := 0; i < len(m.Pix); i += 4 {
		p := m.Pix[i : i+4 : i+4]
		c := paint(apigpu.Color{R: p[0], G: p[1], B: p[2], A: p[3]})
		p[0], p[1], p[2] = c.R, c.G, c.B
	}
}

// bleed gives clear pixels beside coloured ones their colour, for two pixels: a
// video has one sample of colour for four pixels, and black that nobody sees
// would be part of it.
func bleed(m *image.NRGBA) {
	coloured := make([]bool, len(m.Pix)/4)
	for i := range coloured {
		coloured[i] = m.Pix[4*i+3] > 0
	}
	side := m.Rect.Dx()
	for range 2 {
		before := slices.Clone(coloured)
		for i := range before {
			if before[i] {
				continue
			}
			var sum [3]int
			n := 0
			for _, step := range []int{-1, 1, -side, side} {
				j := i + step
				if j < 0 || j >= len(before) || !before[j] || (step == 1 || step == -1) && j/side != i/side {
					continue
				}
				n++
				for c := range sum {
					sum[c] += int(m.Pix[4*j+c])
				}
			}
			if n > 0 {
				coloured[i] = true
				for c := range sum {
					m.Pix[4*i+c] = uint8(sum[c] / n)
				}
			}
		}
	}
}
