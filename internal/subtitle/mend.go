package subtitle

import (
	"cmp"
	"slices"
	"sort"
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
	// rawShare bounds the bytes of a cue before its markup is read, in those
	// of the longest text.
	rawShare = 32
)

// readCues turns blocks into cues with text. What has no time or no text is
// counted. The error is TooLarge.
func (r *reading) readCues(blocks []block) ([]caption.Cue, error) {
	cues := make([]caption.Cue, 0, len(blocks))
	frame := r.frameOf(blocks)
	for i := range blocks {
		b := &blocks[i]
		if !b.timed {
			r.notes.Add(caption.NoTime, b.line)
			continue
		}
		raw := b.joined()
		if len(raw) > rawShare*r.limits.CueText {
			return nil, r.cueTooLong(b.line)
		}
		by := r.shiftAt(b.line)
		c := r.readMarkup(raw, b.start, b.end)
		if c.Text == "" {
			r.notes.Add(caption.NoText, b.line)
			continue
		}
		if len(c.Text) > r.limits.CueText && utf8.RuneCountInString(c.Text) > r.limits.CueText {
			return nil, r.cueTooLong(b.line)
		}
		c.Start, c.End, c.Line = b.start+by, b.end+by, b.line
		for i := range c.Words {
			c.Words[i].Start += by
			c.Words[i].End += by
		}
		if r.KeepPositions && b.settings != "" {
			r.place(&c, b.settings, frame)
		}
		cues = append(cues, c)
	}
	return cues, nil
}

// joined joins the lines of a block.
func (b *block) joined() string {
	if len(b.text) == 1 {
		return b.text[0]
	}
	return strings.Join(b.text, "\n")
}

// shiftAt returns by how much the cues at a line are moved.
func (r *reading) shiftAt(line int) time.Duration {
	after := sort.Search(len(r.shifts), func(i int) bool { return r.shifts[i].line > line })
	if after == 0 {
		return 0
	}
	return r.shifts[after-1].by
}

func (r *reading) cueTooLong(line int) error {
	return apigpu.E(apigpu.TooLarge, nil,
		"The cue at line %d of the subtitle file is longer than %d characters.", line, r.limits.CueText)
}

// mend makes every cue one that can be shown: Start >= 0, End > Start, sorted.
// Overlaps stay: libass stacks them.
func mend(cues []caption.Cue, found *caption.Notes) []caption.Cue {
	kept := cues[:0]
	var last time.Duration
	sorted := true
	for _, c := range cues {
		if c.End < c.Start {
			found.Add(caption.Reversed, c.Line)
			c.Words = nil
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
			for i := range c.Words {
				c.Words[i].Start, c.Words[i].End = max(c.Words[i].Start, 0), max(c.Words[i].End, 0)
			}
		}
		if c.Start < last {
			found.Add(caption.Unsorted, c.Line)
			sorted = false
		}
		last = max(last, c.Start)
		kept = append(kept, c)
	}
	if !sorted {
		slices.SortStableFunc(kept, func(a, b caption.Cue) int { return cmp.Compare(a.Start, b.Start) })
	}
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
		c.Words = nil
		c.End = c.Start + leastShown
		if next >= 0 && next < c.End {
			c.End = next
		}
	}
}
