package caption

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule changes text wherever it stands.
type Rule struct {
	// Find is the text to look for, letter by letter, or with Regexp an
	// expression of RE2, whose groups Replace may name as $1.
	Find, Replace string
	Regexp        bool
	// Word wants no letter or digit right before and after.
	Word bool
}

// ErrTooLong tells that replacing made a cue longer than its bound.
var ErrTooLong = errors.New("a replacement makes a caption too long")

// ReplaceText applies rules one after the other. The looks and times of what
// is not replaced stay; new words share the time of those that they replace.
// A cue of which nothing is left is dropped and counted. most bounds the
// characters of a cue. The error is ErrTooLong, or that of an expression.
func ReplaceText(cues []Cue, rules []Rule, most int) ([]Cue, Notes, error) {
	if len(rules) == 0 {
		return cues, nil, nil
	}
	var notes Notes
	finders := make([]finder, len(rules))
	for i, r := range rules {
		f, err := newFinder(r)
		if err != nil {
			return nil, nil, err
		}
		finders[i] = f
	}
	found := make([]int, len(rules))
	kept := make([]Cue, 0, len(cues))
	for _, c := range cues {
		was := c.Text
		for i, f := range finders {
			edits := f.edits(c.Text)
			if len(edits) == 0 {
				continue
			}
			found[i] += len(edits)
			c = c.edited(edits)
			if utf8.RuneCountInString(c.Text) > most {
				return nil, nil, fmt.Errorf("%w: line %d", ErrTooLong, c.Line)
			}
		}
		if c.Text != was {
			notes.Add(Replaced, c.Line)
			c = c.edited(untidy(c.Text))
			if c.Text == "" {
				notes.Add(Emptied, c.Line)
				continue
			}
		}
		kept = append(kept, c)
	}
	for i, n := range found {
		if n == 0 {
			notes.Say(Unfound, rules[i].Find)
		}
	}
	return kept, notes, nil
}

// edit puts other text in place of text[from:to].
type edit struct {
	from, to int
	text     string
}

// finder finds what a rule replaces.
type finder struct {
	rule Rule
	re   *regexp.Regexp
}

func newFinder(r Rule) (finder, error) {
	f := finder{rule: r}
	if !r.Regexp {
		return f, nil
	}
	var err error
	if f.re, err = regexp.Compile(r.Find); err != nil {
		return f, fmt.Errorf("replace %.80q: %w", r.Find, err)
	}
	return f, nil
}

// edits returns what the rule changes in text, from left to right.
func (f finder) edits(text string) (out []edit) {
	add := func(from, to int, with string) {
		if to > from && (!f.rule.Word || wordAt(text, from, to)) { // an empty match replaces nothing
			out = append(out, edit{from, to, clean(with)})
		}
	}
	if f.re != nil {
		for _, m := range f.re.FindAllStringSubmatchIndex(text, -1) {
			add(m[0], m[1], string(f.re.ExpandString(nil, f.rule.Replace, text, m)))
		}
		return out
	}
	if f.rule.Find == "" {
		return nil
	}
	for at := 0; ; {
		i := strings.Index(text[at:], f.rule.Find)
		if i < 0 {
			return out
		}
		from := at + i
		at = from + len(f.rule.Find)
		add(from, at, f.rule.Replace)
	}
}

// wordAt reports whether text[from:to] is not a part of a longer word.
func wordAt(text string, from, to int) bool {
	inWord := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) || r == '_'
	}
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	first, _ := utf8.DecodeRuneInString(text[from:to])
	last, _ := utf8.DecodeLastRuneInString(text[from:to])
	return !(inWord(before) && inWord(first)) && !(inWord(after) && inWord(last))
}

// clean keeps of a text what a cue may hold.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r, ok := Clean(r); ok {
			b.WriteRune(r)
		}
	}
	return b.String()
}

var untidiness = regexp.MustCompile(`(?:^|\n)[ \n]+|[ \n]+$|[ ]+\n[ \n]*|[ ]{2,}`)

// untidy returns the edits that make a text one of trimmed lines, none blank,
// with single spaces.
func untidy(text string) (out []edit) {
	for _, m := range untidiness.FindAllStringIndex(text, -1) {
		with := ""
		switch inside := m[0] > 0 && m[1] < len(text); {
		case inside && strings.Contains(text[m[0]:m[1]], "\n"):
			with = "\n"
		case inside:
			with = " "
		}
		if text[m[0]:m[1]] != with {
			out = append(out, edit{m[0], m[1], with})
		}
	}
	return out
}

// edited returns the cue with edits made, which are sorted and apart. Its
// spans and words move along.
func (c Cue) edited(edits edits) Cue {
	if len(edits) == 0 {
		return c
	}
	m := newShifts(edits)
	old := c.Text
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(old[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	b.WriteString(old[at:])
	c.Text = b.String()

	var spans []Span
	for _, s := range c.Spans {
		s.From, s.To = m.moved(s.From, false), m.moved(s.To, true)
		if n := len(spans); n > 0 {
			s.From = max(s.From, spans[n-1].To)
		}
		if s.To > s.From {
			spans = append(spans, s)
		}
	}
	c.Spans = spans
	if len(c.Words) > 0 {
		marks := make([]Mark, 0, 2*len(c.Words))
		for _, w := range c.Words {
			// The times within what is replaced are gone with it.
			if !m.inside(w.From) {
				marks = append(marks, Mark{m.moved(w.From, false), w.Start})
			}
			if !m.inside(w.To) {
				marks = append(marks, Mark{m.moved(w.To, true), w.End})
			}
		}
		slices.SortStableFunc(marks, func(a, b Mark) int { return a.At - b.At })
		c.Words = TimeWords(c.Text, c.Start, c.End, marks)
	}
	return c
}

// edits are sorted, and apart.
type edits []edit

// before returns how many edits end at or before the byte at, and by how much
// they move it.
func (m shifts) before(at int) (n, by int) {
	n = sort.Search(len(m.edits), func(i int) bool { return m.edits[i].to > at })
	return n, m.by[n]
}

// shifts are edits, and by how much each moves what follows.
type shifts struct {
	edits edits
	by    []int // by[n] is what the first n do
}

func newShifts(list edits) shifts {
	m := shifts{edits: list, by: make([]int, 1, len(list)+1)}
	for _, e := range list {
		m.by = append(m.by, m.by[len(m.by)-1]+len(e.text)-(e.to-e.from))
	}
	return m
}

// inside reports whether the byte at is within an edit, and not at its ends.
func (m shifts) inside(at int) bool {
	n, _ := m.before(at)
	return n < len(m.edits) && m.edits[n].from < at
}

// moved returns where the byte at in the old text is in the new one. Within an
// edit it is its start, or with end its end.
func (m shifts) moved(at int, end bool) int {
	n, by := m.before(at)
	switch {
	case n == len(m.edits) || m.edits[n].from >= at:
		return at + by
	case end:
		return m.edits[n].from + by + len(m.edits[n].text)
	}
	return m.edits[n].from + by
}
