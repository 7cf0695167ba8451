package typeset

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestRenderGolden(t *testing.T) {
	t.Parallel()
	cues, err := os.ReadFile(filepath.Join("testdata", "looks.srt"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := subtitle.Parse(cues, subtitle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]Size{"landscape": {1280, 720}, "portrait": {1080, 1920}, "square": {600, 600}} {
		path := filepath.Join("testdata", "looks."+name+".ass")
		got := Render(d.Cues, DefaultStyle(), size)
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
}

// eventText returns the text of each Dialogue line.
func eventTexts(script []byte) (out []string) {
	for line := range strings.Lines(string(script)) {
		if fields := strings.SplitN(line, ",", 10); strings.HasPrefix(line, "Dialogue: ") {
			out = append(out, strings.TrimSuffix(fields[9], "\n"))
		}
	}
	return out
}

func TestTextNeverBecomesASS(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{\pos(0,0)}`:                  `\{` + "\\\u2060" + `pos(0,0)\}`,
		`C:\Nero`:                      "C:\\\u2060Nero",
		`\{`:                           "\\\u2060" + `\{`,
		"a\nb":                         `a\Nb`,
		"a\r\nDialogue: 0,0,0,,,,,,,b": `a\NDialogue: 0,0,0,,,,,,,b`,
		"a\x00b\x1bc\u0085d\u2028e":    "abcde",
		"bad \xff byte":                "bad  byte",
		"a, b, c":                      "a, b, c",
		"\u200f\u202bשלום\u202c 👩\u200d👩\u200d👧": "\u200f\u202bשלום\u202c 👩\u200d👩\u200d👧",
	} {
		got := eventTexts(Render([]caption.Cue{{Text: text, End: time.Second}}, DefaultStyle(), Size{1920, 1080}))
		if len(got) != 1 || got[0] != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	injected := Render([]caption.Cue{{Text: "x", End: 1, Spans: []caption.Span{
		{From: 0, To: 1, Look: caption.Look{Color: `#12}{\p`}}, {From: -5, To: 99, Look: caption.Look{Color: "#zzzzzz"}},
	}}}, Style{Font: "A,B\nDialogue: x", Color: "}"}, Size{})
	if strings.Contains(string(injected), "p1") || bytes.Count(injected, []byte("Dialogue:")) != 2 ||
		!strings.Contains(string(injected), "Style: Default,ABDialogue: x,") {
		t.Errorf("a hostile style got through:\n%s", injected)
	}
}

// ours are the only override blocks that Render writes.
var ours = regexp.MustCompile(`^\{(?:\\an[1-9]|\\r(?:\\b1)?(?:\\i1)?(?:\\u1)?(?:\\c&H[0-9A-F]{6}&)?)\}`)

// checkScript fails unless the script has one event a cue, on one line, with
// no override block but ours, and all the text of its cue.
func checkScript(t interface{ Fatalf(string, ...any) }, script []byte, cues []caption.Cue) {
	events := eventTexts(script)
	if len(events) != len(cues) || strings.Count(string(script), "\nDialogue:") != len(cues) {
		t.Fatalf("%d events for %d cues:\n%s", len(events), len(cues), script)
	}
	for i, event := range events {
		var shown strings.Builder
		for s := event; s != ""; {
			switch {
			case strings.HasPrefix(s, `\{`), strings.HasPrefix(s, `\}`):
				shown.WriteByte(s[1])
				s = s[2:]
			case strings.HasPrefix(s, "\\\u2060"):
				shown.WriteByte('\\')
				s = s[1+len("\u2060"):]
			case strings.HasPrefix(s, `\N`):
				s = s[2:]
			case ours.MatchString(s):
				s = s[len(ours.FindString(s)):]
			case s[0] == '{', s[0] == '}', s[0] == '\\':
				t.Fatalf("cue %q: unescaped %q in %q", cues[i].Text, s[:1], event)
			default:
				shown.WriteByte(s[0])
				s = s[1:]
			}
		}
		if got, want := withoutSpace(shown.String()), withoutSpace(cues[i].Text); got != want {
			t.Fatalf("cue %q is shown as %q", want, got)
		}
	}
}

func withoutSpace(s string) string { return strings.Join(strings.Fields(s), "") }

func TestRenderOfAnyText(t *testing.T) {
	t.Parallel()
	pieces := []string{"{", "}", `\`, `\N`, "\\an8", "{\\p1}", "<b>", "</b>", "<i", ">", "<font color=red>", "&lt;", "&#123;",
		"\n", "\n\n", "word ", "çã", "漢字、", "\u200d", "\u0301", "-", "a very long word without end", "M"}
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String())).Draw(t, "text"), "")
		d, err := subtitle.Parse([]byte("1\n00:00:01,000 --> 00:00:02,000\nx"+raw+"\n"), subtitle.Options{})
		if err != nil {
			return
		}
		size := rapid.SampledFrom([]Size{{1920, 1080}, {1080, 1920}, {2, 2}, {0, 0}, {100000, 10}}).Draw(t, "size")
		checkScript(t, Render(d.Cues, DefaultStyle(), size), d.Cues)
	})
}

func TestWrap(t *testing.T) {
	t.Parallel()
	aim, fit := extent{22, 1 << 20}, extent{1 << 20, 1600}
	for _, c := range []struct {
		name, text string
		want       string // lines joined by |
	}{
		{"short", "Hello there", "Hello there"},
		{"balanced", "one two three four five six", "one two three|four five six"},
		{"after a phrase", "Yes, of course I will, dear", "Yes, of course|I will, dear"},
		{"author's lines stay", "a\nb\nc", "a|b|c"},
		{"author's lines stay while they fit the picture", "These are a few more chars\nthan the aim", "These are a few more chars|than the aim"},
		{"author's lines too long are joined where that saves one", "mmmm mmmm mmmm mmmm mmmm\nm", "mmmm mmmm mmmm|mmmm mmmm m"},
		{"voices stay apart", "- mmmm mmmm mmmm mmmm mmmm\n- No", "- mmmm mmmm|mmmm mmmm mmmm|- No"},
		{"more than two lines", "one two three four five six seven eight nine ten eleven", "one two three four|five six seven eight|nine ten eleven"},
		{"a long word", strings.Repeat("x", 50), strings.Repeat("x", 22) + "|" + strings.Repeat("x", 22) + "|" + strings.Repeat("x", 6)},
		{"no-break space", "aaaaaaaaaaaaaa 10\u00a0000\u00a0000", "aaaaaaaaaaaaaa|10\u00a0000\u00a0000"},
		{"hyphen", "extraordinarily-well-done", "extraordinarily-|well-done"},
		{"Chinese", "这是一个很长的句子，需要分成两行。", "这是一个很长的句|子，需要分成两行。"},
		{"accents stay with their letters", strings.Repeat("x\u0323\u0307", 23), strings.Repeat("x\u0323\u0307", 22) + "|x\u0323\u0307"},
	} {
		var got []string
		for _, l := range wrap(c.text, aim, fit) {
			got = append(got, strings.ReplaceAll(c.text[l.from:l.to], "\n", " "))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTimesAreNeverRoundedAway(t *testing.T) {
	t.Parallel()
	script := string(Render([]caption.Cue{
		{Start: 1001 * time.Millisecond, End: 1002 * time.Millisecond, Text: "a"},
		{Start: 100*time.Hour + 1499*time.Microsecond*10, End: 101 * time.Hour, Text: "b"},
		{Start: -time.Second, End: time.Second, Text: "c"},
	}, DefaultStyle(), Size{1920, 1080}))
	for _, want := range []string{"0,0:00:01.00,0:00:01.01,", "0,100:00:00.01,101:00:00.00,", "0,0:00:00.00,0:00:01.00,"} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
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
			cues := caption.Snap(d.Cues, caption.FrameClock{Num: 30000, Den: 1001})
			checkScript(t, Render(cues, DefaultStyle(), size), cues)
		}
	})
}
