package subtitle

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	styleFormat = "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, " +
		"ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding"
	defaultStyle = "Default"
)

// assStyle is a style of a script, each field within its bounds.
type assStyle struct {
	name, font                        string
	size                              float64
	colors                            [4]uint32 // aabbggrr: primary, secondary, outline, back
	bold, italic, underline, struck   int
	scaleX, scaleY, spacing, angle    float64
	border                            int
	outline, shadow                   float64
	align, left, right, vert, charset int
}

// style reads the fields of a Style line.
func (s *script) style(value string) assStyle {
	format := s.styleFormat
	if len(format) == 0 {
		format = fieldNames(styleFormat)
		if s.ssa {
			format = fieldNames("Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, TertiaryColour, BackColour, Bold, Italic, " +
				"BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, AlphaLevel, Encoding")
		}
	}
	f := s.fieldsOf(value, format)
	for name, v := range f {
		f[name] = strings.TrimSpace(v)
	}
	outline := f["outlinecolour"]
	if outline == "" {
		outline = f["tertiarycolour"]
	}
	st := assStyle{
		name: fieldText(strings.TrimLeft(f["name"], "*")), font: fontName(f["fontname"]), size: figure(f["fontsize"], 18, 0, maxPlayRes),
		colors: [4]uint32{assColor(f["primarycolour"]), assColor(f["secondarycolour"]), assColor(outline), assColor(f["backcolour"])},
		bold:   bounded(f["bold"], -1, 1000), italic: flag(f["italic"]), underline: flag(f["underline"]), struck: flag(f["strikeout"]),
		scaleX: figure(f["scalex"], 100, 0, maxScale), scaleY: figure(f["scaley"], 100, 0, maxScale),
		spacing: figure(f["spacing"], 0, -1000, 1000), angle: figure(f["angle"], 0, -3600, 3600),
		border: bounded(f["borderstyle"], 0, 100), outline: figure(f["outline"], 0, 0, maxBorder), shadow: figure(f["shadow"], 0, 0, maxBorder),
		align: bounded(f["alignment"], 0, 11), left: bounded(f["marginl"], 0, 10_000), right: bounded(f["marginr"], 0, 10_000),
		vert: bounded(f["marginv"], 0, 10_000), charset: bounded(f["encoding"], -1, 255),
	}
	if st.border != 3 && st.border != 4 {
		st.border = 1
	}
	if s.ssa {
		st.align = keypad(st.align)
		// SSA draws outline and shadow in one colour.
		st.colors[2] = st.colors[3]
	}
	if st.align < 1 || st.align > 9 {
		st.align = 2
	}
	return st
}

// keypad turns an alignment of SSA (1 to 3, 5 to 7 at the top, 9 to 11 in the
// middle) into one of the keypad.
func keypad(a int) int {
	column := a & 3
	if column == 0 {
		return 2
	}
	switch {
	case a&4 != 0:
		return column + 6
	case a&8 != 0:
		return column + 3
	}
	return column
}

// fontName keeps the name of a font in its field: no comma, no brace, nothing
// that could be taken for a path.
func fontName(s string) string {
	s = strings.TrimSpace(strings.NewReplacer("{", "", "}", "", `\`, "", "/", "", "..", "").Replace(fieldText(s)))
	if s == "" || s == "@" {
		return "Noto Sans"
	}
	return s
}

func flag(s string) int {
	if v := bounded(s, -1, 1); v != 0 {
		return -1
	}
	return 0
}

// bounded reads a whole number, as C does: what follows the digits is ignored.
func bounded(s string, low, high int) int {
	return int(math.Trunc(figure(s, 0, float64(low), float64(high))))
}

// figure reads the number that s begins with, or returns otherwise.
func figure(s string, otherwise, low, high float64) float64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && end < 32 && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || end == 0 && (s[end] == '-' || s[end] == '+')) {
		end++
	}
	v, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || math.IsNaN(v) {
		return otherwise
	}
	return min(max(v, low), high)
}

// assColor reads &HAABBGGRR, or the decimal number that SSA writes.
func assColor(s string) uint32 {
	s = strings.Trim(strings.TrimSpace(s), "&")
	if hex, ok := strings.CutPrefix(strings.ToUpper(s), "H"); ok {
		v, _ := strconv.ParseUint(strings.Trim(hex, "&"), 16, 64)
		return uint32(v)
	}
	v, _ := strconv.ParseInt(s, 10, 64)
	return uint32(v)
}

// writeStyles writes the styles, each name once, and one of the name Default.
// It returns the names in lower case.
func (s *script) writeStyles(b *bytes.Buffer, height int) map[string]bool {
	names := map[string]bool{}
	for _, st := range s.styles {
		low := strings.ToLower(st.name)
		if st.name == "" || names[low] {
			continue
		}
		names[low] = true
		st.size = min(st.size, float64(height))
		st.write(b)
	}
	if !names[strings.ToLower(defaultStyle)] {
		names[strings.ToLower(defaultStyle)] = true
		assStyle{
			name: defaultStyle, font: "Noto Sans", size: min(max(float64(height)/16, 8), float64(height)), colors: [4]uint32{0xFFFFFF, 0xFFFF, 0, 0}, scaleX: 100, scaleY: 100,
			border: 1, outline: max(float64(height)/200, 1), align: 2, left: 10, right: 10, vert: 10, charset: 1,
		}.write(b)
	}
	return names
}

func (st assStyle) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "Style: %s,%s,%s,&H%08X,&H%08X,&H%08X,&H%08X,%d,%d,%d,%d,%s,%s,%s,%s,%d,%s,%s,%d,%d,%d,%d,%d\n",
		st.name, st.font, short(st.size), st.colors[0], st.colors[1], st.colors[2], st.colors[3], st.bold, st.italic, st.underline, st.struck,
		short(st.scaleX), short(st.scaleY), short(st.spacing), short(st.angle), st.border, short(st.outline), short(st.shadow),
		st.align, st.left, st.right, st.vert, st.charset)
}

// short writes a figure with at most three digits after the point.
func short(v float64) string {
	s := strconv.FormatFloat(v, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
