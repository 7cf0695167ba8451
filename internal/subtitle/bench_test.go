package subtitle

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"

	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/test/need"
)

// manyCues is the size that linear time is proven with: ten times the limit.
const manyCues = 200_000

func unlimited() Options {
	return Options{Limits: Limits{Bytes: 1 << 30, Cues: 1 << 30}}
}

// stampAt writes the time of a cue that begins n seconds in, in milliseconds.
func stampAt(ms int, comma string) string {
	return fmt.Sprintf("%02d:%02d:%02d%s%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, comma, ms%1000)
}

// large returns files of n cues, as all formats have them.
func large(n int) map[string][]byte {
	var srt, vtt, ass, words strings.Builder
	vtt.WriteString("WEBVTT\n\n")
	ass.WriteString(assHead)
	words.WriteString("[")
	for i := range n {
		at := i * 400
		text := fmt.Sprintf("%d: não sei o que você está fazendo aí.", i)
		fmt.Fprintf(&srt, "%d\n%s --> %s\n%s\n\n", i+1, stampAt(at, ","), stampAt(at+390, ","), text)
		fmt.Fprintf(&vtt, "%s --> %s\n<i>%s</i>\n\n", stampAt(at, "."), stampAt(at+390, "."), text)
		fmt.Fprintf(&ass, "Dialogue: 0,%s,%s,Default,,0,0,0,,{\\i1}%s\n",
			caption.Stamp(time.Duration(at)*time.Millisecond), caption.Stamp(time.Duration(at+390)*time.Millisecond), text)
		fmt.Fprintf(&words, `{"start":%.2f,"end":%.2f,"text":%q},`, float64(at)/1000, float64(at+390)/1000, text)
	}
	old, _ := charmap.Windows1252.NewEncoder().String(srt.String())
	return map[string][]byte{
		"srt": []byte(srt.String()), "windows-1252": []byte(old), "vtt": []byte(vtt.String()), "ass": []byte(ass.String()),
		"json": []byte(strings.TrimSuffix(words.String(), ",") + "]"),
	}
}

// BenchmarkParse reads 200,000 cues in each format:
//
//	go test ./internal/subtitle -run '^$' -bench Parse -benchtime 3x
func BenchmarkParse(b *testing.B) {
	for name, file := range large(manyCues) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				d, err := Parse(file, unlimited())
				if err != nil || len(d.Cues) != manyCues {
					b.Fatal(len(d.Cues), err)
				}
			}
			b.ReportMetric(float64(peak(func() { _, _ = Parse(file, unlimited()) }))/1e6, "MB-live")
		})
	}
}

// peak returns about the most bytes that were in use at a time while f ran.
func peak(f func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		for {
			select {
			case <-done:
				most <- top
				return
			case <-time.After(2 * time.Millisecond):
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				top = max(top, now.HeapInuse)
			}
		}
	}()
	f()
	close(done)
	top := <-most
	return top - min(before.HeapInuse, top)
}

// TestLinear: ten times the cues take about ten times the time and memory, in
// every format. A quadratic step would take a hundred times.
func TestLinear(t *testing.T) {
	need.Long(t)
	cues := manyCues
	if need.Slack > 1 { // under the race detector, which has nothing to find here
		cues /= 10
	}
	few, many := large(cues/10), large(cues)
	for name := range few {
		small, big := spent(t, few[name]), spent(t, many[name])
		if big > 40*small+time.Second {
			t.Errorf("%s: %v for a tenth, %v for all", name, small, big)
		}
	}
}

func spent(t *testing.T, file []byte) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := Parse(file, unlimited()); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
