package subtitle

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/unicode/norm"
)

// Which encoding a file without a mark is in can only be judged by what its
// bytes would spell. Each encoding is tried with each language that is written
// in it, and the text that comes out is weighed, letter after letter, by how
// well it is of that language. That is the method of Mozilla's chardetng; the
// tables are our own.

// candidate is an encoding, and the languages it is met with.
type candidate struct {
	name string
	enc  encoding.Encoding
	// handicap, in bits, of what is rare.
	handicap  int
	languages []string
}

func latin(names ...string) []string { return names }

// candidates are the encodings that are told apart, those of one letter a byte
// first. What is common comes first: of two that give the same text, the first
// is named.
var candidates = sync.OnceValue(func() []candidate {
	west := latin("pt", "es", "fr", "it", "de", "nl", "da", "no", "sv", "fi", "is", "ca", "gl", "eu", "ga", "en", "sq", "et")
	central := latin("pl", "cs", "sk", "hu", "hr", "sl", "ro", "sq", "de")
	cyrillic := latin("ru", "uk", "bg", "sr", "mk", "be")
	return []candidate{
		{"windows-1252", charmap.Windows1252, 0, west},
		{"windows-1250", charmap.Windows1250, 0, central},
		{"windows-1251", charmap.Windows1251, 0, cyrillic},
		{"windows-1253", charmap.Windows1253, 0, latin("el")},
		{"windows-1254", charmap.Windows1254, 0, latin("tr")},
		{"windows-1255", charmap.Windows1255, 0, latin("he")},
		{"windows-1256", charmap.Windows1256, 0, latin("ar", "fa")},
		{"windows-1257", charmap.Windows1257, 0, latin("lt", "lv", "et")},
		{"windows-1258", charmap.Windows1258, 2, latin("vi")},
		{"windows-874", charmap.Windows874, 0, latin("th")},
		{"iso-8859-2", charmap.ISO8859_2, 2, central},
		{"iso-8859-3", charmap.ISO8859_3, 8, latin("eo", "mt")},
		{"iso-8859-5", charmap.ISO8859_5, 3, cyrillic},
		{"iso-8859-6", charmap.ISO8859_6, 3, latin("ar")},
		{"iso-8859-7", charmap.ISO8859_7, 2, latin("el")},
		{"iso-8859-8", charmap.ISO8859_8, 3, latin("he")},
		{"iso-8859-13", charmap.ISO8859_13, 3, latin("lt", "lv", "et")},
		{"iso-8859-15", charmap.ISO8859_15, 3, west},
		{"iso-8859-16", charmap.ISO8859_16, 4, latin("ro")},
		{"koi8-r", charmap.KOI8R, 2, latin("ru", "bg")},
		{"koi8-u", charmap.KOI8U, 3, latin("uk", "ru", "be")},
		{"ibm866", charmap.CodePage866, 4, latin("ru", "uk", "bg", "be")},
		{"ibm855", charmap.CodePage855, 6, latin("ru", "bg", "sr", "mk")},
		{"x-mac-cyrillic", charmap.MacintoshCyrillic, 10, latin("ru", "uk", "bg")},
		{"ibm850", charmap.CodePage850, 8, west},
		{"ibm852", charmap.CodePage852, 8, central},
		{"macintosh", charmap.Macintosh, 14, west},
		{"gb18030", simplifiedchinese.GB18030, 0, latin("zhs", "zht")},
		{"big5", traditionalchinese.Big5, 0, latin("zht")},
		{"shift_jis", japanese.ShiftJIS, 0, latin("ja")},
		{"euc-jp", japanese.EUCJP, 1, latin("ja")},
		{"euc-kr", korean.EUCKR, 0, latin("ko")},
	}
})

// readings are the candidates of one letter a byte with each of their
// languages: what every byte is to them.
var readings = sync.OnceValue(func() map[string][]classes {
	all := tongues()
	out := map[string][]classes{}
	for _, c := range candidates() {
		if enc, ok := c.enc.(*charmap.Charmap); ok {
			for _, name := range c.languages {
				out[c.name] = append(out[c.name], all[name].classesIn(enc))
			}
		}
	}
	return out
})

// verdict is how a file reads in one encoding, in the best of its languages.
type verdict struct {
	name     string
	enc      encoding.Encoding
	language string
	// bits is what the sample costs.
	bits int
	weight
	// sample is what the sample reads.
	sample string
}

// weight is what a text costs in a language.
type weight struct {
	// hot is what the characters above ASCII cost, in bits, with those beside
	// them; cold what the others do, which are the same in all encodings.
	hot, cold int
	// high counts the bytes above ASCII, letters the letters of the language
	// that they make, and odd what they make that is none.
	high, letters, odd int
}

// sampleBytes bounds what is weighed of a file.
const sampleBytes = 24 << 10

// sample returns the lines of b that hold bytes above ASCII, which alone can
// tell encodings apart: the first, and some from the middle and the end.
func sample(b []byte) []byte {
	var lines [][]byte
	total := 0
	isEnd := func(r rune) bool { return r == '\n' || r == '\r' }
	for line := range bytes.FieldsFuncSeq(b, isEnd) {
		if at := slices.IndexFunc(line, func(c byte) bool { return c >= utf8.RuneSelf }); at >= 0 {
			// Of a line that is a whole file, what is around its first letter.
			line = line[max(at-100, 0):min(len(line), max(at-100, 0)+2000)]
			lines = append(lines, line)
			total += len(line) + 1
		}
	}
	step := max((total+sampleBytes-1)/sampleBytes, 1)
	var out []byte
	for i := 0; i < len(lines); i += step {
		out = append(append(out, lines[i]...), '\n')
	}
	return out
}

// coldest is how many bits, for each byte above ASCII, the rest of a text may
// speak against a language: a page in English around a few words of another.
const coldest = 3

// A text of another script has more letters of it than of ASCII, on the lines
// where it has any; one in which ASCII has fewLetters times as many is less
// likely by mostlyLatin bits.
const (
	fewLetters  = 3
	mostlyLatin = 20
)

// judge weighs a sample in all encodings, the best first.
func judge(some []byte) []verdict {
	all := tongues()
	ascii := 0
	for _, c := range some {
		if isASCIILetter(rune(c)) {
			ascii++
		}
	}
	var tried []verdict
	least := math.MaxInt // what the ASCII letters cost in the best of languages
	for _, c := range candidates() {
		text, err := c.enc.NewDecoder().Bytes(some)
		if err != nil {
			continue
		}
		v := verdict{name: c.name, enc: c.enc, bits: c.handicap, sample: comparable(string(text))}
		single := readings()[c.name]
		for i, name := range c.languages {
			t := all[name]
			v.language = name
			if single != nil {
				v.weight = t.weighBytes(some, &single[i])
			} else {
				v.weight = t.weighText(string(text))
			}
			if t.isLatin() {
				least = min(least, v.cold)
			}
			tried = append(tried, v)
		}
	}
	best := map[string]verdict{}
	for _, v := range tried {
		cold := least
		switch {
		case all[v.language].isLatin():
			cold = min(v.cold, least+coldest*v.high)
		case ascii > fewLetters*v.letters:
			v.bits += mostlyLatin
		}
		v.bits += v.hot + cold
		if b, ok := best[v.name]; !ok || v.bits < b.bits {
			best[v.name] = v
		}
	}
	var out []verdict
	for _, c := range candidates() {
		if v, ok := best[c.name]; ok {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(a, b verdict) int { return cmp.Compare(a.bits, b.bits) })
	return out
}

// comparable makes texts that read the same the same: Romanian has its
// cedillas as commas in some encodings.
func comparable(text string) string { return commas.Replace(norm.NFC.String(text)) }

var commas = strings.NewReplacer("ș", "ş", "Ș", "Ş", "ț", "ţ", "Ț", "Ţ")

func (t *tongue) isLatin() bool { return t.letters['a'] != 0 && len(t.cost) > 0 }

// classes are what each byte is to a language.
type classes struct {
	class        [256]uint8
	upper, small [256]bool
}

func (t *tongue) classesIn(enc *charmap.Charmap) (c classes) {
	for i := range c.class {
		r := enc.DecodeByte(byte(i))
		c.class[i], c.upper[i], c.small[i] = t.classOf(r, i >= utf8.RuneSelf), unicode.IsUpper(r), unicode.IsLower(r)
	}
	return c
}

// weighBytes weighs a text of one byte a letter.
func (t *tongue) weighBytes(b []byte, c *classes) (w weight) {
	latinScript := t.isLatin()
	before, beforeHigh := byte(' '), false
	last := uint8(0) // the letter before, or the gap
	for _, now := range b {
		class, high := c.class[now], now >= utf8.RuneSelf
		beforeClass := c.class[before]
		bits := t.weighPair(last, beforeClass, class)
		if class != 0 && c.upper[now] && c.small[before] {
			bits += otherCase
		}
		if !latinScript && mixes(beforeClass, class) {
			bits += mixedScript
		}
		if high || beforeHigh {
			w.hot += bits
		} else if latinScript {
			w.cold += bits
		}
		if high {
			w.high++
			switch {
			case class == skipClass, class != 0 && class < skipClass:
				w.letters++
			case class != 0 && class != signClass && class != openClass:
				w.odd++
			}
		}
		if class == skipClass {
			continue // the letter that carries it stays the one before
		}
		if last = class; class >= skipClass {
			last = 0
		}
		before, beforeHigh = now, high && class != signClass && class != openClass
	}
	return w
}

// mixes reports whether of two neighbours one is an ASCII letter, and the
// other something of another script.
func mixes(a, b uint8) bool {
	other := func(c uint8) bool {
		return c != 0 && c != latinClass && c != letterClass && c != signClass && c != openClass
	}
	return a == latinClass && other(b) || b == latinClass && other(a)
}

// weighPair is what a character costs after another.
func (t *tongue) weighPair(last, before, class uint8) int {
	switch class {
	case skipClass:
		if last == 0 {
			return oddSign + withinWord // nothing carries it
		}
		return skippedMark
	case latinClass:
		return foreignLatin
	case letterClass:
		if !t.isLatin() {
			return alienLetter
		}
		return foreignLetter
	case signClass:
		return plainSign
	case openClass:
		if last != 0 {
			return plainSign + withinWord
		}
		return plainSign
	case oddClass, undefinedClass:
		return oddCost(class, last != 0)
	}
	bits := 0
	if class != 0 || last != 0 { // not a gap after a gap
		bits = int(t.cost[last][class])
	}
	if class != 0 && (before == oddClass || before == undefinedClass) {
		bits += withinWord
	}
	return bits
}

func oddCost(class uint8, afterLetter bool) int {
	switch {
	case class == undefinedClass:
		return undefinedByte
	case afterLetter:
		return oddSign + withinWord
	}
	return oddSign
}

// What characters of the languages of many cost, in bits.
const (
	commonCharacter = 7
	rareCharacter   = 13
	alienCharacter  = 18
	kana            = 5
	wideSign        = 5
	besideLatin     = 8 // an ASCII letter beside one of these
)

func isASCIILetter(r rune) bool { return r < utf8.RuneSelf && unicode.IsLetter(r) }

// weighText weighs a text of a language of many characters.
func (t *tongue) weighText(text string) (w weight) {
	before := ' '
	for _, r := range text {
		if r < utf8.RuneSelf != (before < utf8.RuneSelf) && (isASCIILetter(r) || isASCIILetter(before)) {
			w.hot += besideLatin
		}
		before = r
		if r < utf8.RuneSelf {
			continue
		}
		w.high += 2
		w.letters++
		switch {
		case r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.Is(unicode.Co, r):
			w.hot += 2 * undefinedByte
			w.odd++
		case r >= 0xFF61 && r <= 0xFF9F: // half-width kana, of one byte each
			w.hot += rareCharacter
			w.odd++
		case unicode.In(r, unicode.Hiragana, unicode.Katakana) && t.name == "ja":
			w.hot += kana
		case t.common[r]:
			w.hot += commonCharacter
		case unicode.Is(unicode.Han, r) && t.name != "ko", unicode.Is(unicode.Hangul, r) && t.name == "ko":
			w.hot += rareCharacter
		case r >= 0x3000 && r <= 0x303F || r >= 0xFF00 && r <= 0xFF5E || isPlainSign(r) || r == '‥' || r == 'ー':
			w.hot += wideSign
		default:
			w.hot += alienCharacter
			w.odd++
		}
	}
	return w
}

// differing counts the characters in which two readings of a sample differ.
func differing(a, b string) int {
	x, y := []rune(a), []rune(b)
	n := 0
	for i, r := range x {
		if len(x) == len(y) && r != y[i] || len(x) != len(y) && r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}
