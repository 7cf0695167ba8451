package typeset

import "unicode"

// isEmoji reports whether a character, with what belongs to it, is shown as a
// picture: emoji of which text is not the usual form, and others that are
// followed by U+FE0F.
func isEmoji(cluster []rune) bool {
	first := cluster[0]
	for _, r := range cluster[1:] {
		switch r {
		case 0xfe0e:
			return false
		case 0xfe0f, 0x20e3:
			return first > 0x7f && unicode.In(first, unicode.So, unicode.Sm, unicode.Po, unicode.Sk) || isKeycap(first)
		}
	}
	switch {
	case first < 0x231a, first > 0x2b55 && first < 0x1f004:
		return false
	case first >= 0x1f300 && first <= 0x1f64f, first >= 0x1f680 && first <= 0x1f6ff, first >= 0x1f7e0 && first <= 0x1f7f0,
		first >= 0x1f90c && first <= 0x1f9ff, first >= 0x1fa70 && first <= 0x1faff, first >= 0x1f1e6 && first <= 0x1f1ff:
		return true
	}
	return unicode.Is(pictures(), first)
}

func isKeycap(r rune) bool { return r >= '0' && r <= '9' || r == '#' || r == '*' }

// pictures are the other characters of the property Emoji_Presentation.
func pictures() *unicode.RangeTable {
	return &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x23f0, 0x23f3, 3}, {0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1},
			{0x2648, 0x2653, 1}, {0x267f, 0x267f, 1}, {0x2693, 0x2693, 1}, {0x26a1, 0x26a1, 1}, {0x26aa, 0x26ab, 1},
			{0x26bd, 0x26be, 1}, {0x26c4, 0x26c5, 1}, {0x26ce, 0x26ce, 1}, {0x26d4, 0x26d4, 1}, {0x26ea, 0x26ea, 1},
			{0x26f2, 0x26f3, 1}, {0x26f5, 0x26f5, 1}, {0x26fa, 0x26fa, 1}, {0x26fd, 0x26fd, 1}, {0x2705, 0x2705, 1},
			{0x270a, 0x270b, 1}, {0x2728, 0x2728, 1}, {0x274c, 0x274c, 1}, {0x274e, 0x274e, 1}, {0x2753, 0x2755, 1},
			{0x2757, 0x2757, 1}, {0x2795, 0x2797, 1}, {0x27b0, 0x27b0, 1}, {0x27bf, 0x27bf, 1}, {0x2b1b, 0x2b1c, 1},
			{0x2b50, 0x2b50, 1}, {0x2b55, 0x2b55, 1},
		},
		R32: []unicode.Range32{
			{0x1f004, 0x1f004, 1}, {0x1f0cf, 0x1f0cf, 1}, {0x1f18e, 0x1f18e, 1}, {0x1f191, 0x1f19a, 1}, {0x1f201, 0x1f201, 1},
			{0x1f21a, 0x1f21a, 1}, {0x1f22f, 0x1f22f, 1}, {0x1f232, 0x1f236, 1}, {0x1f238, 0x1f23a, 1}, {0x1f250, 0x1f251, 1},
		},
	}
}

// picture reports whether somebody else draws a character in colour.
func (s *setter) picture(cluster []rune) bool {
	return s.coloured && isEmoji(cluster) && (s.job.Pictured == nil || s.job.Pictured(string(cluster)))
}

// stripEmoji leaves emoji out.
func (s *setter) stripEmoji(text []char) []char {
	runes := make([]rune, len(text))
	for i, c := range text {
		runes[i] = c.r
	}
	out := make([]char, 0, len(text))
	s.seg.Init(runes)
	for it := s.seg.GraphemeIterator(); it.Next(); {
		if g := it.Grapheme(); !isEmoji(g.Text) {
			out = append(out, text[g.Offset:g.Offset+len(g.Text)]...)
		}
	}
	return out
}
