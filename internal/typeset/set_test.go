package typeset

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/subtitle"
	"github.com/api-gpu/api-gpu/test/need"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sheetOf sets cues with guessed fonts, so that scripts are the same everywhere.
func sheetOf(t interface {
	Helper()
	Fatal(...any)
}, job Job) Sheet {
	t.Helper()
	sheet, err := Set(job)
	if err != nil {
		t.Fatal(err)
	}
	return sheet
}

// TestGolden: the scripts of a file with every look of SubRip, and of each
// preset on each shape of picture. Read the difference before you -update.
func TestGolden(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join("testdata", "looks.srt"))
	if err != nil {
		t.Fatal(err)
	}
	looks, err := subtitle.Parse(file, subtitle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]Size{"wide": {1280, 720}, "tall": {1080, 1920}, "square": {600, 600}}
	for name, size := range sizes {
		golden(t, "looks."+name, Job{Cues: looks.Cues, Size: size})
	}
	short := []caption.Cue{
		{Start: time.Second, End: 4 * time.Second, Text: "Most people never notice this small trick, but it changes everything."},
		{Start: 4 * time.Second, End: 5 * time.Second, Text: "רוב האנשים (2024) לא OK!", Spans: []caption.Span{{From: 0, To: 6, Look: caption.Look{Italic: true}}}},
	}
	for _, preset := range apigpu.Presets() {
		for name, size := range sizes {
			golden(t, string(preset)+"."+name, Job{Cues: short, Style: apigpu.Style{Preset: preset}, Size: size, Clock: caption.FrameClock{Num: 25, Den: 1}})
		}
	}
}

func golden(t *testing.T, name string, job Job) {
	t.Helper()
	path := filepath.Join("testdata", name+".ass")
	got := sheetOf(t, job).ASS
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// event is a Dialogue line.
type event struct {
	layer, start, end, tags, text string
}

var (
	dialogue = regexp.MustCompile(`(?m)^Dialogue: (\d),([\d:.]+),([\d:.]+),(?:Default|Shadow),,0,0,0,,(.*)$`)
	position = regexp.MustCompile(`\\pos\((-?[\d.]+),(-?[\d.]+)\)`)
	// ours are all blocks that are written: a piece of text, and a shape.
	ours = regexp.MustCompile(`^\{\\pos\(-?[\d.]+,-?[\d.]+\)(?:\\fn[^\\{}]+)?(?:\\fs[\d.]+)?(?:\\b[1-9]00)?(?:\\i[01])?(?:\\u1)?(?:\\fsp-?[\d.]+)?` +
		`(?:\\[13]c&H[0-9A-F]{6}&(?:\\[13]a&H[0-9A-F]{2}&)?|\\bord[\d.]+|\\blur[\d.]+)*` +
		`(?:\\fscx[\d.]+\\fscy[\d.]+)?(?:\\clip\([-\d.,]+\))?(?:\\t\(\d+,\d+,\\(?:fscx[\d.]+\\fscy[\d.]+|clip\([-\d.,]+\))\))*(?:\\fade\([\d,]+\))?\}`)
	shape = regexp.MustCompile(`^\{\\an7\\pos\(0,0\)\\bord0\\1c&H[0-9A-F]{6}&\\1a&H[0-9A-F]{2}&(?:\\fade\([\d,]+\))?\\p4\}[-mlb\d ]+$`)
)

// eventsOf reads the events of a script, and fails at anything that is not
// ours.
func eventsOf(t interface{ Fatalf(string, ...any) }, script []byte) (texts, shapes []event) {
	found := dialogue.FindAllStringSubmatch(string(script), -1)
	if n := strings.Count(string(script), "Dialogue:"); n != len(found) && !strings.Contains(string(script), `}Dialogue`) && n < len(found) {
		t.Fatalf("%d events of %d can be read", len(found), n)
	}
	for _, m := range found {
		e := event{layer: m[1], start: m[2], end: m[3]}
		if shape.MatchString(m[4]) {
			e.tags = m[4]
			shapes = append(shapes, e)
			continue
		}
		e.tags = ours.FindString(m[4])
		if e.tags == "" {
			t.Fatalf("an event begins with tags that are not ours: %q", m[4])
		}
		e.text = plainText(t, m[4][len(e.tags):])
		texts = append(texts, e)
	}
	return texts, shapes
}

// plainText is the text that libass shows, and fails where it holds code.
func plainText(t interface{ Fatalf(string, ...any) }, s string) string {
	whole := s
	var shown strings.Builder
	for s != "" {
		switch {
		case strings.HasPrefix(s, `\{`), strings.HasPrefix(s, `\}`):
			shown.WriteByte(s[1])
			s = s[2:]
		case strings.HasPrefix(s, "\\\u2060"):
			shown.WriteByte('\\')
			s = s[1+len("\u2060"):]
		case s[0] == '{', s[0] == '}', s[0] == '\\':
			t.Fatalf("unescaped %q in %q", s[:1], whole)
		default:
			shown.WriteByte(s[0])
			s = s[1:]
		}
	}
	return shown.String()
}

// letters are the characters of a text that are seen, in any order.
func letters(s string) map[rune]int {
	n := map[rune]int{}
	for _, r := range strings.ToValidUTF8(s, "") {
		if r, ok := caption.Clean(r); ok && !isSpace(r) && r != '\u200e' && r != '\u200f' {
			n[r]++
		}
	}
	return n
}

// checkScript fails unless all the text of the cues is drawn, each character
// as often as it is there, by nothing but what we write.
func checkScript(t interface{ Fatalf(string, ...any) }, sheet Sheet, cues []caption.Cue) {
	texts, _ := eventsOf(t, sheet.ASS)
	var drawn, want strings.Builder
	for _, e := range texts {
		drawn.WriteString(e.text)
	}
	for _, c := range cues {
		want.WriteString(c.Text)
	}
	if diff := cmp.Diff(letters(want.String()), letters(drawn.String())); diff != "" {
		t.Fatalf("not the text of the cues (-want +got):\n%s\n%s", diff, sheet.ASS)
	}
}

// bare draws each character once: without shadow, emoji as letters.
func bare() apigpu.Style {
	return apigpu.Style{Preset: apigpu.PresetNone, Emoji: apigpu.EmojiMono}
}

func TestTextNeverBecomesASS(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{\pos(0,0)}`:                  `\{` + "\\\u2060" + `pos(0,0)\}`,
		`C:\Nero`:                      "C:\\\u2060Nero",
		`\{`:                           "\\\u2060" + `\{`,
		"a\r\nDialogue: 0,0,0,,,,,,,b": "a|Dialogue: 0,0,0,,,,,,,b",
		"a\x00b\x1bc\u0085d\u2028e":    "abcd|e",
		"bad \xff byte":                "bad byte",
		"a, b, c":                      "a, b, c",
	} {
		sheet := sheetOf(t, Job{Cues: []caption.Cue{{Text: text, End: time.Second}}, Style: bare()})
		var got []string
		for _, m := range dialogue.FindAllStringSubmatch(string(sheet.ASS), -1) {
			got = append(got, m[4][strings.Index(m[4], "}")+1:])
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	hostile := sheetOf(t, Job{
		Cues: []caption.Cue{{Text: "x", End: 1, Spans: []caption.Span{
			{From: 0, To: 1, Look: caption.Look{Color: `#12}{\p`}}, {From: -5, To: 99, Look: caption.Look{Color: "#zzzzzz"}},
		}}},
		Style: apigpu.Style{Preset: apigpu.PresetNone, Color: "}", Font: apigpu.Font{Family: "A,B}\nDialogue: x{\\p1}"}},
	})
	if s := string(hostile.ASS); strings.Contains(s, `\p1`) || strings.Count(s, "\nDialogue:") != 1 || !strings.Contains(s, "Style: Default,ABDialogue: xp1,") {
		t.Errorf("a hostile style got through:\n%s", s)
	}
}

// anyStyle draws a style with whatever members.
func anyStyle(t *rapid.T) apigpu.Style {
	pick := func(label string, from ...float64) *float64 {
		if v := rapid.SampledFrom(append(from, -1e9)).Draw(t, label); v != -1e9 {
			return &v
		}
		return nil
	}
	return apigpu.Style{
		Preset:    rapid.SampledFrom(append(apigpu.Presets(), "", "unknown")).Draw(t, "preset"),
		Animation: rapid.SampledFrom([]apigpu.Animation{"", "none", "karaoke", "highlight", "word", "underline", "pop", "fade", "typewriter"}).Draw(t, "animation"),
		Text:      apigpu.TextStyle{Transform: rapid.SampledFrom([]apigpu.Transform{"", "none", "uppercase", "lowercase", "capitalize"}).Draw(t, "transform")},
		Font:      apigpu.Font{LetterSpacing: pick("spacing", -20, 0, 100), LineHeight: pick("height", 0.5, 4), Size: apigpu.Length{Pixels: rapid.SampledFrom([]float64{0, 8, 400}).Draw(t, "size")}},
		Box:       apigpu.Box{Color: "#00f8", Mode: rapid.SampledFrom([]apigpu.BoxMode{"", "line", "block", "none"}).Draw(t, "box"), Radius: pick("radius", 0, 200)},
		MaxLines:  rapid.IntRange(0, 10).Draw(t, "lines"), MaxWordsPerLine: rapid.IntRange(0, 3).Draw(t, "words"),
		MaxCharsPerLine: rapid.SampledFrom([]int{0, 4, 200}).Draw(t, "chars"),
		Position:        rapid.SampledFrom([]apigpu.Position{{}, {Name: "top_left"}, {Name: "center_right"}, {X: 100, Y: 0}}).Draw(t, "position"),
		Active:          apigpu.Active{Box: rapid.SampledFrom([]string{"", "red"}).Draw(t, "active"), Scale: pick("scale", 0.5, 2)},
		WordStyles:      []apigpu.WordStyle{{Match: "word", Color: "lime", Bold: is(false)}},
		Emoji:           rapid.SampledFrom([]apigpu.Emoji{"", "color", "mono", "strip"}).Draw(t, "emoji"),
	}
}

// TestAnyText: whatever the text, the style and the picture, no text becomes
// code, nothing is lost, and the number of events is bounded.
func TestAnyText(t *testing.T) {
	t.Parallel()
	pieces := []string{"{", "}", `\`, `\N`, "\\an8", "{\\p1}", "<b>", "</b>", "<i", ">", "<font color=red>", "&lt;", "&#123;",
		"\n", "\n\n", "word ", "çã", "漢字、", "\u200d", "\u0301", "-", "a very long word without end", "M", "שלום ", "12 ", "😀", "ไทย", strings.Repeat("x", 90)}
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String())).Draw(t, "text"), "")
		d, err := subtitle.Parse([]byte("1\n00:00:01,000 --> 00:00:02,000\nx"+raw+"\n"), subtitle.Options{})
		if err != nil {
			return
		}
		size := rapid.SampledFrom([]Size{{1920, 1080}, {1080, 1920}, {2, 2}, {0, 0}, {100000, 10}}).Draw(t, "size")
		clock := caption.FrameClock{Num: 30000, Den: 1001}
		checkScript(t, sheetOf(t, Job{Cues: d.Cues, Style: bare(), Size: size, Clock: clock}), d.Cues)
		sheet := sheetOf(t, Job{Cues: d.Cues, Style: anyStyle(t), Size: size, Clock: clock, Language: rapid.SampledFrom([]string{"", "tr", "pt-BR", "x"}).Draw(t, "language")})
		texts, shapes := eventsOf(t, sheet.ASS)
		most := 0
		for _, c := range d.Cues {
			most += 40 + 10*len([]rune(c.Text))
		}
		if len(texts)+len(shapes) > most {
			t.Fatalf("%d events for %d characters", len(texts)+len(shapes), len(raw))
		}
	})
}

// FuzzScript: no text of a file reaches libass as anything but text.
func FuzzScript(f *testing.F) {
	for _, seed := range []string{
		"<i>a</i>", "{\\an8}b{\\p1}m 0 0", "<font color=#fff>c", "&lt;d&#x7b;\\p1}", "\\N\\h{", "<b><i></b>e</i>", "<font color=\"red\\\">", "\u202e\u200bf", "{}}{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		d, err := subtitle.Parse([]byte("1\n00:00:01,000 --> 00:00:02,000\n"+raw), subtitle.Options{})
		if err != nil {
			return
		}
		for _, size := range []Size{{1920, 1080}, {1080, 1920}} {
			clock := caption.FrameClock{Num: 30000, Den: 1001}
			checkScript(t, sheetOf(t, Job{Cues: d.Cues, Style: bare(), Size: size, Clock: clock}), d.Cues)
			for _, preset := range []apigpu.Preset{apigpu.PresetBoldSocial, apigpu.PresetKaraoke, apigpu.PresetPodcast} {
				eventsOf(t, sheetOf(t, Job{Cues: d.Cues, Style: apigpu.Style{Preset: preset}, Size: size, Clock: clock}).ASS)
			}
		}
	})
}

func TestTimesAreNeverRoundedAway(t *testing.T) {
	t.Parallel()
	script := string(sheetOf(t, Job{Style: bare(), Cues: []caption.Cue{
		{Start: -time.Second, End: time.Second, Text: "c"},
		{Start: 1001 * time.Millisecond, End: 1002 * time.Millisecond, Text: "a"},
		{Start: 100*time.Hour + 1499*time.Microsecond*10, End: 101 * time.Hour, Text: "b"},
	}}).ASS)
	for _, want := range []string{"0:00:01.00,0:00:01.01,", "100:00:00.01,101:00:00.00,", "0:00:00.00,0:00:01.00,"} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
}

// Setting is linear: 20,000 cues take 2 s of a core.
func TestLongFile(t *testing.T) {
	t.Parallel()
	var cues []caption.Cue
	for i := range 4_000 {
		start := time.Duration(i) * 2 * time.Second
		cues = append(cues, caption.Cue{Start: start, End: start + 2*time.Second, Text: "Most people never notice this small trick, but it changes everything."})
	}
	began := time.Now()
	sheet := sheetOf(t, Job{Cues: cues, Style: apigpu.Style{Preset: apigpu.PresetBoldSocial}, Clock: caption.FrameClock{Num: 30000, Den: 1001}})
	if sheet.Shown != len(cues) {
		t.Errorf("%d of %d cues are shown", sheet.Shown, len(cues))
	}
	t.Logf("%d MB in %v", len(sheet.ASS)>>20, time.Since(began))
}

// Cues that are made to cost time do not: each is broken in time that is in
// proportion to its length.
func TestHostileCues(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no width": strings.Repeat("\u200b", 2000), "closing marks": strings.Repeat(")", 2000), "short words": strings.Repeat("a ", 1000),
		"one word": strings.Repeat("a", 2000), "signs": strings.Repeat("漢", 2000), "lines": strings.Repeat("a\n", 1000),
		"both directions": strings.Repeat("aא", 1000), "accents": "a" + strings.Repeat("\u0301", 2000), "emoji": strings.Repeat("👩\u200d👧", 500),
	} {
		var cues []caption.Cue
		for i := range 4 {
			cues = append(cues, caption.Cue{Start: time.Duration(i) * time.Second, End: time.Duration(i)*time.Second + 300*time.Millisecond, Text: text})
		}
		for _, preset := range []apigpu.Preset{apigpu.PresetClean, apigpu.PresetBoldSocial} {
			began := time.Now()
			sheetOf(t, Job{Cues: cues, Size: Size{1080, 1920}, Style: apigpu.Style{Preset: preset, MaxLines: 10, MaxCharsPerLine: 200}})
			if took := time.Since(began); took > 20*need.Slack*time.Second {
				t.Errorf("%s, %s: %v", name, preset, took)
			} else if testing.Verbose() {
				t.Logf("%s, %s: %v", name, preset, took)
			}
		}
	}
}
