package caption_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// TestWriteSRTIsReadBack writes texts that look like markup and time lines, and
// reads as many cues, at their times, with the texts that went in. Braces are
// left out, and whole time lines: our own reader takes them for what they look
// like more readily than players do, which package ffmpeg tests.
func TestWriteSRTIsReadBack(t *testing.T) {
	t.Parallel()
	parts := []string{"a", "ção", "日本", " ", "<b>", "</i>", "\\x", "-->", "1", "\n", "&amp;x", "<", ">", "-", "👍🏽"}
	rapid.Check(t, func(t *rapid.T) {
		var cues []caption.Cue
		at := time.Duration(0)
		for range rapid.IntRange(1, 8).Draw(t, "cues") {
			text := "x" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(t, "text"), "") + "x"
			at += time.Duration(rapid.IntRange(1, 5000).Draw(t, "gap")) * time.Millisecond
			end := at + time.Duration(rapid.IntRange(600, 5000).Draw(t, "length"))*time.Millisecond
			cues = append(cues, caption.Cue{Start: at, End: end, Text: text})
			at = end
		}
		document, err := subtitle.Parse(caption.WriteSRT(cues), subtitle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(document.Cues) != len(cues) {
			t.Fatalf("%d cues of %d: %q", len(document.Cues), len(cues), caption.WriteSRT(cues))
		}
		for i, got := range document.Cues {
			if got.Start != cues[i].Start || got.End != cues[i].End || len(got.Spans) > 0 || got.Align != 0 {
				t.Fatalf("cue %d is %+v, and was %+v", i, got, cues[i])
			}
			if was, is := plainOf(cues[i].Text), plainOf(got.Text); was != is {
				t.Fatalf("cue %d says %q, and said %q", i, is, was)
			}
		}
	})
}

// plainOf is what is seen of a text: without joiners, entities as they are read,
// and white space as one space.
func plainOf(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("\u2060", "", "&amp;", "&").Replace(s)), " ")
}
