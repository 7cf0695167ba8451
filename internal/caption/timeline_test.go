package caption

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// cue is shorthand: a cue from and to in milliseconds, line 1.
func cue(from, to int, text string) Cue {
	return Cue{Start: time.Duration(from) * ms, End: time.Duration(to) * ms, Text: text, Line: 1}
}

// told writes cues in short: "1000-2000 text" with line breaks as /.
func told(cues []Cue) (out []string) {
	for _, c := range cues {
		out = append(out, fmt.Sprintf("%d-%d %s", c.Start.Milliseconds(), c.End.Milliseconds(), strings.ReplaceAll(c.Text, "\n", "/")))
	}
	return out
}

// counted writes notes in short: "code*2".
func counted(notes Notes) (out []string) {
	for _, n := range notes {
		out = append(out, fmt.Sprintf("%s*%d", n.Code, n.Count))
	}
	return out
}

func wantCues(t *testing.T, name string, got []Cue, notes Notes, want, wantNotes []string) {
	t.Helper()
	if !slices.Equal(told(got), want) {
		t.Errorf("%s: got %q, want %q", name, told(got), want)
	}
	if !slices.Equal(counted(notes), wantNotes) {
		t.Errorf("%s: notes %q, want %q", name, counted(notes), wantNotes)
	}
}

func TestRetime(t *testing.T) {
	t.Parallel()
	cues := []Cue{cue(1000, 2000, "a"), cue(3000, 4000, "b")}
	for _, c := range []struct {
		name        string
		offset      time.Duration
		speed       float64
		want, notes []string
	}{
		{"nothing", 0, 0, []string{"1000-2000 a", "3000-4000 b"}, nil},
		{"later", 500 * ms, 1, []string{"1500-2500 a", "3500-4500 b"}, nil},
		{"earlier", -1500 * ms, 1, []string{"0-500 a", "1500-2500 b"}, []string{"cue_negative_start*1"}},
		{"before the video", -2 * time.Second, 1, []string{"1000-2000 b"}, []string{"cue_dropped_before_zero*1"}},
		{"twice as fast", 0, 2, []string{"500-1000 a", "1500-2000 b"}, nil},
		{"half as fast, then later", time.Second, 0.5, []string{"3000-5000 a", "7000-9000 b"}, nil},
		{"PAL", 0, 25. / 24, []string{"960-1920 a", "2880-3840 b"}, nil},
	} {
		got, notes := Retime(cues, c.offset, c.speed)
		wantCues(t, c.name, got, notes, c.want, c.notes)
	}
	timed := cue(1000, 3000, "a b")
	timed.Words = []Word{{0, 1, 1000 * ms, 2000 * ms}, {2, 3, 2000 * ms, 3000 * ms}}
	got, _ := Retime([]Cue{timed}, -1500*ms, 1)
	if w := got[0].Words; w[0] != (Word{0, 1, 0, 500 * ms}) || w[1] != (Word{2, 3, 500 * ms, 1500 * ms}) || timed.Words[0].Start != 1000*ms {
		t.Errorf("words %v, those given %v", w, timed.Words)
	}
}

func TestExclude(t *testing.T) {
	t.Parallel()
	cues := []Cue{cue(1000, 2000, "a"), cue(3000, 6000, "b"), cue(5500, 7000, "c")}
	span := func(edges ...int) (out []Range) {
		for i := 0; i < len(edges); i += 2 {
			out = append(out, Range{time.Duration(edges[i]) * ms, time.Duration(edges[i+1]) * ms})
		}
		return out
	}
	for _, c := range []struct {
		name        string
		ranges      []Range
		want, notes []string
	}{
		{"none", nil, told(cues), nil},
		{"between", span(2000, 3000), told(cues), nil},
		{"one", span(500, 2500), []string{"3000-6000 b", "5500-7000 c"}, []string{"cue_dropped_excluded*1"}},
		{"an end", span(1500, 2500), []string{"1000-1500 a", "3000-6000 b", "5500-7000 c"}, []string{"cues_cut*1"}},
		{"within", span(4000, 5000), []string{"1000-2000 a", "3000-4000 b", "5000-6000 b", "5500-7000 c"}, []string{"cues_cut*1", "cues_split*1"}},
		{"unsorted and touching", span(5000, 9000, 0, 1500, 1500, 5000), nil, []string{"cue_dropped_excluded*3"}},
		{"what is left for a moment", span(1020, 2000), []string{"3000-6000 b", "5500-7000 c"}, []string{"cue_dropped_excluded*1"}},
	} {
		got, notes, err := Exclude(cues, c.ranges)
		if err != nil {
			t.Fatal(err)
		}
		wantCues(t, c.name, got, notes, c.want, c.notes)
	}
}

func TestExcludeIsBounded(t *testing.T) {
	t.Parallel()
	cues := slices.Repeat([]Cue{cue(0, 3_600_000, "x")}, 1000)
	var ranges []Range
	for i := range 1000 {
		at := time.Duration(i) * 3 * time.Second
		ranges = append(ranges, Range{at + time.Second, at + 2*time.Second})
	}
	if _, _, err := Exclude(cues, ranges); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	top := cue(1500, 2500, "top")
	top.Align = 8
	cues := []Cue{cue(1000, 3000, "a"), top, cue(2000, 4000, "b"), cue(4000, 5000, "c"), cue(4000, 6000, "d"), cue(4500, 6000, "d")}
	for _, c := range []struct {
		rule        OverlapRule
		want, notes []string
	}{
		{Stack, told(cues), nil},
		{"", told(cues), nil},
		{Trim, []string{"1000-2000 a", "1500-2500 top", "2000-4000 b", "4000-4500 d", "4500-6000 d"}, []string{"cues_trimmed*2", "cue_dropped_covered*1"}},
		{Merge, []string{"1000-3000 a", "1500-2500 top", "2000-4000 b", "4000-6000 c/d"}, []string{"cue_dropped_merged*2"}},
	} {
		got, notes := Overlap(cues, c.rule)
		wantCues(t, string(c.rule), got, notes, c.want, c.notes)
	}
}

func TestMergeKeepsLooks(t *testing.T) {
	t.Parallel()
	a, b := cue(0, 2000, "é"), cue(1000, 3000, "bc")
	b.Spans = []Span{{From: 1, To: 2, Look: Look{Bold: true}}}
	got, _ := Overlap([]Cue{a, b}, Merge)
	if s := got[0].Spans[0]; got[0].Text[s.From:s.To] != "c" {
		t.Errorf("%q in %+v", got[0].Text[s.From:s.To], got[0])
	}
}

func TestDedupe(t *testing.T) {
	t.Parallel()
	rolling := []Cue{
		cue(0, 1990, "one two"), cue(1990, 2000, "one two"), cue(2000, 4000, "one two\nthree"), cue(4000, 4010, "three"),
		cue(4010, 6000, "three\nfour"), cue(6000, 6010, "four"), cue(6010, 8000, "four\nfive"),
	}
	got, notes := Dedupe(rolling)
	wantCues(t, "rolling", got, notes, []string{"0-2000 one two", "2000-4010 three", "4010-6010 four", "6010-8000 five"},
		[]string{"cue_dropped_duplicate*3", "rolling_lines_removed*3"})
	chorus := []Cue{cue(0, 1000, "la la"), cue(1000, 2000, "la la"), cue(2000, 3000, "la la"), cue(3000, 4000, "oh"), cue(4000, 5000, "yes"), cue(5000, 6000, "no"), cue(6000, 7000, "so")}
	got, notes = Dedupe(chorus)
	wantCues(t, "a chorus", got, notes, told(chorus), nil)
}

func TestReplaceText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text  string
		rules       []Rule
		want, notes []string
	}{
		{"nothing", "a cat", nil, []string{"0-1000 a cat"}, nil},
		{"plain", "a cat, concatenate", []Rule{{Find: "cat", Replace: "dog"}}, []string{"0-1000 a dog, condogenate"}, []string{"text_replaced*1"}},
		{"whole words", "a cat, concatenate", []Rule{{Find: "cat", Replace: "dog", Word: true}}, []string{"0-1000 a dog, concatenate"}, []string{"text_replaced*1"}},
		{"words with accents", "não naõ não", []Rule{{Find: "o", Replace: "x", Word: true}}, []string{"0-1000 não naõ não"}, []string{"replace_not_found*0"}},
		{"expression", "12:30 and 9:05", []Rule{{Find: `(\d+):(\d+)`, Replace: "${1}h$2", Regexp: true}}, []string{"0-1000 12h30 and 9h05"}, []string{"text_replaced*1"}},
		{"one after the other", "a", []Rule{{Find: "a", Replace: "b"}, {Find: "b", Replace: "c"}}, []string{"0-1000 c"}, []string{"text_replaced*1"}},
		{"a word away", "well um yes", []Rule{{Find: "um", Word: true}}, []string{"0-1000 well yes"}, []string{"text_replaced*1"}},
		{"a line away", "[music]\nyes", []Rule{{Find: `\[.*?\]`, Regexp: true}}, []string{"0-1000 yes"}, []string{"text_replaced*1"}},
		{"all of it", "[music]", []Rule{{Find: `\[.*?\]`, Regexp: true}}, nil, []string{"text_replaced*1", "cue_dropped_replaced*1"}},
		{"empty matches", "abc", []Rule{{Find: `x*`, Replace: "-", Regexp: true}}, []string{"0-1000 abc"}, []string{"replace_not_found*0"}},
		{"controls", "a", []Rule{{Find: "a", Replace: "x\x00\ty\nz"}}, []string{"0-1000 x y/z"}, []string{"text_replaced*1"}},
	} {
		got, notes, err := ReplaceText([]Cue{cue(0, 1000, c.text)}, c.rules, 100)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		wantCues(t, c.name, got, notes, c.want, c.notes)
	}
	_, _, err := ReplaceText([]Cue{cue(0, 1000, strings.Repeat("a", 60))}, []Rule{{Find: "a", Replace: "bb"}}, 100)
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("a text that grows: %v", err)
	}
	if _, _, err = ReplaceText([]Cue{cue(0, 1, "a")}, []Rule{{Find: "(", Regexp: true}}, 100); err == nil {
		t.Error("a broken expression was taken")
	}
}

// TestReplaceKeeps: looks stay on their letters, and words that are not
// replaced keep their times.
func TestReplaceKeeps(t *testing.T) {
	t.Parallel()
	c := cue(0, 4000, "the big cat sat")
	c.Spans = []Span{{From: 4, To: 11, Look: Look{Bold: true}}}
	c.Words = []Word{{0, 3, 0, 500 * ms}, {4, 7, 500 * ms, 1000 * ms}, {8, 11, 1000 * ms, 2000 * ms}, {12, 15, 3000 * ms, 4000 * ms}}
	got, _, err := ReplaceText([]Cue{c}, []Rule{{Find: "big cat", Replace: "lion"}}, 100)
	if err != nil {
		t.Fatal(err)
	}
	g := got[0]
	if s := g.Spans; len(s) != 1 || g.Text[s[0].From:s[0].To] != "lion" {
		t.Errorf("looks %v of %q", s, g.Text)
	}
	want := []Word{{0, 3, 0, 500 * ms}, {4, 8, 500 * ms, 2000 * ms}, {9, 12, 3000 * ms, 4000 * ms}}
	if !slices.Equal(g.Words, want) {
		t.Errorf("words %v, want %v", g.Words, want)
	}
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	cues := []Cue{cue(0, 3000, "I understand, yes"), cue(4000, 5000, "done")}
	cues[1].Words = []Word{{0, 4, 4000 * ms, 5000 * ms}}
	if timing := Estimate(cues); timing != Estimated {
		t.Errorf("timing %s", timing)
	}
	w := cues[0].Words
	if len(w) != 3 || w[0].Start != 0 || w[2].End != 3000*ms {
		t.Fatalf("words %v", w)
	}
	if long, short := w[1].End-w[1].Start, w[0].End-w[0].Start; long < 2*short {
		t.Errorf("a long word has %v, a short one %v", long, short)
	}
	if w[2].Start <= w[1].End || w[1].Start != w[0].End {
		t.Errorf("a pause after the comma only: %v", w)
	}
	if timing := Estimate(cues[1:]); timing != TimedWords {
		t.Errorf("timing of timed words: %s", timing)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Hello, big  world!":  "Hello,|big|world!",
		"two\nlines":          "two|lines",
		"":                    "",
		"你好，世界。":              "你|好，|世|界。",
		"「東京」へ行こう":            "「東|京」|へ|行|こ|う",
		"ちょっと待って":             "ちょっ|と|待っ|て",
		"iPhoneを買う":           "iPhone|を|買|う",
		"한국어 단어":              "한국어|단어",
		"เปิดประตู":           "เปิ|ด|ป|ร|ะ|ตู",
		"नमस्ते दुनिया":       "नमस्ते|दुनिया",
		"👨‍👩‍👧 family":        "👨‍👩‍👧|family",
		"- Who? - Me.":        "-|Who?|-|Me.",
		"مرحبا بالعالم":       "مرحبا|بالعالم",
		"l’été d'Anna-Lena's": "l’été|d'Anna-Lena's",
	} {
		var got []string
		for _, w := range Split(text) {
			got = append(got, text[w.From:w.To])
		}
		if joined := strings.Join(got, "|"); joined != want && !(text == "เปิดประตู" && strings.ReplaceAll(joined, "|", "") == text) {
			t.Errorf("%q: %s, want %s", text, joined, want)
		}
	}
}

// TestTimesByRules: whatever is done to cues, they can be shown, their words
// stand in them, and every cue is accounted for.
func TestTimesByRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var cues []Cue
		at := 0
		for range rapid.IntRange(1, 12).Draw(t, "cues") {
			at += rapid.IntRange(0, 3000).Draw(t, "gap")
			c := cue(at, at+rapid.IntRange(1, 5000).Draw(t, "length"),
				rapid.SampledFrom([]string{"a", "one two three", "l’été\nest là, oui", "你好，世界", "x x x x x"}).Draw(t, "text"))
			if rapid.Bool().Draw(t, "timed") {
				c.Words = TimeWords(c.Text, c.Start, c.End, nil)
			}
			c.Spans = []Span{{From: 0, To: 1, Look: Look{Italic: true}}}
			cues = append(cues, c)
		}
		ch := Changes{
			Offset: time.Duration(rapid.IntRange(-9000, 9000).Draw(t, "offset")) * ms, Speed: rapid.Float64Range(0.1, 10).Draw(t, "speed"),
			Overlap: rapid.SampledFrom([]OverlapRule{Stack, Trim, Merge}).Draw(t, "overlap"), MaxText: 500,
			Replace: []Rule{{Find: rapid.SampledFrom([]string{"x", "e", "one ", "\n", "好"}).Draw(t, "find"), Replace: rapid.SampledFrom([]string{"", "yy", " "}).Draw(t, "replace")}},
		}
		from := rapid.IntRange(0, 9000).Draw(t, "from")
		ch.Exclude = []Range{{time.Duration(from) * ms, time.Duration(from+rapid.IntRange(1, 4000).Draw(t, "long")) * ms}}
		d, err := Prepare(Document{Cues: cues, CuesIn: len(cues)}, ch)
		if err != nil {
			t.Fatal(err)
		}
		account := len(d.Cues)
		for _, n := range d.Notes {
			switch {
			case strings.HasPrefix(string(n.Code), "cue_dropped"):
				account += n.Count
			case n.Code == SplitCue:
				account -= n.Count
			}
		}
		if account != d.CuesIn {
			t.Fatalf("%d cues in, accounted for %d: %v", d.CuesIn, account, d.Notes)
		}
		for i, c := range d.Cues {
			checkCue(t, c)
			if i > 0 && c.Start < d.Cues[i-1].Start {
				t.Fatalf("cue %d is out of order", i)
			}
		}
	})
}

func checkCue(t interface{ Fatalf(string, ...any) }, c Cue) {
	if c.Start < 0 || c.End <= c.Start || c.Text == "" || strings.Contains("\n"+c.Text+"\n", "\n\n") {
		t.Fatalf("cannot be shown: %+v", c)
	}
	to, end := 0, c.Start
	for _, w := range c.Words {
		if w.From < to || w.To <= w.From || w.To > len(c.Text) || w.Start < end || w.End < w.Start || w.End > c.End {
			t.Fatalf("word %+v of %+v", w, c)
		}
		to, end = w.To, w.End
	}
	if n := len(c.Words); n > 0 && n != len(Split(c.Text)) {
		t.Fatalf("%d words of %q", n, c.Text)
	}
	to = 0
	for _, s := range c.Spans {
		if s.From < to || s.To <= s.From || s.To > len(c.Text) {
			t.Fatalf("span %+v of %q", s, c.Text)
		}
		to = s.To
	}
}

// TestPrepareScript: the events of a script move with its cues.
func TestPrepareScript(t *testing.T) {
	t.Parallel()
	const head = "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
	d := Document{
		Cues: []Cue{cue(1000, 5000, "one big\ncat")}, CuesIn: 1, Format: ASS,
		Script: []byte(head + "Dialogue: 0,0:00:01.00,0:00:05.00,Default,,0,0,0,,one {\\i1}big\\Ncat{\\k10\\p1}m 1 i{\\p0}\n"),
	}
	got, err := Prepare(d, Changes{
		Offset: time.Second, Exclude: []Range{{3 * time.Second, 4 * time.Second}}, Overlap: Merge, MaxText: 100,
		Replace: []Rule{{Find: "cat", Replace: `{\p1}d`}, {Find: "i", Replace: "X"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := head + "Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,one {\\i1}bXg\\N(/p1)d{\\k10\\p1}m 1 i{\\p0}\n" +
		"Dialogue: 0,0:00:04.00,0:00:06.00,Default,,0,0,0,,one {\\i1}bXg\\N(/p1)d{\\k10\\p1}m 1 i{\\p0}\n"
	if string(got.Script) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.Script, want)
	}
	if len(got.Cues) != 2 || len(d.Notes) != 0 {
		t.Errorf("cues %v, notes of the one given %v", told(got.Cues), d.Notes)
	}
}

// TestReplaceLeavesNoOverride: a brace that is text stays text, whatever is
// taken out beside it.
func TestReplaceLeavesNoOverride(t *testing.T) {
	t.Parallel()
	const head = "[Events]\nDialogue: 0,0:00:01.00,0:00:05.00,Default,,0,0,0,,"
	for _, c := range []struct {
		text, want string
		rule       Rule
	}{
		{`a \{\blur900\}{\i1}b`, `a \{blur900\}{\i1}b`, Rule{Find: `\`}},
		{`a \{b\}`, `a (b\}`, Rule{Find: "{", Replace: "{"}},
		{`a \{cat\} {\i1}cat`, `a \{dog\} {\i1}dog`, Rule{Find: "cat", Replace: "dog"}},
		{`a \{\p1\}cat`, `a \{\p1\}dog`, Rule{Find: "cat", Replace: "dog"}},
	} {
		got, err := replaceInScript([]byte(head+c.text+"\n"), []Rule{c.rule})
		if want := head + c.want + "\n"; err != nil || string(got) != want {
			t.Errorf("%s: %s, want %s (%v)", c.text, got, want, err)
		}
	}
}
