package typeset

import (
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
			c.Words = joinSigns(c.Text, caption.TimeWords(c.Text, c.Start, c.End, nil))
			timing = caption.Estimated
		}
	}
	return timing
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
