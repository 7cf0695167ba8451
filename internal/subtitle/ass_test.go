package subtitle

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

const (
	assHead = "[Script Info]\nScriptType: v4.00+\nPlayResX: 640\nPlayResY: 360\n\n[V4+ Styles]\n" +
		"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, " +
		"ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n" +
		"Style: Default,Arial,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,2,2,10,10,10,1\n\n" +
		"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
	assFirst = "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,"
)

// events returns the texts of a script's events.
func events(script []byte) (out []string) {
	for line := range strings.Lines(string(script)) {
		if rest, ok := strings.CutPrefix(line, "Dialogue: "); ok {
			out = append(out, strings.TrimSuffix(strings.SplitN(rest, ",", 10)[9], "\n"))
		}
	}
	return out
}

func TestASS(t *testing.T) {
	t.Parallel()
	for _, c := range []parseCase{
		{"by the book", assHead + assFirst + "One\nDialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Two, too\n", []string{"1-2 One", "3-4 Two, too"}, nil},
		{"comments", assHead + "Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not shown\n; nor this\n" + assFirst + "One\n", []string{"1-2 One"}, nil},
		{"no format line", "[Events]\n" + assFirst + "One\n", []string{"1-2 One"}, nil},
		{"another order", "[Events]\nFormat: Start, End, Layer, Text\nDialogue: 0:00:01.00,0:00:02.00,0,a, b\n", []string{"1-2 a, b"}, nil},
		{"SSA", "[Script Info]\nScriptType: v4.00\n[V4 Styles]\nStyle: x,Arial,20,65535,0,0,0,-1,0,1,2,2,6,10,10,10,0,0\n[Events]\nDialogue: Marked=0,0:00:01.00,0:00:02.00,*x,Cher,0,0,0,,One\n", []string{"1-2 One"}, nil},
		{"out of order, reversed, before zero", assHead + "Dialogue: 0,0:00:03.00,0:00:02.00,Default,,0,0,0,,b\n" + assFirst + "a\nDialogue: 0,-0:00:03.00,0:00:00.00,Default,,0,0,0,,c\n",
			[]string{"1-2 a", "2-3 b"}, []string{"cue_end_before_start*1", "cues_out_of_order*1", "cue_dropped_before_zero*1"}},
		{"without a time or a text", assHead + "Dialogue: 0,now,then,Default,,0,0,0,,x\n" + assFirst + "{\\i1}\n" + assFirst + "a\n", []string{"1-2 a"}, []string{"cue_dropped_no_time*1", "cue_dropped_no_text*1"}},
		{"fonts", assHead + assFirst + "a\n\n[Fonts]\nfontname: x.ttf\n!!!!\"#$%&[Events]\n", []string{"1-2 a"}, []string{"embedded_files_ignored"}},
		{"breaks", assHead + assFirst + `one\Ntwo\nthree\hfour` + "\n", []string{"1-2 one/two/three\u00a0four"}, nil},
		{"looks", assHead + assFirst + `{\i1}a{\i0\b700}b{\b0\c&H0000FF&}c{\r}d {not an override}e` + "\n", []string{"1-2 abcd e [a:i] [b:b] [c#ff0000]"}, nil},
		{"drawings", assHead + assFirst + `{\p1}m 0 0 l 10 10{\p0}text` + "\n" + assFirst + `{\p1}m 0 0 l 9 9` + "\n", []string{"1-2 text"}, nil},
		{"an alignment", assHead + assFirst + `{\an8}up` + "\n" + assFirst + `{\a6}old` + "\n", []string{"1-2 up an8", "1-2 old an8"}, nil},
		{"an open brace", assHead + assFirst + `a {b` + "\n", []string{"1-2 a {b"}, nil},
		{"CRLF and a mark", "\uFEFF" + strings.ReplaceAll(assHead+assFirst+"One\n", "\n", "\r\n"), []string{"1-2 One"}, nil},
	} {
		c.run(t)
		d := read(t, c.file, Options{})
		if d.Format != caption.ASS || len(d.Script) == 0 {
			t.Errorf("%s: read as %s", c.name, d.Format)
		}
	}
}

func TestASSWords(t *testing.T) {
	t.Parallel()
	d := read(t, assHead+assFirst+`{\k20}Ka{\k30}ra{\kf10}oke {\K40}now`+"\n", Options{})
	if got := spokenWords(d.Cues[0]); !slices.Equal(got, []string{"Karaoke@1-1.6", "now@1.6-2"}) {
		t.Errorf("words %q", got)
	}
	if got := events(d.Script)[0]; got != `{\k20}Ka{\k30}ra{\kf10}oke {\K40}now` {
		t.Errorf("script %q", got)
	}
}

// TestScript: what is known to be safe passes, all else does not.
func TestScript(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{\pos(320,180)\fs30}x`:                         `{\pos(320,180)\fs30}x`,
		`{\fad(200,300)\t(0,500,\fscx150)}x`:            `{\fad(200,300)\t(0,500,\fscx150)}x`,
		`{\blur999\be9999\bord5000\fs99999\fscx99999}x`: `{\blur20\be20\bord100\fs1000\fscx1000}x`,
		`{\unknown1\img(0,0)\i1}x`:                      `{\i1}x`,
		`{comment}x`:                                    `x`,
		`{\fnComic Sans, {\i1}x`:                        `{\fnComic Sans\i1}x`,
		`{\1c&HFF00FF&\alpha&H80&}x`:                    `{\1c&HFF00FF&\alpha&H000080&}x`,
		`{\clip(0,0,10,10)\iclip(m 0 0 l 5 5)}x`:        `{\clip(0,0,10,10)\iclip(m 0 0 l 5 5)}x`,
		`{\move(1,2,3,4)\org(1e9,2)}x`:                  `{\move(1,2,3,4)\org(1,2)}x`,
		`{\t(\t(\t(\fs99999)))\fs20}x`:                  `{\fs20}x`,
		`{\p99}m 0 0 l 1e9 x 99999999 !`:                `{\p10}m 0 0 l 32000`,
		`{\rAlt\q2\fs+3}x`:                              `{\rAlt\q2\fs+3}x`,
		"a\tb\x01c":                                     "a bc",
		`{\pos(1)\fade(1,2,3)\i}x`:                      `{\i}x`,
		strings.Repeat(`{\t(0,1,\fs10)}`, 30) + "x":     strings.Repeat(`{\t(0,1,\fs10)}`, 24) + "x",
		`{\frz45\fax0.5\xshad-3\fsp2\pbo-4}x`:           `{\frz45\fax0.5\xshad-3\fsp2\pbo-4}x`,
		`{\an5\b1\u1\s1\kt10\fe128}x`:                   `{\an5\b1\u1\s1\kt10\fe128}x`,
	} {
		got := events(read(t, assHead+assFirst+text+"\n"+assFirst+"y\n", Options{}).Script)[0]
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestScriptHead(t *testing.T) {
	t.Parallel()
	const file = "[Script Info]\nScriptType: v4.00\nPlayResY: 600\nWrapStyle: 7\nYCbCr Matrix: TV.709\nAudio File: /etc/passwd\n\n[V4 Styles]\n" +
		"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, TertiaryColour, BackColour, Bold, Italic, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, AlphaLevel, Encoding\n" +
		"Style: A,../../etc/passwd,1e9,65535,0,0,255,-1,0,7,999,1,6,10,10,10,0,0\nStyle: A,again,1,0,0,0,0,0,0,1,1,1,1,1,1,1,0,0\n\n" +
		"[Events]\nFormat: Marked, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n" +
		"Dialogue: Marked=0,0:00:01.00,0:00:02.00,*A,Fred,0010,0,0,Scroll up;100;200;5,x\nDialogue: Marked=0,0:00:01.00,0:00:02.00,B,,0,0,0,Something;/etc/passwd,y\n"
	want := "[Script Info]\nScriptType: v4.00+\nPlayResX: 800\nPlayResY: 600\nWrapStyle: 3\nScaledBorderAndShadow: no\nYCbCr Matrix: TV.709\n\n[V4+ Styles]\nFormat: " + styleFormat + "\n" +
		"Style: A,etcpasswd,1,&H0000FFFF,&H00000000,&H000000FF,&H000000FF,-1,0,0,0,100,100,0,0,1,100,1,8,10,10,10,0\n" +
		"Style: Default,Noto Sans,37.5,&H00FFFFFF,&H0000FFFF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,3,0,2,10,10,10,1\n" +
		"\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n" +
		"Dialogue: 0,0:00:01.00,0:00:02.00,A,Fred,10,0,0,Scroll up;100;200;5,x\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,y\n"
	d := read(t, file, Options{})
	if diff := cmp.Diff(want, string(d.Script)); diff != "" {
		t.Error(diff)
	}
	if d.Cues[0].Speaker != "Fred" {
		t.Errorf("speaker %q", d.Cues[0].Speaker)
	}
	// What was rebuilt reads as itself.
	if again := read(t, string(d.Script), Options{}); !slices.Equal(again.Script, d.Script) {
		t.Error(cmp.Diff(string(d.Script), string(again.Script)))
	}
}

func TestPlayRes(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]string{
		"": "384 288", "PlayResX: 1280": "1280 1024", "PlayResX: 640": "640 480", "PlayResY: 1024": "1280 1024", "PlayResY: 720": "960 720",
		"PlayResX: 99999999\nPlayResY: -3": "16384 12288",
	} {
		d := read(t, "[Script Info]\n"+info+"\n[Events]\n"+assFirst+"x\n", Options{})
		got := strings.Join(strings.Fields(strings.NewReplacer("PlayResX:", "", "PlayResY:", "").Replace(strings.Split(string(d.Script), "WrapStyle")[0]))[4:], " ")
		if got != want {
			t.Errorf("%q: %s, want %s", info, got, want)
		}
	}
}

// TestScriptCrowd: a script that would take minutes for each frame is thinned.
func TestScriptCrowd(t *testing.T) {
	t.Parallel()
	d := read(t, assHead+strings.Repeat(assFirst+"x\n", 1000), Options{})
	if len(d.Cues) != crowd || d.CuesIn != 1000 {
		t.Errorf("%d of %d", len(d.Cues), d.CuesIn)
	}
	_, err := Parse([]byte(assHead+strings.Repeat(assFirst+"x\n", MaxCues+1)), Options{})
	if apigpu.CodeOf(err) != apigpu.TooLarge {
		t.Errorf("%v", err)
	}
}

func TestASSPlaces(t *testing.T) {
	t.Parallel()
	file := assHead + assFirst + `{\pos(320,90)\an5}x` + "\n"
	if got := placed(read(t, file, Options{KeepPositions: true}).Cues[0]); got != "5 at 0.50 0.25" {
		t.Error(got)
	}
	if got := placed(read(t, file, Options{}).Cues[0]); got != "5" {
		t.Error(got)
	}
}
