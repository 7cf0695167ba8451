package typeset

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// extent is how long a line is, in two measures: characters, for reading,
// and hundredths of an em as Noto Sans Bold has them, for the picture.
type extent struct {
	chars, ems int
}

func (e extent) plus(o extent) extent   { return extent{e.chars + o.chars, e.ems + o.ems} }
func (e extent) within(max extent) bool { return e.chars <= max.chars && e.ems <= max.ems }

// measure is the extent of one character.
func measure(r rune) extent {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf), r == '\n':
		return extent{}
	case strings.ContainsRune(" iljI.,:;'!|·’‘()[]-\u00a0", r):
		return extent{1, 32}
	case strings.ContainsRune("frt\"“”„/*", r):
		return extent{1, 46}
	case strings.ContainsRune("mwMW@%—…", r):
		return extent{1, 98}
	case r < 0x300:
		if unicode.IsUpper(r) {
			return extent{1, 74}
		}
		return extent{1, 62}
	}
	if isWide(r) {
		return extent{2, 100}
	}
	return extent{1, 66}
}

// isWide reports whether r is as wide as it is high: East Asian characters,
// and emoji.
func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// line is a part of a text that is shown on one line: text[from:to], where a
// line break of the author's within it is shown as a space.
type line struct {
	from, to int
}

// wrap breaks text into lines. Lines of the author's stay as they are where
// they fit the picture (fit); a text of one line, or with a line that does
// not fit, is broken into as few lines as aim allows, about equally long.
// Every character of the text is in a line, but for the spaces at breaks.
func wrap(text string, aim, fit extent) []line {
	aim.ems = min(aim.ems, fit.ems)
	authored := authorLines(text)
	if len(authored) > 1 && allWithin(text, authored, fit) {
		return authored
	}
	var each []line
	for _, l := range authored {
		if lineExtent(text, l).within(aim) {
			each = append(each, l)
		} else {
			each = append(each, breakLine(text, l, aim)...)
		}
	}
	if len(authored) == 1 || isDialogue(text, authored) {
		return each
	}
	if joined := breakLine(text, line{0, len(text)}, aim); len(joined) < len(each) {
		return joined
	}
	return each
}

func authorLines(text string) []line {
	var lines []line
	from := 0
	for part := range strings.SplitSeq(text, "\n") {
		lines = append(lines, line{from, from + len(part)})
		from += len(part) + 1
	}
	return lines
}

func allWithin(text string, lines []line, limit extent) bool {
	for _, l := range lines {
		if !lineExtent(text, l).within(limit) {
			return false
		}
	}
	return true
}

func lineExtent(text string, l line) extent {
	var e extent
	for _, r := range text[l.from:l.to] {
		e = e.plus(measure(r))
	}
	return e
}

// isDialogue reports whether a line after the first begins with a dash or a
// note: each line is a voice of its own, and they must not run together.
func isDialogue(text string, lines []line) bool {
	for _, l := range lines[1:] {
		r, _ := utf8.DecodeRuneInString(text[l.from:])
		if strings.ContainsRune("-–—•♪♫", r) {
			return true
		}
	}
	return false
}

// atom is a part of a text that is not broken.
type atom struct {
	line
	size extent // without the space after it
	gap  extent // of the space after it
}

// breakLine breaks l into the fewest lines within limit, and among those ways
// takes the one whose lines are most alike: the least sum of squares. A line
// that ends with a phrase may be a little longer for it.
func breakLine(text string, l line, limit extent) []line {
	atoms := split(text, l, limit)
	type way struct {
		lines   int
		squares float64
		from    int // first atom of the last line
	}
	best := make([]way, len(atoms)+1) // best[n] breaks the first n atoms
	for n := 1; n <= len(atoms); n++ {
		best[n].lines = -1
		var size extent
		for from := n - 1; from >= 0; from-- {
			size = size.plus(atoms[from].size)
			if from < n-1 {
				size = size.plus(atoms[from].gap)
				if !size.within(limit) {
					break
				}
			}
			weight := 1.0
			if n < len(atoms) && endsPhrase(text[:atoms[n-1].to]) {
				weight = phraseEnd
			}
			w := way{best[from].lines + 1, best[from].squares + weight*float64(size.ems)*float64(size.ems), from}
			if b := best[n]; b.lines < 0 || w.lines < b.lines || w.lines == b.lines && w.squares < b.squares {
				best[n] = w
			}
		}
	}
	lines := make([]line, best[len(atoms)].lines)
	for n := len(atoms); n > 0; n = best[n].from {
		lines[best[n].lines-1] = line{atoms[best[n].from].from, atoms[n-1].to}
	}
	return lines
}

// phraseEnd is how much lighter a line weighs that ends with punctuation.
const phraseEnd = 0.9

func endsPhrase(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return strings.ContainsRune(",.;:!?…—、。！？", r)
}

// split cuts text[l.from:l.to] where a line may break: after spaces, after a
// hyphen or dash within a word, around East Asian characters, and within a
// word that is too long for any line.
func split(text string, l line, limit extent) []atom {
	var atoms []atom
	var cur atom
	cur.from, cur.to = l.from, l.from
	var before rune
	flush := func(at int) {
		if cur.to > cur.from {
			atoms = append(atoms, cur)
		}
		cur = atom{line: line{at, at}}
	}
	for i, r := range text[l.from:l.to] {
		at, m := l.from+i, measure(r)
		if isBreakingSpace(r) {
			if cur.to == cur.from && len(atoms) > 0 {
				atoms[len(atoms)-1].gap = atoms[len(atoms)-1].gap.plus(measure(' '))
			} else {
				cur.gap = cur.gap.plus(measure(' '))
				flush(at + utf8.RuneLen(r))
			}
			cur.from, cur.to = at+utf8.RuneLen(r), at+utf8.RuneLen(r)
			before = ' '
			continue
		}
		tooLong := m.chars > 0 && before != '\u200d' && !cur.size.plus(m).within(limit)
		if tooLong || mayBreak(before, r) {
			flush(at)
		}
		cur.size, cur.to, before = cur.size.plus(m), at+utf8.RuneLen(r), r
	}
	flush(l.to)
	return atoms
}

// isBreakingSpace: the no-break spaces are not in it.
func isBreakingSpace(r rune) bool {
	return unicode.IsSpace(r) && r != '\u00a0' && r != '\u202f' && r != '\u2007'
}

// mayBreak reports whether a line may break between two characters that no
// space parts: the simple cases of Unicode Annex 14.
func mayBreak(before, after rune) bool {
	const (
		noStart = "、。，．！？：；）」』】〉》〕］｝’”…‥ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ)]}!?,.:;%"
		noEnd   = "（「『【〈《〔［｛‘“([{"
	)
	switch {
	case before == 0 || before == ' ' || before == '\u200d' || unicode.In(after, unicode.Mn, unicode.Me, unicode.Cf):
		return false
	case strings.ContainsRune(noStart, after) || strings.ContainsRune(noEnd, before):
		return false
	case before == '\u200b' || isWide(before) || isWide(after):
		return true
	}
	return (before == '-' || before == '—' || before == '–') && unicode.IsLetter(after)
}
