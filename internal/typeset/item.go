package typeset

import (
	"slices"
	"unicode"

	"golang.org/x/text/width"

	"github.com/go-text/typesetting/bidi"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// item is the smallest part of a text that is drawn: of one word, one look, one
// direction and one face. Its width is that of the style's size, in pixels.
type item struct {
	text  string
	run   caption.Run
	mark  mark
	word  int
	level bidi.Level
	width float64
	cells int // columns of a terminal: an East Asian character is two
	space bool
	emoji bool // somebody else draws it
	tight bool // letters that join: nothing may be put between them
}

// atom is a part of a text that is not broken: items[from:to], and the space
// after it, items[to:next], which is not drawn at the end of a line.
type atom struct {
	from, to, next int
	chars          [2]int // where it is in the text, its space included
	size, gap      extent
	words          float64 // how many it adds to a line
	newline        bool    // the author's line ends with it
	strain         float64 // what a break after it costs, 0 for nothing
	pause          pause
}

// extent is how long a text is.
type extent struct {
	cells  int
	pixels float64
}

func (e extent) plus(o extent) extent { return extent{e.cells + o.cells, e.pixels + o.pixels} }

// pause is what the text before a break ends with.
type pause int

const (
	noPause pause = iota
	comma
	sentence
)

// textOf is a cue, taken apart.
type textOf struct {
	items []item
	atoms []atom
	rtl   bool // some of it runs from right to left
}

// itemsOf takes the characters of a cue apart. Within the parts of it that are
// torn, a line may break between any two characters.
func (s *setter) itemsOf(text []char, torn [][2]int) textOf {
	runes := make([]rune, len(text))
	for i, c := range text {
		runes[i] = c.r
	}
	levels, rtl := s.levels(runes)
	out := textOf{rtl: rtl}
	clusters, breaks := s.segments(runes)
	for _, t := range torn {
		for i := t[0] + 1; i < t[1]; i++ {
			if clusters[i] && !isSpace(runes[i]) && breaks[i] == noBreak {
				breaks[i] = strained
			}
		}
	}
	a := atom{words: 1}
	for from := 0; from < len(runes); {
		to := from + 1
		for to < len(runes) && !s.cut(text, levels, clusters, breaks, from, to) {
			to++
		}
		if isSpace(runes[from]) {
			s.space(&out, text[from], levels[from])
			a.gap = a.gap.plus(extent{1, out.items[len(out.items)-1].width})
			a.newline = a.newline || runes[from] == '\n'
		} else {
			if a.gap.cells > 0 {
				a.size, a.gap = a.size.plus(a.gap), extent{}
			}
			n := len(out.items)
			s.shape(&out, text[from:to], levels[from], runes[from:to])
			for _, i := range out.items[n:] {
				a.size = a.size.plus(extent{i.cells, i.width})
			}
			a.to = len(out.items)
		}
		// What has no width is no place to break: lines would have no end.
		if to == len(runes) || breaks[to] != noBreak && !isSpace(runes[to]) && a.size.cells > 0 {
			a.next, a.chars[1] = len(out.items), to
			out.close(a, runes[:to])
			if to < len(runes) && breaks[to] == strained && len(out.atoms) > 0 {
				out.atoms[len(out.atoms)-1].strain = strainOf(runes[to-1], runes[to])
			}
			a = atom{from: len(out.items), to: len(out.items), chars: [2]int{to, to}}
			if to < len(runes) && isSpace(runes[to-1]) {
				a.words = 1
			}
		}
		from = to
	}
	return out
}

// close adds an atom, with which runes end. One of which nothing is drawn
// leaves no space behind.
func (t *textOf) close(a atom, runes []rune) {
	if a.to == a.from {
		t.items = t.items[:a.from]
		if n := len(t.atoms); n > 0 && a.newline {
			t.atoms[n-1].newline = true
		}
		return
	}
	a.pause = pauseAt(runes)
	if signs := signsIn(runes[a.chars[0]:]); signs > 0 {
		a.words = signs * signWord
	}
	t.atoms = append(t.atoms, a)
}

// signWord is how much of a word a sign is, in scripts that put no space
// between words: nine signs are as long as three words.
const signWord = 1. / 3

// signsIn counts the signs of such scripts.
func signsIn(runes []rune) (n float64) {
	for _, r := range runes {
		if isUnspaced(r) && unicode.Is(unicode.Lo, r) {
			n += 0.6 // a syllable has more than one letter
		} else if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo) {
			n++
		}
	}
	return n
}

// cut reports whether an item that began at from ends before to.
func (s *setter) cut(text []char, levels []bidi.Level, clusters []bool, breaks []kind, from, to int) bool {
	return breaks[to] != noBreak || isSpace(text[from].r) != isSpace(text[to].r) || isSpace(text[to].r) ||
		text[from].mark != text[to].mark || text[from].word != text[to].word || levels[from] != levels[to] ||
		clusters[to] && (s.emojiAt[from] || s.emojiAt[to])
}

// space adds a space.
func (s *setter) space(out *textOf, c char, level bidi.Level) {
	face := s.faceOf(c.mark)
	if n := len(out.items) - 1; n >= 0 && out.items[n].mark == c.mark && !out.items[n].emoji {
		face = out.items[n].run.Face // so that both are one piece
	}
	run := s.runs(" ", face, false)[0]
	wide := run.Width*s.look.size + s.look.spacing
	if s.look.byWord() { // a word that grows does not touch the next
		wide += s.look.outline/2 + max(s.look.active.scale-1, 0)*s.look.size
	}
	out.items = append(out.items, item{
		text: " ", run: run, mark: c.mark, word: c.word, level: level, width: wide, cells: 1, space: true,
	})
}

// shape adds a text of one look and direction.
func (s *setter) shape(out *textOf, text []char, level bidi.Level, runes []rune) {
	like := item{mark: text[0].mark, word: text[0].word, level: level}
	if s.picture(runes) {
		like.text, like.emoji, like.cells = string(runes), true, 2
		like.run = s.runs("x", s.faceOf(like.mark), false)[0]
		like.run.Top, like.run.Bottom = emojiMiddle+emojiSize/2, emojiSize/2-emojiMiddle
		like.width = emojiWidth * s.look.size
		out.items = append(out.items, like)
		return
	}
	all := string(runes)
	for _, run := range s.runs(all, s.faceOf(like.mark), level%2 == 1) {
		next := like
		next.text, next.run = all[run.From:run.To], run
		if run.Missing {
			s.missing(next.text)
			continue
		}
		next.tight = joins(next.text)
		next.width = run.Width * s.look.size
		for _, r := range next.text {
			next.cells += cellsOf(r)
		}
		if !next.tight {
			next.width += s.look.spacing * float64(s.clustersIn(next.text))
		}
		out.items = append(out.items, next)
	}
}

// An emoji is a square a little larger than the em, in the middle of the
// capitals beside it.
const (
	emojiSize   = 1.16 // ems
	emojiWidth  = 1.26
	emojiMiddle = 0.36 // above the base line
)

// joins reports whether letters of a text are joined, so that space between
// them would tear them apart.
func joins(text string) bool {
	for _, r := range text {
		if r >= 0x600 && unicode.In(r, unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Devanagari,
			unicode.Bengali, unicode.Gurmukhi) {
			return true
		}
	}
	return false
}

func (s *setter) clustersIn(text string) int {
	if len(text) == 1 || s.look.spacing == 0 {
		return 1
	}
	n := 0
	if s.measure.InitWithString(text) == nil {
		for it := s.measure.GraphemeIterator(); it.Next(); {
			n++
		}
	}
	return n
}

// faceOf is the face that a character is wanted in.
func (s *setter) faceOf(m mark) caption.Face {
	f := s.look.face
	if m.Bold {
		f.Weight = max(f.Weight, 700)
	}
	if m.light {
		f.Weight = min(f.Weight, 400)
	}
	f.Italic = (f.Italic || m.Italic) && !m.upright
	return f
}

func cellsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && isWide(r):
		return 2
	}
	return 1
}

// isWide reports whether r is as wide as it is high: East Asian characters,
// and emoji.
func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// levels returns the direction of each character: odd runs from right to
// left. The whole cue is one paragraph, whose direction is that of most of its
// letters: a Hebrew sentence may begin with the name of a product.
func (s *setter) levels(runes []rune) (levels []bidi.Level, rtl bool) {
	levels = make([]bidi.Level, len(runes))
	right, left := 0, 0
	for _, r := range runes {
		switch {
		case isRTL(r):
			right++
		case unicode.IsLetter(r):
			left++
		}
	}
	if right == 0 {
		return levels, false
	}
	direction := bidi.LeftToRight
	if right >= left {
		direction = bidi.RightToLeft
	}
	text := slices.Clone(runes)
	for i, r := range text {
		if r == '\n' {
			text[i] = ' '
		}
	}
	runs := s.bidi.Segment(text, direction)
	for i := range runs.NumRuns() {
		for at, run := runs.Run(i).Start, runs.Run(i); at < run.End; at++ {
			levels[at] = run.Level
		}
	}
	return levels, true
}

// isRTL reports whether r is written from right to left, or makes text so.
func isRTL(r rune) bool {
	switch {
	case r < 0x590:
		return false
	case r <= 0x8ff, r >= 0xfb1d && r <= 0xfdff, r >= 0xfe70 && r <= 0xfeff, r >= 0x10800 && r <= 0x10fff, r >= 0x1e800 && r <= 0x1efff:
		return unicode.IsLetter(r)
	}
	return r == 0x200f || r == 0x202b || r == 0x202e || r == 0x2067
}

// pauseAt says what a text ends with.
func pauseAt(runes []rune) pause {
	const most = 8 // closing marks after it
	for _, r := range slices.Backward(runes[max(len(runes)-most, 0):]) {
		switch {
		case isSpace(r), unicode.In(r, unicode.Pe, unicode.Pf, unicode.Cf), r == '"', r == '\'':
			continue
		case slices.Contains([]rune(".!?…。！？؟।۔"), r):
			return sentence
		case slices.Contains([]rune(",;:—–、，；：،"), r):
			return comma
		}
		return noPause
	}
	return noPause
}
