package typeset

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
)

// boxes draws what stands behind a part.
func (s *setter) boxes(p *part) {
	l := &s.look
	if l.box == apigpu.BoxNone || l.box == "" || l.boxColor.A == 0 {
		return
	}
	var shapes []rect
	if l.box == apigpu.BoxBlock {
		shapes = []rect{p.box}
	} else {
		for i := range p.rows {
			r := &p.rows[i]
			shapes = append(shapes, rect{r.left - l.padding, r.base - r.top - l.padding, r.left + r.width + l.padding, r.base + r.bottom + l.padding})
		}
	}
	for i := 1; i < len(shapes); i++ {
		meet(&shapes[i-1], &shapes[i], l.size*p.scale*0.3, l.radius)
	}
	// One event for all: what overlaps is not twice as dark.
	s.shapes(layerBox, p.start, p.end, shapes, l.radius, l.boxColor, s.fade)
}

// meet closes a small gap between the boxes of two lines, and hides the round
// corners of the narrower in the wider.
func meet(above, below *rect, gap, radius float64) {
	if below.top-above.bottom > gap {
		return
	}
	middle := (above.bottom + below.top) / 2
	above.bottom, below.top = middle, middle
	if step := max(gap, radius); math.Abs(above.left-below.left) < step && math.Abs(above.right-below.right) < step {
		left, right := min(above.left, below.left), max(above.right, below.right) // no steps too small to be meant
		above.left, below.left, above.right, below.right = left, left, right, right
	}
	if above.width() >= below.width() {
		below.top -= min(radius, above.height()/2)
	}
	if above.width() <= below.width() {
		above.bottom += min(radius, below.height()/2)
	}
}

// markBox draws the box behind the spoken word, of which at is the first piece
// on its line.
func (s *setter) markBox(p *part, r *row, at *piece, m moment) {
	c := s.look.active.box
	if c == nil || c.A == 0 || m.end <= m.start {
		return
	}
	left, right, first := r.wordAt(at)
	if !first {
		return
	}
	em := s.look.size * p.scale * s.look.active.scale
	x, y, w := (left+right)/2, r.base, (right-left)*s.look.active.scale/2+0.15*em
	box := rect{x - w, y - r.top - 0.07*em, x + w, y + r.bottom + 0.05*em}
	s.shapes(layerMark, m.start, m.end, []rect{box}, 0.18*em, *c, "")
}

// wordAt is where the word of a piece is on its line, and whether the piece is
// its first from the left.
func (r *row) wordAt(at *piece) (left, right float64, first bool) {
	left, right = at.left, at.left+at.width
	first = true
	for i := range r.pieces {
		if other := &r.pieces[i]; other.word == at.word {
			first = first && other.left >= at.left
			left, right = min(left, other.left), max(right, other.left+other.width)
		}
	}
	return r.left + left, r.left + right, first
}

// underline draws the line under the spoken word.
func (s *setter) underline(p *part, r *row, at *piece, m moment) {
	c := s.look.active.color
	if c == nil || m.end <= m.start {
		return
	}
	em := s.look.size * p.scale
	left, top := r.left+at.left, r.base+0.13*em
	bar := rect{left, top, left + at.width, top + 0.085*em}
	if s.look.outline > 0 {
		more := min(s.look.outline, 0.06*em)
		around := rect{bar.left - more, bar.top - more, bar.right + more, bar.bottom + more}
		s.shapes(layerMark, m.start, m.end, []rect{around}, 0.06*em, s.look.outlineColor, "")
	}
	s.shapes(layerActive, m.start, m.end, []rect{bar}, 0.04*em, *c, "")
}

// shapes draws rectangles with rounded corners, by curves of our own: libass
// has none.
func (s *setter) shapes(layer int, start, end time.Duration, shapes []rect, radius float64, c apigpu.Color, more string) {
	s.dialogue(layer, start, end)
	s.out = fmt.Appendf(s.out, `{\an7\pos(0,0)\bord0\1c&H%02X%02X%02X&\1a&H%02X&%s\p4}`, c.B, c.G, c.R, 255-c.A, more)
	for i, r := range shapes {
		if i > 0 {
			s.out = append(s.out, ' ')
		}
		s.rounded(r, min(radius, r.width()/2, r.height()/2))
	}
	s.out = append(s.out, '\n')
}

// rounded writes a path, in eighths of a pixel.
func (s *setter) rounded(r rect, radius float64) {
	const arc = 0.4477 // 1 minus the usual 0.5523 of a quarter circle
	k := radius * arc
	s.path("m", r.left+radius, r.top)
	s.path(" l", r.right-radius, r.top)
	if radius > 0 {
		s.path(" b", r.right-k, r.top, r.right, r.top+k, r.right, r.top+radius)
	}
	s.path(" l", r.right, r.bottom-radius)
	if radius > 0 {
		s.path(" b", r.right, r.bottom-k, r.right-k, r.bottom, r.right-radius, r.bottom)
	}
	s.path(" l", r.left+radius, r.bottom)
	if radius > 0 {
		s.path(" b", r.left+k, r.bottom, r.left, r.bottom-k, r.left, r.bottom-radius)
	}
	s.path(" l", r.left, r.top+radius)
	if radius > 0 {
		s.path(" b", r.left, r.top+k, r.left+k, r.top, r.left+radius, r.top)
	}
}

func (s *setter) path(command string, v ...float64) {
	s.out = append(s.out, command...)
	for _, x := range v {
		s.out = append(s.out, ' ')
		s.out = strconv.AppendInt(s.out, int64(x*8+0.5), 10)
	}
}
