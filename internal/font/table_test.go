package font

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	textfont "github.com/go-text/typesetting/font"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/test/need"
)

var update = flag.Bool("update", false, "write coverage.bin")

// imagePackages are those of docker/worker.Dockerfile, and what they come with.
func imagePackages() []string {
	return []string{"fonts-noto-core", "fonts-noto-cjk", "fonts-noto-color-emoji", "fonts-symbola", "fonts-dejavu-core"}
}

// imageFonts is a folder of links to the fonts of the worker's image.
func imageFonts(t *testing.T) string {
	t.Helper()
	need.Fonts(t)
	dir := t.TempDir()
	for _, name := range imagePackages() {
		out, err := exec.CommandContext(t.Context(), "dpkg", "-L", name).Output()
		if err != nil {
			t.Skipf("%s is not of Debian: %v", name, err)
		}
		for _, path := range strings.Fields(string(out)) {
			if !isFontFile(path) {
				continue
			}
			if err := os.Symlink(path, filepath.Join(dir, filepath.Base(path))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestTable holds the table against the fonts that it was made of. With
// -update it makes it.
func TestTable(t *testing.T) {
	t.Parallel()
	s, err := Find([]string{imageFonts(t)})
	if err != nil {
		t.Fatal(err)
	}
	if !*update && s.Hash() != Image().Hash() {
		t.Skipf("the fonts here are of another version: %s, not %s", s.Hash(), Image().Hash())
	}
	b, err := s.writeTable()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 300<<10 {
		t.Errorf("the table has %d bytes", len(b))
	}
	if *update {
		if err := os.WriteFile("coverage.bin", b, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d bytes, %d faces, hash %s", len(b), len(s.faces), s.Hash())
		return
	}
	if !bytes.Equal(b, table) {
		t.Error("coverage.bin is out of date: run go generate ./internal/font")
	}
}

// TestImage asks what the fonts of the worker's image draw, without a file.
func TestImage(t *testing.T) {
	t.Parallel()
	s := Image()
	if s.Base() != "Noto Sans" || !s.Has("noto sans arabic") || s.Has("Comic Sans MS") || !s.Coloured() {
		t.Fatalf("%q: %d families, coloured %v", s.Base(), len(s.Families()), s.Coloured())
	}
	want := caption.Face{Family: "Noto Sans", Weight: 700}
	for text, family := range map[string]string{
		"Olá": "Noto Sans", "Привет": "Noto Sans", "Ελλάδα": "Noto Sans", "مرحبا": "Noto Sans Arabic", "שלום": "Noto Sans Hebrew",
		"हिन्दी": "Noto Sans Devanagari", "สวัสดี": "Noto Sans Thai", "日本語": "Noto Sans CJK JP", "한국어": "Noto Sans CJK KR", "\U000F1234": "",
	} {
		got := ""
		if runs := s.Runs(text, want, map[bool]string{true: "ja"}[text == "日本語"], false); len(runs) == 1 && !runs[0].Missing {
			got = runs[0].Face.Family
		}
		if got != family && !(text == "日本語" && strings.HasPrefix(got, family)) {
			t.Errorf("%s is drawn with %q, want %q", text, got, family)
		}
	}
	if !s.Pictured("👩‍👩‍👧") || s.Pictured("x") || s.Picture("🍕") != nil {
		t.Error("emoji")
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	r := ranges{'a', 'c', 'x', 'z' + 1}
	for c, want := range map[rune]bool{'a': true, 'b': true, 'c': false, 'w': false, 'x': true, 'z': true, '{': false, 0: false} {
		if r.has(c) != want {
			t.Errorf("%q: %v", c, r.has(c))
		}
	}
	if got, err := unpack(r.pack()); err != nil || !slices.Equal(got, r) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range [][]byte{{0xff}, {0xff, 0xff, 0xff, 0xff, 0x0f}} {
		if _, err := unpack(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// claims is a font that lists n characters from first on.
type claims struct {
	textfont.Cmap
	first, n int
}

func (c claims) Iter() textfont.CmapIter { return &c }

func (c *claims) Next() bool { return c.n > 0 }

func (c *claims) Char() (rune, textfont.GID) {
	c.first, c.n = c.first+1, c.n-1
	return rune(c.first - 1), 1
}

// TestFontsThatClaimTooMuch: a few bytes of a font may list billions of
// characters, and what are none.
func TestFontsThatClaimTooMuch(t *testing.T) {
	t.Parallel()
	if r, err := listRunes(claims{n: maxChars}); err != nil || !slices.Equal(r, ranges{0, maxChars}) {
		t.Errorf("all there are: %v %v", r, err)
	}
	if _, err := listRunes(claims{n: 1 << 40}); apigpu.CodeOf(err) != apigpu.FontUnreadable {
		t.Errorf("more than there are: %v", err)
	}
	r, err := listRunes(claims{first: unicode.MaxRune, n: 10})
	if err != nil || !slices.Equal(r, ranges{unicode.MaxRune, unicode.MaxRune + 1}) {
		t.Errorf("what are none: %v %v", r, err)
	}
	if again, err := unpack(r.pack()); err != nil || !slices.Equal(again, r) {
		t.Errorf("read back: %v %v", again, err)
	}
}

// A table that could not be read back is not written.
func TestTableTooLarge(t *testing.T) {
	t.Parallel()
	fits := listing{stored: stored{Runes: [][]byte{make([]byte, maxTable/2)}}}
	if b, err := fits.encode(); err != nil {
		t.Error(err)
	} else if _, err := readTable(b); err != nil {
		t.Errorf("what was written is not read: %v", err)
	}
	large := listing{stored: stored{Runes: [][]byte{make([]byte, maxTable)}}}
	if _, err := large.encode(); apigpu.CodeOf(err) != apigpu.FontUnreadable {
		t.Errorf("%v, want %s", err, apigpu.FontUnreadable)
	}
}
