package font

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// renamed is a font under another family name, with the weight of OS/2 set.
func renamed(t *testing.T, b []byte, family string, weight uint16) []byte {
	t.Helper()
	l, err := ot.NewLoader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var all []ot.Table
	for _, tag := range l.Tables() {
		content, err := l.RawTable(tag)
		if err != nil {
			t.Fatal(err)
		}
		switch tag.String() {
		case "name":
			content = nameTable(family)
		case "OS/2":
			content = slices.Clone(content)
			if strings.Contains(family, "Condensed") {
				binary.BigEndian.PutUint16(content[6:], 3)
			}
			binary.BigEndian.PutUint16(content[4:], weight)
		}
		all = append(all, ot.Table{Tag: tag, Content: content})
	}
	return ot.WriteTTF(all)
}

// nameTable holds names of Windows, in UTF-16: that of the family, and behind
// a slash the one that designers give it.
func nameTable(family string) []byte {
	legacy, typographic, _ := strings.Cut(family, "/")
	var text []byte
	records := []uint16{0, 2, 6 + 2*12}
	for _, n := range []struct {
		id   uint16
		name string
	}{{1, legacy}, {16, typographic}} {
		from := len(text)
		for _, u := range utf16.Encode([]rune(n.name)) {
			text = binary.BigEndian.AppendUint16(text, u)
		}
		records = append(records, 3, 1, 0x409, n.id, uint16(len(text)-from), uint16(from))
	}
	var b []byte
	for _, v := range records {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, text...)
}

// here is a folder with fonts: file name → content.
func here(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"a/other.ttf": renamed(t, goregular.TTF, "Other Sans", 400), "a/readme.txt": []byte("x"), "a/broken.ttf": []byte("no font"),
		"b/empty.otf": nil,
	}
	dir := here(t, files)
	_, err := Find([]string{filepath.Join(dir, "missing"), dir})
	if apigpu.CodeOf(err) != apigpu.NoEncoder {
		t.Fatalf("a machine without a font for captions: %v", err)
	}
	files["c/noto.ttf"], files["c/Noto-Bold.TTF"] = renamed(t, goregular.TTF, "Noto Sans", 400), renamed(t, gobold.TTF, "Noto Sans", 700)
	files["c/dejavu.ttf"] = renamed(t, goregular.TTF, "DejaVu Sans", 400)
	dir = here(t, files)
	s, err := Find([]string{dir})
	if err != nil || s.Base() != "Noto Sans" || !s.Has("noto SANS") || s.Has("Arial") {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff([]string{"DejaVu Sans", "Noto Sans", "Other Sans"}, s.Families()); diff != "" {
		t.Errorf("families (-want +got):\n%s", diff)
	}
	if got := s.Files([]string{"Noto Sans", "none"}); len(got) != 2 {
		t.Errorf("files %q", got)
	}
	more, err := s.With(filepath.Join(here(t, map[string][]byte{"x.ttf": renamed(t, gobold.TTF, "Mine", 900)}), "x.ttf"))
	if err != nil || !more.Has("mine") || !more.Has("Noto Sans") || s.Has("mine") {
		t.Errorf("%v", err)
	}
	if _, err := s.With(filepath.Join(dir, "a/broken.ttf")); err == nil {
		t.Error("a file that is no font is taken")
	}
}

// Runs take the family that was asked for, then those of the script, and say
// what nobody has.
func TestRuns(t *testing.T) {
	t.Parallel()
	s, err := Find([]string{here(t, map[string][]byte{
		"0.ttf": renamed(t, gobold.TTF, "Noto Sans Condensed Medium/Noto Sans", 500), "9.ttf": renamed(t, gobold.TTF, "Noto Sans XBlack/Noto Sans", 1000),
		"1.ttf": renamed(t, goregular.TTF, "Noto Sans", 400), "2.ttf": renamed(t, gobold.TTF, "Noto Sans", 700), "3.ttf": renamed(t, goregular.TTF, "Mine", 300),
	})})
	if err != nil {
		t.Fatal(err)
	}
	runs := func(text string, want caption.Face) []caption.Run { return s.Runs(text, want, "en", false) }
	for _, c := range []struct{ want, drawn caption.Face }{
		{caption.Face{Family: "Noto Sans", Weight: 400}, caption.Face{Family: "Noto Sans", Weight: 400}},
		{caption.Face{Family: "noto sans", Weight: 800}, caption.Face{Family: "Noto Sans", Weight: 700}},
		{caption.Face{Family: "Noto Sans", Weight: 900, Italic: true}, caption.Face{Family: "Noto Sans XBlack", Weight: 1000, Italic: true}},
		{caption.Face{Family: "Noto Sans", Weight: 500}, caption.Face{Family: "Noto Sans", Weight: 400}},
		{caption.Face{Family: "Mine", Weight: 400}, caption.Face{Family: "Mine", Weight: 300}},
		{caption.Face{Family: "Mine", Weight: 700}, caption.Face{Family: "Mine", Weight: 700}},
		{caption.Face{Family: "None", Weight: 500}, caption.Face{Family: "Noto Sans", Weight: 400}},
	} {
		if got := runs("Hello", c.want); len(got) != 1 || got[0].Face != c.drawn || got[0].To != 5 || got[0].Missing {
			t.Errorf("%+v is drawn as %+v", c.want, got)
		}
	}
	sans := caption.Face{Family: "Noto Sans", Weight: 400}
	one, two := runs("m", sans)[0], runs("mm", sans)[0]
	if one.Width < 0.5 || one.Width > 1.2 || two.Width != 2*one.Width || one.Ascent <= 0 || one.Descent <= 0 || one.Top < 0.4 || one.Top > 0.7 || one.Bottom > 0.1 {
		t.Errorf("%+v, %+v", one, two)
	}
	if bold := runs("m", caption.Face{Family: "Noto Sans", Weight: 700})[0]; bold.Width <= one.Width {
		t.Errorf("bold is %v wide, regular %v", bold.Width, one.Width)
	}
	got := runs("a\u200db 漢e\u0301", sans)
	if len(got) != 3 || !got[1].Missing || got[1].From != 6 || got[1].To != 9 || got[2].Missing || got[2].To != 12 {
		t.Errorf("%+v", got)
	}
	var all sync.WaitGroup // several jobs at once
	for range 4 {
		all.Go(func() {
			for _, w := range []string{"one", "two", "three"} {
				s.Runs(w, sans, "", false)
			}
		})
	}
	all.Wait()
}

// What nobody vouches for is read whole, or refused.
func TestCheck(t *testing.T) {
	t.Parallel()
	infos, err := Check(goregular.TTF)
	if diff := cmp.Diff([]Info{{Family: "Go", Typographic: "Go", Weight: 400, Width: 5, Outlines: true}}, infos); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if infos, err = Check(renamed(t, goregular.TTF, "A,{b}\\\n c", 100)); err != nil || infos[0].Family != "Ab c" {
		t.Errorf("%+v, %v", infos, err)
	}
	huge := slices.Clone(goregular.TTF) // a table that claims four gigabytes
	binary.BigEndian.PutUint32(huge[12+12:], 0xffffffff)
	collection := []byte("ttcf\x00\x01\x00\x00\xff\xff\xff\xff")
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte(strings.Repeat("font ", 100)), "half": goregular.TTF[:len(goregular.TTF)/2], "woff": []byte("wOFF" + strings.Repeat("\x00", 100)),
		"a huge table": huge, "a huge collection": collection, "no name": renamed(t, goregular.TTF, "", 400),
	} {
		if _, err := Check(b); apigpu.CodeOf(err) != apigpu.FontUnreadable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCheck: no font makes this panic, hang, or take more memory than it has
// bytes.
func FuzzCheck(f *testing.F) {
	f.Add(goregular.TTF)
	f.Add([]byte("ttcf\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x10"))
	f.Add([]byte("OTTO\x00\x01\x00\x00\x00\x00\x00\x00glyf"))
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, err := Check(b)
		if err == nil && len(infos) == 0 {
			t.Error("no face and no error")
		}
	})
}

func TestEastAsianOrder(t *testing.T) {
	t.Parallel()
	han := scriptOf([]rune("漢"))
	for lang, want := range map[string]string{"": "SC", "ja": "JP", "ko-KR": "KR", "zh": "SC", "zh-TW": "TC", "zh-Hant": "TC", "zh-HK": "HK", "yue": "TC"} {
		if got := eastAsian(han, lang)[0]; got != "Noto Sans CJK "+want {
			t.Errorf("%q: %s", lang, got)
		}
	}
	if got := eastAsian(scriptOf([]rune("か")), "zh")[0]; got != "Noto Sans CJK JP" {
		t.Errorf("kana: %s", got)
	}
}
