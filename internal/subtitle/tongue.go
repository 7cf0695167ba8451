package subtitle

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
)

// tonguesText is written by tools/pairs, which says how. A line is a language:
// its name, its letters, and the cost, in bits, of each letter after each. For
// the languages of many characters it is their name and the usual ones.
//
//go:embed tongues.txt
var tonguesText string

// tongue is a language, as its letters follow each other.
type tongue struct {
	name    string
	letters map[rune]uint8 // 1 and up; 0 is the gap between words
	cost    [][]uint8      // in bits, of the second letter after the first
	common  map[rune]bool  // of a language of many characters
}

// tongues returns the languages by name.
var tongues = sync.OnceValue(func() map[string]*tongue {
	all := map[string]*tongue{}
	for line := range strings.Lines(tonguesText) {
		fields := strings.Fields(line)
		t := &tongue{name: fields[0], letters: map[rune]uint8{}, common: map[rune]bool{}}
		for _, r := range fields[1] {
			t.letters[r] = uint8(len(t.letters) + 1)
			t.common[r] = true
		}
		for _, row := range fields[2:] {
			costs := make([]uint8, len(row))
			for i, digit := range []byte(row) {
				if costs[i] = digit - '0'; digit >= 'a' {
					costs[i] = digit - 'a' + 10
				}
			}
			t.cost = append(t.cost, costs)
		}
		all[t.name] = t
	}
	return all
})

// fold makes the letters of a text those of the tables.
func (t *tongue) fold(r rune) rune {
	switch {
	case r == 'I' && t.name == "tr":
		return 'ı'
	case r == 'ș' || r == 'Ș':
		return 'ş'
	case r == 'ț' || r == 'Ț':
		return 'ţ'
	}
	return unicode.ToLower(r)
}

// What a character costs, in bits, where no table says it.
const (
	foreignLatin  = 6  // an ASCII letter that the language does not use
	foreignLetter = 18 // any other letter that it does not use
	alienLetter   = 24 // the same of another script
	plainSign     = 5  // quotation marks, dashes and the like
	oddSign       = 10 // any other sign
	withinWord    = 8  // more, for a sign that stands between two letters
	undefinedByte = 26
	otherCase     = 5  // a capital after a small letter
	skippedMark   = 3  // a vowel point
	mixedScript   = 20 // an ASCII letter beside one of another script
)

// The classes of a byte: below these it is a letter of the language, or 0.
const (
	skipClass uint8 = 240 + iota
	latinClass
	letterClass
	signClass
	openClass // a sign that does not follow a letter
	oddClass
	undefinedClass
)

// isPlainSign reports whether a sign is one that texts of all languages use.
func isPlainSign(r rune) bool {
	return strings.ContainsRune("«»‹›“”„‘’–—…¿¡°§€£©®·•♪\u00a0\u00ad", r)
}

// isOpenSign reports whether a plain sign does not stand right after a letter.
func isOpenSign(r rune) bool { return strings.ContainsRune("„¿¡§£€©®·•♪°", r) }

// classOf tells what a character is to a language.
func (t *tongue) classOf(r rune, high bool) uint8 {
	if n, ok := t.letters[t.fold(r)]; ok {
		return n
	}
	switch {
	case !high && !unicode.IsLetter(r):
		return 0
	case !high:
		return latinClass
	case r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.Is(unicode.Co, r):
		return undefinedClass
	case unicode.Is(unicode.Mn, r):
		return skipClass
	case unicode.IsLetter(r) && r != 'ª' && r != 'º' && r != 'µ' && r != 'ƒ':
		return letterClass
	case isOpenSign(r):
		return openClass
	case isPlainSign(r):
		return signClass
	}
	return oddClass
}
