package subtitle

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// stamped says after how many stamps the text from byte at on comes.
type stamped struct {
	at    int
	stamp int32
}

// compose joins characters to a cue: each line trimmed, none blank. marks tell
// where the count of stamps changes. It moves what it keeps to the front of
// out.
func compose(out []styled) (c caption.Cue, marks []stamped) {
	kept := out[:0]
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
			kept = append(kept, styled{'\n', kept[len(kept)-1].stamp, line[0].look})
		}
		kept = append(kept, line...)
	}
	var text, run strings.Builder
	text.Grow(len(kept))
	for len(kept) > 0 {
		first := kept[0]
		end := slices.IndexFunc(kept, func(s styled) bool { return s.look != first.look || s.stamp != first.stamp })
		if end < 0 {
			end = len(kept)
		}
		run.Reset()
		run.Grow(end)
		for _, s := range kept[:end] {
			run.WriteRune(s.r)
		}
		from := text.Len()
		text.WriteString(norm.NFC.String(run.String())) // entities may bring loose accents
		if first.look != (caption.Look{}) {
			if n := len(c.Spans); n > 0 && c.Spans[n-1].To == from && c.Spans[n-1].Look == first.look {
				c.Spans[n-1].To = text.Len()
			} else {
				c.Spans = append(c.Spans, caption.Span{From: from, To: text.Len(), Look: first.look})
			}
		}
		if n := len(marks); n == 0 || marks[n-1].stamp != first.stamp {
			marks = append(marks, stamped{from, first.stamp})
		}
		kept = kept[end:]
	}
	c.Text = text.String()
	return c, marks
}

// isVisible reports whether a character shows something.
func isVisible(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) }

// trimLine removes space at both ends, and returns nothing for a line that
// shows nothing: space, and marks without width.
func trimLine(line []styled) []styled {
	if !slices.ContainsFunc(line, func(s styled) bool { return isVisible(s.r) }) {
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
