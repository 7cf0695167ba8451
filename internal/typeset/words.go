package typeset

import (
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// estimate gives the words of each cue times, where the file has none, in
// proportion to their length, and says where the times come from.
func estimate(cues []caption.Cue) caption.Timing {
	timing := caption.TimedWords
	for i := range cues {
		if c := &cues[i]; len(c.Words) == 0 && c.End > c.Start {
			c.Words = joinSigns(c.Text, wordsOf(c))
			timing = caption.Estimated
		}
	}
	return timing
}

// wordsOf times the words of a cue: what spaces part, and signs in scripts
// without spaces.
func wordsOf(c *caption.Cue) []caption.Word {
	var words []caption.Word
	var weights []int
	total, from := 0, -1
	flush := func(to int) {
		if from >= 0 {
			w := 2 + utf8.RuneCountInString(c.Text[from:to])
			words, weights, total = append(words, caption.Word{From: from, To: to}), append(weights, w), total+w
		}
		from = -1
	}
	var before rune
	for i, r := range c.Text {
		switch {
		case unicode.IsSpace(r):
			flush(i)
		case from >= 0 && signBreak(before, r, maxSigns):
			flush(i)
			from = i
		case from < 0:
			from = i
		}
		before = r
	}
	flush(len(c.Text))
	done := 0
	at := func() time.Duration {
		return c.Start + time.Duration(float64(c.End-c.Start)*float64(done)/float64(total))
	}
	for i := range words {
		words[i].Start = at()
		done += weights[i]
		words[i].End = at()
	}
	return words
}

// joinSigns makes words of signs that stand side by side: a single kana that
// lights up, or a Thai consonant, is less than what is spoken.
func joinSigns(text string, words []caption.Word) []caption.Word {
	out := words[:0]
	for _, w := range words {
		if n := len(out) - 1; n >= 0 && out[n].To == w.From {
			before, _ := utf8.DecodeLastRuneInString(text[:w.From])
			r, _ := utf8.DecodeRuneInString(text[w.From:])
			if !signBreak(before, r, utf8.RuneCountInString(text[out[n].From:out[n].To])) {
				out[n].To, out[n].End = w.To, w.End
				continue
			}
		}
		out = append(out, w)
	}
	return out
}

// signBreak reports whether a word begins with r, right after before, in a
// script that puts no space between words. Only a dictionary knows; this goes
// by where the kinds of letters change, and makes no word long.
func signBreak(before, r rune, length int) bool {
	switch {
	case !unicode.IsLetter(r) && !unicode.IsDigit(r):
		return false
	case isUnspaced(before):
		return beginsSyllable(before, r) && (strainOf(before, r) < 0.1 || length >= maxSigns)
	case !isWide(before) || unicode.Is(unicode.Hangul, before):
		return false
	case unicode.Is(unicode.Katakana, before) && unicode.Is(unicode.Katakana, r), oneOf("ぁぃぅぇぉっゃゅょー", r):
		return false
	case unicode.Is(unicode.Hiragana, r):
		return length >= maxSigns
	}
	return true
}

// maxSigns is how many signs make a word at most, about.
const maxSigns = 5
