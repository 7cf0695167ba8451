package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFrames bounds FrameTimes: 4 hours at 60 frames per second are 864,000.
const maxFrames = 1_000_000

// discontinuity is the jump at which FFmpeg moves timestamps on its own
// (-dts_delta_threshold), in MPEG-TS and MPEG-PS.
const discontinuity = 10 * time.Second

// FrameTimes returns when each frame of the chosen video is shown, in
// milliseconds on the clock of the result, rising: the very numbers by which
// the ass filter asks libass what is visible. A cue is on a frame when
//
//	start <= time < end
//
// It reads the index and the packets, and decodes nothing: 0.8 s for 27,000
// frames (measured). nil without an error means that the file does not tell
// (AVI, timestamps that jump, more than a million frames): cues can then be
// placed by time alone.
func (t Tools) FrameTimes(ctx context.Context, path string, p Probe) ([]int64, error) {
	out, err := t.look(ctx, probeTimeout,
		"-hide_banner", "-v", "error", "-max_alloc", maxAlloc,
		"-protocol_whitelist", protocols, "-format_whitelist", formats,
		"-select_streams", strconv.Itoa(p.Video.Index),
		"-show_entries", "packet=pts,flags", "-of", "csv=p=0",
		"-read_intervals", fmt.Sprintf("%%+#%d", maxFrames+1),
		"-i", "file:"+path)
	if err != nil {
		return nil, fmt.Errorf("read frame times: %w", err)
	}
	return frameTimes(out, p), nil
}

// frameTimes turns lines of "pts,flags" into times.
func frameTimes(packets []byte, p Probe) []int64 {
	tb := p.Video.TimeBase
	if tb.Num <= 0 || tb.Den <= 0 {
		return nil
	}
	var ticks []int64
	for line := range bytes.Lines(packets) {
		pts, flags, _ := strings.Cut(strings.TrimSpace(string(line)), ",")
		if pts == "" || strings.Contains(flags, "D") { // D: outside the edit list, decoded but not shown
			continue
		}
		n, err := strconv.ParseInt(pts, 10, 64)
		if err != nil || len(ticks) == maxFrames {
			return nil
		}
		ticks = append(ticks, n)
	}
	slices.Sort(ticks)
	if jumps(ticks, p) {
		return nil
	}
	offset := rescale(p.Start, tb)
	times := make([]int64, 0, len(ticks))
	for _, n := range ticks {
		// The product in C, truncated: 7.9 s may be 7899 ms. The filter
		// errs in the same way.
		times = append(times, int64(float64(n-offset)*(float64(tb.Num)/float64(tb.Den))*1000))
	}
	return times
}

// jumps reports whether FFmpeg would move some of the timestamps.
func jumps(ticks []int64, p Probe) bool {
	if p.Format != "mpegts" && p.Format != "mpeg" {
		return false
	}
	for i := 1; i < len(ticks); i++ {
		if float64(ticks[i]-ticks[i-1])*p.Video.TimeBase.Float() > discontinuity.Seconds() {
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
