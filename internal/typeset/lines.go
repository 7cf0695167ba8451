package typeset

import (
	"math"
	"strings"
	"unicode/utf8"
)

// line is atoms[from:to] of a text, on one line.
type line struct{ from, to int }

// within reports whether a line of this extent and so many words keeps to a
// limit. scale is the share of its size that the text is drawn at.
func (l limit) within(e extent, words, scale float64) bool {
	return e.cells <= l.chars && e.pixels*scale <= l.pixels+0.01 && (l.words == 0 || words <= float64(l.words)+0.01)
}

// grower measures a line that atoms are added to, one after the other.
type grower struct {
	atoms []atom
	size  extent
	words float64
	from  int
}

// add puts atom n, the one after the last, on the line.
func (g *grower) add(n int) {
	if n > g.from {
		g.size = g.size.plus(g.atoms[n-1].gap)
	}
	g.size = g.size.plus(g.atoms[n].size)
	words := g.atoms[n].words
	if n == g.from && words == 0 {
		words = 1 // the rest of a word that was broken
	}
	g.words += words
}

// breakLines breaks atoms[l.from:l.to] into the fewest lines within the limit,
// and among those ways takes the one whose lines are most alike: the least sum
// of squares. A line may be a little longer to end with a phrase. An atom that
// is over the limit for itself has a line of its own. Lines of the author's
// end where they end if keep is true.
func breakLines(atoms []atom, l line, lim limit, scale float64, keep bool) []line {
	type way struct {
		lines   int
		squares float64
		from    int // first atom of the last line
	}
	n := l.to - l.from
	best := make([]way, n+1) // best[k] breaks the first k atoms
	for k := 1; k <= n; k++ {
		best[k].lines = math.MaxInt
	}
	for from := range n {
		g := grower{atoms: atoms, from: l.from + from}
		for to := from; to < n; to++ {
			g.add(l.from + to)
			if to > from && (!lim.within(g.size, g.words, scale) || keep && atoms[l.from+to-1].newline) {
				break
			}
			w := way{best[from].lines + 1, best[from].squares, from}
			w.squares += cost(g.size, atoms[l.from+to], to+1 == n)
			if b := best[to+1]; w.lines < b.lines || w.lines == b.lines && w.squares < b.squares {
				best[to+1] = w
			}
		}
	}
	lines := make([]line, best[n].lines)
	for k := n; k > 0; k = best[k].from {
		lines[best[k].lines-1] = line{l.from + best[k].from, l.from + k}
	}
	return lines
}

// cost is the weight of a line that ends with atom a.
func cost(e extent, a atom, last bool) float64 {
	square := e.pixels * e.pixels
	if last {
		return square
	}
	switch a.pause {
	case comma:
		square *= 0.9
	case sentence:
		square *= 0.85
	}
	return square * (1 + a.strain)
}

// authored returns the lines as the author has them.
func authored(atoms []atom) []line {
	var lines []line
	from := 0
	for i, a := range atoms {
		if a.newline || i == len(atoms)-1 {
			lines = append(lines, line{from, i + 1})
			from = i + 1
		}
	}
	return lines
}

// fits reports whether each line keeps to a limit.
func fits(atoms []atom, lines []line, lim limit, scale float64) bool {
	for _, l := range lines {
		g := grower{atoms: atoms, from: l.from}
		for i := l.from; i < l.to; i++ {
			g.add(i)
		}
		if !lim.within(g.size, g.words, scale) {
			return false
		}
	}
	return true
}

// isDialogue reports whether a line after the first begins with a dash or a
// note: each line is a voice of its own, and they must not run together.
func (t textOf) isDialogue(lines []line) bool {
	for _, l := range lines[1:] {
		r, _ := utf8.DecodeRuneInString(t.items[t.atoms[l.from].from].text)
		if strings.ContainsRune("-–—•♪♫", r) {
			return true
		}
	}
	return false
}

// screen is what of a text is shown at once.
type screen struct {
	lines []line
	scale float64
}

// screens breaks a text into lines, and into screens of at most maxLines. Where
// that would be more than maxScreens, because the cue is short, each has more
// lines; where it would be very many, all are shown at once.
//
// Lines of the author's stay as they are where they keep to the limit; on a
// picture that has room for them they may have more characters than lines of
// ours, unless the request says how many.
func (t textOf) screens(lim limit, ownLimit bool, scale float64, maxLines, maxScreens int) []screen {
	own := authored(t.atoms)
	wide := lim
	if !ownLimit {
		wide.chars = math.MaxInt
	}
	if len(own) > 1 && len(own) <= maxLines && fits(t.atoms, own, wide, scale) {
		return []screen{{own, scale}}
	}
	keep := len(own) > 1 && t.isDialogue(own)
	lines := breakLines(t.atoms, line{0, len(t.atoms)}, lim, scale, keep)
	const crowded = 12
	most := max(maxLines, (len(lines)+maxScreens-1)/maxScreens)
	if len(lines) <= most || most > crowded {
		return []screen{{lines, scale}}
	}
	parts := split(t.atoms, lim, most, scale, keep)
	if len(parts) > maxScreens { // not every screen could be filled
		parts = split(t.atoms, lim, most+1, scale, keep)
	}
	var out []screen
	for _, part := range parts {
		out = append(out, screen{breakLines(t.atoms, part, lim, scale, keep), scale})
	}
	return out
}

// interruption is what it costs to go on after atom a on another screen, in
// shares of the square of a full one.
func interruption(a atom) float64 {
	switch a.pause {
	case comma:
		return 0.08
	case sentence:
		return 0
	}
	return 0.25 + a.strain/4
}

// split parts atoms into the fewest screens of at most maxLines lines, about
// equally full, and rather after a sentence than within one.
func split(atoms []atom, lim limit, maxLines int, scale float64, keep bool) []line {
	type way struct {
		screens int
		squares float64
		from    int
	}
	n := len(atoms)
	room := lim.pixels / scale * float64(maxLines)
	best := make([]way, n+1)
	for k := 1; k <= n; k++ {
		best[k].screens = math.MaxInt
	}
	for from := range n {
		g, lines, all := grower{atoms: atoms, from: from}, 1, 0.
		for to := from; to < n; to++ {
			g.add(to)
			if to > g.from && (!lim.within(g.size, g.words, scale) || keep && atoms[to-1].newline) {
				if lines++; lines > maxLines {
					break
				}
				g = grower{atoms: atoms, from: to}
				g.add(to)
			}
			all += atoms[to].size.pixels
			w := way{best[from].screens + 1, best[from].squares, from}
			square := all * all
			if to+1 < n {
				square += interruption(atoms[to]) * room * room
			}
			w.squares += square
			if b := best[to+1]; w.screens < b.screens || w.screens == b.screens && w.squares < b.squares {
				best[to+1] = w
			}
		}
	}
	parts := make([]line, best[n].screens)
	for k := n; k > 0; k = best[k].from {
		parts[best[k].screens-1] = line{best[k].from, k}
	}
	return parts
}
