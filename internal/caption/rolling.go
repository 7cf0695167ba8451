package caption

import (
	"slices"
	"strings"
	"time"
)

const (
	// rollingGap is how far apart a cue and the one that repeats it may be.
	rollingGap = 150 * time.Millisecond
	// rollingLeast is how many repetitions make a file a rolling one, and
	// rollingShare one cue in how many must repeat: songs have choruses, but
	// not in each second cue right after each other.
	rollingLeast = 3
	rollingShare = 2
	// One repetition in how many must add a line: files that highlight one
	// word after the other repeat the whole text.
	rollingGrowth = 4
)

// Dedupe undoes rolling captions, as YouTube makes them of speech: each cue
// repeats the lines that were there before and adds one below. Every line is
// then shown once, from when it came. It changes only lists in which most cues
// repeat the one before, and counts what it dropped.
func Dedupe(cues []Cue) ([]Cue, Notes) {
	repeated := make([]int, len(cues)) // how many lines of the cue stood in the one before
	n, grown := 0, 0
	for i := 1; i < len(cues); i++ {
		if repeated[i] = repeats(cues[i-1], cues[i]); repeated[i] > 0 {
			n++
			if repeated[i] <= strings.Count(cues[i].Text, "\n") {
				grown++ // it adds a line
			}
		}
	}
	if n < rollingLeast || n*rollingShare < len(cues)-1 || grown*rollingGrowth < n {
		return cues, nil
	}
	var notes Notes
	kept := make([]Cue, 0, len(cues))
	for i, c := range cues {
		if repeated[i] > 0 {
			rest, some := c.withoutLines(repeated[i])
			if !some {
				notes.Add(Duplicate, c.Line)
				if last := len(kept) - 1; last >= 0 {
					kept[last].End = max(kept[last].End, c.End)
				}
				continue
			}
			notes.Add(Rolling, c.Line)
			c = rest
		}
		if last := len(kept) - 1; last >= 0 && kept[last].End > c.Start && c.Start > kept[last].Start {
			kept[last].End = c.Start // a line rolls up when the next one comes
			kept[last].Words = slices.Clone(kept[last].Words)
			kept[last].fitWords()
		}
		kept = append(kept, c)
	}
	return kept, notes
}

// repeats counts the first lines of c that are the last lines of the cue
// before, where c follows on it.
func repeats(before, c Cue) int {
	if gap := c.Start - before.End; gap > rollingGap || c.Start <= before.Start {
		return 0
	}
	old, lines := strings.Split(before.Text, "\n"), strings.Split(c.Text, "\n")
	for n := min(len(old), len(lines), 8); n > 0; n-- {
		if slices.Equal(old[len(old)-n:], lines[:n]) {
			return n
		}
	}
	return 0
}

// withoutLines returns the cue without its first n lines; ok is false where
// nothing is left.
func (c Cue) withoutLines(n int) (out Cue, ok bool) {
	at := 0
	for range n {
		end := strings.IndexByte(c.Text[at:], '\n')
		if end < 0 {
			return Cue{}, false
		}
		at += end + 1
	}
	return c.without(at), true
}

// without returns the cue without the first bytes of its text.
func (c Cue) without(bytes int) Cue {
	c.Text = c.Text[bytes:]
	var spans []Span
	for _, s := range c.Spans {
		if s.To > bytes {
			s.From, s.To = max(s.From-bytes, 0), s.To-bytes
			spans = append(spans, s)
		}
	}
	var words []Word
	for _, w := range c.Words {
		if w.From >= bytes {
			w.From, w.To = w.From-bytes, w.To-bytes
			words = append(words, w)
		}
	}
	c.Spans, c.Words = spans, words
	if len(words) > 0 {
		// The time that lines shared with those that nobody says again.
		c.Words[0].Start = c.Start
	}
	return c
}
