package subtitle

import (
	"strings"
	"unicode"

	"github.com/wlynxg/chardet"
	"golang.org/x/text/encoding/charmap"
)

// Whether bytes are Windows-1252 can only be judged by what they would spell.
// Detectors by letter frequency answer "Windows-1252" for Croatian and
// Turkish files alike (measured: chardet gives 0.73 to each), so they are
// asked only about scripts they do know well, and the languages of Western
// Europe are told from their neighbours by their own alphabets and spelling.

// Thresholds of the judgement. They lean to refusal: a refused file costs its
// owner a click in an editor, a wrong guess costs a video.
const (
	// sureOfScript is the least confidence at which chardet is believed;
	// right answers for Cyrillic, Greek and East Asian files measured 0.92
	// and more.
	sureOfScript = 0.85
	// strangers is one accented letter in how many may be foreign to the
	// language of a file: names like Björn in a Portuguese one.
	strangers = 30
	// looseLetters is one letter in how many may be accented for a file to
	// pass as a language without accents, English above all.
	looseLetters = 150
	// oddities is one letter in how many may break a rule of spelling.
	oddities = 12
)

// notWestern returns why b, which is not UTF-8, is not read as Windows-1252:
// the name of a likelier encoding. It returns "" where Windows-1252 is
// plausible.
func notWestern(b []byte) string {
	// The five bytes that Windows-1252 leaves undefined.
	if hasUndefined(b) {
		return nameOr(b, "a code page of another region")
	}
	if name := chardetScript(b); name != "" {
		return name
	}
	text, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return "a code page of another region"
	}
	s := survey(string(text))
	switch {
	case s.symbolsInWords > 0 && s.symbolsInWords*oddities > s.accented:
		return nameOr(b, "a code page of DOS, of the Macintosh or of another region")
	case s.foreignWords > 0 && s.foreignWords*oddities > s.words:
		return nameOr(b, "the encoding of another script")
	case s.accented > 0 && !s.spellsWestern():
		return "Windows-1250, Windows-1254 or a code page of another region"
	}
	return ""
}

func hasUndefined(b []byte) bool {
	for _, c := range b {
		switch c {
		case 0x81, 0x8D, 0x8F, 0x90, 0x9D:
			return true
		}
	}
	return false
}

// chardetScript returns the encoding of another script that chardet is sure
// of, or "". Its opinion on Latin encodings is not asked for.
func chardetScript(b []byte) string {
	r := chardet.Detect(b)
	latin := []string{"", "ascii", "utf-8", "iso-8859-1", "iso-8859-2", "iso-8859-9", "windows-1250",
		"windows-1252", "windows-1254", "macroman"}
	for _, name := range latin {
		if strings.EqualFold(r.Encoding, name) {
			return ""
		}
	}
	if r.Confidence < sureOfScript {
		return ""
	}
	return r.Encoding
}

func nameOr(b []byte, otherwise string) string {
	if name := chardetScript(b); name != "" {
		return name
	}
	return otherwise
}

// letterSurvey counts what tells languages apart.
type letterSurvey struct {
	letters, accented int
	// byLetter counts the accented letters, in lower case.
	byLetter map[rune]int
	// odd counts, for a letter, how often it stands where the spelling of
	// its Western language would not have it.
	odd map[rune]int
	// symbolsInWords counts signs that stand between two letters, or before
	// or after one, where no language puts them.
	symbolsInWords int
	// words counts those of two letters and more with an accented one;
	// foreignWords those that are made of different accented letters only.
	words, foreignWords int
	// openQuestions counts ¿ without a ? to close it.
	openQuestions int
}

func survey(text string) letterSurvey {
	s := letterSurvey{byLetter: map[rune]int{}, odd: map[rune]int{}}
	runes := []rune(text)
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return ' '
		}
		return unicode.ToLower(runes[i])
	}
	for i := range runes {
		r := at(i)
		switch {
		case isLetter(r):
			s.letters++
			if r > unicode.MaxASCII {
				s.accented++
				s.byLetter[r]++
				if misspelt(r, at(i-1), at(i+1), at(i+2)) {
					s.odd[r]++
				}
			}
		case r > unicode.MaxASCII && signInWord(r, at(i-1), at(i+1)):
			s.symbolsInWords++
		case r == '¿':
			s.openQuestions++
		case r == '?':
			s.openQuestions--
		}
	}
	s.surveyWords(text)
	if s.openQuestions > 0 {
		s.symbolsInWords += s.openQuestions
	}
	return s
}

func (s *letterSurvey) surveyWords(text string) {
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !isLetter(r) }) {
		var accented, run, longest, n int
		var last rune
		for _, r := range word {
			n++
			if r <= unicode.MaxASCII {
				run, last = 0, 0
				continue
			}
			accented++
			if r != last { // "Ååå!" is a scream, not another script
				run++
			}
			last = r
			longest = max(longest, run)
		}
		if accented == 0 || n < 2 {
			continue
		}
		s.words++
		if longest >= 3 || longest == n && !strings.Contains(" þú þá þó ", " "+word+" ") { // Icelandic
			s.foreignWords++
		}
	}
}

// isLetter counts ª and º as signs: in Windows-1252 they follow numbers and
// abbreviations, and stand within no word.
func isLetter(r rune) bool {
	return unicode.IsLetter(r) && r != 'ª' && r != 'º' && r != 'µ' && r != 'ƒ' && r != 'ˆ'
}

// signInWord reports whether a sign stands where only another encoding puts
// a letter: 0xB3 is ³ here and ł in Windows-1250, 0x82 is ‚ here and é on DOS.
func signInWord(r, before, after rune) bool {
	inside := isLetter(before) && isLetter(after)
	switch r {
	case '’', '‘', '–', '—', '…', '\u00a0', '\u00ad', '·', '´':
		return false
	case '¹', '¾', '¼', '¯', '¶', '‹', '†', '‡', 'ˆ', '‰', '¤', '¦', '¬':
		return isLetter(before) || isLetter(after)
	case '³':
		return inside || (isLetter(before) && before != 'm') || isLetter(after)
	case 'º', 'ª':
		return isLetter(after)
	case '¿', '¡':
		return isLetter(before)
	}
	return inside
}

// misspelt reports whether the accented letter r stands between before and
// after (and after that next) as no Western language writes it, but as a
// neighbour does whose encoding has another letter at the same byte.
func misspelt(r, before, after, next rune) bool {
	end := !isLetter(after)
	switch r {
	case 'õ': // Portuguese õe; ő in Hungarian. Estonian is looked at apart.
		return after != 'e'
	case 'ã': // Portuguese ão, ãe, final ã and ãs; Romanian să, că, -tă
		return end && strings.ContainsRune("sct", before) || !end && !strings.ContainsRune("oesz", after)
	case 'â': // ā in Latvian, which ends words and stands before j, k, r, v
		return end || !strings.ContainsRune("tcmglnpsbqiz", after)
	case 'è': // č in Czech, Croatian, Slovene, Lithuanian
		return before == 'a' || before == 'e' || before == 'è'
	case 'æ': // after a vowel it is ć
		return strings.ContainsRune("aeiouyœ", before)
	case 'ì', 'ò', 'ù': // final in Italian, French où; ě, ň and ů in Czech
		return !end
	case 'œ': // œu, œi, œd...; ś in Polish
		return !strings.ContainsRune("uiedtsnc", after) || (after == 'c' && end)
	case 'ð': // never begins a word in Icelandic; đ does in Croatian
		return !isLetter(before)
	case 'û': // ű in Hungarian, ū in Baltic languages: û stands before t, r, l, m, s, c in French
		return end || !strings.ContainsRune("trlmscnxg", after)
	case 'ñ': // ń in Polish stands before consonants and at the end
		return end || !strings.ContainsRune("aeiouáéíóúü", after)
	case 'ê': // ę in Polish ends words and stands before consonant pairs
		return end && before != 'v' && before != 'l' && before != 'r' && before != 'b' && before != 'c' && before != 't' && before != 'u'
	case 'ø': // ř in Czech
		return next == 'ø' || strings.ContainsRune("íìáè", after)
	case 'š', 'ž', 'ÿ': // at home in Windows-1250, guests here
		return true
	}
	return false
}

// alphabet is one Western language: the accented letters it uses in
// Windows-1252, and the rules of spelling it is free from.
type alphabet struct {
	language string
	letters  string
	// free lists the letters that misspelt does not judge here.
	free string
	// needs lists letters of which at least one must occur, if any does:
	// without them the text fits another language better.
	needs string
}

// alphabets are the languages that are read as Windows-1252.
func alphabets() []alphabet {
	return []alphabet{
		{language: "Portuguese", letters: "áâãàçéêíóôõúü"},
		{language: "Spanish", letters: "áéíñóúü"},
		{language: "French", letters: "àâæçéèêëîïôœùûüÿ"},
		{language: "Italian", letters: "àèéìíîòóùú"},
		{language: "German", letters: "äöüßé"},
		{language: "Dutch", letters: "éëïöüèêáóí"},
		{language: "Danish or Norwegian", letters: "æøåéóòôüöä", free: "ò"},
		{language: "Swedish or Finnish", letters: "åäöéü"},
		{language: "Estonian", letters: "äõöü", free: "õ", needs: "ä"},
		{language: "Icelandic", letters: "áðéíóúýþæö", needs: "áíéúóæ"},
		{language: "Catalan", letters: "àçèéíïòóúü", free: "ò"},
		{language: "Albanian", letters: "ëç"},
	}
}

// spellsWestern reports whether the accented letters are those of one Western
// language, used as it uses them, or the few of borrowed words and names.
func (s letterSurvey) spellsWestern() bool {
	for _, a := range alphabets() {
		if s.fits(a) {
			return true
		}
	}
	if s.accented*looseLetters > s.letters {
		return false
	}
	return s.fits(alphabet{letters: "áàâäãåæçéèêëíïñóôöøüúß"})
}

func (s letterSurvey) fits(a alphabet) bool {
	var foreign, odd, needed int
	for r, n := range s.byLetter {
		if !strings.ContainsRune(a.letters, r) {
			foreign += n
			continue
		}
		if !strings.ContainsRune(a.free, r) {
			odd += s.odd[r]
			// A letter that is mostly in the wrong place is another letter,
			// however rare it is.
			if s.odd[r]*2 > n {
				return false
			}
		}
		if strings.ContainsRune(a.needs, r) {
			needed += n
		}
	}
	if a.needs != "" && needed*oddities < s.accented {
		return false
	}
	return foreign*strangers <= s.accented && odd*oddities <= s.accented
}
