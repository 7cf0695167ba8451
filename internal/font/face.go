package font

import (
	"fmt"
	"os"
	"unicode"

	textfont "github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"
	"github.com/go-text/typesetting/harfbuzz"
	"github.com/go-text/typesetting/language"
)

// face is a face of a file. Its file is read when a text first needs it.
type face struct {
	header
	path  string
	index int // in its file
	// listed are its characters, where there is no file: see Image.
	listed ranges

	mapped bool
	glyphs textfont.Cmap // nil before it is read, and where it cannot be
	tried  bool
	shaper *harfbuzz.Font // as glyphs
}

// load reads all that shaping needs of a face.
func load(l *ot.Loader) (shaper *harfbuzz.Font, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			shaper, err = nil, unreadable(fmt.Errorf("panic: %v", fault))
		}
	}()
	f, err := textfont.NewFont(l)
	if err != nil {
		return nil, unreadable(err)
	}
	return harfbuzz.NewFont(textfont.NewFace(f)), nil
}

// ready reads the face, once, and reports whether it can be used.
func (f *face) ready() bool {
	if f.tried {
		return f.shaper != nil
	}
	f.tried = true
	file, err := os.Open(f.path)
	if err != nil {
		return false
	}
	defer file.Close()
	loaders, err := ot.NewLoaders(file)
	if err != nil || f.index >= len(loaders) {
		return false
	}
	f.shaper, _ = load(loaders[f.index])
	return f.shaper != nil
}

// has reports whether the face has a glyph for r. It reads no more of the file
// than tells that.
func (f *face) has(r rune) bool {
	if f.listed != nil {
		return f.listed.has(r)
	}
	if !f.mapped {
		f.mapped = true
		f.glyphs, _ = readGlyphs(f.path, f.index)
	}
	if f.glyphs == nil {
		return false
	}
	g, ok := f.glyphs.Lookup(r)
	return ok && g != 0
}

// readGlyphs reads which characters a face has.
func readGlyphs(path string, index int) (glyphs textfont.Cmap, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			glyphs, err = nil, unreadable(fmt.Errorf("panic: %v", fault))
		}
	}()
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open font: %w", err)
	}
	defer file.Close()
	loaders, err := ot.NewLoaders(file)
	if err != nil || index >= len(loaders) {
		return nil, unreadable(err)
	}
	return glyphsOf(loaders[index])
}

// glyphsOf reads which characters a face has.
func glyphsOf(l *ot.Loader) (glyphs textfont.Cmap, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			glyphs, err = nil, unreadable(fmt.Errorf("panic: %v", fault))
		}
	}()
	raw, err := l.RawTable(tag("cmap"))
	if err != nil {
		return nil, unreadable(err)
	}
	table, _, err := tables.ParseCmap(raw)
	if err != nil {
		return nil, unreadable(err)
	}
	glyphs, _, err = textfont.ProcessCmap(table, tables.FPNone)
	return glyphs, err
}

// extent is how much room a text takes, in ems.
type extent struct{ width, top, bottom float64 }

// guessed is the extent of a text whose font is elsewhere, as in Noto Sans Bold.
func guessed(text string) extent {
	e := extent{top: 0.77, bottom: 0.22}
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case r >= 0x1100 && isEastAsian(r, language.LookupScript(r)):
			e.width++
		default:
			e.width += 0.6
		}
	}
	return e
}

// measure shapes a text of one direction and script, as libass will.
func (f *face) measure(buf *harfbuzz.Buffer, text string, script language.Script, lang string, rtl bool) (e extent) {
	defer func() { // a font that upsets the shaper has no measure, and is drawn all the same
		if recover() != nil {
			e = extent{float64(len([]rune(text))) * 0.6, 0.8, 0.2}
		}
	}()
	buf.Clear()
	runes := []rune(text)
	buf.AddRunes(runes, 0, len(runes))
	buf.Props.Script, buf.Props.Language, buf.Props.Direction = script, language.NewLanguage(lang), harfbuzz.LeftToRight
	if rtl {
		buf.Props.Direction = harfbuzz.RightToLeft
	}
	buf.Shape(f.shaper, nil)
	var width harfbuzz.Position
	for i, p := range buf.Pos {
		width += p.XAdvance
		if g, ok := f.shaper.Face().GlyphExtents(buf.Info[i].Glyph); ok {
			e.top = max(e.top, (float64(g.YBearing)+float64(p.YOffset))/f.upem)
			e.bottom = max(e.bottom, -(float64(g.YBearing)+float64(g.Height)+float64(p.YOffset))/f.upem)
		}
	}
	e.width = float64(width) / f.upem
	return e
}
