package subtitle

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

const (
	// swapLimit is the longest cue that reversed times are taken for: few
	// captions stand longer, and a mistyped hour is further off.
	swapLimit = 10 * time.Second
	// leastShown is what a cue without duration is given, room permitting.
	leastShown = 500 * time.Millisecond
	// maxRaw bounds the bytes of a cue before its markup is read.
	maxRaw = 32 * MaxCueText
)

// readCues turns blocks into cues with text. What has no time or no text is
// counted. The error is TooLarge.
func readCues(blocks []block, found *caption.Notes) ([]caption.Cue, error) {
	cues := make([]caption.Cue, 0, len(blocks))
	for _, b := range blocks {
		if !b.timed {
			found.Add(caption.NoTime, b.line)
			continue
		}
		raw := strings.Join(b.text, "\n")
		if len(raw) > maxRaw {
			return nil, cueTooLong(b.line)
		}
		c := readMarkup(raw)
		if c.Text == "" {
			found.Add(caption.NoText, b.line)
			continue
		}
		if utf8.RuneCountInString(c.Text) > MaxCueText {
			return nil, cueTooLong(b.line)
		}
		c.Start, c.End, c.Line = b.start, b.end, b.line
		cues = append(cues, c)
	}
	return cues, nil
}

func cueTooLong(line int) error {
	return apigpu.E(apigpu.TooLarge, nil,
		"The cue at line %d of the subtitle file is longer than %d characters.", line, MaxCueText)
}

// mend makes every cue one that can be shown: Start >= 0, End > Start, sorted.
// Overlaps stay: libass stacks them.
func mend(cues []caption.Cue, found *caption.Notes) []caption.Cue {
	kept := cues[:0]
	var last time.Duration
	for _, c := range cues {
		if c.End < c.Start {
			found.Add(caption.Reversed, c.Line)
			if c.Start-c.End <= swapLimit {
				c.Start, c.End = c.End, c.Start
			} else {
				c.End = c.Start + leastShown
			}
		}
		if c.Start < 0 && c.End <= 0 {
			found.Add(caption.BeforeZero, c.Line)
			continue
		}
		if c.Start < 0 {
			found.Add(caption.Negative, c.Line)
			c.Start = 0
		}
		if c.Start < last {
			found.Add(caption.Unsorted, c.Line)
		}
		last = max(last, c.Start)
		kept = append(kept, c)
	}
	slices.SortStableFunc(kept, func(a, b caption.Cue) int { return cmp.Compare(a.Start, b.Start) })
	lengthen(kept, found)
	return kept
}

// lengthen gives cues without duration half a second, or the time until the
// next cue begins where that is less.
func lengthen(cues []caption.Cue, found *caption.Notes) {
	next := time.Duration(-1) // the nearest start after that of cues[i]
	for i := len(cues) - 1; i >= 0; i-- {
		c := &cues[i]
		if i+1 < len(cues) && cues[i+1].Start > c.Start {
			next = cues[i+1].Start
		}
		if c.End > c.Start {
			continue
		}
		found.Add(caption.ZeroLength, c.Line)
		c.End = c.Start + leastShown
		if next >= 0 && next < c.End {
			c.End = next
		}
	}
}
