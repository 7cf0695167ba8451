package typeset

import (
	"slices"
	"unicode"
)

// kind is whether a line may break before a character.
type kind int8

const (
	noBreak  kind = iota
	free          // as Unicode Annex 14 has it
	strained      // where nothing better is
)

// segments returns which characters begin a cluster, and where lines may
// break: by Annex 14, but Korean words stay whole, as its readers expect, and
// in scripts without spaces, whose words only a dictionary knows, a break is
// allowed where a syllable may begin.
func (s *setter) segments(runes []rune) (clusters []bool, breaks []kind) {
	clusters, breaks = make([]bool, len(runes)+1), make([]kind, len(runes)+1)
	s.emojiAt = slices.Grow(s.emojiAt[:0], len(runes))[:len(runes)]
	s.seg.Init(runes)
	for it := s.seg.GraphemeIterator(); it.Next(); {
		g := it.Grapheme()
		clusters[g.Offset] = true
		picture := s.picture(g.Text)
		for i := range g.Text {
			s.emojiAt[g.Offset+i] = picture
		}
	}
	for it := s.seg.LineIterator(); it.Next(); {
		if at := it.Line().Offset; at > 0 {
			breaks[at] = free
		}
	}
	for i := 1; i < len(runes); i++ {
		before, after := runes[i-1], runes[i]
		switch {
		case isSpace(before) && !isSpace(after):
			breaks[i] = free
		case isSpace(after) || !clusters[i]:
			breaks[i] = noBreak
		case breaks[i] == free && unicode.Is(unicode.Hangul, before) && unicode.Is(unicode.Hangul, after):
			breaks[i] = noBreak
		case isUnspaced(before) && isUnspaced(after) && beginsSyllable(before, after):
			breaks[i] = strained
		case breaks[i] == free && isWide(before) && isWide(after):
			breaks[i] = strained
		}
	}
	return clusters, breaks
}

// isUnspaced: scripts whose lines break between words that no space parts, and
// that Annex 14 leaves to dictionaries.
func isUnspaced(r rune) bool {
	return r >= 0xe00 && r < 0x1800 && unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// beginsSyllable reports whether a syllable may begin with r after before.
func beginsSyllable(before, r rune) bool {
	switch {
	case !unicode.Is(unicode.Lo, r), leads(before):
		return false
	case oneOf("ะาำๅๆฯະາຳໆຯ", r):
		return false
	}
	return true
}

// leads reports whether r is a vowel that Thai or Lao write before the
// consonant that it is spoken after.
func leads(r rune) bool { return r >= 'เ' && r <= 'ไ' || r >= 'ເ' && r <= 'ໄ' }

// strainOf is what a break between two characters costs a line, in shares of
// its square: less where a word is likely to begin.
func strainOf(before, after rune) float64 {
	switch {
	case isUnspaced(after) && (leads(after) || oneOf("ะๆฯະໆຯ", before)):
		return 0.02
	case isUnspaced(after):
		return 0.5
	case unicode.Is(unicode.Hiragana, before) && (unicode.Is(unicode.Han, after) || unicode.Is(unicode.Katakana, after)):
		return 0.01 // a particle or an ending is over
	case unicode.Is(unicode.Katakana, before) && unicode.Is(unicode.Katakana, after):
		return 0.5
	case unicode.Is(unicode.Han, before) && unicode.Is(unicode.Hiragana, after):
		return 0.3
	case unicode.Is(unicode.Hiragana, before) && unicode.Is(unicode.Hiragana, after):
		return 0.15
	case unicode.Is(unicode.Han, before) && unicode.Is(unicode.Han, after):
		return 0.05
	case isWide(before) && isWide(after):
		return 0
	}
	return 1
}

func oneOf(list string, r rune) bool { return slices.Contains([]rune(list), r) }
