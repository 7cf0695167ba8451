package subtitle

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// How words become captions (facts: two lines of 42 characters, 7 seconds).
const (
	groupChars   = 84
	longestGroup = 7 * time.Second
	// longPause ends a caption, and shortPause one whose sentence is over.
	longPause  = 800 * time.Millisecond
	shortPause = 250 * time.Millisecond
	// sentenceChars is what a sentence has to have to stand alone where the
	// next follows at once.
	sentenceChars = 24
)

// group parts words into captions: at pauses, at the ends of sentences, at
// another speaker, and before a caption becomes too long to read. One that is
// too long is parted at its last comma, where that is not far back.
func group(tokens []token) (groups [][]token) {
	for len(tokens) > 0 {
		n := groupLength(tokens)
		groups = append(groups, tokens[:n:n])
		tokens = tokens[n:]
	}
	return groups
}

// groupLength returns how many words the first caption has, at least one.
func groupLength(tokens []token) int {
	chars, comma := 0, 0
	for i, t := range tokens {
		width := utf8.RuneCountInString(t.text)
		if noSpaceBetween(firstRune(t.text)) {
			width *= 2
		}
		if !t.glued {
			width++
		}
		if i > 0 {
			before := tokens[i-1]
			pause := t.start - before.end
			ended := endsSentence(before.text)
			switch {
			case t.glued && !noSpaceBetween(firstRune(t.text)): // within a word
			case t.speaker != before.speaker, pause >= longPause,
				ended && (chars >= sentenceChars || pause >= shortPause):
				return i
			case chars+width > groupChars || t.end-tokens[0].start > longestGroup:
				if comma*2 > i {
					return comma
				}
				return i
			}
		}
		chars += width
		if strings.ContainsAny(lastRune(t.text), ",;:，、；") {
			comma = i + 1
		}
	}
	return len(tokens)
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func lastRune(s string) string {
	_, size := utf8.DecodeLastRuneInString(s)
	return s[len(s)-size:]
}

func endsSentence(word string) bool {
	word = strings.TrimRight(word, `"'”’»)]`)
	return strings.ContainsAny(lastRune(word), ".!?…。！？؟।")
}

// cueOf makes a cue of the words of a caption.
func cueOf(tokens []token) caption.Cue {
	var text strings.Builder
	var marks []caption.Mark
	for i, t := range tokens {
		if i > 0 && !t.glued {
			text.WriteByte(' ')
		}
		marks = append(marks, caption.Mark{At: text.Len(), Time: t.start})
		text.WriteString(t.text)
		marks = append(marks, caption.Mark{At: text.Len(), Time: t.end})
	}
	c := caption.Cue{Text: text.String(), Start: tokens[0].start, End: tokens[len(tokens)-1].end, Speaker: tokens[0].speaker}
	c.Words = caption.TimeWords(c.Text, c.Start, c.End, marks)
	return c
}

// giveWords times the words of a cue that has its own text. Words are looked
// for in it one after the other; where most are not there, they are those of
// another text, and are ignored.
func (r *reading) giveWords(c *caption.Cue, tokens []token) {
	if len(tokens) == 0 || c.End <= c.Start {
		return
	}
	var marks []caption.Mark
	at, found := 0, 0
	for _, t := range tokens {
		i := strings.Index(c.Text[at:], t.text)
		if i < 0 || i > 200 {
			continue
		}
		found++
		marks = append(marks, caption.Mark{At: at + i, Time: t.start}, caption.Mark{At: at + i + len(t.text), Time: t.end})
		at += i + len(t.text)
	}
	if found*2 < len(tokens) {
		r.notes.Add(caption.WordsIgnored, 0)
		return
	}
	c.Words = caption.TimeWords(c.Text, c.Start, c.End, marks)
}

// sameText reports whether words are a text, but for its spaces.
func sameText(text string, tokens []token) bool {
	squeeze := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, s)
	}
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return squeeze(text) == squeeze(b.String())
}
