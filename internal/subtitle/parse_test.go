package subtitle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// show writes cues in short: "1.5-2 text", with its position and spans where
// it has any. Line breaks are written /.
func show(cues []caption.Cue) (out []string) {
	for _, c := range cues {
		s := fmt.Sprintf("%v-%v %s", c.Start.Seconds(), c.End.Seconds(), strings.ReplaceAll(c.Text, "\n", "/"))
		if c.Align != 0 {
			s += fmt.Sprintf(" an%d", c.Align)
		}
		for _, span := range c.Spans {
			s += fmt.Sprintf(" [%s", c.Text[span.From:span.To])
			for i, on := range []bool{span.Bold, span.Italic, span.Underline} {
				if on {
					s += []string{":b", ":i", ":u"}[i]
				}
			}
			s += span.Color + "]"
		}
		out = append(out, s)
	}
	return out
}

// warned writes warnings in short: "code" or "code*count".
func warned(ws []apigpu.Warning) (out []string) {
	for _, w := range ws {
		s := w.Code
		if w.Count > 0 {
			s += fmt.Sprintf("*%d", w.Count)
		}
		out = append(out, s)
	}
	return out
}

type parseCase struct {
	name, file string
	want       []string // as show writes it
	warnings   []string // as warned writes it
}

func (c parseCase) run(t *testing.T) {
	t.Helper()
	d, err := Parse([]byte(c.file), Options{})
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	if diff := cmp.Diff(c.want, show(d.Cues)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", c.name, diff)
	}
	if diff := cmp.Diff(c.warnings, warned(Warnings(d.Notes))); diff != "" {
		t.Errorf("%s: warnings (-want +got):\n%s", c.name, diff)
	}
	checkAccount(t, d)
}

// checkAccount checks that every cue of the file is shown or counted.
func checkAccount(t interface{ Errorf(string, ...any) }, d caption.Document) {
	dropped := 0
	for _, w := range Warnings(d.Notes) {
		if strings.HasPrefix(w.Code, "cue_dropped") {
			dropped += w.Count
		}
		if w.Message == "" || w.Message == w.Code {
			t.Errorf("warning %s has no message", w.Code)
		}
	}
	if d.CuesIn != len(d.Cues)+dropped {
		t.Errorf("%d cues in the file, %d shown and %d counted as dropped", d.CuesIn, len(d.Cues), dropped)
	}
	for i, c := range d.Cues {
		if c.Start < 0 || c.End <= c.Start || c.Text == "" || i > 0 && c.Start < d.Cues[i-1].Start {
			t.Errorf("cue %d cannot be shown: %+v", i, c)
		}
	}
}

const (
	one = "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n"
	two = "2\n00:00:03,000 --> 00:00:04,000\nTwo\n\n"
)

func TestShapesOfFiles(t *testing.T) {
	t.Parallel()
	both := []string{"1-2 One", "3-4 Two"}
	noIndex := func(s string) string {
		return strings.NewReplacer("1\n00", "00", "2\n00:00:03", "00:00:03").Replace(s)
	}
	for _, c := range []parseCase{
		{"by the book", one + two, both, nil},
		{"no end of the last line", strings.TrimSpace(one + two), both, nil},
		{"CRLF", strings.ReplaceAll(one+two, "\n", "\r\n"), both, nil},
		{"CR", strings.ReplaceAll(one+two, "\n", "\r"), both, nil},
		{"blank lines first", "\n\n\uFEFF\n" + one + two, both, nil},
		{"no index", noIndex(one + two), both, nil},
		{"one index missing", one + noIndex(two), both, nil},
		{"no blank line between", strings.ReplaceAll(one+two, "\n\n", "\n"), both, nil},
		{"blank line after index and time", "1\n\n00:00:01,000 --> 00:00:02,000\n\nOne\n\n2\n\n00:00:03,000 --> 00:00:04,000\n\nTwo", both, nil},
		{"index 0, gaps and marks", "#0.\n" + one[2:] + "17\n" + two[2:], both, nil},
		{"spaces and tabs", strings.ReplaceAll(one+two, "\n", " \t\n  "), both, nil},
		{"blank line within a cue", "1\n00:00:01,000 --> 00:00:02,000\nOne\n\nand more\n\n" + two, []string{"1-2 One/and more", "3-4 Two"}, nil},
		{"out of order", two + one, both, []string{"cues_out_of_order*1"}},
		{"equal starts keep their order", "00:01 --> 00:02\nb\n\n00:01 --> 00:03\na", []string{"1-2 b", "1-3 a"}, nil},
		{"overlap", "00:01 --> 00:03\na\n\n00:02 --> 00:04\nb", []string{"1-3 a", "2-4 b"}, nil},
		{"without text", one + "2\n00:00:02,000 --> 00:00:02,500\n \n\n3\n00:00:02,600 --> 00:00:02,700\n<i></i>\u200f\n\n3" + two[1:], both, []string{"cue_dropped_no_text*2"}},
		{"an index after a cue without text", one + "2\n00:00:02,000 --> 00:00:02,500\n3\n" + two[2:], both, []string{"cue_dropped_no_text*1"}},
		{"a countdown with index", "1\n00:01 --> 00:02\n2\n\n2\n00:02 --> 00:03\n1\n\n3\n00:03 --> 00:04\n0", []string{"1-2 2", "2-3 1", "3-4 0"}, nil},
		{"a countdown without index", "00:01 --> 00:02\n3\n00:02 --> 00:03\n2\n00:03 --> 00:04\n1", []string{"1-2 3", "2-3 2", "3-4 1"}, nil},
		{"a countdown with blank lines", "00:01 --> 00:02\n3\n\n00:02 --> 00:03\n2\n", []string{"1-2 3", "2-3 2"}, nil},
		{"a cue that lost its time", one + "2\nLost\nwords\n\n3" + two[1:], both, []string{"cue_dropped_no_time*1"}},
		{"cut at an index", one + two + "3\n", both, []string{"cue_dropped_no_time*1"}},
		{"unreadable times", one + "2\n --> 00:00:02,500\nLost\n\n3\n00:00:02,600 -->\nLost\n\n4\n00:00:xx,000 --> 00:00:07\ntext\n\n" + two, []string{"1-2 One", "3-4 Two"}, []string{"cue_dropped_no_time*3"}},
		{"preamble", "Here is your file:\nEnjoy!\n\n" + one + two, both, []string{"text_before_first_cue*2"}},
		{"fenced", "Here you are:\n```srt\n" + one + two + "```\nShall I go on?", both, []string{"wrapping_removed"}},
		{"fenced in two parts", "```\n" + one + "```\nand\n```srt\n" + two + "```", both, []string{"wrapping_removed"}},
		{"fenced in part", "```\n" + one + "```\n" + two, both, []string{"wrapping_removed"}},
		{"escaped", strings.ReplaceAll(one+two, "\n", `\n`), both, []string{"wrapping_removed"}},
		{"a JSON string", `"` + strings.ReplaceAll(one, "\n", `\r\n`) + `2\n00:00:03,000 --> 00:00:04,000\nTw\u006f"`, both, []string{"wrapping_removed"}},
		{"escaped with a bare quote", `1\n00:00:01,000 --> 00:00:02,000\nSay "One"`, []string{`1-2 Say "One"`}, []string{"wrapping_removed"}},
		{"letters lost before", strings.Replace(one, "O", "\uFFFD", 1), []string{"1-2 \uFFFDne"}, []string{"replacement_characters*1"}},
		{"loose accents", "00:01 --> 00:02\nc\u0327a\u0303o e&#769;", []string{"1-2 ção é"}, nil},
	} {
		c.run(t)
	}
}

func TestTimeLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"00:00:01,000 --> 00:00:02,500":                          "1-2.5 x",
		"00:00:01.000 --> 00:00:02.5":                            "1-2.5 x",
		"0:00:10,00 --> 0:00:11,00":                              "10-11 x",
		"00:01,000 --> 00:02":                                    "1-2 x",
		"90:00 --> 91:00.25":                                     "5400-5460.25 x",
		"100:00:00,000 --> 100:00:01,000":                        "360000-360001 x",
		"00:00:013,567 --> 00:00:14,901":                         "13.567-14.901 x",
		"1.5 --> 2,5":                                            "1.5-2.5 x",
		"00:00:01:500 --> 00:00:02:250":                          "1.5-2.25 x",
		"00:00:01,123456789012345678901234567890 --> 00:00:02,0": "1.123456789-2 x",
		"00 : 00 : 01 , 500 --> 00: 00: 02, 000":                 "1.5-2 x",
		"００：００：０１，０００ －＞ ００：００：０２，０００": "1-2 x",
		"00:00:01,000-->00:00:02,000":                            "1-2 x",
		"00:00:01,000 -> 00:00:02,000":                           "1-2 x",
		"00:00:01,000 –> 00:00:02,000":                           "1-2 x",
		"00:00:01,000 —> 00:00:02,000":                           "1-2 x",
		"00:00:01,000 -- > 00:00:02,000":                         "1-2 x",
		"00:00:01,000 ---> 00:00:02,000":                         "1-2 x",
		"00:00:01,000 → 00:00:02,000":                            "1-2 x",
		"00:00:01,000 => 00:00:02,000":                           "1-2 x",
		"00:00:01,000 --&gt; 00:00:02,000":                       "1-2 x",
		"\u200e00:00:01,000\u00a0-->\t00:00:02,000\u200f":        "1-2 x",
		"[00:00:01.000 --> 00:00:02.000]":                        "1-2 x",
		"[00:00:01.000 --> 00:00:02.000] Ａ：１ b\u200f":            "1-2 Ａ：１ b\u200f/x",
		"1 00:00:01,000 --> 00:00:02,000":                        "1-2 x",
		"00:00:01,000 --> 00:00:02,000 Hello: you":               "1-2 Hello: you/x",
		"00:00:01,000 --> 00:00:02,000  X1:40 X2:600 Y1:20 Y2:5": "1-2 x",
		"00:00:01,000 --> 00:00:02,000 X1: 40 Y1: -5":            "1-2 x",
		"00:00:01.000 --> 00:00:02.000 align:start position:0%":  "1-2 x",
		"00:00:01,000 --> 00:00:02,000 line:90% said he":         "1-2 said he/x",
	} {
		parseCase{name: line, file: "1\n" + line + "\nx\n", want: []string{want}}.run(t)
	}
	for _, line := range []string{"1 -> 2", "3 --> 4", "ratio 16:9 -> 4:3", "a --> b", "<3 -> 5", "00:00:01:12 -> 00:00:02:12"} {
		parseCase{name: line, file: one + line + "\n", want: []string{"1-2 One/" + line}}.run(t)
	}
}

func TestMendedTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []parseCase{
		{"negative start", "-00:00:01,000 --> 00:00:02,000\nx", []string{"0-2 x"}, []string{"cue_negative_start*1"}},
		{"over before zero", one + "-00:00:03,000 --> -00:00:01,000\nx\n\n-00:00:03,000 --> 00:00:00,000\ny", []string{"1-2 One"}, []string{"cue_dropped_before_zero*2"}},
		{"reversed", "00:00:05,000 --> 00:00:03,000\nx", []string{"3-5 x"}, []string{"cue_end_before_start*1"}},
		{"an end that is far off", "01:00:05,000 --> 00:00:07,000\nx", []string{"3605-3605.5 x"}, []string{"cue_end_before_start*1"}},
		{"zero length", "00:05 --> 00:05\nx", []string{"5-5.5 x"}, []string{"cue_zero_length*1"}},
		{"zero length, next near", "00:05 --> 00:05\nx\n\n00:05,2 --> 00:06\ny", []string{"5-5.2 x", "5.2-6 y"}, []string{"cue_zero_length*1"}},
		{"zero length, same start", "00:05 --> 00:05\nx\n\n00:05 --> 00:06\ny\n\n00:05,4 --> 00:06\nz", []string{"5-5.4 x", "5-6 y", "5.4-6 z"}, []string{"cue_zero_length*1"}},
	} {
		c.run(t)
	}
}

func TestMarkup(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<b>bold</b> <i>it</i> <u>un</u>":                          "bold it un [bold:b] [it:i] [un:u]",
		"<B>x</B><strong>y</strong>":                               "xy [xy:b]",
		"<i>not closed\nnext line":                                 "not closed/next line [not closed\nnext line:i]",
		"not opened</i>":                                           "not opened",
		`<font color="#F80">a<font size=9>b</font></font>c`:        "abc [ab#ff8800]",
		"<font color=yellow face=Arial>a</font><font color=x>b":    "ab [a#ffff00]",
		"<font color='00FF00FF'>a":                                 "a [a#00ff00]",
		`<font color="red}{\p1">a`:                                 "a [a#ff0000]",
		"<s>gone</s> <span class=x>kept</span> <c.red>k</c> <v A>": "gone kept k",
		"a<br>b<br/>c<BR />d":                                      "a/b/c/d",
		"<00:00:01.500>word<00:02.000>word":                        "wordword",
		"a < b > c, 1 < 2>":                                        "a < b > c, 1 < 2>",
		"<i>a</i></xyz>":                                           "a [a:i]",
		"< u>a< /  u >b":                                           "ab [a:u]",
		"a < b and c > d":                                          "a < b and c > d",
		"I <3 you, 2<3,5>1":                                        "I <3 you, 2<3,5>1",
		"<laughs> <x@y.z> << >> <>":                                "<laughs> <x@y.z> << >> <>",
		"<foo>bar</foo>":                                           "bar",
		"&lt;b&gt; &amp;amp; &#233;&#xE9; &hearts; AT&T &copy;":    "<b> &amp; éé ♥ AT&T ©",
		"&#0;&#27;a&#10;b&nbsp;":                                   "\uFFFDa/b",
		`{\an8}top`:                                                "top an8",
		`a{\an3\b1}b{\an7}c`:                                       "abc an3",
		`{\pos(1,2)\fs200}x {\i1}y{\i0}`:                           "x y",
		`a{\p1}m 0 0 l 9 9{\p0}b`:                                  "ab",
		"{Y:i}micro {y:b}dvd":                                      "micro dvd",
		"{normal} {an8} {":                                         "{normal} {an8} {",
		`{\an8 open`:                                               `{\an8 open`,
		`one\Ntwo\nthree`:                                          "one/two/three",
		`a\hb \ \\`:                                                `a\hb \ \\`,
		"  a \t b  \n\n c":                                         "a   b/c",
		"a\x07b\x00c\x7f":                                          "abc",
		"\u202bعربي\u202c":                                         "\u202bعربي\u202c",
	} {
		if strings.Contains(text, "\x00") {
			continue // a zero byte is no text: TestRefusals
		}
		parseCase{name: text, file: "1\n00:00:01,000 --> 00:00:02,000\n" + text, want: []string{"1-2 " + want}}.run(t)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("00:01 --> 00:02\nx\n", MaxCues+1)
	for _, c := range []struct {
		name, file string
		code       apigpu.Code
		message    string // part of it
	}{
		{"nothing", "", apigpu.SubtitleEmpty, "empty"},
		{"white space", " \r\n\t\uFEFF\n", apigpu.SubtitleEmpty, "empty"},
		{"cues without text", "1\n00:01 --> 00:02\n\n2\n00:02 --> 00:03\n", apigpu.SubtitleEmpty, "2 cues"},
		{"HTML", "\n <!DOCTYPE html><html><title>Sign in\x1b</title>", apigpu.SubtitleNotText, `"<!DOCTYPE html><html><title>Sign in.</title>"`},
		{"HTML with times", "<html>\n" + one, apigpu.SubtitleNotText, "HTML"},
		{"XML", "<?xml version='1.0'?><Error/>", apigpu.SubtitleNotText, "XML"},
		{"JSON", `{"error": "expired"}`, apigpu.SubtitleNotText, "JSON"},
		{"JSON that was cut", `{"error": "expi`, apigpu.SubtitleNotText, "JSON"},
		{"PDF", "%PDF-1.7\n", apigpu.SubtitleNotText, "a PDF"},
		{"PNG", "\x89PNG\r\n\x1a\n\x00\x00", apigpu.SubtitleNotText, "a PNG"},
		{"ZIP", "PK\x03\x04\x14\x00", apigpu.SubtitleNotText, "a ZIP"},
		{"MP4", "\x00\x00\x00\x20ftypisom", apigpu.SubtitleNotText, "an MP4"},
		{"zero bytes", one + "a\x00b", apigpu.SubtitleNotText, "zero bytes"},
		{"prose", "Dear all,\nthis is no subtitle.", apigpu.SubtitleUnparseable, `Line 1 reads "Dear all,"`},
		{"only a broken time", "1\n00:00:01 --> soon\nx", apigpu.SubtitleUnparseable, `Line 2 of the subtitle file has no time that can be read: "00:00:01 --> soon"`},
		{"WebVTT without cues", "WEBVTT\n\nNOTE nothing", apigpu.SubtitleEmpty, "empty"},
		{"ASS without events", "[Script Info]\nTitle: x", apigpu.SubtitleEmpty, "no Dialogue"},
		{"TTML", `<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"><body/></tt>`, apigpu.SubtitleUnparseable, "TTML"},
		{"SAMI", "<SAMI><BODY>", apigpu.SubtitleUnparseable, "SAMI"},
		{"MicroDVD", "{1}{25}Hello", apigpu.SubtitleUnparseable, "MicroDVD, whose times are frames: that is not read."},
		{"LRC", "[00:12.00]La la", apigpu.SubtitleUnparseable, "LRC, which does not say when a line ends: that is not read."},
		{"many cues", many, apigpu.TooLarge, "more than 20000 cues"},
		{"a long cue", one + strings.Repeat("x", MaxCueText+1), apigpu.TooLarge, "The cue at line 2"},
		{"a very long cue", one + strings.Repeat("<i>", rawShare*MaxCueText), apigpu.TooLarge, "The cue at line 2"},
		{"no end of braces", one + strings.Repeat(`{a\`, rawShare*MaxCueText/3-2), apigpu.TooLarge, "The cue at line 2"},
		{"many bytes", strings.Repeat("x", MaxBytes+1), apigpu.TooLarge, "5 MB"},
	} {
		_, err := Parse([]byte(c.file), Options{})
		if apigpu.CodeOf(err) != c.code || !strings.Contains(apigpu.AsError(err).Message, c.message) {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.code, c.message)
		}
	}
	// The longest that is taken.
	if _, err := Parse([]byte("1\n00:01 --> 00:02\n"+strings.Repeat("é", MaxCueText)), Options{}); err != nil {
		t.Errorf("%d characters: %v", MaxCueText, err)
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte(one+two+"99:59:59,000 --> 99:59:59,900\nlate"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept, notes := caption.Within(d.Cues, 3500*time.Millisecond)
	if diff := cmp.Diff([]string{"1-2 One", "3-4 Two"}, show(kept)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"cue_dropped_past_end*1"}, warned(Warnings(notes))); diff != "" {
		t.Error(diff)
	}
	if kept, notes := caption.Within(d.Cues, 0); len(kept) != 3 || notes != nil {
		t.Errorf("an unknown duration dropped cues: %v %v", show(kept), notes)
	}
}
