package caption

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteSRT(t *testing.T) {
	t.Parallel()
	got := string(WriteSRT([]Cue{
		{Start: 400 * ms, End: 1999*ms + 600*time.Microsecond, Text: "Hi\nthere"},
		{Start: 3723004 * ms, End: 3724 * time.Second, Align: 8, Text: "a bold red b", Spans: []Span{
			{From: 2, To: 10, Look: Look{Bold: true, Color: "#ff0000"}}, {From: 11, To: 12, Look: Look{Italic: true}}}},
		{Start: 0, End: ms, Text: `<b> {\an8} a\Nb 00:00 --> 1 -> x--y`, Align: 2, Spans: []Span{{From: 0, To: 99}, {From: 0, To: 3, Look: Look{Color: `"><b>`}}}},
	}))
	want := strings.ReplaceAll(`1
00:00:00,400 --> 00:00:02,000
Hi
there

2
01:02:03,004 --> 01:02:04,000
{\an8}a <font color="#ff0000"><b>bold red</b></font> <i>b</i>

3
00:00:00,000 --> 00:00:00,001
<~b> {~\~an8} a\~Nb 00:00 --~> 1 -~> x--y

`, "~", "\u2060")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSRTKeepsCuesApart(t *testing.T) {
	t.Parallel()
	got := string(WriteSRT([]Cue{{Text: "\n\na\n\u2028\nb\r\x00\n"}}))
	if want := "1\n00:00:00,000 --> 00:00:00,000\na\nb\n\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFlat(t *testing.T) {
	t.Parallel()
	cue := func(from, to int, text string) Cue {
		return Cue{Start: time.Duration(from) * ms, End: time.Duration(to) * ms, Text: text}
	}
	for _, c := range []struct {
		name string
		in   []Cue
		want string
	}{
		{"none", nil, ""},
		{"apart", []Cue{cue(0, 10, "a"), cue(20, 30, "b")}, "0-10 a; 20-30 b; "},
		{"adjacent", []Cue{cue(0, 10, "a"), cue(10, 30, "b")}, "0-10 a; 10-30 b; "},
		{"overlapping", []Cue{cue(0, 20, "a"), cue(10, 30, "b")}, "0-10 a; 10-20 a/b; 20-30 b; "},
		{"within", []Cue{cue(0, 40, "a"), cue(10, 20, "b")}, "0-10 a; 10-20 a/b; 20-40 a; "},
		{"the same", []Cue{cue(0, 10, "a"), cue(0, 10, "b")}, "0-10 a/b; "},
		{"without a length", []Cue{cue(5, 5, "a"), cue(10, 20, "b")}, "10-20 b; "},
	} {
		got := ""
		for _, f := range Flat(c.in) {
			got += fmt.Sprintf("%d-%d %s; ", f.Start.Milliseconds(), f.End.Milliseconds(), strings.ReplaceAll(f.Text, "\n", "/"))
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFlatKeepsLooks(t *testing.T) {
	t.Parallel()
	bold := func(from, to int) Span { return Span{From: from, To: to, Look: Look{Bold: true}} }
	got := Flat([]Cue{
		{Start: 0, End: 10, Text: "one", Spans: []Span{bold(0, 3)}},
		{Start: 0, End: 10, Text: "two x", Spans: []Span{bold(0, 3)}},
	})
	want := []Cue{{Start: 0, End: 10, Text: "one\ntwo x", Spans: []Span{bold(0, 3), bold(4, 7)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Twenty thousand cues that are all shown to the end must not take room for
// each other's texts.
func TestFlatIsBounded(t *testing.T) {
	t.Parallel()
	var cues []Cue
	for i := range 20_000 {
		cues = append(cues, Cue{Start: time.Duration(i) * ms, End: time.Hour, Text: "x"})
	}
	for _, c := range Flat(cues) {
		if len(c.Text) > 2*maxTogether {
			t.Fatalf("%d bytes", len(c.Text))
		}
	}
}
