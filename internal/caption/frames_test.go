package caption

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/test/need"
)

const ms = time.Millisecond

// awkward are cues whose times fall on, just before and just after frames of
// many rates, each next to the one before, and none shorter than a frame at
// 23.976 a second. Cues at the top (align 8) alternate with cues at the
// bottom, so that a test can see which of two is on a frame.
func awkward() []Cue {
	steps := []time.Duration{42, 43, 44, 50, 58, 61, 66, 67, 100, 101, 49}
	var cues []Cue
	at := 17 * ms
	for i := range 23 {
		end := at + steps[i%len(steps)]*ms
		cues = append(cues, Cue{Start: at, End: end, Text: "MM", Align: 2 + 6*(i%2)})
		at = end
	}
	// A gap, a short cue alone, and an overlap.
	return append(cues,
		Cue{Start: 1500 * ms, End: 1542 * ms, Text: "MM", Align: 8},
		Cue{Start: 1600 * ms, End: 1850 * ms, Text: "MM", Align: 8},
		Cue{Start: 1701 * ms, End: 1751 * ms, Text: "MM", Align: 2})
}

// TestEveryFrame renders captions with FFmpeg and looks at every frame: each
// must show the cues that have Start <= t < End at its time t, no other.
func TestEveryFrame(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	for _, c := range []struct {
		num, den int64
		timebase string // of the filter's input, where it is not 1/rate
	}{
		{24, 1, ""}, {24000, 1001, ""}, {25, 1, ""}, {25, 1, "1/12800"}, {30000, 1001, ""}, {30, 1, "1/15360"},
		{30, 1, ""}, {50, 1, ""}, {60000, 1001, ""}, {60, 1, ""}, {60, 1, "1/90000"},
	} {
		t.Run(fmt.Sprintf("%d:%d@%s", c.num, c.den, strings.ReplaceAll(c.timebase, "/", ":")), func(t *testing.T) {
			t.Parallel()
			clock := FrameClock{Num: c.num, Den: c.den}
			filter := "null"
			if c.timebase != "" {
				filter = "settb=" + c.timebase
			}
			frames := renderFrames(t, Snap(awkward(), clock), fmt.Sprintf("%d/%d", c.num, c.den), filter)
			for n, got := range frames {
				at := time.Duration(int64(n) * c.den * int64(time.Second) / c.num)
				if want := shownAt(awkward(), clock, n); got != want {
					t.Errorf("frame %d at %v shows %v (top, bottom), want %v", n, at, got, want)
				}
			}
		})
	}
}

// TestVariableRate: the clock is a list of times, unevenly apart.
func TestVariableRate(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	// 30 frames a second, each third one 11 ms late.
	const expression = "settb=1/1000,setpts=floor(N*1000/30)+11*not(mod(N\\,3))"
	var times []time.Duration
	for n := range 60 {
		at := time.Duration(n*1000/30) * ms
		if n%3 == 0 {
			at += 11 * ms
		}
		times = append(times, at)
	}
	clock := FrameClock{Times: times}
	for n, got := range renderFrames(t, Snap(awkward(), clock), "30", expression) {
		if want := shownAt(awkward(), clock, n); got != want {
			t.Errorf("frame %d at %v shows %v (top, bottom), want %v", n, times[n], got, want)
		}
	}
}

type halves struct{ top, bottom bool }

// shownAt says what frame n must show, by the definition.
func shownAt(cues []Cue, clock FrameClock, n int) (h halves) {
	at, exact, _ := clock.at(n)
	if !exact {
		at++ // at is rounded down to nanoseconds; the frame is a little later
	}
	for _, c := range cues {
		if c.Start <= at && at < c.End {
			h.set(c)
		}
	}
	return h
}

func (h *halves) set(c Cue) {
	if c.Align == 8 {
		h.top = true
	} else {
		h.bottom = true
	}
}

// renderFrames burns cues into two seconds of black and tells, for each
// frame, which halves of the picture are lit.
func renderFrames(t *testing.T, cues []Cue, rate, filter string) []halves {
	t.Helper()
	const w, h = 64, 64
	script := filepath.Join(t.TempDir(), "cues.ass")
	if err := os.WriteFile(script, scriptOf(cues, w, h), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-f", "lavfi",
		"-i", fmt.Sprintf("color=black:s=%dx%d:r=%s:d=2", w, h, rate),
		"-vf", filter+",ass="+filepath.Base(script), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	cmd.Dir = filepath.Dir(script)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.String())
	}
	var frames []halves
	for ; len(raw) >= w*h; raw = raw[w*h:] {
		frames = append(frames, halves{top: lit(raw[:w*h/2]), bottom: lit(raw[w*h/2 : w*h])})
	}
	if len(frames) < 20 {
		t.Fatalf("ffmpeg gave %d frames", len(frames))
	}
	return frames
}

// lit: black is 16 in video range, and a letter is far above.
// scriptOf is the least script that shows the cues: white letters at the top
// or at the bottom, at times of hundredths of a second.
func scriptOf(cues []Cue, w, h int) []byte {
	stamp := func(t time.Duration) string {
		cs := t.Round(10*time.Millisecond) / (10 * time.Millisecond)
		return fmt.Sprintf("%d:%02d:%02d.%02d", cs/360_000, cs/6000%60, cs/100%60, cs%100)
	}
	out := fmt.Appendf(nil, `[Script Info]
ScriptType: v4.00+
PlayResX: %d
PlayResY: %d

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV
Style: Default,Noto Sans,20,&HFFFFFF,-1,1,0,0,2,2,2,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`, w, h)
	for _, c := range cues {
		out = fmt.Appendf(out, "Dialogue: 0,%s,%s,Default,,0,0,0,,{\\an%d}%s\n", stamp(c.Start), stamp(c.End), c.Align, c.Text)
	}
	return out
}

func lit(pixels []byte) bool {
	for _, p := range pixels {
		if p > 100 {
			return true
		}
	}
	return false
}

// TestBetweenFrames: a cue that no frame falls into is shown on the nearest
// frame, in place of a neighbour that has more than one.
func TestBetweenFrames(t *testing.T) {
	t.Parallel()
	clock := FrameClock{Num: 25, Den: 1} // 0, 40, 80, 120 ...
	for _, c := range []struct {
		name string
		cues []Cue
		want []string // for each frame from 0 on
	}{
		{"near the next frame", cuesOf(0, 70, 75, 200), []string{"a", "a", "b", "c", "c", ""}},
		{"near the frame before", cuesOf(0, 45, 50, 200), []string{"a", "b", "c", "c", "c", ""}},
		{"neighbours of one frame keep it", cuesOf(40, 70, 75, 110), []string{"", "a", "bc", ""}},
		{"two in one gap", cuesOf(0, 65, 70, 75, 200), []string{"a", "a", "bc", "d", "d", ""}},
		{"alone", []Cue{{Start: 50 * ms, End: 55 * ms, Text: "a"}}, []string{"", "a", ""}},
	} {
		snapped := Snap(c.cues, clock)
		for n, want := range c.want {
			at, got := time.Duration(n)*40*ms-ms, "" // libass may be asked for a millisecond less
			for _, cue := range snapped {
				if cue.Start <= max(at, 0) && at < cue.End {
					got += cue.Text
				}
			}
			if got != want {
				t.Errorf("%s: frame %d shows %q, want %q", c.name, n, got, want)
			}
		}
	}
}

// cuesOf returns adjacent cues a, b, c ... with these edges, in milliseconds.
func cuesOf(edges ...int) (cues []Cue) {
	for i := 1; i < len(edges); i++ {
		cues = append(cues, Cue{
			Start: time.Duration(edges[i-1]) * ms, End: time.Duration(edges[i]) * ms, Text: string(rune('a' + i - 1)),
		})
	}
	return cues
}

// TestSnapByRules checks Snap for any rate and any cues against what libass
// is asked: the frame's time in whole milliseconds, or one less.
func TestSnapByRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := FrameClock{
			Num:   rapid.Int64Range(10_000, 80_000).Draw(t, "num"),
			Den:   rapid.SampledFrom([]int64{1000, 1001}).Draw(t, "den"),
			First: time.Duration(rapid.Int64Range(-50, 5000).Draw(t, "first")) * ms,
		}
		var cues []Cue
		at := time.Duration(0)
		for range rapid.IntRange(1, 20).Draw(t, "cues") {
			at += time.Duration(rapid.SampledFrom([]int{0, 0, 1, 7, 40, 333}).Draw(t, "gap")) * ms
			end := at + time.Duration(rapid.IntRange(200, 3000).Draw(t, "length"))*ms
			cues = append(cues, Cue{Start: at, End: end, Text: "x"})
			at = end
		}
		snapped := Snap(cues, clock)
		for i, c := range cues {
			for _, edge := range []struct{ was, is time.Duration }{{c.Start, snapped[i].Start}, {c.End, snapped[i].End}} {
				n := clock.from(edge.was)
				frame, _, _ := clock.at(n)
				if edge.was > clock.First && edge.is > frame.Truncate(ms) {
					t.Fatalf("%v became %v, after its frame %d at %v", edge.was, edge.is, n, frame)
				}
				if before, _, ok := clock.at(n - 1); ok && before >= 0 && edge.is <= before.Truncate(ms) {
					t.Fatalf("%v became %v, which frame %d at %v shows too", edge.was, edge.is, n-1, before)
				}
			}
			if i > 0 && cues[i-1].End == c.Start && snapped[i-1].End != snapped[i].Start && c.Start > clock.First {
				t.Fatalf("adjacent cues came apart: %v and %v", snapped[i-1].End, snapped[i].Start)
			}
		}
	})
}

func TestSnapEdges(t *testing.T) {
	t.Parallel()
	cues := []Cue{{Start: 1234 * ms, End: 2345 * ms, Text: "x"}}
	for name, clock := range map[string]FrameClock{
		"unknown": {}, "no rate": {Num: 25}, "negative": {Num: -25, Den: 1},
	} {
		if got := Snap(cues, clock); got[0].Start != cues[0].Start || got[0].End != cues[0].End {
			t.Errorf("%s: moved to %v-%v", name, got[0].Start, got[0].End)
		}
	}
	// Far ends of what can be written must not overflow.
	far := []Cue{{Start: 999 * time.Hour, End: 1000 * time.Hour}, {Start: 1<<63 - 2, End: 1<<63 - 1}}
	for _, clock := range []FrameClock{{Num: 1<<32 - 1, Den: 1}, {Num: 1, Den: 1<<32 - 1}, {Num: 60000, Den: 1001, First: -time.Hour}} {
		for i, c := range Snap(far, clock) {
			if c.End <= c.Start {
				t.Errorf("%+v: cue %d became %v-%v", clock, i, c.Start, c.End)
			}
		}
	}
	// A cue before the first frame, or after the last, lights no frame.
	clock := FrameClock{Times: []time.Duration{5000 * ms, 5040 * ms}}
	for _, c := range Snap([]Cue{{Start: 0, End: 1000 * ms}, {Start: 6000 * ms, End: 7000 * ms}}, clock) {
		for _, at := range clock.Times {
			if c.Start <= at && at < c.End {
				t.Errorf("cue %v-%v is shown at %v", c.Start, c.End, at)
			}
		}
	}
}
