package ffmpeg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFrames bounds Frames: 4 hours at 60 frames per second are 864,000.
const maxFrames = 1_000_000

// discontinuity is the jump at which FFmpeg moves timestamps on its own
// (-dts_delta_threshold), in MPEG-TS and MPEG-PS.
const discontinuity = 10 * time.Second

// Frames is when the frames of a video are shown. The zero value means that
// nobody knows.
type Frames struct {
	// Times are in milliseconds on the clock of the result, rising: the very
	// numbers by which the ass filter asks libass what is visible. A cue is on
	// a frame when
	//
	//	start <= time < end
	Times []int64
	// Last is when the last frame begins, and End when it ends.
	Last, End time.Duration
	// Uneven says that the first or the last frames are not equally far
	// apart, the end included: see timing.
	Uneven bool
	// Cut says that the file holds frames that are decoded and not shown: an
	// edit list begins after a key frame.
	Cut bool
}

// Frames reads when each frame of the chosen video is shown.
//
// It reads the index and the packets, and decodes nothing: 0.8 s for 27,000
// frames (measured). The zero value without an error means that the file does
// not tell (AVI, timestamps that jump, more than a million frames), or not in
// time: cues can then be placed by time alone.
func (t Tools) Frames(ctx context.Context, path string, p Probe) (Frames, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Frames{}, fmt.Errorf("read frame times: %w", err)
	}
	out, err := t.look(ctx, packetsTimeout(info.Size()),
		"-hide_banner", "-v", "error", "-max_alloc", maxAlloc,
		"-protocol_whitelist", protocols, "-format_whitelist", formats,
		"-select_streams", strconv.Itoa(p.Video.Index),
		"-show_entries", "packet=pts,duration,flags", "-of", "csv=p=0",
		"-read_intervals", fmt.Sprintf("%%+#%d", maxFrames+1),
		"-i", "file:"+path)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Frames{}, nil
	}
	if err != nil {
		return Frames{}, fmt.Errorf("read frame times: %w", err)
	}
	return framesOf(out, p), nil
}

// slowestDisk is the least rate at which a volume is taken to read, in bytes
// a second: a network disk that others use too.
const slowestDisk = 10 << 20

// packetsTimeout bounds the reading of every packet of a file of n bytes.
func packetsTimeout(n int64) time.Duration {
	return probeTimeout + time.Duration(n/slowestDisk)*time.Second
}

// shown is one frame in ticks of its time base; length is 0 where the file
// does not tell.
type shown struct{ at, length int64 }

// framesOf turns lines of "pts,duration,flags" into times.
func framesOf(packets []byte, p Probe) Frames {
	tb := p.Video.TimeBase
	if tb.Num <= 0 || tb.Den <= 0 {
		return Frames{}
	}
	list, cut, ok := parsePackets(packets)
	if !ok || len(list) == 0 || jumps(list, p) {
		return Frames{}
	}
	offset := rescale(p.Start, tb)
	if last := list[len(list)-1]; absurd(list[0].at, tb) || absurd(last.at, tb) || absurd(last.length, tb) || absurd(offset, tb) {
		return Frames{}
	}
	f := Frames{Times: make([]int64, len(list)), Cut: cut}
	for i, n := range list {
		// The product in C, truncated: 7.9 s may be 7899 ms. The filter
		// errs in the same way.
		f.Times[i] = int64(float64(n.at-offset) * (float64(tb.Num) / float64(tb.Den)) * 1000)
	}
	last := list[len(list)-1]
	f.Last = p.clock(last.at - offset)
	f.End = f.Last + p.clock(last.length)
	if last.length <= 0 { // as long as one is on average
		f.End = f.Last
		if rate := p.Video.AvgRate.Float(); rate > 0 {
			f.End += time.Duration(float64(time.Second) / rate)
		}
	}
	f.Uneven = uneven(list, p.clock(1), f.End-f.Last, p)
	return f
}

// absurd reports whether so many ticks are a time that no video has: more than
// 30 years, or a number whose neighbours would not fit.
func absurd(ticks int64, tb Rational) bool {
	const most = 1e9 // seconds
	return ticks > math.MaxInt64/2 || ticks < math.MinInt64/2 || math.Abs(float64(ticks)*tb.Float()) > most
}

// parsePackets reads the frames in the order in which they are shown; cut says
// that there are others. It is not ok where there are too many, or where one
// has no number for its time.
func parsePackets(packets []byte) (list []shown, cut, ok bool) {
	for line := range bytes.Lines(packets) {
		pts, rest, _ := strings.Cut(strings.TrimSpace(string(line)), ",")
		duration, flags, _ := strings.Cut(rest, ",")
		if strings.Contains(flags, "D") { // outside the edit list, decoded but not shown
			cut = true
			continue
		}
		if pts == "" {
			continue
		}
		at, err := strconv.ParseInt(pts, 10, 64)
		if err != nil || len(list) == maxFrames {
			return nil, cut, false
		}
		length, err := strconv.ParseInt(duration, 10, 64)
		if err != nil {
			length = 0 // N/A
		}
		list = append(list, shown{at, length})
	}
	slices.SortFunc(list, func(a, b shown) int { return cmp.Compare(a.at, b.at) })
	return list, cut, true
}

// clock is the length of n ticks.
func (p Probe) clock(n int64) time.Duration {
	return time.Duration(float64(n) * p.Video.TimeBase.Float() * float64(time.Second))
}

// edge is how many frames at either end decide whether a video is uneven:
// more than an encoder holds back to reorder them.
const edge = 8

// uneven reports whether frames at either end are not equally far apart, by
// more than half the least distance and what rounding to ticks explains.
func uneven(list []shown, tick, last time.Duration, p Probe) bool {
	least, most := last, last
	for i := 1; i < len(list); i++ {
		if i > edge && i < len(list)-edge {
			continue
		}
		gap := p.clock(list[i].at - list[i-1].at)
		least, most = min(least, gap), max(most, gap)
	}
	return most > least+least/2+2*tick
}

// jumps reports whether FFmpeg would move some of the timestamps.
func jumps(list []shown, p Probe) bool {
	if p.Format != "mpegts" && p.Format != "mpeg" {
		return false
	}
	for i := 1; i < len(list); i++ {
		if p.clock(list[i].at-list[i-1].at) > discontinuity {
			return true
		}
	}
	return false
}

// rescale returns d in ticks of tb, rounded as FFmpeg's av_rescale_q does: to
// the nearest, halves away from zero.
func rescale(d time.Duration, tb Rational) int64 {
	n := new(big.Int).Mul(big.NewInt(d.Microseconds()), big.NewInt(tb.Den))
	den := new(big.Int).Mul(big.NewInt(1_000_000), big.NewInt(tb.Num))
	half := new(big.Int).Rsh(den, 1)
	if n.Sign() < 0 {
		half.Neg(half)
	}
	return n.Add(n, half).Quo(n, den).Int64()
}
