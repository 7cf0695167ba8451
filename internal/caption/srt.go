package caption

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteSRT writes cues as a SubRip file, in UTF-8 with line ends of one byte, in
// their order. Bold, italic, underlined and coloured text is written as the
// tags that SubRip has for it, and a place other than bottom centre as {\an8}
// and its like.
//
// No text becomes a tag, an override or a time line: a word joiner, which has
// no width, parts what would be one.
func WriteSRT(cues []Cue) []byte {
	var out []byte
	for i, c := range cues {
		out = fmt.Appendf(out, "%d\n%s --> %s\n", i+1, srtTime(c.Start), srtTime(c.End))
		if c.Align >= 1 && c.Align <= 9 && c.Align != 2 {
			out = fmt.Appendf(out, `{\an%d}`, c.Align)
		}
		out = append(srtText(out, c), "\n\n"...)
	}
	return out
}

// srtTime writes a time to the nearest millisecond.
func srtTime(d time.Duration) string {
	ms := max(d, 0).Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d,%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}

// srtText appends a cue's text with the tags of its spans.
func srtText(out []byte, c Cue) []byte {
	at := 0
	for _, s := range c.Spans {
		if s.From < at || s.To < s.From || s.To > len(c.Text) {
			continue
		}
		out = srtEscape(out, c.Text[at:s.From])
		begin, end := srtTags(s.Look)
		out = append(out, begin...)
		out = srtEscape(out, c.Text[s.From:s.To])
		out = append(out, end...)
		at = s.To
	}
	return srtEscape(out, c.Text[at:])
}

func srtTags(l Look) (begin, end string) {
	if l.Color != "" && isHex(l.Color) {
		begin, end = `<font color="`+l.Color+`">`, "</font>"
	}
	for _, tag := range []struct {
		on   bool
		name string
	}{{l.Bold, "b"}, {l.Italic, "i"}, {l.Underline, "u"}} {
		if tag.on {
			begin, end = begin+"<"+tag.name+">", "</"+tag.name+">"+end
		}
	}
	return begin, end
}

// isHex reports whether s is "#rrggbb".
func isHex(s string) bool {
	return len(s) == 7 && s[0] == '#' && strings.Trim(s[1:], "0123456789abcdefABCDEF") == ""
}

// joiner is the word joiner, which has no width and no glyph.
const joiner = '\u2060'

// srtEscape appends plain text.
func srtEscape(out []byte, text string) []byte {
	line := true // nothing stands on the line so far
	dashes := 0
	for _, r := range text {
		r, ok := Clean(r)
		if !ok || r == utf8.RuneError {
			continue
		}
		if r == '\n' && line {
			continue // a blank line would end the cue
		}
		if r == '>' && dashes > 0 { // the arrow of a time line
			out = utf8.AppendRune(out, joiner)
		}
		out = utf8.AppendRune(out, r)
		if r == '<' || r == '{' || r == '\\' {
			out = utf8.AppendRune(out, joiner)
		}
		line = r == '\n'
		if r == '-' {
			dashes++
		} else {
			dashes = 0
		}
	}
	return out
}

// maxTogether bounds how many cues Flat shows at a time: more than anybody
// reads, and few enough that a file in which all overlap stays small.
const maxTogether = 8

// Flat returns cues of which no two are shown at the same time, as a text
// track needs them: where some overlap, there is one cue for each span with
// the texts of all, in the order of their starts. cues must be sorted by
// Start. Of more than eight the oldest are left out.
func Flat(cues []Cue) []Cue {
	edges := make([]time.Duration, 0, 2*len(cues))
	for _, c := range cues {
		edges = append(edges, c.Start, c.End)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	var out, now []Cue
	next := 0
	for i := 0; i+1 < len(edges); i++ {
		from, to := edges[i], edges[i+1]
		now = slices.DeleteFunc(now, func(c Cue) bool { return c.End <= from })
		for ; next < len(cues) && cues[next].Start <= from; next++ {
			if cues[next].End > from {
				now = append(now, cues[next])
			}
		}
		if len(now) > maxTogether {
			now = slices.Delete(now, 0, len(now)-maxTogether)
		}
		if len(now) > 0 {
			out = append(out, together(now, from, to))
		}
	}
	return out
}

// together is one cue with the texts of several, without their words.
func together(cues []Cue, from, to time.Duration) Cue {
	all := Cue{Start: from, End: to, Align: cues[0].Align, Line: cues[0].Line}
	for i, c := range cues {
		if i > 0 {
			all.Text += "\n"
		}
		for _, s := range c.Spans {
			all.Spans = append(all.Spans, Span{From: s.From + len(all.Text), To: s.To + len(all.Text), Look: s.Look})
		}
		all.Text += c.Text
	}
	return all
}
