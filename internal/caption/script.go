package caption

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A script of a Document is rebuilt by package subtitle: its events stand at
// its end, one a line, and look like this:
//
//	Dialogue: Layer,Start,End,Style,Name,MarginL,MarginR,MarginV,Effect,Text
const (
	dialogue    = "Dialogue: "
	eventFields = 10
)

// editScript gives the events of a script, as cues whose Line is their place
// among them, to a function that changes the times of cues, and writes down
// what it returns. An event that comes back twice is written twice.
func editScript(script []byte, change func([]Cue) ([]Cue, error)) ([]byte, error) {
	head, events := cutScript(script)
	var cues []Cue
	for i, e := range events {
		start, end, ok := eventTimes(e)
		if ok {
			cues = append(cues, Cue{Start: start, End: end, Text: "x", Line: i + 1})
		}
	}
	cues, err := change(cues)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(bytes.Clone(head))
	for _, c := range cues {
		f := strings.SplitN(events[c.Line-1], ",", 4)
		fmt.Fprintf(out, "%s,%s,%s,%s\n", f[0], Stamp(c.Start), Stamp(c.End), f[3])
	}
	return out.Bytes(), nil
}

// cutScript parts a script before its first event.
func cutScript(script []byte) (head []byte, events []string) {
	at := bytes.Index(script, []byte("\n"+dialogue))
	if at < 0 {
		return script, nil
	}
	rest := strings.TrimRight(string(script[at+1:]), "\n")
	return script[:at+1], strings.Split(rest, "\n")
}

func eventTimes(event string) (start, end time.Duration, ok bool) {
	f := strings.SplitN(event, ",", 4)
	if len(f) < 4 || !strings.HasPrefix(event, dialogue) {
		return 0, 0, false
	}
	start, ok1 := parseStamp(f[1])
	end, ok2 := parseStamp(f[2])
	return start, end, ok1 && ok2
}

// Stamp writes a time as scripts have it: h:mm:ss.cc.
func Stamp(t time.Duration) string {
	cs := max(t, 0).Round(hundredth) / hundredth
	return fmt.Sprintf("%d:%02d:%02d.%02d", cs/360_000, cs/6000%60, cs/100%60, cs%100)
}

func parseStamp(s string) (time.Duration, bool) {
	f := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' })
	if len(f) != 4 {
		return 0, false
	}
	var n [4]int
	for i, field := range f {
		v, err := strconv.Atoi(field)
		if err != nil || v < 0 || v > 1e6 {
			return 0, false
		}
		n[i] = v
	}
	return time.Duration(((n[0]*60+n[1])*60+n[2])*100+n[3]) * hundredth, true
}

// replaceInScript applies rules to the texts of a script's events, between
// their override blocks.
func replaceInScript(script []byte, rules []Rule) ([]byte, error) {
	finders := make([]finder, len(rules))
	for i, r := range rules {
		f, err := newFinder(r)
		if err != nil {
			return nil, err
		}
		finders[i] = f
	}
	head, events := cutScript(script)
	out := bytes.NewBuffer(bytes.Clone(head))
	for _, e := range events {
		f := strings.SplitN(e, ",", eventFields)
		if len(f) == eventFields {
			text := replaceInEvent(f[eventFields-1], finders)
			if len(text) > maxEvent {
				return nil, ErrTooLong
			}
			f[eventFields-1] = text
		}
		out.WriteString(strings.Join(f, ",") + "\n")
	}
	return out.Bytes(), nil
}

// maxEvent bounds the bytes of an event's text.
const maxEvent = 128 << 10

var drawing = regexp.MustCompile(`\\p(\d+)`)

func replaceInEvent(text string, finders []finder) string {
	var b strings.Builder
	draws := false // what follows is a vector drawing
	for text != "" {
		at := OpenBrace(text)
		if draws || b.Len() > maxEvent {
			b.WriteString(text[:at])
		} else {
			b.WriteString(replaceInRun(text[:at], finders))
		}
		text = text[at:]
		if d := drawing.FindAllStringSubmatch(text[:strings.IndexByte(text, '}')+1], -1); d != nil {
			draws = strings.Trim(d[len(d)-1][1], "0") != ""
		}
		if end := strings.IndexByte(text, '}'); end >= 0 {
			b.WriteString(text[:end+1])
			text = text[end+1:]
		} else {
			b.WriteString(text)
			text = ""
		}
	}
	return b.String()
}

// OpenBrace returns where the first override block of an event's text begins,
// or the length of the text: \{ is a brace, and begins none.
func OpenBrace(text string) int {
	for at := 0; ; at++ {
		i := strings.IndexByte(text[at:], '{')
		if i < 0 {
			return len(text)
		}
		if at += i; at == 0 || text[at-1] != '\\' {
			return at
		}
	}
}

var (
	asRead    = strings.NewReplacer(`\N`, "\n", `\{`, "{", `\}`, "}")
	asWritten = strings.NewReplacer("\n", `\N`, "{", `\{`, "}", `\}`)
)

// replaceInRun works on the text as it is read: \N is a line break, and \{ a
// brace. Neither what is put in nor what is left can become an override.
func replaceInRun(run string, finders []finder) string {
	c := Cue{Text: asRead.Replace(run)}
	for _, f := range finders {
		if len(c.Text) > maxEvent {
			break // it is refused as a whole
		}
		edits := f.edits(c.Text)
		for i := range edits {
			edits[i].text = strings.NewReplacer("{", "(", "}", ")", `\`, "/").Replace(edits[i].text)
		}
		c = c.edited(edits)
	}
	return asWritten.Replace(c.Text)
}
