package subtitle

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// WebVTT as https://www.w3.org/TR/webvtt1/ has it, and as it is found. Where
// the standard would throw text away, such as what follows a blank line within
// a cue, it is kept: a person wrote it to be read.

const vttMagic = "WEBVTT"

// isVTT reports whether lines are WebVTT: they begin with its name, or with
// what only its files hold before the first cue.
func isVTT(lines []string) bool {
	first := true
	for _, line := range lines[:min(len(lines), 200)] {
		line = strings.TrimSpace(strings.Trim(line, "\uFEFF"))
		switch {
		case line == "":
			continue
		case first && len(line) >= len(vttMagic) && strings.EqualFold(line[:len(vttMagic)], vttMagic):
			return true
		case strings.HasPrefix(line, "X-TIMESTAMP-MAP"), line == "STYLE", line == "REGION", strings.HasPrefix(line, "::cue"):
			return true
		case strings.Contains(line, "-->"):
			return false
		}
		first = false
	}
	return false
}

// vttTiming reads a time line of WebVTT: the arrow is -->, and all that
// follows the end is settings.
func vttTiming(line string) (timing, bool) {
	if !strings.Contains(line, "--") && !strings.ContainsAny(line, "＞") {
		return timing{}, false
	}
	if t, ok := byTheBook(line); ok {
		return t, true
	}
	if len(line) > maxTimeLine {
		return timing{}, false
	}
	m := vttTimeLine.FindStringSubmatch(strings.TrimSpace(wide(line)))
	if m == nil {
		return timing{}, false
	}
	start, ok1 := parseStamp(m[1], m[2], m[3])
	end, ok2 := parseStamp(m[4], m[5], m[6])
	return timing{start: start, end: end, settings: strings.TrimSpace(m[7])}, ok1 && ok2
}

var vttTimeLine = regexp.MustCompile(`^` + stamp + `\s*-->\s*` + stamp + `(?:\s+(.*))?$`)

// readVTT reads a WebVTT file. What is no cue is emptied, so that the lines
// keep their numbers, and the rest is read as any file of time lines.
func (r *reading) readVTT(lines []string) ([]caption.Cue, error) {
	v := vttReader{reading: r, lines: lines}
	for v.at < len(lines) {
		v.paragraph()
	}
	return r.readLines(lines, vttTiming)
}

// vttReader empties what is no cue.
type vttReader struct {
	*reading
	lines []string
	at    int
	// cues tells that a time line was met.
	cues bool
}

// paragraph reads the lines up to the next blank one.
func (v *vttReader) paragraph() {
	from := v.at
	end := from
	for end < len(v.lines) && strings.TrimSpace(v.lines[end]) != "" {
		end++
	}
	v.at = end + 1
	if end == from {
		return
	}
	// The first time line ends whatever block this is.
	timed := from
	for timed < end && !isVTTTime(v.lines[timed]) {
		timed++
	}
	head := strings.TrimSpace(strings.Trim(v.lines[from], "\uFEFF"))
	word, _, _ := strings.Cut(strings.ReplaceAll(head, "\t", " "), " ")
	switch {
	case len(word) >= len(vttMagic) && strings.EqualFold(word[:len(vttMagic)], vttMagic):
		v.header(from, timed)
	case word == "NOTE":
		v.clear(from, timed)
	case head == "STYLE" || head == "REGION" || strings.HasPrefix(head, "::cue"):
		timed = v.block(from, timed, end)
	case !v.cues && strings.HasPrefix(head, "X-TIMESTAMP-MAP"):
		v.header(from, timed)
	case timed == end && v.brokenTime(from, end):
		timed = from
	case timed == end && !v.cues:
		v.clear(from, end) // nothing before the first cue is shown
	case timed > from && timed < end:
		v.clear(timed-1, timed) // the name of the cue
		if !v.cues {
			v.clear(from, timed)
		}
	}
	v.cues = v.cues || timed < end
	// Within a paragraph a line with an arrow ends a cue: above a time line it
	// is the name of the next.
	for i := timed + 1; i+1 < end; i++ {
		if strings.Contains(v.lines[i], "-->") && !isVTTTime(v.lines[i]) && isVTTTime(v.lines[i+1]) {
			v.clear(i, i+1)
		}
	}
}

// unreadable is a time line without times, as the scanner knows it.
const unreadable = "00:00 -->"

// brokenTime reports whether the first line of a paragraph, or the second,
// below a name, was meant as a time line, and marks it as one.
func (v *vttReader) brokenTime(from, end int) bool {
	for i := from; i < min(from+2, end); i++ {
		if strings.Contains(v.lines[i], "-->") {
			v.clear(from, i)
			v.lines[i] = unreadable
			return true
		}
	}
	return false
}

func isVTTTime(line string) bool {
	if !strings.Contains(line, "-->") {
		return false
	}
	if _, ok := vttTiming(line); ok {
		return true
	}
	return looksTimed(line)
}

func (v *vttReader) clear(from, to int) {
	for i := from; i < to; i++ {
		v.lines[i] = ""
	}
}

// header reads the first lines of the file, or of one that was appended to it.
func (v *vttReader) header(from, to int) {
	by := time.Duration(0)
	for _, line := range v.lines[from:to] {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "X-TIMESTAMP-MAP="); ok {
			if d, ok := timestampMap(rest); ok {
				by = d
			}
		}
	}
	last := time.Duration(0)
	if n := len(v.shifts); n > 0 {
		last = v.shifts[n-1].by
	}
	if by != 0 && by != last && len(v.shifts) < maxMaps {
		v.notes.Say(caption.TimestampMap, strconv.FormatFloat(by.Seconds(), 'f', -1, 64))
	}
	if by != 0 || len(v.shifts) > 0 {
		v.shifts = append(v.shifts, shift{from, by})
	}
	// The name of the first cue may stand right below the header.
	v.clear(from, to)
}

// maxMaps bounds the maps that are told of.
const maxMaps = 20

// timestampMap reads the map that RFC 8216, section 3.5, gives a segment of
// HLS: what LOCAL is on the clock of the stream, in ticks of 90 kHz.
func timestampMap(s string) (by time.Duration, ok bool) {
	var local time.Duration
	var stream *big.Int
	for field := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), ":")
		switch strings.ToUpper(name) {
		case "LOCAL":
			fields, fraction, _ := strings.Cut(value, ".")
			if local, ok = parseStamp(fields, ".", fraction+"0"); !ok {
				return 0, false
			}
		case "MPEGTS":
			if stream, ok = new(big.Int).SetString(value, 10); !ok || stream.BitLen() > 33 || stream.Sign() < 0 {
				return 0, false
			}
		}
	}
	if stream == nil {
		return 0, false
	}
	return time.Duration(stream.Int64()*100_000/9) - local, true
}

// block reads a style sheet or a region, and empties it. A style sheet that
// blank lines part goes on to its last brace, where no cue comes before that.
func (v *vttReader) block(from, to, end int) (timed int) {
	parts := []string{strings.Join(v.lines[from:to], "\n")}
	open := braces(parts[0])
	for to == end && open > 0 && end < len(v.lines) {
		next := end + 1
		for next < len(v.lines) && strings.TrimSpace(v.lines[next]) != "" && !isVTTTime(v.lines[next]) {
			next++
		}
		if next < len(v.lines) && isVTTTime(v.lines[next]) || next-from > maxStyleLines {
			break
		}
		parts = append(parts, strings.Join(v.lines[end:min(next, len(v.lines))], "\n"))
		open += braces(parts[len(parts)-1])
		to, end = min(next, len(v.lines)), min(next, len(v.lines))
		v.at = end + 1
	}
	if !v.cues {
		v.styles(strings.Join(parts, "\n"))
	}
	v.clear(from, to)
	return to
}

// braces counts how many more braces open than close.
func braces(s string) int { return strings.Count(s, "{") - strings.Count(s, "}") }

// Bounds of the style sheets of a file.
const (
	maxStyleLines = 2000
	maxStyles     = 500
)

var (
	cueRule     = regexp.MustCompile(`([^{}]*)\{([^{}]*)\}`)
	cueSelector = regexp.MustCompile(`::cue\(([^){}]{1,200})\)`)
	classNamed  = regexp.MustCompile(`^(?:c|v|i|b|u|lang)?\.([^\s.#:\[>]+)$`)
	declaration = regexp.MustCompile(`([a-z-]+)\s*:\s*([^;]+)`)
)

// styles reads what a style sheet says of classes and of the tags b, i, u.
func (v *vttReader) styles(text string) {
	for _, rule := range cueRule.FindAllStringSubmatch(text, maxStyles) {
		look := declared(rule[2])
		if look == (caption.Look{}) || len(v.looks) >= maxStyles {
			continue
		}
		for _, selector := range cueSelector.FindAllStringSubmatch(rule[1], maxStyles) {
			if m := classNamed.FindStringSubmatch(strings.TrimSpace(selector[1])); m != nil {
				if v.looks == nil {
					v.looks = map[string]caption.Look{}
				}
				v.looks[m[1]] = merged(v.looks[m[1]], look)
			}
		}
	}
}

func declared(body string) (l caption.Look) {
	for _, d := range declaration.FindAllStringSubmatch(strings.ToLower(body), 50) {
		value := strings.TrimSpace(d[2])
		switch d[1] {
		case "color":
			if c, ok := apigpu.ParseColor(value); ok {
				l.Color = c.Hex()
			}
		case "font-weight":
			l.Bold = value == "bold" || value == "bolder" || len(value) == 3 && value >= "600" && value <= "900"
		case "font-style":
			l.Italic = value == "italic" || value == "oblique"
		case "text-decoration":
			l.Underline = strings.Contains(value, "underline")
		}
	}
	return l
}

func merged(l, more caption.Look) caption.Look {
	l.Bold, l.Italic, l.Underline = l.Bold || more.Bold, l.Italic || more.Italic, l.Underline || more.Underline
	if more.Color != "" {
		l.Color = more.Color
	}
	return l
}

// classColors are the classes that the standard colours (section 5.1).
func classColor(class string) (string, bool) {
	switch class {
	case "white":
		return "#ffffff", true
	case "lime":
		return "#00ff00", true
	case "cyan":
		return "#00ffff", true
	case "red":
		return "#ff0000", true
	case "yellow":
		return "#ffff00", true
	case "magenta":
		return "#ff00ff", true
	case "blue":
		return "#0000ff", true
	case "black":
		return "#000000", true
	}
	return "", false
}

// classLooks is what the classes of a tag, ".yellow.loud", change.
func (m *markup) classLooks(classes string) func(caption.Look) caption.Look {
	if !m.vtt || classes == "" {
		return nil
	}
	var look caption.Look
	for class := range strings.SplitSeq(classes[1:], ".") {
		if color, ok := classColor(class); ok {
			look.Color = color
		}
		look = merged(look, m.classes[class])
	}
	return func(l caption.Look) caption.Look { return merged(l, look) }
}
