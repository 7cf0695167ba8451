package font

import (
	"bytes"
	"image"
	"image/png"
	"slices"

	textfont "github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/harfbuzz"
	"github.com/go-text/typesetting/language"
)

// maxPicture bounds the sides of a picture of a font, in pixels: those of Noto
// Color Emoji have 136 x 128.
const maxPicture = 512

// maxPictures bounds what is kept of pictures, each 70 kB.
const maxPictures = 200

// Coloured reports whether the machine has a font of emoji in colour. Those
// that came With others are not looked at.
func (s *Set) Coloured() bool { return s.colour != nil }

// Pictured reports whether there is a picture of an emoji.
func (s *Set) Pictured(text string) bool {
	if s.colour != nil && s.colour.listed != nil {
		return s.colour.hasAll(slices.DeleteFunc([]rune(text), ignorable))
	}
	return s.Picture(text) != nil
}

// Picture returns the picture of one emoji, as its font has it, or nil where
// there is none: of all that a text consists of, such as a flag or a family. It
// is not to be changed.
func (s *Set) Picture(text string) image.Image {
	if s.colour == nil || s.colour.listed != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, known := s.pictures[text]; known {
		return m
	}
	m := s.colour.picture(s.buf, text)
	if len(s.pictures) >= maxPictures || s.pictures == nil {
		s.pictures = map[string]image.Image{}
	}
	s.pictures[text] = m
	return m
}

// picture shapes a text and reads the picture of its one glyph.
func (f *face) picture(buf *harfbuzz.Buffer, text string) (m image.Image) {
	defer func() {
		if recover() != nil {
			m = nil
		}
	}()
	if !f.ready() {
		return nil
	}
	buf.Clear()
	runes := []rune(text)
	buf.AddRunes(runes, 0, len(runes))
	buf.Props.Script, buf.Props.Language, buf.Props.Direction = language.Common, "", harfbuzz.LeftToRight
	buf.Flags = harfbuzz.RemoveDefaultIgnorables
	defer func() { buf.Flags = 0 }()
	buf.Shape(f.shaper, nil)
	if len(buf.Info) != 1 || buf.Info[0].Glyph == 0 {
		return nil
	}
	bitmap, ok := f.shaper.Face().GlyphData(buf.Info[0].Glyph).(textfont.GlyphBitmap)
	if !ok || bitmap.Format != textfont.PNG {
		return nil
	}
	size, err := png.DecodeConfig(bytes.NewReader(bitmap.Data))
	if err != nil || size.Width > maxPicture || size.Height > maxPicture {
		return nil
	}
	m, err = png.Decode(bytes.NewReader(bitmap.Data))
	if err != nil {
		return nil
	}
	return m
}
