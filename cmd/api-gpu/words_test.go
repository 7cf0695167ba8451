package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB",
		12_345_678: "12.3 MB", 2e9: "2.0 GB", 1<<63 - 1: "9.2 EB"} {
		if got := sizeWords(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0.0 s", 1240 * time.Millisecond: "1.2 s", 9949 * time.Millisecond: "9.9 s",
		9950 * time.Millisecond: "10 s", 59_600 * time.Millisecond: "1 min 0 s", 63 * time.Second: "1 min 3 s", 2*time.Hour + 4*time.Minute: "2 h 4 min"} {
		if got := timeWords(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestCostWords(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]apigpu.Stats{
		"": {},
		"$0.0043 so far, as measured by the server": {CostUSD: 0.004321, CostState: apigpu.CostEstimated},
		"$1.25, as charged by the provider":         {CostUSD: 1.25, CostState: apigpu.CostFinal},
	} {
		if got := costWords(s); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

func TestResultName(t *testing.T) {
	t.Parallel()
	for video, want := range map[string]string{
		"clip.mov":                         "clip.captioned.mp4",
		"/films/my clip.v2.mp4":            "my clip.v2.captioned.mp4",
		"https://a.example/f/cat.webm?x=y": "cat.captioned.mp4",
		"https://a.example/":               "video.captioned.mp4",
		"https://a.example":                "video.captioned.mp4",
		"https://a.example/..%2f..%2fetc":  "etc.captioned.mp4",
		"https://a.example/a%5Cb%00c.mp4":  "a_b_c.captioned.mp4",
		"https://a.example/%2e%2e":         "video.captioned.mp4",
		"https://a.example/.hidden.mp4":    "hidden.captioned.mp4",
		"https://a.example/-rf.mp4":        "rf.captioned.mp4",
		"https://a.example/%zz":            "video.captioned.mp4",
	} {
		if got := resultName(video); got != want {
			t.Errorf("%s: %q, want %q", video, got, want)
		}
	}
}

func FuzzResultName(f *testing.F) {
	for _, s := range []string{"https://a.example/..%2f..", "https://a/%00", "a/b/c", "", "..", "https://a/\x1b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, video string) {
		name := resultName(video)
		if !strings.HasSuffix(name, ".captioned.mp4") || strings.ContainsAny(name, "/\x00\n") || strings.HasPrefix(name, ".") {
			t.Errorf("%q gives %q", video, name)
		}
	})
}

func TestMeterWithoutATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := newMeter(&out)
	for _, s := range []step{{"Waiting", -1, "number 3"}, {"Waiting", -1, "number 2"}, {"Rendering", 5, ""}, {"Rendering", 9.9, ""},
		{"Rendering", 10, "soon"}, {"Rendering", 19, ""}, {"Rendering", 35, ""}, {"Saving\x1b[2J", 0, ""}} {
		m.show(s)
	}
	m.clear()
	if want := "Waiting, number 3\nRendering 5%\nRendering 10%, soon\nRendering 35%\nSaving [2J 0%\n"; out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestMeterOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := newMeter(&out)
	m.width = func() int { return 80 }
	for _, s := range []step{{"Waiting", -1, "number 3"}, {"Waiting", -1, "number 3"}, {"Rendering", 50, "about 5 s left"}} {
		m.show(s)
	}
	m.clear()
	m.clear()
	want := "\rWaiting  number 3\x1b[K" +
		"\rRendering                [############------------]  50%  about 5 s left\x1b[K" + "\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
	for width := range 100 {
		if n := utf8.RuneCountInString(barLine(step{"Während", 130, strings.Repeat("é", 60)}, width)); n >= max(width, 1) {
			t.Errorf("%d columns in a terminal of %d", n, width)
		}
	}
}
