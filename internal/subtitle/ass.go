package subtitle

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// ASS and SSA, as libass reads them: there is no standard but what it and its
// forebears do. The script is not passed on. It is read, and written anew with
// what is known to be safe and bounded: no section but three, no field that is
// not a figure, a name or text, no override that is not on the list, and none
// so large that drawing one frame takes seconds.

// section is a part of a script.
type section int

const (
	noSection section = iota
	scriptInfo
	styleSection
	eventSection
	fontSection
)

func sectionOf(line string) (section, bool) {
	if len(line) < 2 || line[0] != '[' || !strings.HasSuffix(line, "]") {
		return noSection, false
	}
	switch strings.ToLower(strings.TrimSpace(line[1 : len(line)-1])) {
	case "script info":
		return scriptInfo, true
	case "v4 styles", "v4+ styles", "v4 styles+", "v4+styles", "v4++ styles":
		return styleSection, true
	case "events":
		return eventSection, true
	case "fonts", "graphics":
		return fontSection, true
	}
	return noSection, true
}

// isASS reports whether lines are a script: one of its sections begins before
// anything else of note.
func isASS(lines []string) bool {
	for _, line := range lines[:min(len(lines), 200)] {
		line = strings.TrimSpace(strings.Trim(line, "\uFEFF"))
		if s, ok := sectionOf(line); ok && s != noSection && s != fontSection {
			return true
		}
		if strings.Contains(line, "-->") {
			return false
		}
	}
	return false
}

// script is a script being read.
type script struct {
	*reading
	info        map[string]string
	ssa         bool // version 4.00, of SubStation Alpha itself
	styleFormat []string
	styles      []assStyle
	eventFormat []string
	cues        []caption.Cue
	events      []assEvent // of the cues, one each
	files       int        // lines of embedded files
	budget      overrideBudget
	limited     int
	tagNames    []string
	fields      map[string]string
}

// assEvent is what a Dialogue line says beside its cue.
type assEvent struct {
	line  int
	layer int
	style string
	// rest is the line from the name on, rebuilt: margins, effect and text.
	rest string
}

// readASS reads a script: its cues, and the script rebuilt.
func (r *reading) readASS(lines []string) ([]caption.Cue, error) {
	s := &script{reading: r, info: map[string]string{}, budget: newOverrideBudget(), tagNames: tagNames(), fields: map[string]string{}}
	s.findVersion(lines)
	in := noSection
	for i, line := range lines {
		line = strings.TrimSpace(strings.Trim(line, "\uFEFF"))
		if next, ok := sectionOf(line); ok && (in != fontSection || next != noSection) {
			in = next
			continue
		}
		if err := s.line(in, line, i+1); err != nil {
			return nil, err
		}
	}
	return s.finish()
}

// findVersion looks ahead: styles of SSA are written in other figures.
func (s *script) findVersion(lines []string) {
	for _, line := range lines[:min(len(lines), 500)] {
		low := strings.ToLower(strings.TrimSpace(line))
		switch {
		case strings.HasPrefix(low, "scripttype:"):
			s.ssa = strings.TrimSpace(strings.TrimPrefix(low, "scripttype:")) == "v4.00"
			return
		case low == "[v4 styles]":
			s.ssa = true
			return
		case low == "[v4+ styles]":
			return
		}
	}
}

func (s *script) line(in section, line string, number int) error {
	key, value, ok := strings.Cut(line, ":")
	if in == fontSection {
		if line != "" {
			s.files++
		}
		return nil
	}
	if !ok || line[0] == ';' || line[0] == '!' {
		return nil
	}
	key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimLeft(value, " \t")
	switch {
	case in == scriptInfo:
		if len(s.info) < 100 && len(value) < 200 {
			s.info[key] = strings.TrimSpace(value)
		}
	case in == styleSection && key == "format":
		s.styleFormat = fieldNames(value)
	case in == styleSection && key == "style" && len(s.styles) < maxASSStyles:
		s.styles = append(s.styles, s.style(value))
	case in == eventSection && key == "format":
		s.eventFormat = fieldNames(value)
	case in == eventSection && key == "dialogue":
		return s.event(value, number)
	}
	return nil
}

// maxASSStyles bounds the styles of a script.
const maxASSStyles = 1000

func fieldNames(format string) []string {
	fields := strings.Split(format, ",")
	for i, f := range fields {
		fields[i] = strings.ToLower(strings.TrimSpace(f))
	}
	if len(fields) > 100 {
		return nil
	}
	return fields
}

// fieldsOf parts a line by a format; the last field keeps its commas. What it
// returns is good until the next call.
func (s *script) fieldsOf(value string, format []string) map[string]string {
	f := s.fields
	clear(f)
	for i, name := range format {
		field := value
		if i < len(format)-1 {
			var ok bool
			if field, value, ok = strings.Cut(value, ","); !ok {
				value = ""
			}
			field = strings.TrimSpace(field)
		}
		f[name] = field
	}
	return f
}

func defaultEventFormat(ssa bool) []string {
	first := "layer"
	if ssa {
		first = "marked"
	}
	return []string{first, "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"}
}

// event reads the fields of a Dialogue line.
func (s *script) event(value string, number int) error {
	s.cuesIn++
	if s.cuesIn > s.limits.Cues {
		return s.tooManyCues()
	}
	format := s.eventFormat
	if !slices.Contains(format, "text") || format[len(format)-1] != "text" {
		format = defaultEventFormat(s.ssa)
	}
	if len(value) > rawShare*s.limits.CueText {
		return s.cueTooLong(number)
	}
	f := s.fieldsOf(value, format)
	start, ok1 := assTime(f["start"])
	end, ok2 := assTime(f["end"])
	if !ok1 || !ok2 {
		s.notes.Add(caption.NoTime, number)
		return nil
	}
	o := s.overrides(f["text"], start, end)
	s.limited += o.limited
	c := o.cue
	if utf8.RuneCountInString(c.Text) > s.limits.CueText {
		return s.cueTooLong(number)
	}
	if !o.draws && c.Text == "" {
		s.notes.Add(caption.NoText, number)
		return nil
	}
	c.Start, c.End, c.Line, c.Speaker = start, end, number, fieldText(f["name"]+f["actor"])
	if !s.KeepPositions {
		c.Place = nil
	}
	s.cues = append(s.cues, c)
	s.events = append(s.events, assEvent{
		line: number, layer: bounded(f["layer"], 0, 100_000), style: strings.Clone(strings.TrimLeft(f["style"], "*")),
		rest: fmt.Sprintf("%s,%d,%d,%d,%s,%s", c.Speaker, margin(f["marginl"]), margin(f["marginr"]), margin(f["marginv"]), effect(f["effect"]), o.script),
	})
	return nil
}

func margin(s string) int { return bounded(s, 0, 10_000) }

// assTime reads h:mm:ss.cc.
func assTime(s string) (time.Duration, bool) {
	fields, fraction, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(s), ",", "."), ".")
	digits := strings.TrimPrefix(strings.ReplaceAll(fields, ":", ""), "-")
	if !strings.Contains(fields, ":") || strings.Count(fields, ":") > 2 || !isDigits(digits) || !isDigits(fraction) || len(digits) > 9 {
		return 0, false
	}
	for f := range strings.SplitSeq(strings.TrimPrefix(fields, "-"), ":") {
		if f == "" || len(f) > 4 {
			return 0, false
		}
	}
	return parseStamp(fields, ".", fraction)
}

// fieldText keeps a name within its field.
func fieldText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == ',' || r == '\n' {
			return ' '
		}
		if r, ok := caption.Clean(r); ok {
			return r
		}
		return -1
	}, s)
	return excerpt(strings.TrimSpace(s))
}

// effect keeps the effects that libass knows.
func effect(s string) string {
	name, figures, _ := strings.Cut(s, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	if (name != "banner" && name != "scroll up" && name != "scroll down") || len(figures) > 40 ||
		strings.Trim(figures, "0123456789;. ") != "" {
		return ""
	}
	return strings.ToUpper(name[:1]) + name[1:] + ";" + figures
}

// crowd is how many events are drawn at the same time; scripts that draw with
// hundreds of lines are rare, and each costs time on every frame.
const crowd = 400

// finish mends the times of the events, and writes the script.
func (s *script) finish() ([]caption.Cue, error) {
	if s.cuesIn == 0 {
		return nil, apigpu.E(apigpu.SubtitleEmpty, nil, "The script has no Dialogue line.")
	}
	if s.files > 0 {
		s.notes.Say(caption.Embedded, "")
	}
	s.notes.Count(caption.Limited, s.limited)
	cues := thin(mend(s.cues, &s.notes), &s.notes)
	s.reading.script = s.write(cues)
	shown := cues[:0]
	for _, c := range cues {
		if c.Text == "" { // it only draws: no caption, but part of the script
			s.cuesIn--
			continue
		}
		shown = append(shown, c)
	}
	return shown, nil
}

// thin drops the events that come where crowd others are shown.
func thin(cues []caption.Cue, notes *caption.Notes) []caption.Cue {
	var ends []time.Duration // of those that are shown, the first end first
	kept := cues[:0]
	for _, c := range cues {
		n, _ := slices.BinarySearchFunc(ends, c.Start, func(end, start time.Duration) int { return cmp.Compare(end, start+1) })
		ends = ends[n:]
		if len(ends) >= crowd {
			notes.Add(caption.Crowded, c.Line)
			continue
		}
		at, _ := slices.BinarySearch(ends, c.End)
		ends = slices.Insert(ends, at, c.End)
		kept = append(kept, c)
	}
	return kept
}

// write writes the script anew, with the events of these cues.
func (s *script) write(cues []caption.Cue) []byte {
	var b bytes.Buffer
	w, h := s.playRes()
	wrap := bounded(s.info["wrapstyle"], 0, 3)
	fmt.Fprintf(&b, "[Script Info]\nScriptType: v4.00+\nPlayResX: %d\nPlayResY: %d\nWrapStyle: %d\n", w, h, wrap)
	scaled := "no"
	if v := strings.ToLower(s.info["scaledborderandshadow"]); v == "yes" || v == "1" {
		scaled = "yes"
	}
	fmt.Fprintf(&b, "ScaledBorderAndShadow: %s\n", scaled)
	if m := s.info["ycbcr matrix"]; matrix(m) {
		fmt.Fprintf(&b, "YCbCr Matrix: %s\n", m)
	}
	b.WriteString("\n[V4+ Styles]\nFormat: " + styleFormat + "\n")
	names := s.writeStyles(&b, h)
	b.WriteString("\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n")
	for _, c := range cues {
		at, _ := slices.BinarySearchFunc(s.events, c.Line, func(e assEvent, line int) int { return cmp.Compare(e.line, line) })
		e := s.events[at]
		style := fieldText(e.style)
		if !names[strings.ToLower(style)] {
			style = defaultStyle
		}
		fmt.Fprintf(&b, "Dialogue: %d,%s,%s,%s,%s\n", e.layer, caption.Stamp(c.Start), caption.Stamp(c.End), style, e.rest)
	}
	return b.Bytes()
}

// matrix reports whether m is a colour matrix that libass and FFmpeg name.
func matrix(m string) bool {
	switch strings.ToLower(m) {
	case "none", "tv.601", "pc.601", "tv.709", "pc.709", "tv.240m", "pc.240m", "tv.fcc", "pc.fcc":
		return true
	}
	return false
}

// playRes returns the size of the script's picture. What is missing is what
// libass puts there.
func (s *script) playRes() (w, h int) {
	w, h = bounded(s.info["playresx"], 0, maxPlayRes), bounded(s.info["playresy"], 0, maxPlayRes)
	switch {
	case w == 0 && h == 0:
		return 384, 288
	case h == 0 && w == 1280:
		return w, 1024
	case h == 0:
		return w, max(w*3/4, 1)
	case w == 0 && h == 1024:
		return 1280, h
	case w == 0:
		return max(h*4/3, 1), h
	}
	return w, h
}

// maxPlayRes bounds the size of the script's picture.
const maxPlayRes = 16384
