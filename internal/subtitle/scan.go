package subtitle

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// block is a cue as it stands in the file.
type block struct {
	line int // of its time, from 1
	// timed is false where the time is missing or cannot be read.
	timed bool
	timing
	text []string
}

// The kinds of a line.
type lineKind uint8

const (
	textLine lineKind = iota
	blankLine
	numberLine  // digits only: an index, or the text of a countdown
	timedLine   // a time line
	brokenTimed // meant as a time line, and not readable
)

var indexLine = regexp.MustCompile(`^#?(\d{1,7})[.:)]?$`)

// scanner finds the cues among lines. Only a time line begins a cue; blank
// lines separate nothing, because people leave them out and put them in.
type scanner struct {
	lines []string
	// timeOf reads a time line of this format; maxCues bounds how many.
	timeOf  func(string) (timing, bool)
	maxCues int
	kinds   []lineKind
	times   []timing // of the lines that are timedLine, the last first
	values  []int32  // of numberLine
	next    []int32  // the first line after i that is not blank, or len(lines)
	ahead   []int32  // the first time line, or index of one, after i, or len(lines)
	// indexed: the first cue of the file has an index.
	indexed bool
	// timed counts the time lines, up to one more than maxCues.
	timed int
	// last is the last index met, or -1.
	last   int32
	blocks []block
}

// scan returns the cues of the file in its order. The error is SubtitleNotText
// or SubtitleUnparseable for a file without any time, TooLarge for one with
// too many cues.
func (r *reading) scan(lines []string, timeOf func(string) (timing, bool)) ([]block, error) {
	s := newScanner(lines, timeOf, r.limits.Cues)
	if s.timed > r.limits.Cues {
		return nil, r.tooManyCues()
	}
	preamble, readable := 0, len(s.times)
	seen := readable
	s.blocks = make([]block, 0, readable)
	for i, kind := range s.kinds {
		switch {
		case kind == timedLine:
			seen--
			b := block{line: i + 1, timed: true, timing: s.times[seen]}
			if b.rest != "" {
				b.text = []string{b.rest}
			}
			s.blocks = append(s.blocks, b)
		case kind == brokenTimed:
			s.blocks = append(s.blocks, block{line: i + 1})
		case kind == numberLine && s.isIndex(i):
			s.last = s.values[i]
		case kind == numberLine && s.isOrphan(i):
			s.last = s.values[i]
			s.blocks = append(s.blocks, block{line: i + 1})
		case kind == blankLine:
		case len(s.blocks) == 0:
			preamble++
		default:
			b := &s.blocks[len(s.blocks)-1]
			b.text = append(b.text, lines[i])
		}
	}
	if readable == 0 {
		return nil, s.refuse()
	}
	if len(s.blocks) > r.limits.Cues {
		return nil, r.tooManyCues()
	}
	r.notes.Count(caption.Preamble, preamble)
	return s.blocks, nil
}

func (r *reading) tooManyCues() error {
	return apigpu.E(apigpu.TooLarge, nil, "The subtitle file has more than %d cues.", r.limits.Cues)
}

func newScanner(lines []string, timeOf func(string) (timing, bool), maxCues int) *scanner {
	n := len(lines)
	s := &scanner{
		lines: lines, timeOf: timeOf, maxCues: maxCues, kinds: make([]lineKind, n),
		values: make([]int32, n), next: make([]int32, n), ahead: make([]int32, n), last: -1,
	}
	following, cue := n, n
	for i := n - 1; i >= 0 && s.timed <= s.maxCues; i-- {
		s.classify(i)
		if s.timeAt(i) {
			s.timed++
		}
		s.next[i], s.ahead[i] = int32(following), int32(cue)
		if s.timeAt(i) || s.kinds[i] == numberLine && s.timeAt(following) {
			cue = i
		}
		if s.kinds[i] != blankLine {
			following = i
		}
	}
	for i, kind := range s.kinds {
		if kind == timedLine || kind == brokenTimed {
			break
		}
		if kind == numberLine && s.timeAt(int(s.next[i])) {
			s.indexed = true
		}
	}
	return s
}

// maxIndex is the longest line, in bytes, that is tried as an index.
const maxIndex = 64

func (s *scanner) classify(i int) {
	line := strings.TrimSpace(s.lines[i])
	arrow := mayHoldArrow(line)
	if line != "" && !arrow && line[0] > ' ' && line[0] < utf8.RuneSelf && line[0] != '#' && (line[0] < '0' || line[0] > '9') {
		return // text, as most lines are
	}
	plain := strings.TrimSpace(wide(line))
	if plain == "" {
		s.kinds[i] = blankLine
		return
	}
	if c := plain[0]; len(plain) < maxIndex && (c == '#' || c >= '0' && c <= '9') {
		if m := indexLine.FindStringSubmatch(plain); m != nil {
			if v, err := strconv.ParseInt(m[1], 10, 32); err == nil {
				s.kinds[i], s.values[i] = numberLine, int32(v)
			}
			return
		}
	}
	if !arrow && !strings.Contains(line, ",") {
		return
	}
	if t, ok := s.timeOf(s.lines[i]); ok {
		s.kinds[i], s.times = timedLine, append(s.times, t)
	} else if looksTimed(s.lines[i]) {
		s.kinds[i] = brokenTimed
	}
}

// mayHoldArrow reports whether a line holds a byte that each arrow has one of:
// see parseTiming.
func mayHoldArrow(line string) bool {
	for i := range len(line) {
		if c := line[i]; c == '>' || c == ';' || c == 0xE2 || c == 0xE3 || c == 0xEF {
			return true
		}
	}
	return false
}

func (s *scanner) timeAt(i int) bool {
	return i < len(s.kinds) && (s.kinds[i] == timedLine || s.kinds[i] == brokenTimed)
}

func (s *scanner) blankBefore(i int) bool { return i == 0 || s.kinds[i-1] == blankLine }

// isIndex reports whether the number on line i belongs to the time line that
// follows, rather than to the text before it: "3", "2", "1" may be a
// countdown.
func (s *scanner) isIndex(i int) bool {
	next := int(s.next[i])
	if !s.timeAt(next) {
		return false
	}
	expected := s.last >= 0 && s.values[i] == s.last+1
	switch {
	case next > i+1: // blank lines between the index and its time
		return s.blankBefore(i) && (expected || len(s.blocks) == 0)
	case s.blankBefore(i):
		return true
	case s.timeAt(i - 1): // the only text of the cue before, or an index after a cue without text
		return s.indexed && expected
	}
	return s.indexed
}

// isOrphan reports whether the number on line i is the index of a cue that
// has lost its time. Its text must not be shown under the time of the cue
// before.
func (s *scanner) isOrphan(i int) bool {
	if !s.indexed || !s.blankBefore(i) || s.last < 0 || s.values[i] != s.last+1 {
		return false
	}
	if int(s.next[i]) > i+1 && int(s.next[i]) < len(s.lines) {
		return false // a number in a line of its own
	}
	// Where the next cue carries this very number, or none, this one is text.
	cue := int(s.ahead[i])
	return cue == len(s.lines) || s.kinds[cue] == numberLine && s.values[cue] != s.values[i]
}

// refuse says what is wrong with a text that has no readable time.
func (s *scanner) refuse() error {
	const example = "00:00:01,000 --> 00:00:02,500"
	for i, kind := range s.kinds {
		if kind == brokenTimed {
			return apigpu.E(apigpu.SubtitleUnparseable, nil, "Line %d of the subtitle file has no time that can be read: %q.",
				i+1, excerpt(s.lines[i])).WithHint("A time line looks like %s.", example)
		}
	}
	for i, kind := range s.kinds {
		if kind == blankLine {
			continue
		}
		head := strings.TrimSpace(s.lines[i])
		switch {
		case strings.HasPrefix(head, `{"`), strings.HasPrefix(head, "[{"), head == "{" || head == "[":
			return notText("JSON", head)
		case strings.HasPrefix(head, "<"):
			return notText("HTML or XML", head)
		}
		return apigpu.E(apigpu.SubtitleUnparseable, nil,
			"The subtitle file has no time line. Line %d reads %q.", i+1, excerpt(head)).
			WithHint("Every cue needs a time line such as %s.", example)
	}
	return apigpu.E(apigpu.SubtitleEmpty, nil, "The subtitle file is empty.")
}
