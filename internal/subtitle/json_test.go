package subtitle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

func TestJSONShapes(t *testing.T) {
	t.Parallel()
	hello := []string{"0.5-2 Hello there, world."}
	helloWords := []string{"Hello@0.5-0.9", "there,@0.9-1.2", "world.@1.5-2"}
	for _, c := range []struct {
		name, file  string
		want, words []string
		notes       []string
	}{
		{"captions", `[{"start":0.5,"end":2,"text":"Hello there, world."},{"start":"00:00:03.000","end":"4","text":"<i>Two</i>\nlines"}]`,
			[]string{"0.5-2 Hello there, world.", "3-4 Two/lines [Two:i]"}, nil, nil},
		{"captions with words", `{"captions":[{"start":0.5,"end":2,"text":"Hello there, world.","words":[{"start":0.5,"end":0.9,"text":"Hello"},{"start":0.9,"end":1.2,"text":"there,"},{"start":1.5,"end":2,"text":"world."}]}]}`,
			hello, helloWords, nil},
		{"captions with other words", `[{"start":0.5,"end":2,"text":"Hello there, world.","words":[{"start":0.5,"end":0.9,"text":"Bonjour"},{"start":1,"end":1.5,"text":"le"}]}]`,
			hello, nil, []string{"words_ignored*1"}},
		{"words", `[{"word":"Hello","start":0.5,"end":0.9},{"word":"there,","start":0.9,"end":1.2},{"word":"world.","start":1.5,"end":2}]`, hello, helloWords, nil},
		{"words named text", `{"words":[{"text":"Hello","start":0.5,"end":0.9},{"text":"there,","start":0.9,"end":1.2},{"text":"world.","start":1.5,"end":2}]}`, hello, helloWords, nil},
		{"Whisper", `{"task":"transcribe","language":"english","duration":2,"text":"Hello there, world.","segments":[{"id":0,"start":0.5,"end":2.0,"text":" Hello there, world."}]}`, hello, nil, nil},
		{"Whisper with words", `{"task":"transcribe","segments":[{"id":0,"start":0.5,"end":2.0,"text":" Hello there, world.","words":[{"word":" Hello","start":0.5,"end":0.9,"probability":0.9},{"word":" there,","start":0.9,"end":1.2},{"word":" world.","start":1.5,"end":2}]}]}`, hello, helloWords, nil},
		{"Whisper with all words apart", `{"segments":[{"start":0.5,"end":2.0,"text":" Hello there, world."},{"start":2.0,"end":3.0,"text":" Bye."}],"words":[{"word":"Hello","start":0.5,"end":0.9},{"word":"there","start":0.9,"end":1.2},{"word":"world","start":1.5,"end":2},{"word":"Bye","start":2,"end":2.5}]}`,
			[]string{"0.5-2 Hello there, world.", "2-3 Bye."}, []string{"Hello@0.5-0.9", "there,@0.9-1.2", "world.@1.5-2"}, nil},
		{"Whisper, words only", `{"text":"Hello there, world.","words":[{"word":"Hello","start":0.5,"end":0.9},{"word":"there,","start":0.9,"end":1.2},{"word":"world.","start":1.5,"end":2}]}`, hello, helloWords, nil},
		{"whisper.cpp", `{"transcription":[{"timestamps":{"from":"00:00:00,500","to":"00:00:02,000"},"offsets":{"from":500,"to":2000},"text":" Hello there, world."}]}`, hello, nil, nil},
		{"Remotion", `[{"text":"Hello","startMs":500,"endMs":900,"timestampMs":700,"confidence":0.9},{"text":" there,","startMs":900,"endMs":1200,"timestampMs":null,"confidence":null},{"text":" world.","startMs":1500,"endMs":2000}]`, hello, helloWords, nil},
		{"Remotion from a file", `[{"text":"Hello there, world.","startMs":500,"endMs":2000,"timestampMs":null,"confidence":null},{"text":"And more.","startMs":2500,"endMs":3000}]`,
			[]string{"0.5-2 Hello there, world.", "2.5-3 And more."}, nil, nil},
		{"Deepgram", `{"metadata":{"request_id":"x"},"results":{"channels":[{"alternatives":[{"transcript":"hello there world","confidence":0.9,"words":[{"word":"hello","start":0.5,"end":0.9,"confidence":0.9,"punctuated_word":"Hello"},{"word":"there","start":0.9,"end":1.2,"punctuated_word":"there,"},{"word":"world","start":1.5,"end":2,"punctuated_word":"world."}]}]}]}}`, hello, helloWords, nil},
		{"Deepgram with utterances", `{"results":{"utterances":[{"start":0.5,"end":2,"transcript":"Hello there, world.","speaker":0,"words":[{"word":"hello","start":0.5,"end":0.9,"punctuated_word":"Hello"},{"word":"there","start":0.9,"end":1.2,"punctuated_word":"there,"},{"word":"world","start":1.5,"end":2,"punctuated_word":"world."}]}]}}`, hello, helloWords, nil},
		{"AssemblyAI", `{"id":"x","status":"completed","audio_duration":3,"text":"Hello there, world.","words":[{"text":"Hello","start":500,"end":900,"confidence":0.9,"speaker":"A"},{"text":"there,","start":900,"end":1200},{"text":"world.","start":1500,"end":2000}]}`, hello, helloWords, nil},
		{"AssemblyAI with utterances", `{"status":"completed","utterances":[{"start":500,"end":2000,"text":"Hello there, world.","speaker":"A","words":[{"text":"Hello","start":500,"end":900},{"text":"there,","start":900,"end":1200},{"text":"world.","start":1500,"end":2000}]}]}`, hello, helloWords, nil},
		{"AssemblyAI's words alone", `[{"text":"Hello","start":500,"end":900,"confidence":0.9},{"text":"there,","start":900,"end":1200,"confidence":0.9},{"text":"world.","start":1500,"end":2000,"confidence":0.9}]`, hello, helloWords, []string{"times_read_as_milliseconds"}},
		{"ElevenLabs", `{"language_code":"en","text":"Hello there, world.","words":[{"text":"Hello","start":0.5,"end":0.9,"type":"word"},{"text":" ","start":0.9,"end":0.9,"type":"spacing"},{"text":"there,","start":0.9,"end":1.2,"type":"word"},{"text":"world.","start":1.5,"end":2,"type":"word"}]}`, hello, helloWords, nil},
		{"words without a time", `[{"word":"Hello","start":0.5,"end":0.9},{"word":"there,","start":null},{"word":"world.","start":1.5,"end":2}]`, hello, []string{"Hello@0.5-0.9", "there,@0.9-1.5", "world.@1.5-2"}, []string{"word_times_mended*1"}},
		{"a caption without a time", `[{"start":0.5,"end":2,"text":"Hello there, world."},{"start":3,"text":"two words"}]`, hello, nil, []string{"cue_dropped_no_time*1"}},
		{"a caption without text", `[{"start":0.5,"end":2,"text":"Hello there, world."},{"start":3,"end":4,"text":" <i></i>"}]`, hello, nil, []string{"cue_dropped_no_text*1"}},
		{"fenced", "```json\n[{\"start\":0.5,\"end\":2,\"text\":\"Hello there, world.\"}]\n```", hello, nil, []string{"wrapping_removed"}},
		{"styles", `[{"start":0.5,"end":2,"text":"Hello there, world.","style":{"color":"red","bold":true,"position":"top"}},{"start":3,"end":4,"text":"a b","style":{"sparkle":1}}]`,
			[]string{"0.5-2 Hello there, world. an8 [Hello there, world.:b#ff0000]", "3-4 a b"}, nil, []string{"caption_style_ignored*1"}},
		{"Japanese words", `[{"word":"東京","start":0.5,"end":1},{"word":"へ","start":1,"end":1.2},{"word":"行こう","start":1.2,"end":2}]`, []string{"0.5-2 東京へ行こう"}, nil, nil},
	} {
		d := read(t, c.file, Options{})
		if diff := cmp.Diff(c.want, show(d.Cues)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.notes, warned(Warnings(d.Notes))); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", c.name, diff)
		}
		if got := spokenWords(d.Cues[0]); c.words != nil && !slices.Equal(got, c.words) {
			t.Errorf("%s: words %q, want %q", c.name, got, c.words)
		}
		if d.Format != caption.JSON {
			t.Errorf("%s: read as %s", c.name, d.Format)
		}
	}
}

func TestJSONRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		code       apigpu.Code
	}{
		{"another object", `{"error":"expired"}`, apigpu.SubtitleNotText},
		{"another list", `[1,2,3]`, apigpu.SubtitleNotText},
		{"a list of other things", `[{"name":"x"}]`, apigpu.SubtitleNotText},
		{"an empty list", `[]`, apigpu.SubtitleEmpty},
		{"captions without an end", `[{"start":1,"text":"a b"},{"start":2,"text":"c d"}]`, apigpu.SubtitleEmpty},
		{"no words", `{"words":[]}`, apigpu.SubtitleNotText},
		{"milliseconds as seconds", `[{"word":"a","start":1000,"end":61001},{"word":"b","start":70000,"end":131000}]`, apigpu.SubtitleUnparseable},
		{"a time that is none", `[{"start":"soon","end":2,"text":"a b"}]`, apigpu.SubtitleUnparseable},
		{"a text that is none", `[{"start":1,"end":2,"text":{"a":1}}]`, apigpu.SubtitleUnparseable},
		{"a text too long", `[{"start":1,"end":2,"text":"` + strings.Repeat("a b", MaxCueText) + `"}]`, apigpu.TooLarge},
		{"too many", "[" + strings.TrimSuffix(strings.Repeat(`{"start":1,"end":2,"text":"a b"},`, MaxCues+1), ",") + "]", apigpu.TooLarge},
		{"too many of nothing", "[" + strings.Repeat("{},", maxObjects) + "{}]", apigpu.TooLarge},
	} {
		_, err := Parse([]byte(c.file), Options{})
		if e := apigpu.AsError(err); apigpu.CodeOf(err) != c.code || e.Message == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	_, err := Parse([]byte(`[{"start":1,"text":"a b"}]`), Options{})
	if e := apigpu.AsError(err); e == nil || !strings.Contains(e.Message, "start and an end") {
		t.Errorf("captions without an end are not said to lack it: %v", err)
	}
}

// TestGroups: words become captions that can be read.
func TestGroups(t *testing.T) {
	t.Parallel()
	said := func(text string, gap float64, starts float64) (out string, end float64) {
		var list []string
		for _, w := range strings.Fields(text) {
			list = append(list, fmt.Sprintf(`{"word":%q,"start":%.2f,"end":%.2f}`, w, starts, starts+0.3))
			starts += 0.3 + gap
		}
		return strings.Join(list, ","), starts
	}
	long, _ := said(strings.Repeat("seven words stand here in this line, ", 12), 0.01, 0)
	d := read(t, "["+long+"]", Options{})
	for _, c := range d.Cues {
		if len(c.Text) > groupChars || c.End-c.Start > longestGroup || len(c.Words) == 0 {
			t.Errorf("%v: %q", c.End-c.Start, c.Text)
		}
	}
	if !strings.HasSuffix(d.Cues[0].Text, ",") {
		t.Errorf("not parted at a comma: %q", d.Cues[0].Text)
	}
	first, end := said("This is one sentence. And this is the other one.", 0.05, 0)
	second, _ := said("After a pause.", 0.05, end+2)
	d = read(t, "["+first+","+second+"]", Options{})
	var got []string
	for _, c := range d.Cues {
		got = append(got, c.Text)
	}
	if diff := cmp.Diff([]string{"This is one sentence. And this is the other one.", "After a pause."}, got); diff != "" {
		t.Error(diff)
	}
}
