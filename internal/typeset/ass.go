package typeset

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// Render writes cues as an ASS script for libass, one Dialogue line a cue, in
// their order. size is the picture as displayed; the script's own coordinates
// are its pixels, so that text is neither stretched nor blurred.
//
// Times are rounded to the hundredths of a second of ASS. Cues that went
// through Snap are shown on exactly their frames.
//
// No text becomes ASS: it is written as the characters it is made of.
func Render(cues []caption.Cue, style Style, size Size) []byte {
	style, size = style.orDefault(), size.orDefault()
	r := renderer{style: style, size: size, safe: size.safeArea()}
	r.header()
	for _, c := range cues {
		r.event(c)
	}
	return r.out
}

type renderer struct {
	style Style
	size  Size
	safe  margins
	out   []byte
}

// header writes the script's settings and its only style.
//
// LayoutRes makes libass undo the pixel aspect where the filter is given a
// frame of another shape than the displayed picture. The matrix "None" means
// that colours are RGB, to be converted as the picture's own matrix says.
// Encoding -1 lets libass find the direction of each paragraph, for Arabic
// and Hebrew. WrapStyle 0 breaks a line that is wider than our estimate.
func (r *renderer) header() {
	const bottomCentre = 2
	scale, m := r.size.scale(), r.safe.centred()
	bold := 0
	if r.style.Bold {
		bold = -1
	}
	r.out = fmt.Appendf(r.out, `[Script Info]
ScriptType: v4.00+
PlayResX: %d
PlayResY: %d
LayoutResX: %d
LayoutResY: %d
WrapStyle: 0
ScaledBorderAndShadow: yes
YCbCr Matrix: None

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,%s,%s,%s,%[7]s,%[8]s,%[8]s,%d,0,0,0,100,100,0,0,1,%s,0,%d,%d,%d,%d,-1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`,
		r.size.Width, r.size.Height, r.size.Width, r.size.Height,
		fontName(r.style.Font), decimal(r.style.Size*r.style.FontHeight*scale),
		assColor(r.style.Color, "&HFFFFFF"), assColor(r.style.OutlineColor, "&H000000"),
		bold, decimal(r.style.Outline*scale), bottomCentre, m.left, m.right, m.bottom)
}

// fontName keeps a family name in its field of the Style line.
func fontName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// decimal writes v with at most two digits after the point.
func decimal(v float64) string {
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// event writes one Dialogue line.
func (r *renderer) event(c caption.Cue) {
	start, end := centiseconds(c.Start), centiseconds(c.End)
	if end <= start {
		end = start + 1 // a cue is never rounded away
	}
	m, override := r.place(c.Align)
	r.out = fmt.Appendf(r.out, "Dialogue: 0,%s,%s,Default,,%d,%d,%d,,%s",
		stampOf(start), stampOf(end), m.left, m.right, m.bottom, override)
	r.text(c)
	r.out = append(r.out, '\n')
}

// place returns the margins of an event (its vertical one as bottom, 0 for
// those of the style) and the override for an alignment on the keypad.
func (r *renderer) place(align int) (m margins, override string) {
	if align < 1 || align > 9 || align == 2 {
		return margins{}, ""
	}
	m = r.safe
	if align%3 == 2 { // the middle column
		m = m.centred()
	}
	if align >= 7 {
		m.bottom = m.top
	}
	return m, `{\an` + strconv.Itoa(align) + `}`
}

// text writes the lines of a cue, broken to fit, with the looks of its spans.
func (r *renderer) text(c caption.Cue) {
	text := strings.ToValidUTF8(c.Text, "")
	look := caption.Look{}
	span := 0
	for n, l := range wrap(text, r.aim(), r.fit()) {
		if n > 0 {
			r.out = append(r.out, `\N`...)
		}
		for i, char := range text[l.from:l.to] {
			at := l.from + i
			for span < len(c.Spans) && c.Spans[span].To <= at {
				span++
			}
			want := caption.Look{}
			if span < len(c.Spans) && c.Spans[span].From <= at {
				want = c.Spans[span].Look
			}
			if want != look {
				r.look(want)
				look = want
			}
			r.char(char)
		}
	}
}

// look writes the override that makes text look so: back to the style, then
// the differences.
func (r *renderer) look(l caption.Look) {
	r.out = append(r.out, `{\r`...)
	if l.Bold {
		r.out = append(r.out, `\b1`...)
	}
	if l.Italic {
		r.out = append(r.out, `\i1`...)
	}
	if l.Underline {
		r.out = append(r.out, `\u1`...)
	}
	if color := assColor(l.Color, ""); color != "" {
		r.out = fmt.Appendf(r.out, `\c%s&`, color)
	}
	r.out = append(r.out, '}')
}

// char writes one character of a text. libass knows \{ and \}, but has no
// escape for the backslash itself: a word joiner after it, which has no
// width and no glyph, keeps it from meeting a letter that would make it one.
func (r *renderer) char(c rune) {
	switch c {
	case '{', '}':
		r.out = append(r.out, '\\', byte(c))
	case '\\':
		r.out = append(r.out, "\\\u2060"...)
	case '\n':
		r.out = append(r.out, ' ') // within a line of ours: joined
	default:
		if c, ok := caption.Clean(c); ok && c != '\n' {
			r.out = utf8.AppendRune(r.out, c)
		}
	}
}

// aim is the line that long texts are broken to.
func (r *renderer) aim() extent {
	chars := r.style.LineChars
	switch {
	case chars > 0:
	case r.size.portrait():
		chars = portraitChars
	default:
		chars = landscapeChars
	}
	return extent{chars, r.fit().ems}
}

// fit is the longest line that the picture has room for.
func (r *renderer) fit() extent {
	m := r.safe.centred()
	room := float64(r.size.Width-m.left-m.right) / (r.style.Size * r.size.scale())
	const anyChars = 1 << 30
	return extent{anyChars, max(int(room*100), 100)}
}

// centiseconds rounds to the nearest.
func centiseconds(d time.Duration) int64 {
	const unit = 10 * time.Millisecond
	return int64(max(d, 0).Round(unit) / unit)
}

// stampOf writes hundredths of a second as H:MM:SS.cc; libass reads any
// number of hours.
func stampOf(cs int64) string {
	return fmt.Sprintf("%d:%02d:%02d.%02d", cs/360_000, cs/6000%60, cs/100%60, cs%100)
}

// assColor turns "#rrggbb" into the &HBBGGRR of ASS, or fallback where s is
// none: nothing else than six hex digits ever reaches a script.
func assColor(s, fallback string) string {
	if len(s) != 7 || s[0] != '#' || strings.Trim(strings.ToLower(s[1:]), "0123456789abcdef") != "" {
		return fallback
	}
	s = strings.ToUpper(s)
	return "&H" + s[5:7] + s[3:5] + s[1:3]
}
