package server

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

const polish = "1\n00:00:01,000 --> 00:00:02,000\nGdzie położyłeś klucze?\n\n2\n00:00:03,000 --> 00:00:04,000\nNie wiem, może są w kuchni.\n"

// TestSubmitReadsAsAsked: what a request says of its subtitles is done when it
// comes, and the worker will read the stored bytes in the same way.
func TestSubmitReadsAsAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	allowed, _ := source(t, map[string]string{"/data": strings.Repeat("x", 2000)})
	old, err := charmap.Windows1250.NewEncoder().String(polish)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		spec       apigpu.CaptionSpec
		code       apigpu.Code
		field      string
		want       apigpu.Captions
		warnings   string
		first      string // text of the first cue, as the worker reads it
	}{
		{"an old encoding", old, apigpu.CaptionSpec{}, "", "",
			apigpu.Captions{Format: "srt", Charset: "windows-1250", CuesIn: 2, CuesUsed: 2, Timing: "cues", Fonts: []string{"Noto Sans"}}, "charset_guessed", "Gdzie położyłeś klucze?"},
		{"an encoding that is named", old, apigpu.CaptionSpec{Charset: "cp1250", Strict: true}, "", "",
			apigpu.Captions{Format: "srt", Charset: "windows-1250", Confidence: 1, CuesIn: 2, CuesUsed: 2, Timing: "cues", Fonts: []string{"Noto Sans"}}, "", "Gdzie położyłeś klucze?"},
		{"an encoding of no name", old, apigpu.CaptionSpec{Charset: "klingon"}, apigpu.SubtitleCharset, "charset", apigpu.Captions{}, "", ""},
		{"strict", old, apigpu.CaptionSpec{Strict: true}, apigpu.SubtitleWarnings, "srt", apigpu.Captions{}, "", ""},
		{"WebVTT", "WEBVTT\n\n00:01.000 --> 00:02.000\na<00:01.500> b\n", apigpu.CaptionSpec{Strict: true}, "", "",
			apigpu.Captions{Format: "webvtt", Charset: "utf-8", Confidence: 1, CuesIn: 1, CuesUsed: 1, Timing: "words", Fonts: []string{"Noto Sans"}}, "", "a b"},
		{"changes", polish, apigpu.CaptionSpec{
			Offset: -0.5, Speed: 2, Replace: []apigpu.Replace{{Find: "Nie", Replace: "Tak"}}, ExcludeTimeRanges: []apigpu.TimeRange{{Start: 0, End: 0.9}},
		}, "", "", apigpu.Captions{Format: "srt", Charset: "utf-8", Confidence: 1, CuesIn: 2, CuesUsed: 1, Timing: "cues", Fonts: []string{"Noto Sans"}}, "text_replaced cue_dropped_excluded", "Tak wiem, może są w kuchni."},
		{"nothing left", polish, apigpu.CaptionSpec{Offset: -100}, apigpu.SubtitleEmpty, "srt", apigpu.Captions{}, "", ""},
		{"a text that grows", polish, apigpu.CaptionSpec{Replace: []apigpu.Replace{{Find: ".", Replace: strings.Repeat("x", 500), Regex: true}}}, apigpu.TooLarge, "replace", apigpu.Captions{}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sub := httpapi.Submission{Spec: c.spec, Subtitle: []byte(c.file)}
			sub.Spec.URLVideo = allowed + "/data"
			sub.Spec = sub.Spec.Clean()
			job, _, err := b.Submit(t.Context(), ann(), sub)
			wantCode(t, err, c.code, c.field)
			if c.code != "" {
				return
			}
			got := *job.Captions
			if c.want.Confidence == 0 && got.Confidence > 0.5 && got.Confidence < 1 {
				got.Confidence = 0 // told from the text
			}
			if a, b := show(t, got), show(t, c.want); a != b {
				t.Errorf("captions %s, want %s", a, b)
			}
			var codes []string
			for _, w := range job.Warnings {
				codes = append(codes, w.Code)
			}
			if got := strings.Join(codes, " "); got != c.warnings {
				t.Errorf("warnings %q, want %q", got, c.warnings)
			}
			row, err := b.Queue.Job(t.Context(), job.ID)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := b.Queue.Subtitle(t.Context(), job.ID)
			if err != nil {
				t.Fatal(err)
			}
			d, err := subtitle.Read(raw, row.Spec, "")
			if err != nil || len(d.Cues) != job.Captions.CuesUsed || d.Cues[0].Text != c.first || d.CuesIn != job.Captions.CuesIn {
				t.Errorf("the worker reads %+v, %v", d, err)
			}
		})
	}
}

func show(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
