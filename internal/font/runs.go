package font

import (
	"slices"
	"strings"
	"unicode"

	"github.com/go-text/typesetting/language"

	"github.com/api-gpu/api-gpu/internal/caption"
)

type drawnKey struct {
	cluster string
	want    caption.Face
	lang    string
}

type runsKey struct {
	text string
	want caption.Face
	lang string
	rtl  bool
}

// Runs parts a text of one direction into runs of one face each, in the order
// of the text: the face that is wanted wherever it has the characters, else
// the first of their script that has. Characters that belong together stay in
// one face. lang is a BCP 47 tag, and may be empty. The answer is not to be
// changed.
func (s *Set) Runs(text string, want caption.Face, lang string, rtl bool) []caption.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := runsKey{text, want, lang, rtl}
	if runs, known := s.runs[key]; known {
		return runs
	}
	runs := s.measure(text, want, lang, rtl)
	if len(s.runs) >= maxRemembered || s.runs == nil {
		s.runs = map[runsKey][]caption.Run{}
	}
	s.runs[key] = runs
	return runs
}

func (s *Set) measure(text string, want caption.Face, lang string, rtl bool) []caption.Run {
	var runs []caption.Run
	var faces []*face
	var written []language.Script
	if err := s.seg.InitWithString(text); err != nil {
		return nil
	}
	for it := s.seg.GraphemeIterator(); it.Next(); {
		g := it.Grapheme()
		from, to := g.OffsetInBytes, g.OffsetInBytes+g.LengthInBytes
		f, script := s.drawer(text[from:to], want, lang), scriptOf(g.Text)
		if n := len(runs) - 1; n >= 0 && !script.Strong() && faces[n] != nil && f != faces[n] && !f.is(want.Family) && faces[n].hasAll(g.Text) {
			f = faces[n] // a mark of several scripts stays with its word
		}
		if n := len(runs) - 1; n >= 0 && faces[n] == f && (script == written[n] || !script.Strong() || !written[n].Strong()) {
			runs[n].To = to
			if script.Strong() {
				written[n] = script
			}
			continue
		}
		runs, faces, written = append(runs, caption.Run{From: from, To: to}), append(faces, f), append(written, script)
	}
	for i, f := range faces {
		r := &runs[i]
		if f == nil || f.listed == nil && !f.ready() {
			r.Missing, r.Face = true, want
			continue
		}
		script := written[i]
		if !script.Strong() {
			script = language.Latin
		}
		var e extent
		if f.listed != nil {
			e = guessed(text[r.From:r.To])
		} else {
			e = f.measure(s.buf, text[r.From:r.To], script, lang, rtl)
		}
		r.Width, r.Top, r.Bottom, r.Ascent, r.Descent = e.width, e.top, e.bottom, f.ascent, f.descent
		r.Face = f.drawnAs(want)
	}
	return runs
}

// is reports whether the face is of a family.
func (f *face) is(family string) bool {
	return f != nil && (strings.EqualFold(f.Family, family) || strings.EqualFold(f.Typographic, family))
}

// drawnAs is what libass is asked for, so that it takes this very face. It
// makes a face bolder by itself where more than 150 is missing.
func (f *face) drawnAs(want caption.Face) caption.Face {
	got := caption.Face{Family: f.Family, Weight: f.Weight, Italic: want.Italic}
	if want.Weight-f.Weight > embolden {
		got.Weight = want.Weight
	}
	return got
}

// embolden is how much lighter than wanted a face is that libass makes bold
// by widening its curves.
const embolden = 150

// drawer returns the face that draws a cluster, or nil where none does.
func (s *Set) drawer(cluster string, want caption.Face, lang string) *face {
	key := drawnKey{cluster, want, lang}
	if f, known := s.drawn[key]; known {
		return f
	}
	f := s.search([]rune(cluster), want, lang)
	if len(s.drawn) >= maxRemembered || s.drawn == nil {
		s.drawn = map[drawnKey]*face{}
	}
	s.drawn[key] = f
	return f
}

// search looks for a face that has every character of a cluster, then for one
// that has its first: an accent that is missing is less than a letter.
func (s *Set) search(cluster []rune, want caption.Face, lang string) *face {
	needed := slices.DeleteFunc(slices.Clone(cluster), ignorable)
	if len(needed) == 0 {
		needed = []rune{' '}
	}
	families := s.chain(needed, want, lang)
	for n := len(needed); n > 0; n = min(n-1, 1) {
		for _, name := range families {
			if f := s.pick(name, want); f != nil && f.hasAll(needed[:n]) {
				return f
			}
		}
		if f := s.anywhere(needed[:n], want); f != nil {
			return f
		}
	}
	return nil
}

func (f *face) hasAll(runes []rune) bool {
	for _, r := range runes {
		if !f.has(r) {
			return false
		}
	}
	return true
}

// chain is the families to look in, in their order.
func (s *Set) chain(cluster []rune, want caption.Face, lang string) []string {
	first, script := cluster[0], scriptOf(cluster)
	families := []string{want.Family}
	switch {
	case isPicture(first):
		families = append(emoji(), want.Family)
	case isEastAsian(first, script):
		families = append(families, eastAsian(script, lang)...)
	default:
		families = append(families, scripts()[script]...)
	}
	families = append(families, base()...)
	families = append(families, symbols()...)
	return append(families, eastAsian(script, lang)[0])
}

// anywhere looks in all fonts: those without serifs first, then by name.
func (s *Set) anywhere(cluster []rune, want caption.Face) *face {
	var second *face
	for _, f := range s.faces {
		if f.Italic || !f.hasAll(cluster) {
			continue
		}
		if best := s.pick(f.Family, want); best != nil && best.hasAll(cluster) {
			f = best
		}
		if strings.Contains(f.Family, "Sans") {
			return f
		}
		if second == nil {
			second = f
		}
	}
	return second
}

// scriptOf is the script of the first character that has one.
func scriptOf(runes []rune) language.Script {
	for _, r := range runes {
		if s := language.LookupScript(r); s.Strong() && s != language.Unknown {
			return s
		}
	}
	return language.Common
}

// isPicture reports whether a character is an emoji wherever it stands.
func isPicture(r rune) bool { return r >= 0x1f300 && r <= 0x1faff }

// ignorable characters change others and are not drawn: joiners, marks of
// direction, variation selectors.
func ignorable(r rune) bool {
	return unicode.In(r, unicode.Cf) || r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r == 0x34f || r == '\n'
}
