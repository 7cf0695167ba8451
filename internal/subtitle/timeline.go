package subtitle

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// timing is a time line: when a cue begins and ends, which may be before zero
// or in the wrong order, and the text that followed on the same line.
type timing struct {
	start, end time.Duration
	// settings is what followed on the line of what places the cue: the
	// coordinates of SubRip or the settings of WebVTT.
	settings string
	rest     string
}

// The parts of a time line. People, converters and language models write many
// that are not by the book; each variant here was met in a real file or in a
// complaint about one:
//
//	1:02:03,5   02:03,500   00:00:01.500   00 : 00 : 01,500   12,5
//	->  –>  —>  -- >  →  =>  --&gt;   [00:01.000 --> 00:02.000] text
var (
	timeLine = regexp.MustCompile(`^(?:#?\d+[.)]?\s+)?[\[(]?\s*` + stamp + `\s*` + arrow + `\s*` + stamp + `\s*[\])]?(?:\s+(.*)|([^\d:].*)?)$`)
	// Coordinates, or the settings of WebVTT, may follow.
	settings = regexp.MustCompile(`^(?:\s*(?:[XYxy][12]\s*:\s*-?\d+|(?:align|position|line|size|vertical|region):\S+))+`)
	clockish = regexp.MustCompile(`\d\s*:\s*\d`)
)

const (
	// Three groups: the fields before the fraction, its sign, its digits.
	stamp = `([-+−]?\s*(?:\d{1,3}\s*:\s*){0,2}\d{1,3})(?:\s*([,.:;'])\s*(\d+))?`
	arrow = `(?:[-–—−‐‑]+\s*(?:>+|&gt;)|=+>|[→⟶➔⇒])`
)

// wide maps what keyboards of East Asia, and careful typographers, put in
// place of the ASCII characters of a time line.
func wide(line string) string {
	for i := range len(line) {
		if line[i] >= utf8.RuneSelf || line[i] == '\t' {
			return strings.Map(wideRune, line)
		}
	}
	return line
}

func wideRune(r rune) rune {
	switch {
	case r >= '０' && r <= '９':
		return '0' + (r - '０')
	case r == '：' || r == '∶' || r == 'ː':
		return ':'
	case r == '，' || r == '、' || r == '‚':
		return ','
	case r == '．' || r == '。' || r == '․':
		return '.'
	case r == '－':
		return '-'
	case r == '＞' || r == '›' || r == '〉':
		return '>'
	case r == '\u00a0' || r == '\u2007' || r == '\u202f' || r == '\u3000' || r == '\t':
		return ' '
	case r == '\u200b' || r == '\ufeff' || r == '\u200e' || r == '\u200f' || r == '\u2060':
		return -1
	}
	return r
}

// maxTimeLine bounds, in bytes, the lines that are tried as time lines.
const maxTimeLine = 4096

// parseTiming reads a time line; ok is false where line is none.
func parseTiming(line string) (t timing, ok bool) {
	// Most lines are text: one without the last character of any arrow is.
	if len(line) > maxTimeLine || !strings.ContainsAny(line, ">;→⟶➔⇒＞›〉") {
		return timing{}, false
	}
	if t, ok := byTheBook(line); ok {
		return t, true
	}
	m := timeLine.FindStringSubmatch(strings.TrimSpace(wide(line)))
	if m == nil {
		return timing{}, false
	}
	start, ok1 := parseStamp(m[1], m[2], m[3])
	end, ok2 := parseStamp(m[4], m[5], m[6])
	if !ok1 || !ok2 {
		return timing{}, false
	}
	rest := m[7] + m[8]
	placing := settings.FindString(rest)
	rest = strings.TrimSpace(strings.TrimPrefix(rest, placing))
	if rest != "" {
		// wide was for the times only: take the text as it was written.
		rest = asWritten(line, rest)
	}
	return timing{start: start, end: end, settings: strings.TrimSpace(placing), rest: rest}, true
}

// byTheBook reads "00:00:01,000 --> 00:00:02,500", which nearly all time lines
// are, without the cost of the pattern that knows all others.
func byTheBook(line string) (t timing, ok bool) {
	const length = len("00:00:01,000")
	line = strings.TrimRight(line, " ")
	if len(line) != 2*length+len(" --> ") || line[length:length+5] != " --> " {
		return timing{}, false
	}
	start, ok1 := plainStamp(line[:length])
	end, ok2 := plainStamp(line[length+5:])
	return timing{start: start, end: end}, ok1 && ok2
}

// plainStamp reads hh:mm:ss,mmm, or the same with a point.
func plainStamp(s string) (time.Duration, bool) {
	var figures [4]int64
	for i, c := range []byte(s) {
		switch field, sep := i/3, i%3 == 2; {
		case sep && field < 2:
			if c != ':' {
				return 0, false
			}
		case sep && field == 2:
			if c != ',' && c != '.' {
				return 0, false
			}
		case c < '0' || c > '9':
			return 0, false
		default:
			figures[field] = figures[field]*10 + int64(c-'0')
		}
	}
	seconds := figures[0]*3600 + figures[1]*60 + figures[2]
	return time.Duration(seconds)*time.Second + time.Duration(figures[3])*time.Millisecond, true
}

// asWritten returns the end of line that wide turned into rest, with the marks
// of direction that wide took away.
func asWritten(line, rest string) string {
	at := len(strings.TrimRightFunc(line, func(r rune) bool { return wideRune(r) == -1 || unicode.IsSpace(r) }))
	for left := utf8.RuneCountInString(rest); left > 0 && at > 0; {
		r, size := utf8.DecodeLastRuneInString(line[:at])
		if wideRune(r) != -1 {
			left--
		}
		at -= size
	}
	return strings.TrimSpace(line[at:])
}

// parseStamp reads hours, minutes and seconds, and the digits of a fraction:
// ".5" is half a second. A fourth field of three digits after a colon is a
// fraction too; one of two would be a frame number, and is refused. A lone
// number needs a fraction, so that "1 -> 2" stays text.
func parseStamp(fields, sign, fraction string) (time.Duration, bool) {
	if sign == ":" && len(fraction) != 3 {
		return 0, false
	}
	fields = strings.Map(func(r rune) rune {
		if r == ' ' {
			return -1
		}
		return r
	}, fields)
	negative := strings.HasPrefix(fields, "-") || strings.HasPrefix(fields, "−")
	parts := strings.Split(strings.TrimLeft(fields, "-+−"), ":")
	if len(parts) == 1 && fraction == "" {
		return 0, false
	}
	var seconds int64
	for _, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil {
			return 0, false
		}
		seconds = seconds*60 + n
	}
	// Nine digits are nanoseconds; what is beyond them is below any clock.
	nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return 0, false
	}
	d := time.Duration(seconds)*time.Second + time.Duration(nanos)
	if negative {
		d = -d
	}
	return d, true
}

// looksTimed reports whether line, which parseTiming cannot read, was meant as
// a time line: nothing but a time, or nothing at all, stands before its arrow.
func looksTimed(line string) bool {
	if len(line) > maxTimeLine || !strings.Contains(line, "--") && !strings.Contains(line, "－") {
		return false
	}
	before, _, arrow := strings.Cut(wide(line), "-->")
	return arrow && clockish.MatchString(line) && strings.Trim(before, "0123456789:,.;- ") == ""
}
