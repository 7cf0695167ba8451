package caption

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// Split returns the words of text, without times: what white space separates,
// its punctuation included, so that nothing parts a word from its comma. In
// scripts that put no space between words, a word is what a reader takes for
// one sign: a character with what belongs to it.
func Split(text string) []Word {
	var words []Word
	from, glue := -1, false // where the open word begins; it ends in an opening sign
	var last rune
	for i, r := range text {
		switch {
		case unicode.IsSpace(r):
			if from >= 0 {
				words = append(words, Word{From: from, To: i})
			}
			from, glue, last = -1, false, 0
			continue
		case from < 0:
			from = i
		case !glue && breaksBefore(last, r):
			words = append(words, Word{From: from, To: i})
			from = i
		}
		glue = unicode.In(r, unicode.Ps, unicode.Pi) || leadingVowel(r)
		if !unicode.In(r, unicode.Mn, unicode.Mc, unicode.Cf) {
			last = r
		}
	}
	if from >= 0 {
		words = append(words, Word{From: from, To: len(text)})
	}
	return words
}

// breaksBefore reports whether a word may begin with r right after last,
// without a space.
func breaksBefore(last, r rune) bool {
	switch {
	case follows(r):
		return false
	case unspaced(r):
		return true
	}
	return unspaced(last) && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.In(r, unicode.Ps, unicode.Pi))
}

// unspaced reports whether r is of a script that is written without spaces.
func unspaced(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// follows reports whether r belongs to the character before it: accents,
// vowel signs, small and long kana, repetition marks.
func follows(r rune) bool {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Mc, unicode.Cf):
		return true
	case r == 'ะ' || r == 'า' || r == 'ำ' || r == 'ๅ' || r == 'ๆ' || r == 'ฯ' || r == 'ະ' || r == 'າ' || r == 'ຳ':
		return true
	}
	switch r {
	case 'ぁ', 'ぃ', 'ぅ', 'ぇ', 'ぉ', 'っ', 'ゃ', 'ゅ', 'ょ', 'ゎ', 'ァ', 'ィ', 'ゥ', 'ェ', 'ォ', 'ッ', 'ャ', 'ュ', 'ョ', 'ヮ', 'ー', '々', 'ゝ', 'ゞ', 'ヽ', 'ヾ', 'ン', 'ん':
		return true
	}
	return false
}

// leadingVowel reports whether r is a vowel that Thai or Lao write before the
// consonant it is spoken after.
func leadingVowel(r rune) bool { return r >= 'เ' && r <= 'ไ' || r >= 'ເ' && r <= 'ໄ' }

// What characters take of the time of a cue, in letters.
const (
	wordWeight     = 2 // each word, whatever its length
	signWeight     = 3 // a character that is a syllable
	letterWeight   = 1
	shortPause     = 3 // after , ; :
	longPause      = 6 // after . ! ?
	oneOtherWeight = 0
)

// weigh returns what a character takes to speak, and the pause after it.
func weigh(r rune) (spoken, pause int) {
	switch {
	case r == ',' || r == ';' || r == ':' || r == '、' || r == '，' || r == '；' || r == '：' || r == '،' || r == '–' || r == '—':
		return 0, shortPause
	case r == '.' || r == '!' || r == '?' || r == '…' || r == '。' || r == '！' || r == '？' || r == '؟' || r == '।' || r == '\u037e':
		return 0, longPause
	case unicode.In(r, unicode.Mn, unicode.Mc, unicode.Cf):
		return 0, 0
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
		return signWeight, 0
	case unicode.IsLetter(r):
		return letterWeight, 0
	case unicode.IsDigit(r): // "1999" is more than four letters long
		return 2 * letterWeight, 0
	}
	return oneOtherWeight, 0
}

// Mark says that the text from byte At on is spoken from Time on.
type Mark struct {
	At   int
	Time time.Duration
}

// TimeWords returns the words of a text that is spoken from start to end, with
// times. marks, in the order of At, say more about some of it; between them
// the words share the time by their length, with a pause at punctuation. It is
// an estimate where there are no marks.
func TimeWords(text string, start, end time.Duration, marks []Mark) []Word {
	words := Split(text)
	if len(words) == 0 || end <= start {
		return nil
	}
	s := stretch{text: text, from: 0, start: start}
	rest := words
	for _, m := range marks {
		at := min(max(m.At, s.from), len(text))
		rest = s.share(rest, at, min(max(m.Time, s.start), end))
	}
	s.share(rest, len(text), end)
	return words
}

// stretch is a part of a text whose times are known at both ends.
type stretch struct {
	text  string
	from  int
	start time.Duration
}

// share gives the words their times in the stretch up to byte to and time end,
// and begins the next one there. words are those that do not end before it;
// those that do not end within it are returned.
func (s *stretch) share(words []Word, to int, end time.Duration) []Word {
	total := 0
	for i, w := range words {
		if w.From >= to {
			break
		}
		spoken, pause := s.weight(w, s.from, to)
		total += spoken
		if i+1 < len(words) && words[i+1].From < to { // the pause after the last word is the cue's end
			total += pause
		}
	}
	done := 0
	at := func() time.Duration {
		if total == 0 {
			return s.start
		}
		span := float64(end - s.start)
		return min(s.start+time.Duration(span*float64(done)/float64(total)), end)
	}
	ended := 0
	for i := range words {
		w := &words[i]
		if w.From >= to {
			break
		}
		spoken, pause := s.weight(*w, s.from, to)
		if w.From >= s.from {
			w.Start = at()
		}
		done += spoken
		w.End = at()
		done += pause
		if w.To <= to {
			ended = i + 1
		} else {
			w.End = end
		}
	}
	s.from, s.start = max(to, s.from), end
	return words[ended:]
}

// weight weighs the part of a word between two bytes of the text.
func (s *stretch) weight(w Word, from, to int) (spoken, pause int) {
	from, to = max(w.From, from), min(w.To, to)
	if from == w.From {
		spoken = wordWeight
	}
	for from < to {
		r, size := utf8.DecodeRuneInString(s.text[from:])
		add, rest := weigh(r)
		spoken += add
		if pause = max(pause, rest); add > 0 {
			pause = 0 // "3.5" and "e.g" hold no pause
		}
		from += size
	}
	return spoken, pause
}

// Estimate gives the words of each cue times, where the file has none, in
// proportion to their length. It says where the times of the words come from.
func Estimate(cues []Cue) Timing {
	timing := TimedWords
	for i := range cues {
		if c := &cues[i]; len(c.Words) == 0 {
			c.Words = TimeWords(c.Text, c.Start, c.End, nil)
			timing = Estimated
		}
	}
	return timing
}

// TimingOf says what is timed in cues.
func TimingOf(cues []Cue) Timing {
	for _, c := range cues {
		if len(c.Words) > 0 {
			return TimedWords
		}
	}
	return TimedCues
}

// fitWords keeps the words of a cue within its times. One that is spoken before
// it begins, or after its end, keeps no time of its own, and stays in the list:
// a list covers every word or none.
func (c *Cue) fitWords() {
	for i := range c.Words {
		w := &c.Words[i]
		w.Start, w.End = min(max(w.Start, c.Start), c.End), min(max(w.End, c.Start), c.End)
	}
}
