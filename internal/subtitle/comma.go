package subtitle

import (
	"regexp"
	"strings"
)

// SBV, as YouTube writes it, and SubViewer have both times of a cue parted by
// a comma:
//
//	0:00:01.500,0:00:04.000
var commaTimeLine = regexp.MustCompile(`^(\d{1,3}:\d{2}:\d{2})\.(\d{1,3})\s*,\s*(\d{1,3}:\d{2}:\d{2})\.(\d{1,3})$`)

// commaTiming reads a time line of SBV or SubViewer.
func commaTiming(line string) (timing, bool) {
	if len(line) > 40 {
		return timing{}, false
	}
	m := commaTimeLine.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return timing{}, false
	}
	start, ok1 := parseStamp(m[1], ".", m[2])
	end, ok2 := parseStamp(m[3], ".", m[4])
	return timing{start: start, end: end}, ok1 && ok2
}

// isCommaTimed reports whether lines are SBV or SubViewer, and makes the line
// breaks of the latter those of everybody.
func isCommaTimed(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, "-->") {
			return false
		}
		if _, ok := commaTiming(line); ok {
			for i, l := range lines {
				if strings.Contains(l, "[br]") {
					lines[i] = strings.ReplaceAll(l, "[br]", "<br>")
				}
			}
			return true
		}
	}
	return false
}
