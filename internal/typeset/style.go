package typeset

import (
	"strings"

	"golang.org/x/text/cases"
	xlanguage "golang.org/x/text/language"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// look is a style for one picture: lengths are its pixels.
type look struct {
	face      caption.Face
	underline bool
	size      float64 // of the em
	spacing   float64
	advance   float64 // from base line to base line

	color, outlineColor, shadowColor, boxColor apigpu.Color
	outline, shadowX, shadowY, blur            float64
	padding, radius                            float64
	box                                        apigpu.BoxMode

	area       rect    // the safe area
	middle     float64 // width that what stands in the middle of the picture has
	column     int     // -1 left, 0 centre, 1 right
	row        int     // -1 top, 0 centre, 1 bottom
	point      *point
	align      int // as column
	maxLines   int
	limit      limit
	ownLimit   bool // the limit was asked for, and binds lines of the author's too
	animation  apigpu.Animation
	active     active
	wordStyles []wordStyle
	emoji      apigpu.Emoji
	transform  func(string) string // nil for none
	capitals   bool                // it makes all letters capitals
	titles     bool                // it makes those capitals that begin a word
}

// active is the look of the spoken word; nil is that of the others.
type active struct {
	color, box, outline *apigpu.Color
	scale               float64
}

type point struct{ x, y float64 }

// rect is a part of the picture, in pixels.
type rect struct{ left, top, right, bottom float64 }

func (r rect) width() float64  { return r.right - r.left }
func (r rect) height() float64 { return r.bottom - r.top }

// limit bounds a line.
type limit struct {
	chars  int
	pixels float64
	words  int
}

// Characters a line, as the guides for subtitles have it: 42 is the figure of
// Netflix and the BBC; 22 fills the width that the buttons of TikTok, Reels
// and Shorts leave.
const (
	landscapeChars = 42
	portraitChars  = 22
)

// newLook works a style out for a picture.
func newLook(given apigpu.Style, size Size, lang string) look {
	st, k := Resolve(given), size.scale()
	l := look{
		face:      caption.Face{Family: st.Font.Family, Weight: bounded(st.Font.Weight, 100, 900), Italic: *st.Font.Italic},
		underline: *st.Font.Underline,
		size:      k * bounded(st.Font.Size.Pixels, 8, 400),
		spacing:   k * bounded(*st.Font.LetterSpacing, -20, 100),
		color:     colorOf(st.Color), outlineColor: colorOf(st.Outline.Color),
		shadowColor: colorOf(st.Shadow.Color), boxColor: colorOf(st.Box.Color),
		outline: k * bounded(*st.Outline.Width, 0, 40),
		shadowX: k * bounded(*st.Shadow.X, -100, 100), shadowY: k * bounded(*st.Shadow.Y, -100, 100), blur: k * bounded(*st.Shadow.Blur, 0, 50),
		padding: k * bounded(*st.Box.Padding, 0, 200), radius: k * bounded(*st.Box.Radius, 0, 200), box: st.Box.Mode,
		maxLines: bounded(st.MaxLines, 1, 10), animation: st.Animation, emoji: st.Emoji,
		transform: transformer(st.Text.Transform, lang), capitals: st.Text.Transform == apigpu.TransformUpper,
		titles: st.Text.Transform == apigpu.TransformCapitalize,
	}
	l.advance = l.size * bounded(*st.Font.LineHeight, 0.5, 4)
	if l.outlineColor.A == 0 {
		l.outline = 0
	}
	l.position(st, size)
	l.limit = limit{chars: landscapeChars, words: st.MaxWordsPerLine}
	if size.portrait() {
		l.limit.chars = portraitChars
	}
	set(&l.limit.chars, st.MaxCharsPerLine)
	l.ownLimit = given.MaxCharsPerLine > 0 || st.MaxWordsPerLine > 0
	if l.animation == apigpu.AnimationWord { // one word at a time is all there is
		l.limit.words, l.maxLines, l.ownLimit = 1, 1, true
	}
	l.limit.pixels = max(l.room()-2*l.inset(), l.size)
	l.active = active{optional(st.Active.Color), optional(st.Active.Box), optional(st.Active.Outline), bounded(*st.Active.Scale, 0.5, 2)}
	l.wordStyles = wordStylesOf(st.WordStyles)
	return l
}

// position works out where captions stand.
func (l *look) position(st apigpu.Style, size Size) {
	w, h := float64(size.Width), float64(size.Height)
	e := safeArea(st.SafeArea, size)
	l.area = rect{left: w * e.left / 100, top: h * e.top / 100, right: w * (1 - e.right/100), bottom: h * (1 - e.bottom/100)}
	if p := st.Position; p.Name == "" {
		l.point = &point{w * bounded(p.X, 0, 100) / 100, h * bounded(p.Y, 0, 100) / 100}
	}
	name := st.Position.Name
	switch {
	case strings.HasPrefix(name, "top"):
		l.row = -1
	case strings.HasPrefix(name, "bottom"):
		l.row = 1
	}
	switch {
	case strings.HasSuffix(name, "left"):
		l.column = -1
	case strings.HasSuffix(name, "right"):
		l.column = 1
	}
	l.align = l.column
	switch st.Align {
	case apigpu.AlignLeft:
		l.align = -1
	case apigpu.AlignCenter:
		l.align = 0
	case apigpu.AlignRight:
		l.align = 1
	}
	// What is in the middle is in the middle of the picture too.
	l.middle = w - 2*max(l.area.left, w-l.area.right)
}

// room is the width that lines have.
func (l *look) room() float64 {
	if l.column == 0 {
		return l.middle
	}
	return l.area.width()
}

// inset is how far what surrounds the letters reaches.
func (l *look) inset() float64 {
	if l.box != apigpu.BoxNone {
		return l.padding
	}
	return l.outline
}

// needsWords reports whether times of words are seen in the result.
func (l *look) needsWords() bool {
	switch l.animation {
	case "", apigpu.AnimationNone, apigpu.AnimationFade:
		return false
	}
	return true
}

// byWord reports whether each word is drawn for itself.
func (l *look) byWord() bool { return l.needsWords() && l.animation != apigpu.AnimationWord }

func bounded[T int | float64](v, low, high T) T {
	if !(v >= low) { // NaN too
		return low
	}
	return min(v, high)
}

// colorOf reads a colour that was checked before; what is none is white.
func colorOf(s string) apigpu.Color {
	if c, ok := apigpu.ParseColor(s); ok {
		return c
	}
	return apigpu.Color{R: 255, G: 255, B: 255, A: 255}
}

func optional(s string) *apigpu.Color {
	if c, ok := apigpu.ParseColor(s); ok {
		return &c
	}
	return nil
}

// transformer returns a change of case by the rules of a language.
func transformer(t apigpu.Transform, lang string) func(string) string {
	tag := xlanguage.Make(lang)
	var c cases.Caser
	switch t {
	case apigpu.TransformUpper:
		c = cases.Upper(tag)
	case apigpu.TransformLower:
		c = cases.Lower(tag)
	case apigpu.TransformCapitalize:
		// The rest of a word stays: NASA and iPhone are as they were.
		c = cases.Title(tag, cases.NoLower)
	default:
		return nil
	}
	return c.String
}

// wordStyle is how words look wherever they stand.
type wordStyle struct {
	match []rune // lower case, one space between words
	apigpu.WordStyle
}

func wordStylesOf(list []apigpu.WordStyle) []wordStyle {
	var out []wordStyle
	for _, w := range list {
		if match := strings.Join(strings.Fields(strings.ToLower(w.Match)), " "); match != "" {
			out = append(out, wordStyle{[]rune(match), w})
		}
	}
	return out
}
