package caption

import "time"

// Face is a face of a family of fonts: what a text is asked to be drawn in, or
// is drawn in.
type Face struct {
	Family string
	Weight int // 100 to 900; 400 is regular, 700 is bold
	Italic bool
}

// Run is a part of a text that is drawn in one face. Its lengths are in ems,
// of which one is the font's size as designers and CSS have it.
type Run struct {
	From, To int // byte offsets
	Face     Face
	// Width is how far the text moves on.
	Width float64
	// Ascent and Descent are the font's usWinAscent and usWinDescent. libass
	// sizes a font by their sum, and makes lines as high as that.
	Ascent, Descent float64
	// Top and Bottom are how far ink reaches above and below the base line.
	Top, Bottom float64
	// Missing tells that no font has it; nothing can be drawn.
	Missing bool
}

// Emoji is one emoji over the picture: a square with its top left corner at
// X, Y, shown on the frames from Start up to End.
type Emoji struct {
	Text       string
	X, Y, Size int // pixels of the result
	Start, End time.Duration
}
