package subtitle

import (
	"html"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

var (
	tagPattern     = regexp.MustCompile(`^<\s*(/?)\s*([A-Za-z][A-Za-z0-9_-]*)((?:\.[^\s<>&.]*)*)(\s.*?)?(/?)>$`)
	tagName        = regexp.MustCompile(`<(/?)([A-Za-z][A-Za-z0-9_.:@-]*)`)
	karaokeStamp   = regexp.MustCompile(`^<((?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3})>`)
	colorAttribute = regexp.MustCompile(`(?i)\bcolor\s*=\s*["']?\s*([#A-Za-z0-9]+)`)
	microDVD       = regexp.MustCompile(`^\{[YySsCcFfPpHhoD]:`)
	alignOverride  = regexp.MustCompile(`\\an([1-9])`)
	drawOverride   = regexp.MustCompile(`\\p(\d)`)
	entityPattern  = regexp.MustCompile(`^&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)
)

// readMarkup reads the text of a cue: its tags and override blocks become
// spans, a position, a speaker and the times of words, or nothing; all the
// rest is text, whatever it looks like. start and end are the cue's own times;
// the words are timed within them, the cue's times are left zero.
func (r *reading) readMarkup(raw string, start, end time.Duration) caption.Cue {
	if isPlain(raw) {
		return caption.Cue{Text: raw}
	}
	m := markup{raw: raw, vtt: r.format == caption.WebVTT, classes: r.looks, out: r.buffer[:0]}
	if !m.vtt {
		m.findPairs()
	}
	for m.at < len(raw) {
		m.step(raw[m.at:])
	}
	c, marks := compose(m.out)
	r.buffer = m.out
	c.Align, c.Speaker = m.align, m.speaker
	c.Words = timedWords(c.Text, start, end, marks, m.stamps)
	if m.rubies > 0 && c.Text != "" {
		r.notes.Count(caption.Ruby, m.rubies)
	}
	return c
}

// isPlain reports whether a text is what readMarkup would make of it.
func isPlain(raw string) bool {
	if raw == "" {
		return false
	}
	last := byte('\n')
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '<' || c == '{' || c == '\\' || c == '&' || c == 0x7f || c < ' ' && c != '\n':
			return false
		case c == ' ' && last == '\n', c == '\n' && (last == '\n' || last == ' '):
			return false
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(raw[i:])
			if kept, ok := caption.Clean(r); !ok || kept != r || !isVisible(r) {
				return false
			}
			i += size - 1
			last = 'x'
			continue
		}
		last = raw[i]
	}
	return last != '\n' && last != ' '
}

// timedWords gives words the times of the stamps in a text.
func timedWords(text string, start, end time.Duration, marks []stamped, stamps []time.Duration) []caption.Word {
	if len(stamps) == 0 || end <= start {
		return nil
	}
	var at []caption.Mark
	for _, m := range marks {
		if m.stamp > 0 {
			at = append(at, caption.Mark{At: m.at, Time: stamps[m.stamp-1]})
		}
	}
	if len(at) == 0 {
		return nil
	}
	return caption.TimeWords(text, start, end, at)
}

// styled is one character, how it looks, and after how many stamps it comes.
type styled struct {
	r     rune
	stamp int32
	look  caption.Look
}

// openTag is a tag that is not closed yet.
type openTag struct {
	name string
	look func(caption.Look) caption.Look
}

// markup reads the text of one cue from left to right.
type markup struct {
	raw     string
	at      int
	vtt     bool
	classes map[string]caption.Look
	out     []styled
	align   int
	speaker string
	// open are the tags around what is read now; look is what they make of it.
	open []openTag
	look caption.Look
	// stamps are the times within the text.
	stamps []time.Duration
	// drawing: an override block began a vector drawing, whose coordinates
	// are no text.
	drawing bool
	// reading counts how many ruby readings are open, rubies all there were.
	reading, rubies int
	// opened and closed are the names of all tags of the cue.
	opened, closed map[string]bool
}

// Bounds, in bytes, of a tag or an override block, and of an entity; what is
// longer is text. Tags deeper than maxDepth change nothing.
const (
	maxTag    = 512
	maxEntity = 40
	maxDepth  = 32
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
		if t := tagPattern.FindStringSubmatch(tag); t != nil && !compares(tag) && m.tag(t) || m.stamp(tag) {
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

// compares reports whether what looks like a tag may be one number of an
// inequality: "a < b > c".
func compares(tag string) bool {
	return len(tag) > 1 && tag[1] == ' ' && !strings.Contains(tag, "/") && strings.HasSuffix(tag, " >")
}

func (m *markup) emit(text string) {
	if m.drawing || m.reading > 0 {
		return
	}
	for _, r := range text {
		if r, ok := caption.Clean(r); ok {
			m.out = append(m.out, styled{r, int32(len(m.stamps)), m.look})
		}
	}
}

// stamp reads a time within the text: what follows is spoken from then on.
func (m *markup) stamp(tag string) bool {
	t := karaokeStamp.FindStringSubmatch(tag)
	if t == nil {
		return false
	}
	fields, fraction, _ := strings.Cut(strings.ReplaceAll(t[1], ",", "."), ".")
	at, ok := parseStamp(fields, ".", fraction)
	if n := len(m.stamps); ok && (n == 0 || at >= m.stamps[n-1]) {
		m.stamps = append(m.stamps, at)
	}
	return true
}

// findPairs notes which tags the cue opens and closes: outside WebVTT a tag of
// an unknown name is one only where it has a partner. "<laughs>" is text.
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
	closing := t[1] != "" || t[5] != "" // "<i/>" is how some close "<i>"
	name, classes, attributes := strings.ToLower(t[2]), t[3], t[4]
	switch name {
	case "br":
		m.emit("\n")
		return true
	case "rt", "rp":
		m.ruby(name, closing)
		return true
	case "b", "strong", "i", "em", "u", "ins", "font", "s", "strike", "del", "span", "p", "div", "c", "v", "ruby", "lang",
		"big", "small", "sub", "sup", "tt", "code", "pre", "center", "a", "html", "body", "sync":
	default:
		// What closes is a tag: nobody says "</x>".
		if !m.vtt && t[1] == "" && !(m.opened[name+classes] && m.closed[name+classes]) {
			return false
		}
	}
	if name == "v" && m.speaker == "" {
		m.speaker = speaker(attributes)
	}
	if closing {
		m.close(name)
	} else {
		m.push(name, lookOf(name, attributes), m.classLooks(classes))
	}
	return true
}

// ruby leaves out the readings of <ruby>: libass puts no small characters
// beside others, and within the line they would be text that nobody says.
func (m *markup) ruby(name string, closing bool) {
	switch {
	case name == "rp":
	case closing:
		m.reading = max(m.reading-1, 0)
	default:
		m.reading++
		m.rubies++
	}
}

// speaker cleans the name of a voice.
func speaker(name string) string {
	name = strings.Join(strings.Fields(html.UnescapeString(name)), " ")
	return excerpt(name)
}

// push opens a tag.
func (m *markup) push(name string, looks ...func(caption.Look) caption.Look) {
	if len(m.open) >= maxDepth {
		return
	}
	m.open = append(m.open, openTag{name, func(l caption.Look) caption.Look {
		for _, look := range looks {
			if look != nil {
				l = look(l)
			}
		}
		return l
	}})
	m.relook()
}

// close closes the last tag of a name. Those that were opened within it stay
// open: "<b><i>x</b>y</i>" is what people write.
func (m *markup) close(name string) {
	for i := len(m.open) - 1; i >= 0; i-- {
		if m.open[i].name == name {
			m.open = append(m.open[:i:i], m.open[i+1:]...)
			break
		}
	}
	if name == "ruby" {
		m.reading = 0
	}
	m.relook()
}

func (m *markup) relook() {
	m.look = caption.Look{}
	for _, t := range m.open {
		m.look = t.look(m.look)
	}
}

// lookOf is what a tag itself changes.
func lookOf(name, attributes string) func(caption.Look) caption.Look {
	switch name {
	case "b", "strong":
		return func(l caption.Look) caption.Look { l.Bold = true; return l }
	case "i", "em":
		return func(l caption.Look) caption.Look { l.Italic = true; return l }
	case "u", "ins":
		return func(l caption.Look) caption.Look { l.Underline = true; return l }
	case "font":
		// A font tag for a size or a face keeps the colour.
		if a := colorAttribute.FindStringSubmatch(attributes); a != nil {
			if c, ok := apigpu.ParseColor(a[1]); ok {
				return func(l caption.Look) caption.Look { l.Color = c.Hex(); return l }
			}
		}
	}
	return nil
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
