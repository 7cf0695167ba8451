package subtitle

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// FuzzDecode: any bytes become text of a named charset, or an error for people.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"plain", "\xef\xbb\xbfmarked", "\xff\xfea\x00", "\xfe\xff\x00a\xd8", "\xff\xfe\x00\x00a\x00\x00\x00", "a\x00b\x00", "ma\xe7\xe3",
		"caf\xc3\xa9 \xe9", "\x1b$B", "\x81\x8d", "PK\x03\x04", "\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decode(b, Options{})
		text, charset := d.text, d.charset
		if err != nil {
			if e := apigpu.AsError(err); e.Code == apigpu.Internal || e.Message == "" || !utf8.ValidString(e.Message) {
				t.Fatalf("not an error for people: %v", err)
			}
			return
		}
		if !utf8.ValidString(text) || charset == "" {
			t.Fatalf("%q as %q", text, charset)
		}
	})
}

// fuzzed reads a file of any bytes: no panic, every cue is shown or counted,
// and what comes out can be shown, drawn and changed.
func fuzzed(t *testing.T, b []byte) {
	d, err := Parse(b, Options{KeepPositions: true})
	if err != nil {
		if e := apigpu.AsError(err); e.Code == apigpu.Internal || e.Message == "" || !utf8.ValidString(e.Message) {
			t.Fatalf("not an error for people: %v", err)
		}
		return
	}
	checkAccount(t, d)
	for _, c := range d.Cues {
		checkText(t, c)
	}
	if d.Format == caption.ASS {
		again, err := Parse(d.Script, Options{KeepPositions: true})
		if err != nil || !bytes.Equal(again.Script, d.Script) {
			t.Fatalf("a script that does not read as itself: %v\n%s\n%s", err, d.Script, again.Script)
		}
	}
	changed, err := caption.Prepare(d, caption.Changes{
		Replace: []caption.Rule{{Find: "a", Replace: "b\nc"}, {Find: `\s+`, Replace: " ", Regexp: true}}, Speed: 1.1, Offset: -time.Second,
		Exclude: []caption.Range{{Start: time.Second, End: 2 * time.Second}}, Overlap: caption.Merge, MaxText: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	caption.Estimate(changed.Cues)
	for _, c := range changed.Cues {
		checkText(t, c)
	}
}

// checkText checks the text of a cue, and what points into it.
func checkText(t *testing.T, c caption.Cue) {
	if !utf8.ValidString(c.Text) || strings.Contains("\n"+c.Text+"\n", "\n\n") {
		t.Fatalf("text %q", c.Text)
	}
	to, end := 0, c.Start
	for _, w := range c.Words {
		if w.From < to || w.To <= w.From || w.To > len(c.Text) || w.Start < end || w.End < w.Start || w.End > c.End {
			t.Fatalf("word %+v of %+v", w, c)
		}
		to, end = w.To, w.End
	}
	to = 0
	for _, s := range c.Spans {
		if s.From < to || s.To <= s.From || s.To > len(c.Text) {
			t.Fatalf("span %+v of %q", s, c.Text)
		}
		to = s.To
	}
	if p := c.Place; p != nil && !(p.X >= 0 && p.X <= 1 && p.Y >= 0 && p.Y <= 1) {
		t.Fatalf("place %+v", *p)
	}
}

// FuzzParse reads what people take for SubRip.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		one + two, strings.ReplaceAll(one+two, "\n", `\n`), "```srt\n" + one + "```",
		"1\n-00:00:01,5 -> 00:02\n{\\an8\\p1}<font color=red>a</b>&#10;\\N{", "\xff\xfe1\x00\n\x00", "\x00\x001\x00",
		"1\n00:01 --> 00:02\nma\xe7\xe3 n\xe3o\n", "2\n\n00:05 --> 00:01 X1:1\n2\n3\n00:01 -->\n", "[00:01.0 --> 0:02] 漢字",
		"0:00:01.000,0:00:02.000\na[br]b\n", "00:01 --> 00:02\na\n\n00:02 --> 00:03\na\nb\n\n00:03 --> 00:04\nb\nc\n\n00:04 --> 00:05\nc\nd\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(fuzzed)
}

// FuzzVTT reads WebVTT.
func FuzzVTT(f *testing.F) {
	for _, seed := range []string{
		"\n\n00:01.000 --> 00:02.000 position:10%,line-left line:-1 align:end\n<v.loud Fred>a<00:01.500> b</v> <c.yellow>c</c><ruby>d<rt>e</ruby>\n",
		"\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\nNOTE x\n\nSTYLE\n::cue(.a){color:red;\n\n}\n\nREGION\nid:a\n\n1\n00:01.000-->00:02.000\n&lt;\n\nmore\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzed(t, append([]byte("WEBVTT"), b...)) })
}

// FuzzASS reads scripts.
func FuzzASS(f *testing.F) {
	for _, seed := range []string{
		assHead + assFirst + `{\k20\pos(1,2)\t(0,1,\fs9)}a\N{\p1}m 0 0 l 1 1{\p0}b` + "\n",
		"[Script Info]\nScriptType: v4.00\nPlayResX: 1280\n[V4 Styles]\nStyle: a,b,1,2,3,4,5,-1,0,1,2,3,6,1,1,1,0,0\n[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,{a\n[Fonts]\nx",
		assHead + assFirst + `{\clip(m 0 0 b 1 2 3 4 5 6)\move(1,2,3,4)\r\fnX\1c&HFF&\alpha&H1&}{\c}x{` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzed(t, append([]byte("[Script Info]\n"), b...)) })
}

// FuzzJSON reads words and captions.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`[{"start":0.5,"end":2,"text":"a <b>b</b>","words":[{"start":0.5,"end":1,"text":"a"}],"style":{"color":"red"}}]`,
		`[{"word":"a","start":1,"end":2},{"word":",","start":null},{"word":"東","start":"00:00:03,5","end":4}]`,
		`{"segments":[{"start":1,"end":2,"text":" a b"}],"words":[{"word":"a","start":1,"end":1.5}]}`,
		`{"results":{"channels":[{"alternatives":[{"words":[{"word":"a","start":1,"end":2,"punctuated_word":"A."}]}]}]}}`,
		`[{"text":" a","startMs":1,"endMs":2},{"text":"b","startMs":2,"endMs":1}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(fuzzed)
}
