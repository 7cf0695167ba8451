package typeset

import (
	"slices"
	"time"

	"github.com/go-text/typesetting/bidi"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// row is a line of a part, whose pieces are in the order of the picture, from
// left to right. Its lengths are pixels; left and base are those of the block
// until the part is placed.
type row struct {
	pieces      []piece
	width       float64
	top, bottom float64 // how far it reaches above and below the base line
	left, base  float64
}

// piece is a text that is drawn by one event: of one face, look and direction.
// Where words are drawn for themselves it is of one word.
type piece struct {
	item
	left float64 // of its row
}

// partOf sets a screen of a cue.
func (s *setter) partOf(cue int, t textOf, sc screen, start, end time.Duration) part {
	p := part{cue: cue, start: start, end: end, scale: sc.scale, rtl: t.rtl}
	for _, l := range sc.lines {
		p.rows = append(p.rows, s.rowOf(t, l, sc.scale))
	}
	y := 0.
	for i := range p.rows {
		r := &p.rows[i]
		if i == 0 {
			y = r.top
		} else {
			above := p.rows[i-1]
			y += max(s.look.advance*sc.scale, above.bottom+r.top+s.look.outline/2)
		}
		r.base = y
		p.box.right = max(p.box.right, r.width)
	}
	p.box.bottom = y + p.rows[len(p.rows)-1].bottom
	return p
}

// rowOf sets a line.
func (s *setter) rowOf(t textOf, l line, scale float64) row {
	var r row
	r.top, r.bottom = s.leastHeight()
	items := t.items[t.atoms[l.from].from:t.atoms[l.to-1].to]
	pieces := join(items, s.look.byWord())
	for _, p := range visual(pieces) {
		p.left = r.width
		p.width *= scale
		r.width += p.width
		if !p.space {
			r.top, r.bottom = max(r.top, p.run.Top), max(r.bottom, p.run.Bottom)
			r.pieces = append(r.pieces, p)
		}
	}
	r.top *= s.look.size * scale
	r.bottom *= s.look.size * scale
	return r
}

// leastHeight is how far a line of Latin letters reaches above and below its
// base line, in ems, whatever letters it has: lines are to stand still.
func (s *setter) leastHeight() (top, bottom float64) {
	if s.look.capitals {
		return 0.73, 0.05
	}
	return 0.77, 0.22
}

// join makes pieces of items that are drawn alike, spaces between them
// included.
func join(items []item, byWord bool) []piece {
	var pieces []piece
	var spaces []piece
	for _, i := range items {
		if i.space {
			spaces = append(spaces, piece{item: i})
			continue
		}
		n := len(pieces) - 1
		if n >= 0 && pieces[n].joins(i, spaces, byWord) {
			for _, sp := range spaces {
				pieces[n].extend(sp.item)
			}
			pieces[n].extend(i)
		} else {
			pieces = append(append(pieces, spaces...), piece{item: i})
		}
		spaces = spaces[:0]
	}
	return pieces
}

func (p *piece) joins(i item, spaces []piece, byWord bool) bool {
	if p.space || p.emoji || i.emoji || byWord && (p.word != i.word || len(spaces) > 0) {
		return false
	}
	for _, sp := range spaces {
		if sp.level != p.level || sp.mark != p.mark {
			return false
		}
	}
	return p.run.Face == i.run.Face && p.mark == i.mark && p.level == i.level && p.tight == i.tight
}

func (p *piece) extend(i item) {
	p.text += i.text
	p.width += i.width
	p.run.Top, p.run.Bottom = max(p.run.Top, i.run.Top), max(p.run.Bottom, i.run.Bottom)
}

// visual brings the pieces of a line into the order of the picture: rule L2 of
// Unicode Annex 9.
func visual(pieces []piece) []piece {
	highest, lowestOdd := bidi.Level(0), bidi.Level(127)
	for _, p := range pieces {
		highest = max(highest, p.level)
		if p.level%2 == 1 {
			lowestOdd = min(lowestOdd, p.level)
		}
	}
	for level := highest; level >= lowestOdd && level > 0; level-- {
		for from := 0; from < len(pieces); from++ {
			to := from
			for to < len(pieces) && pieces[to].level >= level {
				to++
			}
			if to > from {
				slices.Reverse(pieces[from:to])
				from = to
			}
		}
	}
	return pieces
}

// spot is where a block stands: the point of the picture, and which of its own
// points is there, as column and row.
type spot struct {
	x, y        float64
	column, row int
	fixed       bool // it does not give way to others
}

// spotOf is where a cue stands: where its file says, else where the style says.
func (s *setter) spotOf(c *caption.Cue) spot {
	l := &s.look
	column, row := l.column, l.row
	if c.Align >= 1 && c.Align <= 9 {
		column, row = (c.Align-1)%3-1, 1-(c.Align-1)/3
	}
	if c.Place != nil {
		x, y := bounded(c.Place.X, 0, 1), bounded(c.Place.Y, 0, 1)
		return spot{x * float64(s.size.Width), y * float64(s.size.Height), column, row, true}
	}
	if l.point != nil && c.Align == 0 {
		return spot{l.point.x, l.point.y, 0, 0, false}
	}
	at := spot{column: column, row: row}
	switch column {
	case -1:
		at.x = l.area.left
	case 0:
		at.x = float64(s.size.Width) / 2
	case 1:
		at.x = l.area.right
	}
	switch row {
	case -1:
		at.y = l.area.top
	case 0:
		at.y = float64(s.size.Height) / 2
	case 1:
		at.y = l.area.bottom
	}
	return at
}

// maxNeighbours bounds the captions that one gives way to.
const maxNeighbours = 64

// place gives every part its place. One that would stand where another is
// shown at that time is put above it, below it where it is at the top.
func (s *setter) place() {
	type taken struct {
		rect
		end time.Duration
	}
	var shown []taken
	for i := range s.parts {
		p := &s.parts[i]
		shown = slices.DeleteFunc(shown, func(t taken) bool { return t.end <= p.start })
		at := s.spotOf(&s.cues[p.cue])
		outer := s.at(p, at)
		for range maxNeighbours {
			hit := slices.IndexFunc(shown, func(t taken) bool { return !at.fixed && overlap(t.rect, outer) })
			if hit < 0 {
				break
			}
			next := shown[hit].bottom - outer.top
			if at.row >= 0 {
				next = shown[hit].top - outer.bottom
			}
			outer.top += next
			outer.bottom += next
		}
		outer = inside(outer, rect{right: float64(s.size.Width), bottom: float64(s.size.Height)})
		s.settle(p, at, outer)
		if len(shown) < maxNeighbours {
			shown = append(shown, taken{outer, p.end})
		}
	}
}

func overlap(a, b rect) bool {
	const touch = 0.5
	return a.left < b.right-touch && b.left < a.right-touch && a.top < b.bottom-touch && b.top < a.bottom-touch
}

// inside moves r into the picture; what is larger keeps its top left corner
// there.
func inside(r, picture rect) rect {
	dx := max(picture.left-r.left, 0) - max(r.right-picture.right, 0)
	dy := max(picture.top-r.top, 0) - max(r.bottom-picture.bottom, 0)
	if r.width() > picture.width() {
		dx = (picture.left + picture.right - r.left - r.right) / 2
	}
	if r.height() > picture.height() {
		dy = picture.top - r.top
	}
	return rect{r.left + dx, r.top + dy, r.right + dx, r.bottom + dy}
}

// at is the room that a part takes at a spot, with what surrounds its letters.
func (s *setter) at(p *part, at spot) rect {
	in := s.look.inset()
	w, h := p.box.right+2*in, p.box.bottom+2*in
	left := at.x - w*float64(at.column+1)/2
	top := at.y - h*float64(at.row+1)/2
	return rect{left, top, left + w, top + h}
}

// settle gives the rows of a part their place within its room.
func (s *setter) settle(p *part, at spot, outer rect) {
	in := s.look.inset()
	align := s.look.align
	if at.column != s.look.column {
		align = at.column
	}
	p.box = outer
	for i := range p.rows {
		r := &p.rows[i]
		r.base += outer.top + in
		free := outer.width() - 2*in - r.width
		r.left = outer.left + in + free*float64(align+1)/2
	}
}

// emojiOf is where an emoji is drawn.
func (s *setter) emojiOf(p *part, r *row, at piece, start, end time.Duration) Emoji {
	em := s.look.size * p.scale
	size := emojiSize * em
	x := r.left + at.left + (at.width-size)/2
	y := r.base - emojiMiddle*em - size/2
	return Emoji{Text: at.text, X: int(x + 0.5), Y: int(y + 0.5), Size: int(size + 0.5), Start: start, End: end}
}
