package caption

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

// Range is a span of time, from Start up to End.
type Range struct{ Start, End time.Duration }

// least is the shortest that a cue may become, where it is cut: what is
// shorter is not read by anybody.
const least = 40 * time.Millisecond

// Retime divides all times by speed and then adds offset. Cues that end before
// zero are dropped and counted, those that begin before it begin at zero. A
// speed of 0 is 1.
func Retime(cues []Cue, offset time.Duration, speed float64) ([]Cue, Notes) {
	if speed == 0 {
		speed = 1
	}
	if offset == 0 && speed == 1 {
		return cues, nil
	}
	move := func(t time.Duration) time.Duration {
		// Whole microseconds: the rounding of a division must not part cues
		// that touched.
		moved := math.Round(float64(t) / speed / 1e3)
		if math.Abs(moved) > float64(latest/1e3) {
			return latest
		}
		return time.Duration(moved)*time.Microsecond + offset
	}
	var notes Notes
	kept := make([]Cue, 0, len(cues))
	for _, c := range cues {
		start, end := move(c.Start), move(c.End)
		if end <= max(start, 0) {
			notes.Add(BeforeZero, c.Line)
			continue
		}
		if start < 0 {
			notes.Add(Negative, c.Line)
		}
		c.Start, c.End = max(start, 0), end
		c.Words = slices.Clone(c.Words)
		for i, w := range c.Words {
			c.Words[i].Start, c.Words[i].End = move(w.Start), move(w.End)
		}
		c.fitWords()
		kept = append(kept, c)
	}
	slices.SortStableFunc(kept, byStart) // starts that were cut at zero are equal now
	return kept, notes
}

func byStart(a, b Cue) int { return cmp.Compare(a.Start, b.Start) }

// Exclude takes the captions out of spans of the video: a cue within one is
// dropped, one that reaches into one is cut there, and one around it is shown
// before and after it. Each is counted. The error is ErrTooMany.
func Exclude(cues []Cue, ranges []Range) ([]Cue, Notes, error) {
	ranges = merged(ranges)
	if len(ranges) == 0 {
		return cues, nil, nil
	}
	var notes Notes
	kept := make([]Cue, 0, len(cues))
	first := 0 // the first range that ends after the cue's start; cues are sorted
	for _, c := range cues {
		for first < len(ranges) && ranges[first].End <= c.Start {
			first++
		}
		parts := outside(Range{c.Start, c.End}, ranges[first:])
		switch {
		case len(parts) == 0:
			notes.Add(Excluded, c.Line)
		case parts[0] != Range{c.Start, c.End}:
			notes.Add(Cut, c.Line)
		}
		for i, p := range parts {
			part := c
			part.Start, part.End = p.Start, p.End
			part.Words = slices.Clone(c.Words)
			part.fitWords()
			if i > 0 {
				notes.Add(SplitCue, c.Line)
			}
			kept = append(kept, part)
		}
		if len(kept) > len(cues)+maxSplits {
			return nil, nil, ErrTooMany
		}
	}
	slices.SortStableFunc(kept, byStart)
	return kept, notes, nil
}

// maxSplits bounds how many more cues there are after Exclude than before.
const maxSplits = 20_000

// ErrTooMany tells that excluded ranges split cues into too many.
var ErrTooMany = errors.New("the excluded ranges split captions into too many")

// merged sorts ranges and joins those that touch.
func merged(ranges []Range) []Range {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	var out []Range
	for _, r := range ranges {
		switch n := len(out); {
		case r.End <= r.Start:
		case n > 0 && r.Start <= out[n-1].End:
			out[n-1].End = max(out[n-1].End, r.End)
		default:
			out = append(out, r)
		}
	}
	return out
}

// outside returns the parts of a cue that no range covers. What is left of it
// for less than a moment is not shown.
func outside(cue Range, ranges []Range) []Range {
	var parts []Range
	at := cue.Start
	keep := func(to time.Duration) {
		if to > at && (to-at >= least || to-at == cue.End-cue.Start) {
			parts = append(parts, Range{at, to})
		}
	}
	for _, r := range ranges {
		if r.Start >= cue.End {
			break
		}
		keep(min(r.Start, cue.End))
		at = max(at, r.End)
	}
	if at < cue.End {
		keep(cue.End)
	}
	return parts
}

// OverlapRule is what becomes of cues that are shown at the same time.
type OverlapRule string

// The rules.
const (
	Stack OverlapRule = "stack" // both are shown, one above the other
	Trim  OverlapRule = "trim"  // a cue ends where the next begins
	Merge OverlapRule = "merge" // one cue with the text of both
)

// Overlap applies a rule to cues that are shown at the same time at the same
// place of the picture. Stack changes nothing.
func Overlap(cues []Cue, rule OverlapRule) ([]Cue, Notes) {
	switch rule {
	case Trim:
		return trim(cues)
	case Merge:
		return merge(cues)
	}
	return cues, nil
}

// samePlace reports whether two cues would lie over each other.
func samePlace(a, b Cue) bool {
	return a.Align == b.Align && (a.Place == nil) == (b.Place == nil) && (a.Place == nil || *a.Place == *b.Place)
}

// trim ends each cue where the next at its place begins. Of cues that begin
// together, the last in the file is shown: the others would not be seen.
func trim(cues []Cue) ([]Cue, Notes) {
	var notes Notes
	type spot struct {
		align  int
		place  Place
		placed bool
	}
	spotOf := func(c Cue) spot {
		if c.Place != nil {
			return spot{c.Align, *c.Place, true}
		}
		return spot{align: c.Align}
	}
	next := map[spot]time.Duration{}
	kept := make([]Cue, 0, len(cues))
	for _, c := range slices.Backward(cues) {
		at := spotOf(c)
		begins, known := next[at]
		next[at] = c.Start
		switch {
		case known && begins <= c.Start:
			notes.Add(Covered, c.Line)
			continue
		case known && begins < c.End:
			notes.Add(Trimmed, c.Line)
			c.End = begins
			c.Words = slices.Clone(c.Words)
			c.fitWords()
		}
		kept = append(kept, c)
	}
	slices.Reverse(kept)
	for i := range notes { // they were met from the end on
		slices.Reverse(notes[i].Lines)
	}
	return kept, notes
}

// merge joins cues that overlap at one place: their texts one below the other,
// from the first start to the last end. A text that is there already is not
// repeated.
func merge(cues []Cue) ([]Cue, Notes) {
	var notes Notes
	kept := make([]Cue, 0, len(cues))
	for _, c := range cues {
		n := len(kept)
		if n == 0 || c.Start >= kept[n-1].End || !samePlace(kept[n-1], c) || len(kept[n-1].Text)+len(c.Text) > maxMerged {
			kept = append(kept, c)
			continue
		}
		notes.Add(Merged, c.Line)
		kept[n-1].join(c)
	}
	return kept, notes
}

// maxMerged bounds the bytes of a merged cue.
const maxMerged = 8000

// join appends another cue to c.
func (c *Cue) join(other Cue) {
	end := max(c.End, other.End)
	if strings.Contains("\n"+c.Text+"\n", "\n"+other.Text+"\n") {
		c.End = end
		return
	}
	shift := len(c.Text) + 1
	c.Text += "\n" + other.Text
	c.Spans = slices.Clone(c.Spans)
	for _, s := range other.Spans {
		s.From, s.To = s.From+shift, s.To+shift
		c.Spans = append(c.Spans, s)
	}
	timed := len(c.Words) > 0 && len(other.Words) > 0 && other.Words[0].Start >= c.Words[len(c.Words)-1].End
	if c.Words = slices.Clone(c.Words); timed {
		for _, w := range other.Words {
			w.From, w.To = w.From+shift, w.To+shift
			c.Words = append(c.Words, w)
		}
	} else {
		c.Words = nil // words of two who speak at once follow no one order
	}
	if c.Speaker != other.Speaker {
		c.Speaker = ""
	}
	c.End = end
}
