package caption

import (
	"math"
	"math/bits"
	"slices"
	"sort"
	"time"
)

// FrameClock tells when the frames of a video are shown, on the clock of the
// cues. With Times it is exactly those; else a constant rate from First on.
// The zero value knows nothing.
type FrameClock struct {
	// Num/Den is the rate in frames per second, such as 30000/1001.
	Num, Den int64
	// First is the time of the first frame.
	First time.Duration
	// Times are the times of all frames, rising. It may be nil.
	Times []time.Duration
}

// latest bounds the times that are reckoned with: 1250 hours, more than the
// three digits of hours that a time line may have.
const latest time.Duration = 1 << 52

// known reports whether the clock says anything. The bounds keep its
// arithmetic within 64 bits.
func (f FrameClock) known() bool {
	return len(f.Times) > 0 ||
		f.Num > 0 && f.Den > 0 && f.Num < 1<<32 && f.Den < 1<<32 && f.First < latest && f.First > -latest
}

// at returns the time of frame n, in whole nanoseconds, rounded down; ok is
// false where there is no such frame. exact is false where the time was
// rounded.
func (f FrameClock) at(n int) (t time.Duration, exact, ok bool) {
	if n < 0 || len(f.Times) > 0 && n >= len(f.Times) {
		return 0, false, false
	}
	if len(f.Times) > 0 {
		return f.Times[n], true, true
	}
	hi, lo := bits.Mul64(uint64(n)*uint64(f.Den), uint64(time.Second))
	if hi >= uint64(f.Num) {
		return math.MaxInt64, false, true
	}
	q, rest := bits.Div64(hi, lo, uint64(f.Num))
	return f.First + time.Duration(q), rest == 0, true
}

// from returns the first frame that is shown at t or later. Past the last
// frame of Times it is their number.
func (f FrameClock) from(t time.Duration) int {
	if len(f.Times) > 0 {
		return sort.Search(len(f.Times), func(i int) bool { return f.Times[i] >= t })
	}
	if t <= f.First {
		return 0
	}
	t = min(t, latest)
	// The frame n with n*Den/Num >= t seconds, rounded up.
	hi, lo := bits.Mul64(uint64(t-f.First), uint64(f.Num))
	unit := uint64(f.Den) * uint64(time.Second)
	lo, carry := bits.Add64(lo, unit-1, 0)
	q, _ := bits.Div64(hi+carry, lo, unit)
	return int(q)
}

// shown is the frames of a cue: from first up to, and not including, end.
type shown struct {
	first, end int
}

// Snap moves the times of cues so that, after Render has rounded them to the
// hundredths of a second of ASS, each frame shows exactly the cues that have
// Start <= t < End at the time t of the frame. A cue that falls between two
// frames gets the nearest one, taken from a neighbour that it would otherwise
// overlap. cues must be sorted by Start, as Parse returns them; they are not
// changed. With an unknown clock the cues come back as they are.
//
// It is exact up to about 80 frames a second; above that, hundredths cannot
// tell all frames apart, and a cue may come one frame early.
func Snap(cues []Cue, clock FrameClock) []Cue {
	out := slices.Clone(cues)
	if !clock.known() {
		return out
	}
	frames := make([]shown, len(out))
	for i, c := range out {
		frames[i] = shown{clock.from(c.Start), clock.from(c.End)}
	}
	for i := range frames {
		if frames[i].end <= frames[i].first && out[i].End > out[i].Start {
			makeRoom(out, frames, i, clock)
		}
	}
	for i := range out {
		out[i].Start, out[i].End = clock.boundary(frames[i].first), clock.boundary(frames[i].end)
		if out[i].End <= out[i].Start {
			out[i].End = out[i].Start + hundredth
		}
	}
	return out
}

// makeRoom gives cue i, which falls between two frames, the nearer of them.
// The cue that ended before it, or begins after it, gives that frame up where
// it keeps another. A cue before the first frame or after the last stays
// without one.
func makeRoom(cues []Cue, frames []shown, i int, clock FrameClock) {
	n := frames[i].first // the frame after the cue
	after, _, isAfter := clock.at(n)
	before, _, isBefore := clock.at(n - 1)
	if !isAfter || !isBefore {
		return
	}
	if cues[i].Start-before < after-cues[i].Start {
		n--
	}
	frames[i] = shown{n, n + 1}
	if i > 0 {
		if p := &frames[i-1]; cues[i-1].End <= cues[i].Start && p.end > n && p.first < n {
			p.end = n
		}
	}
	if i+1 < len(frames) {
		if p := &frames[i+1]; cues[i+1].Start >= cues[i].End && p.first <= n && p.end > n+1 {
			p.first = n + 1
		}
	}
}

const hundredth = 10 * time.Millisecond

// boundary returns the hundredth of a second that parts frame n from the one
// before it: above the time of frame n-1, and not above that of frame n, as
// libass is asked for them.
//
// FFmpeg's filter computes pts * timebase * 1000 in floating point, and
// libass cuts that to whole milliseconds, so a frame at exactly 8030 ms may
// ask for 8029 (seen with a time base of 1/100). The middle of the window is
// safe from that.
func (f FrameClock) boundary(n int) time.Duration {
	low := time.Duration(math.MinInt64) / 2
	if t, _, ok := f.at(n - 1); ok {
		low = t.Truncate(time.Millisecond) + time.Millisecond
	}
	t, exact, ok := f.at(n)
	if !ok { // after the last frame: nothing is above the window
		return roundUp(max(low, 0))
	}
	high := t.Truncate(time.Millisecond)
	safe := high
	if exact && safe == t {
		safe -= time.Millisecond
	}
	if low < 0 { // before the first frame: nothing is below it
		return max(safe, 0).Truncate(hundredth)
	}
	if middle := (low + (safe-low)/2).Round(hundredth); middle >= low && middle <= safe {
		return middle
	}
	if first := roundUp(low); first <= high {
		return first
	}
	return max(high, 0).Truncate(hundredth)
}

// roundUp rounds t, which is not negative, up to hundredths of a second.
func roundUp(t time.Duration) time.Duration {
	return (t + hundredth - 1).Truncate(hundredth)
}
