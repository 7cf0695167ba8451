package typeset

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

const second = time.Second

// drawnAt is the position of an event.
func (e event) at(t *testing.T) (x, y float64) {
	t.Helper()
	m := position.FindStringSubmatch(e.tags)
	if m == nil {
		t.Fatalf("no position in %q", e.tags)
	}
	x, _ = strconv.ParseFloat(m[1], 64)
	y, _ = strconv.ParseFloat(m[2], 64)
	return x, y
}

// linesOf shows what is drawn as lines joined by |, and screens by ||, from
// events of whole lines.
func linesOf(t *testing.T, job Job) string {
	t.Helper()
	texts, _ := eventsOf(t, sheetOf(t, job).ASS)
	var out strings.Builder
	for i, e := range texts {
		switch {
		case i > 0 && e.start != texts[i-1].start:
			out.WriteString("||")
		case i > 0:
			out.WriteString("|")
		}
		out.WriteString(e.text)
	}
	return out.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       string
	}{
		{"short", "Hello there", "Hello there"},
		{"balanced", "one two three four five six", "one two three|four five six"},
		{"after a phrase", "Yes, of course I will, dear", "Yes, of course|I will, dear"},
		{"author's lines stay", "a\nb", "a|b"},
		{"author's lines stay while they fit the picture", "It is still a little tilt\nfit it in", "It is still a little tilt|fit it in"},
		{"author's lines too long are joined", "mmmm mmmm mmmm mmmm mmmm\nm", "mmmm mmmm mmmm|mmmm mmmm m"},
		{"voices stay apart", "- Who are you?\n- No", "- Who are you?|- No"},
		{"more than two lines are shown in parts", "one two three four five six seven eight nine ten eleven", "one two three|four five six||seven eight|nine ten eleven"},
		{"parts end with sentences", "It is here to stay now. Nobody knows why, and where it is from.", "It is here to|stay now.||Nobody knows why,|and where it is from."},
		{"no-break space", "aaaaaaaaaaaaaa 10\u00a0000\u00a0000", "aaaaaaaaaaaaaa|10\u00a0000\u00a0000"},
		{"hyphen", "extraordinarily-well-done", "extraordinarily-|well-done"},
		{"Chinese", "这是一个很长的句子，需要分成两行。", "这是一个很长的句子，|需要分成两行。"},
		{"no small kana at the start of a line", "カタカナのキャッチコピーが好き", "カタカナの|キャッチコピーが好き"},
		{"Korean words stay whole", "대부분의 사람들은 이 작은 요령을", "대부분의 사람들은|이 작은 요령을"},
		{"Thai breaks at syllables", "คนส่วนใหญ่ไม่เคยสังเกตเห็นเคล็ดลับ", "คนส่วนใหญ่ไม่เคยสัง|เกตเห็นเคล็ดลับ"},
		{"accents stay with their letters", strings.Repeat("x\u0323\u0307", 19), strings.Repeat("x\u0323\u0307", 19)},
	} {
		got := linesOf(t, Job{Cues: []caption.Cue{{End: 6 * second, Text: c.text}}, Style: bare(), Size: Size{1080, 1920}})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A word that is wider than the picture becomes smaller; one that would be too
// small is broken, and told of.
func TestLongWords(t *testing.T) {
	t.Parallel()
	style := bare()
	style.Font.Size.Pixels = 120
	for n, want := range map[int]string{5: "", 12: `\fs`, 40: "word_broken"} {
		sheet := sheetOf(t, Job{Cues: []caption.Cue{{End: 9 * second, Text: strings.Repeat("x", n)}}, Style: style, Size: Size{1080, 1920}})
		texts, _ := eventsOf(t, sheet.ASS)
		seen := texts[0].tags + " " + fmt.Sprint(sheet.Notes)
		if want == "" && (strings.Contains(seen, `\fs`) || len(sheet.Notes) > 0) || !strings.Contains(seen, want) {
			t.Errorf("%d letters: %s", n, seen)
		}
		for _, e := range texts {
			x, _ := e.at(t)
			if wide := 0.62 * 120 * float64(len(e.text)); !strings.Contains(e.tags, `\fs`) && (x-wide/2 < 0 || x+wide/2 > 1080) {
				t.Errorf("%d letters: %q is outside of the picture", n, e.text)
			}
		}
	}
}

// Words of a line from right to left stand in that order, each comma on its
// own side.
func TestRightToLeft(t *testing.T) {
	t.Parallel()
	style := apigpu.Style{Preset: apigpu.PresetNone, Animation: apigpu.AnimationHighlight}
	texts, _ := eventsOf(t, sheetOf(t, Job{
		Cues: []caption.Cue{{End: 4 * second, Text: "iPhone זה טלפון (2024) טוב!"}}, Style: style,
	}).ASS)
	x := map[string]float64{}
	for _, e := range texts {
		x[strings.Trim(e.text, "\u200e\u200f")], _ = e.at(t)
	}
	order := []string{"iPhone", "זה", "טלפון", "(", "2024", ")", "טוב!"}
	for i := 1; i < len(order); i++ {
		if _, drawn := x[order[i]]; !drawn || x[order[i]] >= x[order[i-1]] {
			t.Errorf("%q is not left of %q: %v", order[i], order[i-1], x)
		}
	}
	// A sentence from left to right keeps its order around a Hebrew name.
	texts, _ = eventsOf(t, sheetOf(t, Job{Cues: []caption.Cue{{End: second, Text: "the word שלום, my dear friends"}}, Style: bare()}).ASS)
	for i := 1; i < len(texts); i++ {
		a, _ := texts[i-1].at(t)
		if b, _ := texts[i].at(t); b <= a {
			t.Errorf("%q is not right of %q", texts[i].text, texts[i-1].text)
		}
	}
}

// Whatever a word does, no other moves, and each of its states ends on the
// frame where the next begins.
func TestNoWordMoves(t *testing.T) {
	t.Parallel()
	text := "One, two, three: four five"
	for _, animation := range []apigpu.Animation{"karaoke", "highlight", "underline", "pop", "typewriter"} {
		style := apigpu.Style{Animation: animation, Active: apigpu.Active{Scale: at(1.5), Box: "red"}, Shadow: apigpu.Shadow{Color: "#00000000"}}
		sheet := sheetOf(t, Job{Cues: []caption.Cue{{Start: second, End: 3 * second, Text: text}}, Style: style, Clock: caption.FrameClock{Num: 30000, Den: 1001}})
		texts, _ := eventsOf(t, sheet.ASS)
		where, last := map[string]string{}, map[string]string{}
		for _, e := range texts {
			pos := position.FindString(e.tags)
			if was := where[e.text]; was != "" && was != pos {
				t.Errorf("%s: %q moves from %s to %s", animation, e.text, was, pos)
			}
			where[e.text], last[e.text] = pos, e.end
		}
		for _, word := range strings.Fields(text) {
			if where[word] == "" {
				t.Errorf("%s: %q is not drawn with its punctuation: %v", animation, word, where)
			}
		}
		if sheet.Timing != caption.Estimated {
			t.Errorf("%s: timing is %q", animation, sheet.Timing)
		}
	}
}

// The states of a word meet on frames: 40 ms apart at 25 a second, and in the
// middle of the gap before the frame, as package caption has it.
func TestWordsChangeOnFrames(t *testing.T) {
	t.Parallel()
	clock := caption.FrameClock{Num: 25, Den: 1}
	cue := caption.Cue{Start: second, End: 3 * second, Text: "One two three", Words: []caption.Word{
		{From: 0, To: 3, Start: second, End: 1333 * time.Millisecond},
		{From: 4, To: 7, Start: 1401 * time.Millisecond, End: 1700 * time.Millisecond},
		{From: 8, To: 13, Start: 2222 * time.Millisecond, End: 2500 * time.Millisecond},
	}}
	style := apigpu.Style{Preset: apigpu.PresetNone, Animation: apigpu.AnimationHighlight}
	sheet := sheetOf(t, Job{Cues: []caption.Cue{cue}, Style: style, Clock: clock})
	if sheet.Timing != caption.TimedWords {
		t.Errorf("timing is %q", sheet.Timing)
	}
	texts, _ := eventsOf(t, sheet.ASS)
	got := map[string][]string{}
	for _, e := range texts {
		got[e.text] = append(got[e.text], e.layer+" "+e.start[5:]+"-"+e.end[5:])
	}
	for _, list := range got {
		slices.SortFunc(list, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	}
	// Marks end at the next word, or at the word's own end where that is more
	// than 0.4 s later.
	want := map[string][]string{
		"One":   {"4 00.98-01.42", "3 01.42-02.98"},
		"two":   {"3 00.98-01.42", "4 01.42-01.70", "3 01.70-02.98"},
		"three": {"3 00.98-02.22", "4 02.22-02.50", "3 02.50-02.98"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTransforms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		transform  apigpu.Transform
		lang, text string
		want       string
	}{
		{apigpu.TransformUpper, "tr", "istanbul ısı", "İSTANBUL ISI"},
		{apigpu.TransformUpper, "pt-BR", "coração", "CORAÇÃO"},
		{apigpu.TransformUpper, "de", "straße", "STRASSE"},
		{apigpu.TransformUpper, "el", "άνθρωπος", "ΑΝΘΡΩΠΟΣ"},
		{apigpu.TransformLower, "tr", "IŞIK", "ışık"},
		{apigpu.TransformLower, "", "ΣΟΦΟΣ", "σοφος"[:8] + "ς"},
		{apigpu.TransformCapitalize, "en", "don't stop NASA", "Don't Stop NASA"},
		{apigpu.TransformCapitalize, "nl", "ijsland", "IJsland"},
		{apigpu.TransformNone, "en", "As It iS", "As It iS"},
	} {
		style := bare()
		style.Text.Transform = c.transform
		if got := linesOf(t, Job{Cues: []caption.Cue{{End: second, Text: c.text}}, Style: style, Language: c.lang}); got != c.want {
			t.Errorf("%s of %q in %q: %q, want %q", c.transform, c.text, c.lang, got, c.want)
		}
	}
}

// Words of a style, and the looks of the file, after the case has changed.
func TestWordStyles(t *testing.T) {
	t.Parallel()
	style := bare()
	style.Text.Transform = apigpu.TransformUpper
	style.WordStyles = []apigpu.WordStyle{{Match: "Big deal", Color: "#ff0000"}, {Match: "straße", Underline: is(true)}, {Match: "art"}}
	texts, _ := eventsOf(t, sheetOf(t, Job{
		Cues:  []caption.Cue{{End: second, Text: "a big deal, part straße", Spans: []caption.Span{{From: 12, To: 16, Look: caption.Look{Italic: true}}}}},
		Style: style, Language: "de",
	}).ASS)
	tags := map[string]string{}
	for _, e := range texts {
		tags[strings.TrimSpace(e.text)] = e.tags
	}
	if !strings.Contains(tags["BIG DEAL"], `\1c&H0000FF&`) || !strings.Contains(tags["PART"], `\i1`) {
		t.Errorf("%v", tags)
	}
	if !strings.Contains(tags["STRASSE"], `\u1`) {
		t.Errorf("%v", tags)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	size := Size{1000, 1000}
	place := func(style apigpu.Style, c caption.Cue) (x, y float64) {
		c.End, c.Text = second, "x"
		texts, _ := eventsOf(t, sheetOf(t, Job{Cues: []caption.Cue{c}, Style: over(bare(), style), Size: size}).ASS)
		return texts[0].at(t)
	}
	for name, want := range map[string][2]string{
		"top_left": {"left", "top"}, "top": {"middle", "top"}, "top_center": {"middle", "top"}, "top_right": {"right", "top"},
		"center_left": {"left", "middle"}, "center": {"middle", "middle"}, "center_right": {"right", "middle"},
		"bottom_left": {"left", "bottom"}, "bottom": {"middle", "bottom"}, "bottom_center": {"middle", "bottom"}, "bottom_right": {"right", "bottom"},
	} {
		x, y := place(apigpu.Style{Position: apigpu.Position{Name: name}}, caption.Cue{})
		if !is3(x, want[0]) || !is3(y, want[1]) {
			t.Errorf("%s: %v, %v", name, x, y)
		}
	}
	if x, y := place(apigpu.Style{Position: apigpu.Position{X: 30, Y: 70}}, caption.Cue{}); math.Abs(x-300) > 1 || math.Abs(y-700) > 25 {
		t.Errorf("a point: %v, %v", x, y)
	}
	if x, y := place(apigpu.Style{}, caption.Cue{Align: 9}); !is3(x, "right") || !is3(y, "top") {
		t.Errorf("align 9: %v, %v", x, y)
	}
	if x, y := place(apigpu.Style{}, caption.Cue{Align: 5, Place: &caption.Place{X: 0.25, Y: 0.4}}); math.Abs(x-250) > 1 || math.Abs(y-400) > 25 {
		t.Errorf("a place: %v, %v", x, y)
	}
	if x, y := place(apigpu.Style{}, caption.Cue{Align: 1, Place: &caption.Place{X: 1, Y: 0}}); x > 1000 || y < 0 {
		t.Errorf("a place off the picture: %v, %v", x, y)
	}
}

func is3(v float64, name string) bool {
	return name == "left" && v < 100 || name == "top" && v < 100 || name == "middle" && v > 450 && v < 550 ||
		(name == "right" || name == "bottom") && v > 900 && v < 1000
}

// Captions at the same time stand above one another, and each stays where it
// is until it ends.
func TestStack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		align int
		sign  float64
	}{"bottom": {2, -1}, "top": {8, 1}} {
		cues := []caption.Cue{
			{Start: 0, End: 4 * second, Text: "first", Align: c.align}, {Start: second, End: 3 * second, Text: "second", Align: c.align},
			{Start: second, End: 9 * second, Text: "third", Align: c.align}, {Start: 5 * second, End: 6 * second, Text: "fourth", Align: c.align},
			{Start: second, End: 2 * second, Text: "elsewhere", Align: 10 - c.align},
		}
		slices.SortStableFunc(cues, func(a, b caption.Cue) int { return int(a.Start - b.Start) })
		texts, _ := eventsOf(t, sheetOf(t, Job{Cues: cues, Style: bare()}).ASS)
		y := map[string]float64{}
		for _, e := range texts {
			_, y[e.text] = e.at(t)
		}
		if (y["second"]-y["first"])*c.sign < 40 || (y["third"]-y["second"])*c.sign < 40 || y["fourth"] != y["first"] || (y["elsewhere"]-y["third"])*c.sign < 300 {
			t.Errorf("%s: %v", name, y)
		}
	}
}

func TestEmoji(t *testing.T) {
	t.Parallel()
	cues := []caption.Cue{{Start: second, End: 2 * second, Text: "I ❤️ pizza 🍕 and 👩\u200d👩\u200d👧, 3 © 1\ufe0f\u20e3"}, {Start: 2 * second, End: 3 * second, Text: "🎉"}}
	style := bare()
	style.Emoji = apigpu.EmojiColor
	sheet := sheetOf(t, Job{Cues: cues, Style: style, Clock: caption.FrameClock{Num: 25, Den: 1}})
	var got []string
	for i, e := range sheet.Emoji {
		got = append(got, e.Text)
		if e.Size < 54 || e.Size > 70 || e.X < 0 || e.Y < 900 || e.Y+e.Size > 1080 || e.End <= e.Start {
			t.Errorf("%+v", e)
		}
		if i > 0 && e.Start == sheet.Emoji[i-1].Start && e.X < sheet.Emoji[i-1].X+e.Size {
			t.Errorf("%+v stands on %+v", e, sheet.Emoji[i-1])
		}
	}
	if diff := cmp.Diff([]string{"❤️", "🍕", "👩\u200d👩\u200d👧", "1\ufe0f\u20e3", "🎉"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.ContainsAny(string(sheet.ASS), "❤🍕👩🎉") || sheet.Shown != 2 {
		t.Errorf("%d shown, emoji in the script:\n%s", sheet.Shown, sheet.ASS)
	}
	style.Emoji = apigpu.EmojiStrip
	sheet = sheetOf(t, Job{Cues: cues, Style: style})
	if texts, _ := eventsOf(t, sheet.ASS); len(texts) != 1 || texts[0].text != "I pizza and , 3 ©" || sheet.Shown != 1 || len(sheet.Notes) != 1 {
		t.Errorf("%+v, %+v", texts, sheet.Notes)
	}
}

// few are fonts that lack Greek.
type few struct{ Estimate }

func (f few) Runs(text string, want caption.Face, lang string, rtl bool) []caption.Run {
	runs := f.Estimate.Runs(text, want, lang, rtl)
	runs[0].Missing = strings.ContainsAny(text, "αβ")
	return runs
}

func TestMissingGlyphs(t *testing.T) {
	t.Parallel()
	sheet := sheetOf(t, Job{Cues: []caption.Cue{{End: second, Text: "x αβα", Line: 3}}, Style: bare(), Fonts: few{}})
	want := []apigpu.Warning{{Code: "glyph_missing", Count: 2, Message: "No font here has these characters, which were left out: U+03B1 U+03B2."}}
	if diff := cmp.Diff(want, Warnings(sheet.Notes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A script that is styled already keeps its styles; its events move to frames.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	const script = "[Script Info]\r\nPlayResX: 384\r\nLayoutResX: 3\r\n\r\n[V4+ Styles]\r\nStyle: D,My Font,20\r\nStyle: E,My Font,30\r\n[Events]\r\nComment: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,x\r\n" +
		"Dialogue: 0,0:00:02.01,0:00:03.00,D,,0,0,0,,{\\i1}b, c\r\nDialogue: 0,0:00:01.01,0:00:02.01,D,,0,0,0,,a\r\n"
	sheet := sheetOf(t, Job{Script: []byte(script), Cues: make([]caption.Cue, 2), Size: Size{640, 360}, Clock: caption.FrameClock{Num: 25, Den: 1}})
	const want = "[Script Info]\nLayoutResX: 640\nLayoutResY: 360\nPlayResX: 384\n\n[V4+ Styles]\nStyle: D,My Font,20\nStyle: E,My Font,30\n[Events]\nComment: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,x\n" +
		"Dialogue: 0,0:00:02.02,0:00:02.98,D,,0,0,0,,{\\i1}b, c\nDialogue: 0,0:00:01.02,0:00:02.02,D,,0,0,0,,a\n"
	if diff := cmp.Diff(want, string(sheet.ASS)); diff != "" || sheet.Shown != 2 || !slices.Equal(sheet.Families, []string{"My Font"}) {
		t.Errorf("%d shown in %q (-want +got):\n%s", sheet.Shown, sheet.Families, diff)
	}
}

// What a request says stands, and brings what it needs to be seen.
func TestResolve(t *testing.T) {
	t.Parallel()
	s := Resolve(apigpu.Style{Box: apigpu.Box{Color: "red"}, Active: apigpu.Active{Box: "blue"}, Color: "lime", Outline: apigpu.Outline{Width: at(0)}})
	if s.Box.Mode != apigpu.BoxLine || s.Active.Color != "lime" || *s.Outline.Width != 0 || s.Font.Family != "Noto Sans" || *s.Shadow.Y == 0 {
		t.Errorf("%+v", s)
	}
	s = Resolve(apigpu.Style{Preset: apigpu.PresetNone, Shadow: apigpu.Shadow{Color: "black"}})
	if *s.Shadow.Y == 0 || s.Box.Mode != apigpu.BoxNone {
		t.Errorf("%+v", s)
	}
	for _, name := range apigpu.Presets() {
		if err := (apigpu.CaptionSpec{URLVideo: "http://a/b", SRT: "x", Style: Preset(name)}).Validate(false, false); err != nil {
			t.Errorf("%s could not be asked for: %v", name, err)
		}
	}
	for _, name := range apigpu.SafeAreas() {
		a := SafeAreaOf(name, Size{1080, 1920})
		if (a == apigpu.SafeArea{}) != (name == "none") {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestParts: on every frame of a cue one part of it is shown, whatever the
// times of its words.
func TestParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat("word ", rapid.IntRange(1, 60).Draw(t, "words"))
		cue := caption.Cue{Start: time.Duration(rapid.IntRange(0, 5000).Draw(t, "start")) * time.Millisecond, Text: text}
		cue.End = cue.Start + time.Duration(rapid.IntRange(40, 20_000).Draw(t, "long"))*time.Millisecond
		if rapid.Bool().Draw(t, "timed") {
			at := cue.Start
			for from := 0; from < len(text); from += len("word ") {
				end := min(at+time.Duration(rapid.SampledFrom([]int{0, 1, 90, 500, 3000}).Draw(t, "word"))*time.Millisecond, cue.End)
				cue.Words = append(cue.Words, caption.Word{From: from, To: from + 4, Start: at, End: end})
				at = end
			}
		}
		clock := caption.FrameClock{Num: 30000, Den: 1001}
		s := newSetter(Job{Cues: []caption.Cue{cue}, Clock: clock, Size: Size{1080, 1920}, Style: apigpu.Style{
			Preset: rapid.SampledFrom(apigpu.Presets()).Draw(t, "preset"),
		}})
		s.flow(0)
		s.snap()
		whole := caption.Snap([]caption.Cue{cue}, clock)[0]
		at, words := whole.Start, 0
		for _, p := range s.parts {
			if p.start != at || p.end < p.start {
				t.Fatalf("a part from %v to %v, after one that ends at %v", p.start, p.end, at)
			}
			at = p.end
			for _, r := range p.rows {
				for _, piece := range r.pieces {
					words += len(strings.Fields(piece.text))
				}
			}
		}
		if at != whole.End || words != len(strings.Fields(text)) {
			t.Fatalf("%d words up to %v, want %d up to %v", words, at, len(strings.Fields(text)), whole.End)
		}
	})
}

// Captions that are too high for the picture are made smaller.
func TestTooHigh(t *testing.T) {
	t.Parallel()
	style := bare()
	style.Font.Size.Pixels, style.MaxLines = 200, 10
	s := newSetter(Job{Cues: []caption.Cue{{End: 9 * second, Text: strings.Repeat("some words ", 12)}}, Style: style, Size: Size{1080, 1080}})
	s.flow(0)
	s.place()
	for _, p := range s.parts {
		if !s.look.area.grown(1).holds(p.box) {
			t.Errorf("%v is outside of %v", p.box, s.look.area)
		}
	}
}

// Estimated words of scripts without spaces are more than one sign, and part
// where the kind of letters changes.
func TestSignsAreJoined(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ほとんどの人はこの小さなコツに": "ほとんどの|人はこの|小さな|コツに",
		"大多数人":          "大|多|数|人",
		"เล็กๆ นี้เลย":  "เล็กๆ|นี้|เลย",
		"OK, 今日は。":      "OK,|今|日は。",
		"one two-three": "one|two-three",
		"한국어 자막":        "한국어|자막",
	} {
		cues := []caption.Cue{{End: second, Text: text}}
		estimate(cues)
		var got []string
		at := time.Duration(0)
		for _, w := range cues[0].Words {
			got = append(got, text[w.From:w.To])
			if w.Start != at || w.End <= w.Start {
				t.Errorf("%q from %v to %v, after %v", text[w.From:w.To], w.Start, w.End, at)
			}
			at = w.End
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q, want %q", strings.Join(got, "|"), want)
		}
	}
}
