package subtitle

import (
	"slices"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Bounds of what the overrides of a script may ask for. Blur and large letters
// cost time in proportion to their area, on every frame.
const (
	maxScale      = 1000   // percent
	maxBorder     = 100    // pixels of the script
	maxBlur       = 20     // of \blur and \be; libass takes 100 and 127
	maxFontSize   = 1000   // of \fs
	maxPoint      = 32_000 // of coordinates
	maxTags       = 400    // overrides of one event
	maxTransforms = 24     // \t of one event
	maxDrawing    = 8 << 10
	// Of the whole script:
	allTransforms = 20_000
	allDrawing    = 2 << 20
)

// overrideBudget is what is left for the whole script.
type overrideBudget struct{ transforms, drawing int }

func newOverrideBudget() overrideBudget { return overrideBudget{allTransforms, allDrawing} }

// overridden is the text of an event, read.
type overridden struct {
	script string
	cue    caption.Cue // its text, looks, place and words
	// draws: it holds a vector drawing.
	draws bool
	// limited counts the overrides that were left out or bounded.
	limited int
}

// eventText reads the text of one event.
type eventText struct {
	*script
	out        strings.Builder
	styled     []styled
	look       caption.Look
	align      int
	place      *caption.Place
	start      time.Duration
	sung       time.Duration // since the start, up to the syllable that begins
	syllable   time.Duration
	stamps     []time.Duration
	drawing    bool
	draws      bool
	tags       int
	transforms int
	drawn      int
	limited    int
}

// overrides reads the text of an event: what it says, and the same with its
// overrides, bounded.
func (s *script) overrides(text string, start, end time.Duration) overridden {
	e := &eventText{script: s, start: start, styled: s.buffer[:0]}
	text = strings.ReplaceAll(text, "\n", " ")
	for text != "" {
		if text[0] == '{' {
			if close := strings.IndexByte(text, '}'); close > 0 {
				e.block(text[1:close])
				text = text[close+1:]
				continue
			}
			e.plain(unclosed.Replace(text)) // it is text, as for libass
			break
		}
		next := caption.OpenBrace(text)
		e.plain(text[:next])
		text = text[next:]
	}
	s.buffer = e.styled
	c, marks := compose(e.styled)
	c.Align, c.Place = e.align, e.place
	c.Words = timedWords(c.Text, start, end, marks, e.stamps)
	return overridden{script: strings.TrimRight(e.out.String(), "\r"), cue: c, draws: e.draws, limited: e.limited}
}

// unclosed writes braces that open no block as text.
var unclosed = strings.NewReplacer(`\{`, `\{`, "{", `\{`)

// plain reads text between blocks, or a drawing.
func (e *eventText) plain(text string) {
	if e.drawing {
		if strings.TrimSpace(text) == "" {
			return
		}
		drawing := drawingOf(text)
		if e.drawn+len(drawing) > maxDrawing || e.budget.drawing < len(drawing) || drawing == "" {
			e.limited++
			return
		}
		e.drawn += len(drawing)
		e.budget.drawing -= len(drawing)
		e.draws = true
		if out := e.out.String(); !strings.HasSuffix(out, "}") {
			e.out.WriteByte(' ') // a comment stood between
		}
		e.out.WriteString(drawing)
		return
	}
	text = strings.Map(func(r rune) rune {
		if r, ok := caption.Clean(r); ok && r != '\n' {
			return r
		}
		return -1
	}, text)
	e.out.WriteString(text)
	if strings.IndexByte(text, '\\') >= 0 {
		text = escapes.Replace(text)
	}
	for _, r := range text {
		e.styled = append(e.styled, styled{r, int32(len(e.stamps)), e.look})
	}
}

// escapes are what a backslash makes of the letter after it, in the text.
var escapes = strings.NewReplacer(`\N`, "\n", `\n`, "\n", `\h`, "\u00a0", `\{`, "{", `\}`, "}")

// block reads the overrides of one block; what is no override is a comment.
func (e *eventText) block(block string) {
	var kept strings.Builder
	for {
		at := strings.IndexByte(block, '\\')
		if at < 0 {
			break
		}
		var tag string
		tag, block = cutTag(block[at+1:])
		if e.tags++; e.tags > maxTags {
			e.limited++
			break
		}
		kept.WriteString(e.tag(tag, false))
	}
	if kept.Len() > 0 {
		e.out.WriteString("{" + kept.String() + "}")
	}
}

// cutTag returns an override, without its backslash, and what follows it. The
// arguments in parentheses may hold overrides of their own.
func cutTag(s string) (tag, rest string) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth <= 0 {
				return s[:i+1], s[i+1:]
			}
		case '\\':
			if depth <= 0 {
				return s[:i], s[i:]
			}
		}
	}
	return s, ""
}

// tagNames are the overrides that are kept, those that begin as others do
// before them.
func tagNames() []string {
	return []string{
		"alpha", "iclip", "xbord", "ybord", "xshad", "yshad", "blur", "bord", "shad", "clip", "fade", "move", "fscx", "fscy", "fad", "fax", "fay",
		"frx", "fry", "frz", "fsp", "org", "pbo", "pos", "fs", "fr", "fn", "fe", "an", "be", "kf", "ko", "kt", "1c", "2c", "3c", "4c", "1a", "2a",
		"3a", "4a", "K", "k", "a", "b", "c", "i", "p", "q", "r", "s", "t", "u",
	}
}

// tag reads one override, and returns it as it is written anew, or "" for
// what is left out.
func (e *eventText) tag(tag string, within bool) string {
	for _, name := range e.tagNames {
		arg, ok := strings.CutPrefix(tag, name)
		if !ok {
			continue
		}
		arg = strings.TrimSpace(arg)
		if inner, ok := strings.CutPrefix(arg, "("); ok && name != "r" && name != "fn" {
			arg = strings.TrimSuffix(inner, ")")
			if !takesList(name) { // \fs(20) is \fs20 for libass
				arg = strings.TrimSpace(arg)
			}
		}
		return e.named(name, arg, within)
	}
	return ""
}

func takesList(name string) bool {
	return slices.Contains([]string{"pos", "move", "org", "clip", "iclip", "fad", "fade", "t"}, name)
}

func (e *eventText) named(name, arg string, within bool) string {
	if takesList(name) {
		return e.list(name, arg, within)
	}
	if strings.Trim(arg[:min(len(arg), 1)], "0123456789.+-&H") != "" && name != "fn" && name != "r" {
		return "" // another override, which only begins like this one
	}
	if !within {
		e.notice(name, arg)
	}
	write := func(low, high float64) string {
		if arg == "" {
			return `\` + name // back to the style's
		}
		v := figure(arg, 0, -1e9, 1e9)
		if v < low || v > high {
			e.limited++
		}
		return `\` + name + short(min(max(v, low), high))
	}
	switch name {
	case "fs":
		if strings.HasPrefix(arg, "+") || strings.HasPrefix(arg, "-") { // a step, of tenths
			return `\fs` + arg[:1] + short(figure(arg[1:], 0, 0, 20))
		}
		return write(0, maxFontSize)
	case "fscx", "fscy":
		return write(0, maxScale)
	case "bord", "xbord", "ybord", "shad":
		return write(0, maxBorder)
	case "xshad", "yshad":
		return write(-maxBorder, maxBorder)
	case "blur", "be":
		return write(0, maxBlur)
	case "fsp":
		return write(-1000, 1000)
	case "fax", "fay":
		return write(-10, 10)
	case "frx", "fry", "frz", "fr":
		return write(-36_000, 36_000)
	case "pbo":
		return write(-maxPoint, maxPoint)
	case "p":
		return write(0, 10)
	case "an", "a":
		return write(0, 11)
	case "k", "K", "kf", "ko", "kt":
		return write(0, 1e6)
	case "b", "i", "u", "s":
		return write(0, 1000)
	case "q":
		return write(0, 3)
	case "fe":
		return write(-1, 255)
	case "c", "1c", "2c", "3c", "4c", "alpha", "1a", "2a", "3a", "4a":
		if arg == "" {
			return `\` + name
		}
		return `\` + name + "&H" + hexOf(assColor(arg)&0xFFFFFF) + "&"
	case "fn":
		if arg == "" {
			return `\fn`
		}
		return `\fn` + strings.NewReplacer("(", "", ")", "").Replace(fontName(arg))
	case "r":
		return `\r` + strings.NewReplacer("{", "", "}", "", `\`, "", "(", "", ")", "").Replace(fieldText(arg))
	}
	return ""
}

func hexOf(v uint32) string {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 6)
	for shift := 20; shift >= 0; shift -= 4 {
		out = append(out, digits[v>>shift&15])
	}
	return string(out)
}

// notice keeps in mind what an override says of the text that follows.
func (e *eventText) notice(name, arg string) {
	on := func() bool { return figure(arg, 0, 0, 1000) > 0 }
	switch name {
	case "b":
		e.look.Bold = on()
	case "i":
		e.look.Italic = on()
	case "u":
		e.look.Underline = on()
	case "r":
		e.look = caption.Look{}
	case "c", "1c":
		e.look.Color = ""
		if v := assColor(arg); arg != "" {
			e.look.Color = apigpu.Color{R: uint8(v), G: uint8(v >> 8), B: uint8(v >> 16), A: 255}.Hex()
		}
	case "an":
		if v := bounded(arg, 0, 9); v > 0 && e.align == 0 {
			e.align = v
		}
	case "a":
		if v := bounded(arg, 0, 11); v > 0 && e.align == 0 {
			e.align = keypad(v)
		}
	case "p":
		e.drawing = figure(arg, 0, 0, 100) > 0
	case "k", "K", "kf", "ko":
		e.sung += e.syllable
		e.syllable = time.Duration(figure(arg, 0, 0, 1e6)) * 10 * time.Millisecond
		e.stamps = append(e.stamps, e.start+e.sung)
	case "kt":
		e.sung, e.syllable = time.Duration(figure(arg, 0, 0, 1e6))*10*time.Millisecond, 0
	}
}

// list reads an override whose arguments stand in parentheses.
func (e *eventText) list(name, arg string, within bool) string {
	if name == "t" {
		return e.transform(arg, within)
	}
	args := strings.Split(arg, ",")
	want := map[string][]int{"pos": {2}, "move": {4, 6}, "org": {2}, "clip": {4, 1, 2}, "iclip": {4, 1, 2}, "fad": {2}, "fade": {7, 2}}[name]
	if !slices.Contains(want, len(args)) {
		return ""
	}
	if strings.HasSuffix(name, "clip") && len(args) < 4 {
		drawing := drawingOf(args[len(args)-1])
		if e.drawn+len(drawing) > maxDrawing || e.budget.drawing < len(drawing) || drawing == "" {
			e.limited++
			return ""
		}
		e.drawn += len(drawing)
		e.budget.drawing -= len(drawing)
		if len(args) == 2 {
			drawing = short(figure(args[0], 1, 1, 10)) + "," + drawing
		}
		return `\` + name + "(" + drawing + ")"
	}
	for i, a := range args {
		args[i] = short(figure(a, 0, -maxPoint, maxPoint))
		if strings.HasPrefix(name, "fad") {
			args[i] = short(figure(a, 0, -1e7, 1e7))
		}
	}
	if name == "pos" && !within && e.place == nil {
		w, h := e.playRes()
		e.place = &caption.Place{
			X: min(max(figure(args[0], 0, 0, maxPoint)/float64(w), 0), 1), Y: min(max(figure(args[1], 0, 0, maxPoint)/float64(h), 0), 1),
		}
	}
	return `\` + name + "(" + strings.Join(args, ",") + ")"
}

// transform reads \t([start,end,][speed,]overrides).
func (e *eventText) transform(arg string, within bool) string {
	if e.transforms++; within || e.transforms > maxTransforms || e.budget.transforms == 0 {
		e.limited++
		return ""
	}
	e.budget.transforms--
	figures, inner := arg, ""
	if at := strings.IndexByte(arg, '\\'); at >= 0 {
		figures, inner = arg[:at], arg[at:]
	}
	var out []string
	for f := range strings.SplitSeq(strings.TrimRight(figures, ", "), ",") {
		if f != "" && len(out) < 3 {
			out = append(out, short(figure(f, 0, -1e7, 1e7)))
		}
	}
	var tags strings.Builder
	for {
		at := strings.IndexByte(inner, '\\')
		if at < 0 {
			break
		}
		var tag string
		tag, inner = cutTag(inner[at+1:])
		if e.tags++; e.tags > maxTags {
			e.limited++
			break
		}
		tags.WriteString(e.tag(tag, true))
	}
	if tags.Len() == 0 {
		return ""
	}
	return `\t(` + strings.Join(append(out, tags.String()), ",") + ")"
}

// drawingOf keeps the commands and coordinates of a vector drawing.
func drawingOf(s string) string {
	var out []string
	for _, f := range strings.Fields(s) {
		switch {
		case len(f) == 1 && strings.Contains("mnlbspc", f):
			out = append(out, f)
		case strings.Trim(f, "0123456789.-+") == "":
			out = append(out, short(figure(f, 0, -maxPoint, maxPoint)))
		}
		if len(out) > maxDrawing {
			return ""
		}
	}
	return strings.Join(out, " ")
}
