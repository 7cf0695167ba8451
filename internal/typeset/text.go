package typeset

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// char is a character of a cue, with what is known of it.
type char struct {
	r    rune
	mark mark
	word int // of the cue's words, or noWord
}

const noWord = -1

// mark is how a character differs from the style.
type mark struct {
	caption.Look
	// upright and light take back what the style or the file says.
	upright, light bool
}

// chars takes a cue apart. What cannot be drawn is left out; case, emoji and
// word styles are settled here.
func (s *setter) chars(c *caption.Cue) []char {
	text := s.raw[:0]
	span, word := 0, 0
	for i, r := range c.Text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(c.Text[i:]); size == 1 {
				continue
			}
		}
		r, ok := caption.Clean(r)
		if !ok {
			continue
		}
		for span < len(c.Spans) && c.Spans[span].To <= i {
			span++
		}
		for word < len(c.Words) && c.Words[word].To <= i {
			word++
		}
		next := char{r: r, word: noWord}
		if span < len(c.Spans) && c.Spans[span].From <= i {
			next.mark.Look = c.Spans[span].Look
		}
		if word < len(c.Words) && c.Words[word].From <= i {
			next.word = word
		}
		text = append(text, next)
	}
	s.raw = text
	holdTogether(text)
	if s.look.emoji == apigpu.EmojiStrip {
		text = s.stripEmoji(text)
	}
	text = tidy(text)
	for _, w := range s.look.wordStyles {
		w.find(text, w.mark)
	}
	if s.look.transform != nil {
		text = transformed(text, s.look.transform, s.look.titles)
	}
	return text
}

// holdTogether gives characters of no word to the word that they touch, so
// that a comma has the look of the word before it.
func holdTogether(text []char) {
	for i := 1; i < len(text); i++ {
		if text[i].word == noWord && !isSpace(text[i].r) && !isSpace(text[i-1].r) {
			text[i].word = text[i-1].word
		}
	}
	for i := len(text) - 2; i >= 0; i-- {
		if text[i].word == noWord && !isSpace(text[i].r) && !isSpace(text[i+1].r) {
			text[i].word = text[i+1].word
		}
	}
}

// tidy removes spaces at the ends of lines and empty lines, and makes several
// spaces one.
func tidy(text []char) []char {
	out := text[:0]
	for _, c := range text {
		if isSpace(c.r) {
			if len(out) == 0 {
				continue
			}
			switch last := &out[len(out)-1]; {
			case isSpace(last.r) && c.r == '\n':
				last.r = '\n'
				continue
			case isSpace(last.r):
				continue
			}
		}
		out = append(out, c)
	}
	if n := len(out); n > 0 && isSpace(out[n-1].r) {
		out = out[:n-1]
	}
	return out
}

// isSpace: a line may break here. The no-break spaces are not among them.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) && r != '\u00a0' && r != '\u202f' && r != '\u2007'
}

// transformed changes the case of text, stretch by stretch of one look, because
// the number of characters may change with it. With titles, what is not the
// beginning of a word stays.
func transformed(text []char, change func(string) string, titles bool) []char {
	out := make([]char, 0, len(text))
	for from := 0; from < len(text); {
		to := from + 1
		for to < len(text) && text[to].word == text[from].word && text[to].mark == text[from].mark &&
			isSpace(text[to].r) == isSpace(text[from].r) {
			to++
		}
		like := text[from]
		if isSpace(like.r) || titles && from > 0 && !isSpace(text[from-1].r) {
			out = append(out, text[from:to]...)
		} else {
			for _, r := range change(stringOf(text[from:to])) {
				like.r = r
				out = append(out, like)
			}
		}
		from = to
	}
	return out
}

func stringOf(text []char) string {
	var b strings.Builder
	for _, c := range text {
		b.WriteRune(c.r)
	}
	return b.String()
}

// mark changes how a character looks.
func (w wordStyle) mark(m *mark) {
	if w.Color != "" {
		m.Color = colorOf(w.Color).Hex()
	}
	if w.Bold != nil {
		m.Bold, m.light = *w.Bold, !*w.Bold
	}
	if w.Italic != nil {
		m.Italic, m.upright = *w.Italic, !*w.Italic
	}
	if w.Underline != nil {
		m.Underline = *w.Underline
	}
}

// find calls change for each character of text that is of the word or phrase.
func (w wordStyle) find(text []char, change func(*mark)) {
	inWord := func(i int) bool {
		return i >= 0 && i < len(text) && (unicode.IsLetter(text[i].r) || unicode.IsDigit(text[i].r) || unicode.IsMark(text[i].r))
	}
	for from := range text {
		to := from
		for _, r := range w.match {
			if to >= len(text) || unicode.ToLower(text[to].r) != r && !(r == ' ' && isSpace(text[to].r)) {
				to = -1
				break
			}
			to++
		}
		if to < 0 || inWord(from-1) && inWord(from) || inWord(to) && inWord(to-1) {
			continue
		}
		for i := from; i < to; i++ {
			change(&text[i].mark)
		}
	}
}
