package fleet

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// near reports whether an estimate is what it is said to be good for.
func near(got, want time.Duration) bool { return (got - want).Abs() <= want/50+time.Millisecond }

func TestEstimate(t *testing.T) {
	t.Parallel()
	const mb = 1_000_000
	var none Speeds
	for _, c := range []struct {
		name string
		need queue.Need
		want Work
	}{
		// 6 s of rendering, and 30 MB twice at 100 Mbit/s.
		{"a minute", queue.Need{Video: time.Minute, Size: 30 * mb}, Work{For: jobStart + 6*time.Second + 2*2400*time.Millisecond, Down: 30 * mb, Up: 30 * mb, Video: time.Minute}},
		{"a length", queue.Need{Video: time.Minute}, Work{For: jobStart + 6*time.Second + 2*2400*time.Millisecond, Down: 30 * mb, Up: 30 * mb, Video: time.Minute}},
		{"a size", queue.Need{Size: 30 * mb}, Work{For: jobStart + 6*time.Second + 2*2400*time.Millisecond, Down: 30 * mb, Up: 30 * mb, Video: time.Minute}},
		{"nothing", queue.Need{}, Work{For: jobStart + 30*time.Second + 24*time.Second, Down: 150 * mb, Up: 150 * mb, Video: 5 * time.Minute}},
	} {
		got := estimate(c.need, none)
		if !near(got.For, c.want.For) {
			t.Errorf("%s takes %s, want %s", c.name, got.For, c.want.For)
		}
		if got.For = c.want.For; got != c.want {
			t.Errorf("%s is %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Estimates are bounded and positive, whatever the header claims; a longer or
// larger video never takes less; and a machine with a better network or a
// faster card never takes longer.
func TestEstimateIsMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := speedsOf([]queue.Speed{{GPU: "fast", Factor: rapid.Float64Range(0, 1e9).Draw(t, "factor")}}, nil, false)
		n := queue.Need{
			Video: time.Duration(rapid.Int64Range(1, 1e16).Draw(t, "video")), Size: rapid.Int64Range(1, math.MaxInt64/2).Draw(t, "size"),
		}
		w := estimate(n, s)
		if w.For < jobStart || w.Down < 0 || w.Up < 0 || w.Video <= 0 {
			t.Fatalf("%+v is estimated as %+v", n, w)
		}
		longer := n
		longer.Video += time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "more"))
		longer.Size += rapid.Int64Range(0, 1e15).Draw(t, "more bytes")
		if got := estimate(longer, s); got.For < w.For {
			t.Fatalf("%+v takes %s and %+v %s", n, w.For, longer, got.For)
		}
		slow := gpu.Offer{DownMbps: rapid.Float64Range(1, 1e4).Draw(t, "down"), UpMbps: rapid.Float64Range(1, 1e4).Draw(t, "up")}
		quick := gpu.Offer{DownMbps: slow.DownMbps * 2, UpMbps: slow.UpMbps * 2}
		if w.on(quick, s) > w.on(slow, s) {
			t.Fatalf("%s with twice the network, and %s", w.on(quick, s), w.on(slow, s))
		}
	})
}

// What was seen outweighs what was assumed, by model where a model was seen.
func TestSpeeds(t *testing.T) {
	t.Parallel()
	repeat := func(j queue.Speed, n int) (out []queue.Speed) {
		for range n {
			out = append(out, j)
		}
		return out
	}
	models := map[string]string{"i1": "RTX 3060"}
	seen := append(repeat(queue.Speed{Instance: "i1", GPU: "NVIDIA GeForce RTX 3060", Factor: 20}, 30), repeat(queue.Speed{GPU: "RTX 4090", Factor: 40}, 30)...)
	s := speedsOf(seen, models, false)
	none := speedsOf(nil, nil, false)
	free := speedsOf(nil, nil, true)
	for _, c := range []struct {
		name      string
		got       float64
		low, high float64
	}{
		{"nothing is known", none.typical(), 9.9, 10.1},
		{"a model of which nothing is known", none.of("RTX 3060"), 9.9, 10.1},
		{"a machine of our own", free.of(""), 0.99, 1.01},
		{"by the name in its offer", s.of("RTX 3060"), 18, 21},
		{"by its own name", s.of("RTX 4090"), 36, 41},
		{"a model that was never seen", s.of("L4"), 25, 30},
		{"one odd job changes little", speedsOf([]queue.Speed{{GPU: "L4", Factor: 1e6}}, nil, false).of("L4"), 30, 100},
	} {
		if !(c.got >= c.low && c.got <= c.high) {
			t.Errorf("%s: %.1f, want %.1f to %.1f", c.name, c.got, c.low, c.high)
		}
	}
}

func TestLeft(t *testing.T) {
	t.Parallel()
	w := Work{For: 100 * time.Second}
	for _, c := range []struct {
		name     string
		ran      time.Duration
		progress float64
		want     time.Duration
	}{
		{"it just began", 0, 0, 100 * time.Second},
		{"as expected", 40 * time.Second, 0, 60 * time.Second},
		{"longer than expected", 200 * time.Second, 0, 100 * time.Second},
		{"half, as expected", 50 * time.Second, 50, 50 * time.Second},
		{"half, slowly", 200 * time.Second, 50, 150 * time.Second},
		{"done", 30 * time.Second, 100, 0},
		{"a clock that was set", -time.Hour, 10, 90 * time.Second},
		{"no number", 40 * time.Second, math.NaN(), 60 * time.Second},
	} {
		n := queue.Need{StartedAt: noon.Add(-c.ran), Progress: c.progress}
		if got := left(n, w, noon); !near(got, c.want) {
			t.Errorf("%s: %s left, want %s", c.name, got, c.want)
		}
	}
}
