package font

import (
	"slices"
	"strings"
)

// Family is what captions can be drawn in.
type Family struct {
	Name    string
	Weights []int
	Italic  bool
	Scripts []string
}

// samples are letters that show that a font is made for a script.
func samples() []struct {
	script  string
	letters string
} {
	return []struct{ script, letters string }{
		{"Latin", "aZé"}, {"Cyrillic", "жЯ"}, {"Greek", "ωΣ"}, {"Arabic", "عب"}, {"Hebrew", "אש"}, {"Devanagari", "कि"},
		{"Thai", "กำ"}, {"Han", "中一"}, {"Kana", "あア"}, {"Hangul", "한"}, {"Emoji", "😀🍕"},
	}
}

// List are the families, by name.
func (s *Set) List() []Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := map[string][]*face{}
	var names []string
	for _, f := range s.faces {
		if byName[f.Typographic] == nil {
			names = append(names, f.Typographic)
		}
		byName[f.Typographic] = append(byName[f.Typographic], f)
	}
	slices.Sort(names)
	out := make([]Family, len(names))
	for i, name := range names {
		out[i] = familyOf(name, byName[name])
	}
	return out
}

func familyOf(name string, faces []*face) Family {
	family := Family{Name: name, Scripts: []string{}}
	for _, f := range faces {
		family.Italic = family.Italic || f.Italic
		if !slices.Contains(family.Weights, f.Weight) {
			family.Weights = append(family.Weights, f.Weight)
		}
	}
	slices.Sort(family.Weights)
	for _, s := range samples() {
		if faces[0].hasAll([]rune(s.letters)) {
			family.Scripts = append(family.Scripts, s.script)
		}
	}
	return family
}

// Names are the families that a request may name, of which the first are the
// base and the others follow by name, at most n of them.
func (s *Set) Names(n int) []string {
	all := s.Families()
	slices.SortStableFunc(all, func(a, b string) int {
		switch {
		case a == s.base && b != s.base:
			return -1
		case b == s.base && a != s.base:
			return 1
		}
		return strings.Compare(a, b)
	})
	return all[:min(n, len(all))]
}
