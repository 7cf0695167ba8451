package ffmpeg

import (
	"strconv"
	"strings"
	"time"
)

// Progress is how far a run has come.
type Progress struct {
	Frame int64 // frames encoded
	// OutTime is about the length of the result so far. It lags by a few
	// frames at the end, and where streams differ in length it follows the
	// longest (FFmpeg 5) or the shortest (7).
	OutTime time.Duration
	Size    int64   // bytes written; the last rewrite (faststart) is not counted
	Speed   float64 // seconds of video per second; 0 while not known
	Done    bool    // the result is complete
}

// Apply reads one line of -progress into p. complete is true for the line
// that ends a report. Unknown keys and values that are not known yet ("N/A")
// change nothing, so that newer versions may add keys.
func (p Progress) Apply(line string) (next Progress, complete bool) {
	key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
	value = strings.TrimSpace(value)
	switch key {
	case "frame":
		p.Frame = atLeast(p.Frame, value)
	case "out_time_us": // out_time_ms holds microseconds as well: an old mistake of FFmpeg's
		us := atLeast(p.OutTime.Microseconds(), value)
		p.OutTime = clampMicroseconds(float64(us))
	case "total_size":
		p.Size = atLeast(p.Size, value)
	case "speed":
		if f, err := strconv.ParseFloat(strings.TrimSuffix(value, "x"), 64); err == nil && f >= 0 && f < 1e6 {
			p.Speed = f
		}
	case "progress":
		p.Done = value == "end"
		return p, true
	}
	return p, false
}

// Fraction returns how much of a video of the given length is done, 0 to 1.
// The length comes from a header that may lie, so only Done is all.
func (p Progress) Fraction(length time.Duration) float64 {
	if p.Done {
		return 1
	}
	if length <= 0 || p.OutTime <= 0 {
		return 0
	}
	return min(float64(p.OutTime)/float64(length), 0.99)
}

// moved reports whether anything went forward between two reports.
func (p Progress) moved(next Progress) bool {
	return next.Frame > p.Frame || next.OutTime > p.OutTime || next.Size > p.Size
}

// atLeast reads a number that only grows. FFmpeg's very first times may be
// negative.
func atLeast(old int64, s string) int64 { return max(old, number(s)) }
