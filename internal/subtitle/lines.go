package subtitle

import (
	"encoding/json"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// splitLines returns the lines of a subtitle text: one kind of line end, one
// form of accents, and without what chat programs wrap around a file.
// unwrapped tells that there was such a wrapping.
func splitLines(text string) (lines []string, unwrapped bool) {
	text = oneLineEnd(text)
	if inner, ok := unquote(text); ok {
		text, unwrapped = oneLineEnd(inner), true
	}
	lines = strings.Split(norm.NFC.String(text), "\n")
	if !strings.Contains(text, fence) {
		return lines, unwrapped
	}
	lines, fenced := unfence(lines)
	return lines, unwrapped || fenced
}

// fence begins and ends a block of code in Markdown.
const fence = "```"

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// oneLineEnd makes every end of a line \n.
func oneLineEnd(text string) string { return lineEnds.Replace(text) }

// unquote undoes the escapes of a JSON string where the file is one: its line
// ends are written \n, and there is no real one (a step in a workflow passed
// the text on without decoding it).
func unquote(text string) (string, bool) {
	text = strings.Trim(text, " \t\n\uFEFF")
	if strings.Contains(text, "\n") || !strings.Contains(text, `\n`) {
		return "", false
	}
	quoted := text
	if !(len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"') {
		quoted = `"` + text + `"`
	}
	var inner string
	if json.Unmarshal([]byte(quoted), &inner) == nil {
		return inner, true
	}
	// Not quite JSON (a bare quote or tab within): undo what matters.
	return strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", `\r`, "\n", `\t`, " ", `\"`, `"`).Replace(text), true
}

// unfence empties the lines outside Markdown fences, where a fence stands
// before the first time line: "Here is your file:", and good wishes after it.
// Where cues stand outside too, it takes only the fences away. The lines keep
// their numbers.
func unfence(lines []string) ([]string, bool) {
	inside := make([]string, len(lines))
	all := make([]string, len(lines))
	var open, fenced, timedOutside bool
	for i, line := range lines {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), fence):
			open, fenced = !open, true
			continue
		case open:
			inside[i] = line
		default:
			_, timed := parseTiming(line)
			timedOutside = timedOutside || timed || looksTimed(line)
		}
		all[i] = line
	}
	switch {
	case !fenced:
		return lines, false
	case timedOutside:
		return all, true
	}
	return inside, true
}
