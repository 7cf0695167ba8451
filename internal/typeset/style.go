package typeset

// Size is the picture as it is displayed, in pixels: after rotation, and with
// square pixels.
type Size struct {
	Width, Height int
}

// Style is how captions look. Lengths are reference pixels: the short side of
// the picture is 1080 of them, so that one style suits every size.
type Style struct {
	// Font is the family name. The worker sets it to a font it has.
	Font string
	// FontHeight is the font's (usWinAscent + usWinDescent) / unitsPerEm.
	// ASS sizes a font by that height, CSS and designers by its em; the
	// script asks for Size x FontHeight, which makes capitals as tall as
	// those of CSS text of Size pixels. 1.362 for Noto Sans.
	FontHeight float64
	// Size is the height of the em, as font-size in CSS.
	Size float64
	Bold bool
	// Color and OutlineColor are "#rrggbb".
	Color, OutlineColor string
	// Outline is the width of the line around the letters.
	Outline float64
	// LineChars is how many characters long captions are broken at, or 0 for
	// 42 on a wide picture and 22 on a tall one. A wide East Asian character
	// counts as two.
	LineChars int
}

// DefaultStyle is bold white text of 54 reference pixels (5 % of the short
// side) with a black outline.
func DefaultStyle() Style {
	return Style{
		Font:         "Noto Sans",
		FontHeight:   1.362,
		Size:         54,
		Bold:         true,
		Color:        "#ffffff",
		OutlineColor: "#000000",
		Outline:      4,
	}
}

const (
	referenceSide = 1080
	// Characters a line, as the guides for subtitles have it: 42 is the
	// figure of Netflix and the BBC; 22 fills the width that the buttons of
	// TikTok, Reels and Shorts leave.
	landscapeChars = 42
	portraitChars  = 22
)

// orDefault fills what is not set or makes no sense.
func (s Style) orDefault() Style {
	d := DefaultStyle()
	if s.Font == "" {
		s.Font = d.Font
	}
	if !(s.FontHeight > 0.2 && s.FontHeight < 10) {
		s.FontHeight = d.FontHeight
	}
	if !(s.Size > 0 && s.Size < 10*referenceSide) {
		s.Size = d.Size
	}
	if !(s.Outline >= 0 && s.Outline < referenceSide) {
		s.Outline = d.Outline
	}
	return s
}

func (s Size) orDefault() Size {
	if s.Width <= 0 || s.Height <= 0 {
		return Size{1920, 1080}
	}
	return s
}

func (s Size) portrait() bool { return s.Height > s.Width }

// scale is pixels of the picture per reference pixel.
func (s Size) scale() float64 { return float64(min(s.Width, s.Height)) / referenceSide }

// margins are the pixels kept free at each edge.
type margins struct {
	top, right, bottom, left int
}

// safeArea keeps captions away from the edges, and on tall pictures from what
// apps put over them: the shares are the largest of TikTok, Reels and Shorts
// as published in 2025 and 2026.
func (s Size) safeArea() margins {
	w, h := s.Width, s.Height
	if s.portrait() {
		return margins{top: h * 13 / 100, right: w * 16 / 100, bottom: h * 24 / 100, left: w * 6 / 100}
	}
	return margins{top: h * 5 / 100, right: w * 5 / 100, bottom: h * 5 / 100, left: w * 5 / 100}
}

// centred widens the narrower side, so that text in the middle of the safe
// area is in the middle of the picture too.
func (m margins) centred() margins {
	m.left = max(m.left, m.right)
	m.right = m.left
	return m
}
