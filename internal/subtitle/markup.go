package subtitle

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

var (
	tagPattern     = regexp.MustCompile(`^<(/?)([A-Za-z][A-Za-z0-9_.:-]*)(\s.*?)?(/?)>$`)
	tagName        = regexp.MustCompile(`<(/?)([A-Za-z][A-Za-z0-9_.:-]*)`)
	karaokeStamp   = regexp.MustCompile(`^<(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}>`)
	colorAttribute = regexp.MustCompile(`(?i)\bcolor\s*=\s*["']?\s*([#A-Za-z0-9]+)`)
	microDVD       = regexp.MustCompile(`^\{[YySsCcFfPpHhoD]:`)
	alignOverride  = regexp.MustCompile(`\\an([1-9])`)
	drawOverride   = regexp.MustCompile(`\\p(\d)`)
	entityPattern  = regexp.MustCompile(`^&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)
)

// readMarkup reads the text of a cue: its tags and override blocks become
// spans and a position, or nothing; all the rest is text, whatever it looks
// like. The times of the cue are left zero.
func readMarkup(raw string) caption.Cue {
	m := markup{raw: raw}
	m.findPairs()
	for m.at < len(raw) {
		m.step(raw[m.at:])
	}
	c := compose(m.out)
	c.Align = m.align
	return c
}

// styled is one character and how it looks.
type styled struct {
	r    rune
	look caption.Look
}

// markup reads the text of one cue from left to right.
type markup struct {
	raw   string
	at    int
	out   []styled
	align int
	// How often each tag is open; colors holds what each open font tag says.
	bold, italic, underline int
	colors                  []string
	// drawing: an override block began a vector drawing, whose coordinates
	// are no text.
	drawing bool
	// opened and closed are the names of all tags of the cue.
	opened, closed map[string]bool
}

// Bounds, in bytes, of a tag or an override block, and of an entity; what is
// longer is text.
const (
	maxTag    = 512
	maxEntity = 40
)

// enclosed returns s up to and with its first closing mark, or "" where s
// begins anew or the line ends before it.
func enclosed(s string, closing byte) string {
	end := strings.IndexAny(s[1:], "\n"+s[:1]+string(closing))
	if end < 0 || s[1+end] != closing {
		return ""
	}
	return s[:end+2]
}

// step reads one tag, block, escape, entity or character of rest.
func (m *markup) step(rest string) {
	// The patterns see a window only: on a long text each try would cost
	// time in proportion to all that is left of it.
	rest = rest[:min(len(rest), maxTag)]
	switch rest[0] {
	case '<':
		tag := enclosed(rest, '>')
		if t := tagPattern.FindStringSubmatch(tag); t != nil && m.tag(t) || karaokeStamp.MatchString(tag) {
			m.at += len(tag)
			return
		}
	case '{':
		block := enclosed(rest, '}')
		if strings.Contains(block, `\`) || microDVD.MatchString(block) {
			m.override(block)
			m.at += len(block)
			return
		}
	case '\\':
		// People and language models type the line break of ASS, or of C.
		if len(rest) > 1 && (rest[1] == 'N' || rest[1] == 'n') {
			m.emit("\n")
			m.at += 2
			return
		}
	case '&':
		if entity := entityPattern.FindString(rest[:min(len(rest), maxEntity)]); entity != "" {
			m.emit(html.UnescapeString(entity))
			m.at += len(entity)
			return
		}
	}
	_, size := utf8.DecodeRuneInString(rest)
	m.emit(rest[:size])
	m.at += size
}

func (m *markup) emit(text string) {
	if m.drawing {
		return
	}
	look := caption.Look{Bold: m.bold > 0, Italic: m.italic > 0, Underline: m.underline > 0}
	if n := len(m.colors); n > 0 {
		look.Color = m.colors[n-1]
	}
	for _, r := range text {
		if r, ok := caption.Clean(r); ok {
			m.out = append(m.out, styled{r, look})
		}
	}
}

// findPairs notes which tags the cue opens and closes: a tag of an unknown
// name is one only where it has a partner. "<laughs>" is text.
func (m *markup) findPairs() {
	m.opened, m.closed = map[string]bool{}, map[string]bool{}
	for _, t := range tagName.FindAllStringSubmatch(m.raw, -1) {
		names := m.opened
		if t[1] != "" {
			names = m.closed
		}
		names[strings.ToLower(t[2])] = true
	}
}

// tag applies a tag, given as the groups of tagPattern. It returns false for
// what only looks like one.
func (m *markup) tag(t []string) bool {
	closing := t[1] != "" || t[4] != "" // "<i/>" is how some close "<i>"
	name, attributes := strings.ToLower(t[2]), t[3]
	switch base, _, _ := strings.Cut(name, "."); base {
	case "b", "strong":
		m.bold = count(m.bold, closing)
	case "i", "em":
		m.italic = count(m.italic, closing)
	case "u", "ins":
		m.underline = count(m.underline, closing)
	case "font":
		m.font(attributes, closing)
	case "br":
		m.emit("\n")
	case "s", "strike", "del", "span", "p", "div", "c", "v", "ruby", "rt", "rp", "lang", "big", "small",
		"sub", "sup", "tt", "code", "pre", "center", "a", "html", "body", "sync":
	default:
		return m.opened[name] && m.closed[name]
	}
	return true
}

func count(open int, closing bool) int {
	if closing {
		return max(open-1, 0)
	}
	return open + 1
}

func (m *markup) font(attributes string, closing bool) {
	n := len(m.colors)
	if closing {
		m.colors = m.colors[:max(n-1, 0)]
		return
	}
	color := ""
	if n > 0 {
		color = m.colors[n-1] // a font tag for a size or a face keeps the colour
	}
	if a := colorAttribute.FindStringSubmatch(attributes); a != nil {
		if c, ok := apigpu.ParseColor(a[1]); ok {
			color = c.Hex()
		}
	}
	m.colors = append(m.colors, color)
}

// override reads a block of ASS override tags. Only the first \an counts, as
// in libass; everything else could hide or move text, and is left out.
func (m *markup) override(block string) {
	if a := alignOverride.FindStringSubmatch(block); a != nil && m.align == 0 {
		m.align = int(a[1][0] - '0')
	}
	if d := drawOverride.FindAllStringSubmatch(block, -1); d != nil {
		m.drawing = d[len(d)-1][1] != "0"
	}
}

// compose joins characters to a cue: each line trimmed, none blank.
func compose(out []styled) caption.Cue {
	var kept []styled
	for len(out) > 0 {
		end := slices.IndexFunc(out, func(s styled) bool { return s.r == '\n' })
		line := out
		if end < 0 {
			out = nil
		} else {
			line, out = out[:end], out[end+1:]
		}
		line = trimLine(line)
		if len(line) == 0 {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, styled{'\n', line[0].look})
		}
		kept = append(kept, line...)
	}
	var c caption.Cue
	var text strings.Builder
	for len(kept) > 0 {
		look := kept[0].look
		end := slices.IndexFunc(kept, func(s styled) bool { return s.look != look })
		if end < 0 {
			end = len(kept)
		}
		var run strings.Builder
		for _, s := range kept[:end] {
			run.WriteRune(s.r)
		}
		from := text.Len()
		text.WriteString(norm.NFC.String(run.String())) // entities may bring loose accents
		if look != (caption.Look{}) {
			c.Spans = append(c.Spans, caption.Span{From: from, To: text.Len(), Look: look})
		}
		kept = kept[end:]
	}
	c.Text = text.String()
	return c
}

// trimLine removes space at both ends, and returns nothing for a line that
// shows nothing: space, and marks without width.
func trimLine(line []styled) []styled {
	visible := func(s styled) bool { return !unicode.IsSpace(s.r) && !unicode.Is(unicode.Cf, s.r) }
	if !slices.ContainsFunc(line, visible) {
		return nil
	}
	for unicode.IsSpace(line[0].r) {
		line = line[1:]
	}
	for unicode.IsSpace(line[len(line)-1].r) {
		line = line[:len(line)-1]
	}
	return line
}
