package caption

import (
	"testing"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
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
		text, charset, err := decode(b)
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

// FuzzMarkup: no text of a cue reaches libass as anything but text.
func FuzzMarkup(f *testing.F) {
	for _, seed := range []string{
		"<i>a</i>", "{\\an8}b{\\p1}m 0 0", "<font color=#fff>c", "&lt;d&#x7b;\\p1}", "\\N\\h{", "<b><i></b>e</i>", "<font color=\"red\\\">", "\u202e\u200bf", "{}}{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !utf8.ValidString(raw) { // decode leaves nothing else
			return
		}
		cue := readMarkup(raw)
		cue.End = 1e9
		checkScript(t, Render([]Cue{cue}, DefaultStyle(), Size{1920, 1080}), []Cue{cue})
	})
}

// FuzzColor: a colour is six hex digits, or none.
func FuzzColor(f *testing.F) {
	for _, seed := range []string{"red", "#abc", "#AABBCCDD", "#ggg", "", "######", "１２３"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c := parseColor(s); c != "" && (len(c) != 7 || c[0] != '#' || assColor(c, "none") == "none") {
			t.Errorf("%q is the colour %q", s, c)
		}
	})
}
