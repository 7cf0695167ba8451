package subtitle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// read reads a file that must be read.
func read(t *testing.T, file string, o Options) caption.Document {
	t.Helper()
	d, err := Parse([]byte(file), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	checkAccount(t, d)
	return d
}

// spokenWords writes the words of a cue in short: "hello@1-1.5".
func spokenWords(c caption.Cue) (out []string) {
	for _, w := range c.Words {
		out = append(out, fmt.Sprintf("%s@%v-%v", c.Text[w.From:w.To], w.Start.Round(time.Millisecond).Seconds(), w.End.Round(time.Millisecond).Seconds()))
	}
	return out
}

func TestVTT(t *testing.T) {
	t.Parallel()
	both := []string{"1-2 One", "3-4 Two"}
	const cues = "00:01.000 --> 00:02.000\nOne\n\n00:00:03.000 --> 00:00:04.000\nTwo\n"
	for _, c := range []parseCase{
		{"by the book", "WEBVTT\n\n" + cues, both, nil},
		{"a mark", "\uFEFFWEBVTT\n\n" + cues, both, nil},
		{"a title", "WEBVTT - This file\tis mine\n\n" + cues, both, nil},
		{"small letters", "webvtt\n\n" + cues, both, nil},
		{"headers", "WEBVTT\nKind: captions\nLanguage: en\n\n" + cues, both, nil},
		{"a cue right below", "WEBVTT\n" + cues, both, nil},
		{"its name right below", "WEBVTT\nfirst\n" + cues, both, nil},
		{"CRLF", strings.ReplaceAll("WEBVTT\n\n"+cues, "\n", "\r\n"), both, nil},
		{"a bad first line", "WEBVTTX\n\nSTYLE\n::cue{color:red}\n\n" + cues, both, nil},
		{"no first line", "STYLE\n::cue{color:red}\n\n" + cues, both, nil},
		{"names", "WEBVTT\n\nfirst\n" + strings.Replace(cues, "\n00:00", "\n2 - the second\n00:00", 1), both, nil},
		{"names with arrows, without a gap", "WEBVTT\n\n-->\n00:01.000 --> 00:02.000\nOne\nfoo-->\n00:03.000 --> 00:04.000\nTwo\n", both, nil},
		{"a name with an arrow", "WEBVTT\n\na->b\n" + cues, both, nil},
		{"numbers", "WEBVTT\n\n1\n" + strings.Replace(cues, "\n00:00", "\n2\n00:00", 1), both, nil},
		{"notes", "WEBVTT\n\nNOTE\n\nNOTE hello\nand more\n\n" + strings.Replace(cues, "\n00:00", "\nNOTE\tin between\n\n00:00", 1) + "\nNOTE end", both, nil},
		{"a note that is a cue", "WEBVTT\n\nNOTE hello\n" + cues, both, nil},
		{"noteworthy text", "WEBVTT\n\n00:01.000 --> 00:02.000\nNOTES are text\n", []string{"1-2 NOTES are text"}, nil},
		{"a style sheet", "WEBVTT\n\nSTYLE\n::cue {\n  color: red;\n}\n\n" + cues, both, nil},
		{"a style sheet with a gap", "WEBVTT\n\nSTYLE\n::cue(b) {\n  color: red;\n\n  color: blue;\n}\n\n" + cues, both, nil},
		{"a style sheet without an end", "WEBVTT\n\nSTYLE\n::cue(b) {\n  color: red;\n\n" + cues, both, nil},
		{"a region", "WEBVTT\n\nREGION\nid:fred\nwidth:40%\n\nRegion: id=bill width=40%\n\n" + cues, both, nil},
		{"settings", "WEBVTT\n\n00:01.000 --> 00:02.000 position:10%,line-left align:left size:35% nonsense\nOne\n", []string{"1-2 One"}, nil},
		{"no space around the arrow", "WEBVTT\n\n00:01.000-->00:02.000\nOne\n", []string{"1-2 One"}, nil},
		{"commas", "WEBVTT\n\n00:01,000 --> 00:02,000\nOne\n", []string{"1-2 One"}, nil},
		{"no blank line between", "WEBVTT\n\n" + strings.ReplaceAll(cues, "One\n\n", "One\n"), both, nil},
		{"a blank line within", "WEBVTT\n\n00:01.000 --> 00:02.000\nOne\n\nand more\n", []string{"1-2 One/and more"}, nil},
		{"another arrow is text", "WEBVTT\n\n00:01.000 --> 00:02.000\n10:00 -> 11:00\n", []string{"1-2 10:00 -> 11:00"}, nil},
		{"unreadable times", "WEBVTT\n\n00:xx.000 --> 00:02.000\nLost\n\n" + cues, both, []string{"cue_dropped_no_time*1"}},
		{"reversed", "WEBVTT\n\n00:02.000 --> 00:01.000\nOne\n", []string{"1-2 One"}, []string{"cue_end_before_start*1"}},
		{"without text", "WEBVTT\n\n00:00.000 --> 00:00.500\n\n" + cues, both, []string{"cue_dropped_no_text*1"}},
		{"a map", "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n" + cues, []string{"11-12 One", "13-14 Two"}, []string{"timestamp_map_applied"}},
		{"a map to nothing", "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:90000,LOCAL:00:00:01.000\n\n" + cues, both, nil},
		{"a broken map", "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:x,MPEGTS:99999999999999999999\n\n" + cues, both, nil},
		{"segments joined", "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:90000\n\n00:01.000 --> 00:02.000\nOne\n\nWEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:180000\n\n00:01.000 --> 00:02.000\nTwo\n",
			[]string{"2-3 One", "3-4 Two"}, []string{"timestamp_map_applied", "timestamp_map_applied"}},
	} {
		c.run(t)
		if d := read(t, c.file, Options{}); d.Format != caption.WebVTT {
			t.Errorf("%s: read as %s", c.name, d.Format)
		}
	}
}

func TestVTTMarkup(t *testing.T) {
	t.Parallel()
	const sheet = "STYLE\n::cue(.loud), ::cue(c.big) { color: #f00; font-weight: bold }\n::cue(.quiet) { font-style: italic; text-decoration: underline }\n\n"
	for text, want := range map[string]string{
		"<b>b</b><i>i</i><u>u</u>":                     "biu [b:b] [i:i] [u:u]",
		"<c.yellow.bg_blue>y</c> <c.lime>l</c>":        "y l [y#ffff00] [l#00ff00]",
		"<c.loud>l <c.quiet>q</c></c>":                 "l q [l :b#ff0000] [q:b:i:u#ff0000]",
		"<c.unknown>x</c>":                             "x",
		"<v Fred>Hi":                                   "Hi",
		"<v.loud Fred &amp; Co>Hi</v>":                 "Hi [Hi:b#ff0000]",
		"<lang en-GB>colour</lang>":                    "colour",
		"<ruby>漢<rt>かん</rt>字<rt>じ</rt></ruby>":         "漢字",
		"<laughs> <00:01.500>x":                        "x",
		"1 &lt; 2 &amp;&nbsp;3 &gt; 0 &lrm;":           "1 < 2 &\u00a03 > 0 \u200e",
		"a < b":                                        "a < b",
		"<b>a</i>b</b>c":                               "abc [ab:b]",
		strings.Repeat("<b>", 60) + "x":                "x [x:b]",
		"<b><i>x</b>y</i>z":                            "xyz [x:b:i] [y:i]",
		"<c.yellow><b.lime>a</b>b</c>":                 "ab [a:b#00ff00] [b#ffff00]",
		`{\an8}up`:                                     "up an8",
		"<font color=\"red\">still</font> <br/> there": "still/there [still#ff0000]",
	} {
		d := read(t, "WEBVTT\n\n"+sheet+"00:01.000 --> 00:02.000\n"+text+"\n", Options{})
		if got := show(d.Cues)[0]; got != "1-2 "+want {
			t.Errorf("%s: %q, want %q", text, got, "1-2 "+want)
		}
	}
	d := read(t, "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.first  Mary  Ann>Hi</v> <v Bob>Ho</v>\n\n00:02.000 --> 00:03.000\n<ruby>a<rt>b</ruby>c", Options{})
	if d.Cues[0].Speaker != "Mary Ann" || d.Cues[1].Text != "ac" || d.Notes[0].Code != caption.Ruby {
		t.Errorf("%+v %+v", d.Cues, d.Notes)
	}
}

func TestVTTWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"one<00:01.500> two<00:02.000> three":                    {"one@1-1.5", "two@1.5-2", "three@2-3"},
		"<00:01.200><c>one</c><00:02.000><c> two</c>":            {"one@1.2-2", "two@2-3"},
		"syl<00:01.500>la<00:02.000>ble two":                     {"syllable@1-2.6", "two@2.6-3"},
		"one<00:02.000> two<00:01.000> three":                    {"one@1-2", "two@2-2.375", "three@2.375-3"},
		"no stamps":                                              nil,
		"<i>one</i> <00:00:02.000>two\nthree<00:00:09.000> four": {"one@1-2", "two@2-2.417", "three@2.417-3", "four@3-3"},
	} {
		d := read(t, "WEBVTT\n\n00:01.000 --> 00:03.000\n"+text+"\n", Options{})
		got := spokenWords(d.Cues[0])
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", text, got, want)
			continue
		}
		for i, w := range want {
			// The shares within a stamp are an estimate: only their ends count.
			if strings.HasSuffix(w, "417-3") || strings.HasSuffix(w, "-2.417") || strings.Contains(w, "2.6") || strings.Contains(w, ".375") {
				continue
			}
			if got[i] != w {
				t.Errorf("%s: %q, want %q", text, got, want)
			}
		}
	}
	moved := read(t, "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:01.000 --> 00:03.000\na<00:02.000> b\n", Options{})
	if got := spokenWords(moved.Cues[0]); !slices.Equal(got, []string{"a@11-12", "b@12-13"}) {
		t.Errorf("words under a map: %q", got)
	}
}

// TestRolling: captions of YouTube repeat every line twice.
func TestRolling(t *testing.T) {
	t.Parallel()
	const file = `WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
 
so<00:00:00.400><c> today</c><00:00:01.000><c> we</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
so today we
 

00:00:02.399 --> 00:00:04.490 align:start position:0%
so today we
are<00:00:02.800><c> going</c>

00:00:04.490 --> 00:00:04.500 align:start position:0%
are going
 

00:00:04.500 --> 00:00:06.000 align:start position:0%
are going
home<00:00:05.000><c> now</c>

00:00:06.000 --> 00:00:06.010 align:start position:0%
home now
 
`
	d := read(t, file, Options{})
	want := []string{"0.16-2.399 so today we", "2.399-4.5 are going", "4.5-6.01 home now"}
	if diff := cmp.Diff(want, show(d.Cues)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"cue_dropped_duplicate*3", "rolling_lines_removed*2"}, warned(Warnings(d.Notes))); diff != "" {
		t.Error(diff)
	}
	if got := spokenWords(d.Cues[1]); !slices.Equal(got, []string{"are@2.399-2.8", "going@2.8-4.49"}) {
		t.Errorf("words %q", got)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"":                                     "0",
		"align:center":                         "0",
		"line:0":                               "8 at 0.50 0.00",
		"line:-1":                              "2 at 0.50 1.00",
		"line:10%":                             "8 at 0.50 0.10",
		"line:90%":                             "2 at 0.50 0.95",
		"line:50%,center":                      "5 at 0.50 0.50",
		"line:90%,end":                         "2 at 0.50 0.90",
		"position:10%,line-left align:left":    "1 at 0.10 1.00",
		"position:90% align:right line:5%":     "9 at 0.90 0.05",
		"align:start":                          "1 at 0.00 1.00",
		"align:end":                            "3 at 1.00 1.00",
		"position:200% line:nonsense align:up": "0",
	} {
		file := "WEBVTT\n\n00:01.000 --> 00:02.000 " + settings + "\nx\n"
		if got := placed(read(t, file, Options{KeepPositions: true}).Cues[0]); got != want {
			t.Errorf("%q: %s, want %s", settings, got, want)
		}
		if got := placed(read(t, file, Options{}).Cues[0]); got != "0" {
			t.Errorf("%q: %s, though positions are not kept", settings, got)
		}
	}
	srt := "00:00:01,000 --> 00:00:02,000  X1:100 X2:620 Y1:400 Y2:480\nx\n"
	if got := placed(read(t, srt, Options{KeepPositions: true}).Cues[0]); got != "2 at 0.50 1.00" {
		t.Errorf("SubRip: %s", got)
	}
	if got := placed(read(t, srt, Options{}).Cues[0]); got != "0" {
		t.Errorf("SubRip: %s, though positions are not kept", got)
	}
}

func placed(c caption.Cue) string {
	if c.Place == nil {
		return fmt.Sprint(c.Align)
	}
	return fmt.Sprintf("%d at %.2f %.2f", c.Align, c.Place.X, c.Place.Y)
}

func TestCommaTimed(t *testing.T) {
	t.Parallel()
	both := []string{"1-2 One/and more", "3-4 Two"}
	for _, c := range []parseCase{
		{"SBV", "0:00:01.000,0:00:02.000\nOne\nand more\n\n0:00:03.000,0:00:04.000\nTwo\n", both, nil},
		{"SubViewer", "[INFORMATION]\n[TITLE]x\n[END INFORMATION]\n[SUBTITLE]\n00:00:01.00,00:00:02.00\nOne[br]and more\n\n00:00:03.00,00:00:04.00\nTwo\n", both, []string{"text_before_first_cue*4"}},
	} {
		c.run(t)
	}
}
