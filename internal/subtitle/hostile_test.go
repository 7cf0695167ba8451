package subtitle

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestHostile reads files made to take long, of the largest size: none takes
// more than a few times what an ordinary one does.
func TestHostile(t *testing.T) {
	need.Long(t)
	// The race detector, which has nothing to find here, makes it ten times as long.
	size := MaxBytes
	if need.Slack > 1 {
		size /= 16
	}
	fill := func(head, part string) string { return head + strings.Repeat(part, (size-len(head))/len(part)) }
	cut := func(file string, n int) string { return file[:min(n, len(file))] }
	// Cues of the longest raw text that is taken, in each of which part repeats.
	cues := func(head, time, part, end string) string {
		raw := strings.Repeat(part, rawShare*MaxCueText/2/len(part))
		return fill(head, time+raw+end)
	}
	const srtTime, assTime = "00:01 --> 00:02\nx", assFirst + "x"
	chinese, _ := simplifiedchinese.GB18030.NewEncoder().String(strings.Repeat("没有人告诉我", 100))
	for name, file := range map[string]string{
		"time lines":             cut(fill("", "00:00:01,000 --> 00:00:02,000\n"), MaxCues*29),
		"broken time lines":      cut(fill("", "00:0x --> 00:02\n"), MaxCues*15),
		"numbers":                fill(one, "1\n"),
		"blank lines":            fill(one, "\n"),
		"nearly time lines":      fill(one, "0:0:0:0:0:0:0:0:0 -- > :::::\n"),
		"one long line":          fill(one, "a"),
		"a long line of arrows":  fill(one, "-->"),
		"fences":                 fill(one, "```\n"),
		"escaped":                cut(fill("", `1\n00:01 --> 00:02\nx\n`), MaxCues*20),
		"zero bytes":             fill(one, "\x00"),
		"high bytes":             fill(one, "\xe9\xe8 \xff"),
		"Chinese":                fill(one, chinese),
		"nested tags":            cues("", srtTime, "<i><b>", "\n"),
		"crossed tags":           cues("", srtTime, "<i><b></i></b>", "\n"),
		"open tags":              cues("", srtTime, "<i x", "\n"),
		"unknown tags":           cues("", srtTime, "<q><w>", "\n"),
		"open blocks":            cues("", srtTime, `{\`, "\n"),
		"entities":               cues("", srtTime, "&amp", "\n"),
		"VTT: notes":             fill("WEBVTT\n\n", "NOTE x\n\n"),
		"VTT: style sheets":      fill("WEBVTT\n\n", "STYLE\n::cue(.a) {\n\n"),
		"VTT: classes":           fill("WEBVTT\n\nSTYLE\n", "::cue(.a),::cue(.b){color:red}"),
		"VTT: headers":           fill("WEBVTT\n\n00:01.000 --> 00:02.000\nx\n\n", "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:9\n\n"),
		"VTT: stamps":            cues("WEBVTT\n\n", "00:01.000 --> 00:02.000\nx", "<00:01.500>a ", "\n\n"),
		"VTT: readings":          cues("WEBVTT\n\n", "00:01.000 --> 00:02.000\nx", "<ruby>a<rt>", "\n\n"),
		"ASS: open braces":       cues(assHead, assTime, "{", "\n"),
		"ASS: overrides":         cues(assHead, assTime, `{\i1}`, "\n"),
		"ASS: parentheses":       cues(assHead, assTime, `{\t(`, "\n"),
		"ASS: nested transforms": cues(assHead, assTime+"{", `\t(\t(`, "}\n"),
		"ASS: drawings":          cues(assHead, assTime+`{\p1}`, "m 1 2 ", "\n"),
		"ASS: karaoke":           cues(assHead, assTime, `{\k1}a `, "\n"),
		"ASS: styles":            fill("[V4+ Styles]\n", "Style: a,b,1\n"),
		"ASS: fields":            fill(assHead, "Format: "+strings.Repeat("a,", 90)+"\n"),
		"ASS: at the same time":  cut(fill(assHead, assFirst+"x\n"), len(assHead)+MaxCues*(len(assFirst)+2)),
		"JSON: nested":           strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"JSON: nested words":     strings.Repeat(`{"words":[`, 5000) + strings.Repeat("]}", 5000),
		"JSON: words":            "[" + strings.Repeat(`{"word":"a","start":1,"end":2},`, 160_000) + `{"word":"a","start":1,"end":2}]`,
		"JSON: words elsewhere":  `[{"start":1,"end":2,"text":"` + strings.Repeat("b ", 900) + `","words":[` + strings.Repeat(`{"text":"a","start":1,"end":2},`, 160_000) + `{"text":"a","start":1,"end":2}]}]`,
	} {
		began := time.Now()
		d, err := Parse([]byte(file), Options{KeepPositions: true})
		if err != nil && apigpu.CodeOf(err) == apigpu.Internal {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			checkAccount(t, d)
			caption.Estimate(slices.Clone(d.Cues))
		}
		took := time.Since(began)
		t.Logf("%-24s %8v %v", name, took.Round(time.Millisecond), err)
		if took > need.Slack*15*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
