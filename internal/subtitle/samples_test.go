package subtitle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/test/need"
)

// samples are files of the test suites of other projects, and what is in
// them: format, charset, cues in the file and cues shown, the first text and
// the last. Their licences differ: they lie beside the repository, not in it.
const samples = `
astisub/broken-1-in.vtt subtitle_unparseable
astisub/example-in-carriage-return.srt srt utf-8 3/3 "Did one of the last stories strike you a" "at a busy bus stop or anywhere\nelse for "
astisub/example-in-carriage-return.ssa ass utf-8 3/3 "Did one of the last stories strike you a" "at a busy bus stop or anywhere\nelse for "
astisub/example-in-carriage-return.vtt webvtt utf-8 3/3 "Did one of the last stories strike you a" "at a busy bus stop or anywhere\nelse for "
astisub/example-in-html-entities.srt srt utf-8 3/3 "The man in black fled across the desert," "there are other < worlds than these."
astisub/example-in-html-entities.vtt webvtt utf-8 3/3 "The man in black fled across the desert," "there are other < worlds than these."
astisub/example-in-non-utf8.srt srt utf-16le 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-in-non-utf8.vtt webvtt utf-16le 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-in-styled.srt srt utf-8 10/10 "[instrumental music]" "x^3 * x = 100"
astisub/example-in.srt srt utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-in.ssa ass utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-in.vtt webvtt utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-out-html-entities.srt srt utf-8 3/3 "The man in black fled across the desert," "there are other < worlds than these."
astisub/example-out-html-entities.vtt webvtt utf-8 3/3 "The man in black fled across the desert," "there are other < worlds than these."
astisub/example-out-styled.srt srt utf-8 10/10 "[instrumental music]" "x^3 * x = 100"
astisub/example-out-styled.vtt webvtt utf-8 10/10 "[instrumental music]" "x^3 * x = 100"
astisub/example-out-v4plus.ssa ass utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-out.srt srt utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-out.ssa ass utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/example-out.vtt webvtt utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
astisub/missing-sequence-in.srt srt utf-8 6/6 "(deep rumbling)" "(computer playing\nelectronic melody)"
exo-subrip/empty subtitle_empty
exo-subrip/typical srt utf-8 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_extra_blank_line srt utf-8 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_missing_sequence srt utf-8 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_missing_timecode srt utf-8 2/5 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_negative_timestamps srt utf-8 2/3 "This is the second subtitle.\nSecond subt" "This is the third subtitle."
exo-subrip/typical_no_hours_and_millis srt utf-8 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_unexpected_end srt utf-8 2/3 "This is the first subtitle." "This is the second subtitle.\nSecond subt"
exo-subrip/typical_utf16be srt utf-16be 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_utf16le srt utf-16le 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_with_byte_order_mark srt utf-8 3/3 "This is the first subtitle." "This is the third subtitle."
exo-subrip/typical_with_tags srt utf-8 14/14 "This is  the first subtitle." "This  is a line."
pysrt/bom-utf-16-be.srt srt utf-16be 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/bom-utf-16-le.srt srt utf-16le 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/bom-utf-32-be.srt srt utf-32be 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/bom-utf-32-le.srt srt utf-32le 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/bom-utf-8.srt srt utf-8 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/capability_tester.srt srt utf-8 37/37 "Don't show this text it may be used to i" "Both line should be strikethrough but\nth"
pysrt/empty.srt srt utf-8 5/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/invalid.srt srt utf-8 1/1 "This subtitle is invalid" "This subtitle is invalid"
pysrt/no-indexes.srt srt utf-8 7/7 "About 2 months ago I found myself on\nthe" "So what I thought I do is instead if ans"
pysrt/utf-8.srt srt utf-8 1332/1332 "Downloaded From www.AllSubs.org" "Downloaded From www.AllSubs.org"
pysrt/windows-1252.srt srt windows-1252 1332/1332 "Downloaded From www.AllSubs.org" "Downloaded From www.AllSubs.org"
se-files/auto_detect_Danish.srt srt utf-8 301/301 "Danske underteksster" "Cremesovs! Tillykke Peter."
se-files/auto_detect_Russian.srt srt utf-8 183/183 "Ричмонде, штат Вирджиния 1865\nBORGERKRIG" "Я не стесняюсь."
se-files/auto_detect_windows-1250.srt srt windows-1250 1132/1132 "www.titlovi.com" "Preuzeto sa www.titlovi.com"
se-files/auto_detect_windows-1251.srt srt windows-1251 595/595 "www.titlovi.com" "Preuzeto sa www.titlovi.com"
`

// TestSamples reads real files.
func TestSamples(t *testing.T) {
	t.Parallel()
	folder := need.Samples(t, "subs")
	seen := 0
	for line := range strings.Lines(samples) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		seen++
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		d, err := Parse(b, Options{})
		got := ""
		if err != nil {
			got = strings.SplitN(err.Error(), ":", 2)[0]
		} else {
			checkAccount(t, d)
			texts := texts(d.Cues)
			got = fmt.Sprintf("%s %s %d/%d %.40q %.40q", d.Format, d.Charset, len(d.Cues), d.CuesIn, texts[0], texts[len(texts)-1])
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	// The same film in two encodings.
	var films [][]string
	for _, name := range []string{"utf-8.srt", "windows-1252.srt"} {
		b, err := os.ReadFile(filepath.Join(folder, "pysrt", name))
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		films = append(films, texts(d.Cues))
	}
	if !slices.Equal(films[0], films[1]) {
		t.Error(cmp.Diff(films[0], films[1]))
	}
	if seen < 40 {
		t.Errorf("%d samples", seen)
	}
}
