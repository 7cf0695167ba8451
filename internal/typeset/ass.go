package typeset

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// The layers of the script, from the back.
const (
	layerBox = iota
	layerMark
	layerShadow
	layerText
	layerActive
)

// header writes the script's settings and its two styles: that of most
// letters, and that of their shadows.
//
// LayoutRes makes libass undo the pixel aspect where the filter is given a
// frame of another shape than the displayed picture. The matrix "None" means
// that colours are RGB, to be converted as the picture's own matrix says.
// Encoding -1 lets libass find the direction of each text by itself. WrapStyle
// 2 breaks no line.
func (s *setter) header() {
	s.face = s.runs("x", s.look.face, false)[0]
	bold := 0
	if s.face.Face.Weight >= 600 {
		bold = -1
	}
	italic := 0
	if s.face.Face.Italic {
		italic = -1
	}
	s.out = fmt.Appendf(s.out, `[Script Info]
ScriptType: v4.00+
PlayResX: %[1]d
PlayResY: %[2]d
LayoutResX: %[1]d
LayoutResY: %[2]d
WrapStyle: 2
Kerning: yes
ScaledBorderAndShadow: yes
YCbCr Matrix: None

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,%[3]s,%[4]s,%[5]s,%[5]s,%[6]s,%[6]s,%[7]d,%[8]d,0,0,100,100,%[9]s,0,1,%[10]s,0,5,0,0,0,-1
Style: Shadow,%[3]s,%[4]s,%[11]s,%[11]s,%[11]s,%[11]s,%[7]d,%[8]d,0,0,100,100,%[9]s,0,1,%[10]s,0,5,0,0,0,-1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`,
		s.size.Width, s.size.Height, fontName(s.face.Face.Family), decimal(heightOf(s.face)*s.look.size),
		styleColor(s.look.color), styleColor(s.look.outlineColor), bold, italic,
		decimal(s.look.spacing), decimal(s.look.outline), styleColor(s.look.shadowColor))
}

// heightOf is what libass sizes a font by, in ems.
func heightOf(r caption.Run) float64 {
	if h := r.Ascent + r.Descent; h > 0.2 && h < 10 {
		return h
	}
	return 1.2
}

// sheet is what was set.
func (s *setter) sheet() Sheet {
	if s.absentAll > 0 {
		var list []rune
		for _, c := range slices.Sorted(maps.Keys(s.absent)) {
			r, _ := utf8.DecodeRuneInString(c)
			list = append(list, r)
		}
		s.notes = append(s.notes, MissingGlyphs(list))
	}
	slices.SortStableFunc(s.emoji, func(a, b Emoji) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	return Sheet{
		ASS: s.out, Emoji: s.emoji, Families: s.mostUsed(),
		Shown: s.shown, Timing: s.timing, Notes: s.notes,
	}
}

// mostUsed is the families by how much is drawn in them, most first.
func (s *setter) mostUsed() []string {
	names := slices.Sorted(maps.Keys(s.families))
	slices.SortStableFunc(names, func(a, b string) int { return s.families[b] - s.families[a] })
	return names
}

// dialogue begins an event; what is drawn follows, and then a line break.
func (s *setter) dialogue(layer int, start, end time.Duration) {
	from, to := centiseconds(start), centiseconds(end)
	if to <= from {
		to = from + 1 // nothing is rounded away
	}
	s.out = append(s.out, "Dialogue: "...)
	s.out = strconv.AppendInt(s.out, int64(layer), 10)
	s.out = append(s.out, ',')
	s.out = appendStamp(s.out, from)
	s.out = append(s.out, ',')
	s.out = appendStamp(s.out, to)
	if layer == layerShadow {
		s.out = append(s.out, ",Shadow,,0,0,0,,"...)
	} else {
		s.out = append(s.out, ",Default,,0,0,0,,"...)
	}
}

// paint is how letters are drawn.
type paint struct {
	fill, line apigpu.Color
	width      float64 // of the outline
	blur       float64
	dx, dy     float64 // from where they stand
	more       string  // further tags of ours
}

// text writes an event that draws a piece, in the middle of its room.
func (s *setter) text(layer int, start, end time.Duration, p *part, r *row, at *piece, with paint) {
	em := s.look.size * p.scale
	x := r.left + at.left + at.width/2 + with.dx
	y := r.base + (at.run.Descent-at.run.Ascent)/2*em + with.dy
	s.dialogue(layer, start, end)
	s.out = append(s.out, `{\pos(`...)
	s.out = appendDecimal(s.out, x)
	s.out = append(s.out, ',')
	s.out = appendDecimal(s.out, y)
	s.out = append(s.out, ')')
	s.faceTags(p, at)
	if with.fill != s.look.color && layer != layerShadow {
		s.colorTags(1, with.fill, s.look.color.A)
	}
	if with.width != s.look.outline {
		s.out = append(s.out, `\bord`...)
		s.out = appendDecimal(s.out, with.width)
	}
	if with.width > 0 && with.line != s.look.outlineColor && layer != layerShadow {
		s.colorTags(3, with.line, s.look.outlineColor.A)
	}
	if with.blur > 0 {
		s.out = append(s.out, `\blur`...)
		s.out = appendDecimal(s.out, with.blur)
	}
	s.out = append(s.out, with.more...)
	s.out = append(s.out, '}')
	s.characters(at, p.rtl)
	s.out = append(s.out, '\n')
}

// faceTags writes how the face of a piece differs from that of the style.
func (s *setter) faceTags(p *part, at *piece) {
	f, base := at.run.Face, s.face.Face
	s.families[f.Family]++
	if f.Family != base.Family {
		s.out = append(s.out, `\fn`...)
		s.out = append(s.out, fontName(f.Family)...)
	}
	if h := heightOf(at.run); h != heightOf(s.face) || p.scale != 1 {
		s.out = append(s.out, `\fs`...)
		s.out = appendDecimal(s.out, h*s.look.size*p.scale)
	}
	bold := 400
	if base.Weight >= 600 {
		bold = 700
	}
	if f.Weight != bold {
		s.out = append(s.out, `\b`...)
		s.out = strconv.AppendInt(s.out, int64(f.Weight), 10)
	}
	if f.Italic != base.Italic {
		s.out = append(s.out, `\i`...)
		s.out = appendBit(s.out, f.Italic)
	}
	if s.look.underline || at.mark.Underline {
		s.out = append(s.out, `\u1`...)
	}
	if at.tight && s.look.spacing != 0 {
		s.out = append(s.out, `\fsp0`...)
	} else if s.look.spacing != 0 && p.scale != 1 {
		s.out = append(s.out, `\fsp`...)
		s.out = appendDecimal(s.out, s.look.spacing*p.scale)
	}
}

func appendBit(b []byte, v bool) []byte {
	if v {
		return append(b, '1')
	}
	return append(b, '0')
}

// colorTags writes a colour, and its opacity where it is not the usual one.
func (s *setter) colorTags(n int, c apigpu.Color, usual uint8) {
	s.out = append(s.out, '\\', byte('0'+n), 'c', '&', 'H')
	s.out = append(appendHex(appendHex(appendHex(s.out, c.B), c.G), c.R), '&')
	if c.A != usual {
		s.out = append(s.out, '\\', byte('0'+n), 'a', '&', 'H')
		s.out = append(appendHex(s.out, 255-c.A), '&')
	}
}

func appendHex(b []byte, v uint8) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, digits[v>>4], digits[v&15])
}

// characters writes the text of a piece. In a cue of both directions, marks of its
// own direction around it keep commas and digits at its ends in it.
func (s *setter) characters(at *piece, rtl bool) {
	mark := ""
	switch {
	case at.level%2 == 1:
		mark = "\u200f"
	case rtl:
		mark = "\u200e"
	}
	s.out = append(s.out, mark...)
	for _, r := range at.text {
		s.char(r)
	}
	s.out = append(s.out, mark...)
}

// char writes one character of a text. libass knows \{ and \}, but has no
// escape for the backslash itself: a word joiner after it, which has no
// width and no glyph, keeps it from meeting a letter that would make it one.
func (s *setter) char(c rune) {
	switch c {
	case '{', '}':
		s.out = append(s.out, '\\', byte(c))
	case '\\':
		s.out = append(s.out, "\\\u2060"...)
	case '\n':
		s.out = append(s.out, ' ') // within a line of ours: joined
	default:
		if c, ok := caption.Clean(c); ok && c != '\n' {
			s.out = utf8.AppendRune(s.out, c)
		}
	}
}

// fontName keeps a family name from being anything else.
func fontName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`,{}\()`, r) {
			return -1
		}
		return r
	}, s)
}

// decimal writes v with at most two digits after the point.
func decimal(v float64) string { return string(appendDecimal(nil, v)) }

func appendDecimal(b []byte, v float64) []byte {
	n := len(b)
	b = strconv.AppendFloat(b, v, 'f', 2, 64)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	if string(b[n:]) == "-0" {
		b = append(b[:n], '0')
	}
	return b
}

// centiseconds rounds to the nearest.
func centiseconds(d time.Duration) int64 {
	const unit = 10 * time.Millisecond
	return int64(max(d, 0).Round(unit) / unit)
}

// appendStamp writes hundredths of a second as H:MM:SS.cc; libass reads any
// number of hours.
func appendStamp(b []byte, cs int64) []byte {
	two := func(v int64) { b = append(b, byte('0'+v/10), byte('0'+v%10)) }
	b = append(strconv.AppendInt(b, cs/360_000, 10), ':')
	two(cs / 6000 % 60)
	b = append(b, ':')
	two(cs / 100 % 60)
	b = append(b, '.')
	two(cs % 100)
	return b
}

// styleColor writes a colour as styles have it: opacity first, and 0 is solid.
func styleColor(c apigpu.Color) string {
	return fmt.Sprintf("&H%02X%02X%02X%02X", 255-c.A, c.B, c.G, c.R)
}
