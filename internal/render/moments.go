package render

import (
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

const (
	sheetFrames = 9
	// long is a cue that stands for a whole sentence: what a style makes of it
	// is seen in its middle.
	long = 1500 * time.Millisecond
)

// moments are when the pictures of a preview are taken: at the time that was
// asked for, else in the middle of the first long cue; those of a sheet evenly
// over the time in which captions are shown.
func moments(cues []caption.Cue, ask apigpu.PreviewAsk) []time.Duration {
	switch {
	case ask.Sheet:
		times := make([]time.Duration, sheetFrames)
		for i := range times {
			times[i] = shownAt(cues, float64(2*i+1)/(2*sheetFrames))
		}
		return times
	case ask.At != nil:
		return []time.Duration{time.Duration(*ask.At * float64(time.Second))}
	}
	first := slices.IndexFunc(cues, func(c caption.Cue) bool { return c.End-c.Start >= long })
	if first < 0 {
		first = 0
		for i, c := range cues {
			if c.End-c.Start > cues[first].End-cues[first].Start {
				first = i
			}
		}
	}
	return []time.Duration{(cues[first].Start + cues[first].End) / 2}
}

// shownAt returns the moment when a share of all the time in which captions are
// shown is over.
func shownAt(cues []caption.Cue, share float64) time.Duration {
	var total time.Duration
	for _, c := range cues {
		total += c.End - c.Start
	}
	left := time.Duration(share * float64(total))
	for _, c := range cues {
		if length := c.End - c.Start; left >= length {
			left -= length
			continue
		}
		return c.Start + left
	}
	return cues[len(cues)-1].Start
}

// near are the cues that are shown within a second of one of the times.
func near(cues []caption.Cue, times []time.Duration) []caption.Cue {
	var out []caption.Cue
	for _, c := range cues {
		if slices.ContainsFunc(times, func(t time.Duration) bool { return c.Start <= t+time.Second && c.End >= t-time.Second }) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return cues[:1] // there is nothing to see then
	}
	return out
}
