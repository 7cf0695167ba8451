// Package caption holds the words of captions, and what is decided about
// their times. Package subtitle makes a Document from a file's bytes, package
// typeset a script for libass from its cues; neither knows the other.
//
// It is pure: values in, values out.
package caption

import (
	"time"
	"unicode"
)

// Format is what a subtitle file is written in.
type Format string

// The formats that are read.
const (
	SRT    Format = "srt"    // SubRip, and whatever people take for it
	WebVTT Format = "webvtt" // https://www.w3.org/TR/webvtt1/
	ASS    Format = "ass"    // Advanced SubStation Alpha, and SubStation Alpha
	JSON   Format = "json"   // words or captions with times; see package subtitle
)

// Timing says where the times of the words come from.
type Timing string

// The sources of word times.
const (
	TimedCues  Timing = "cues"      // no words: only whole cues are timed
	TimedWords Timing = "words"     // the file times its words
	Estimated  Timing = "estimated" // made from the lengths of the words
)

// Document is what a subtitle file says.
type Document struct {
	// Cues are sorted by Start; those with equal starts keep their order in
	// the file. Every one has text, Start >= 0 and End > Start.
	Cues []Cue
	// Script is the file's own script, made safe to draw, where Format is ASS
	// and the file is drawn as it is styled. Its events are those of Cues.
	Script []byte
	Format Format
	// Charset is the encoding the file was read in, such as "utf-8",
	// "utf-16le" or "windows-1252".
	Charset string
	// Confidence is how sure the charset is: 1 where the file or its sender
	// says it, less where it was told from the text.
	Confidence float64
	// CuesIn counts the cues met in the file. CuesIn - len(Cues) equals the
	// sum of the counts of the notes whose code begins with "cue_dropped", less
	// that of SplitCue.
	CuesIn int
	// Notes tell what was mended, guessed or dropped, in a fixed order.
	Notes Notes
}

// Cue is one caption: the text shown on the frames from Start up to, and not
// including, End.
type Cue struct {
	Start, End time.Duration
	// Text is plain text: lines joined by \n, no markup, no control
	// characters, no blank line, in Unicode NFC.
	Text string
	// Spans mark the parts of Text that look different. They are sorted and
	// do not overlap.
	Spans []Span
	// Words are the times of the words of Text, where they are known: sorted,
	// without overlap in Text or in time, within Start and End. It is empty,
	// or covers every word of Text.
	Words []Word
	// Align is a position as on a numeric keypad (1 bottom left ... 9 top
	// right), or 0 for the position of the style.
	Align int
	// Place is where the file itself puts the cue, or nil.
	Place *Place
	// Speaker is who says it, where the file tells.
	Speaker string
	// Line is where the cue begins in the file, from 1; 0 where lines mean
	// nothing.
	Line int
}

// Word is when Text[From:To] is spoken.
type Word struct {
	From, To   int // byte offsets
	Start, End time.Duration
}

// Place is a point of the picture, in shares of its width and height from the
// top left, at which the cue is put as its Align says.
type Place struct {
	X, Y float64 // 0 to 1
}

// Span is the look of Text[From:To].
type Span struct {
	From, To int // byte offsets
	Look
}

// Look is how a part of a text differs from the style.
type Look struct {
	Bold, Italic, Underline bool
	// Color is "#rrggbb", or empty for the colour of the style.
	Color string
}

// Clean returns what is kept of a character of a cue: line breaks as \n, tabs
// as spaces, no controls, no byte order marks, no non-characters. Marks of
// direction and joiners are kept: Arabic, Hebrew, Hindi and emoji need them.
func Clean(r rune) (rune, bool) {
	switch {
	case r == '\n' || r == '\u2028' || r == '\u2029':
		return '\n', true
	case r == '\t':
		return ' ', true
	case unicode.IsControl(r), r == '\ufeff', r >= '\ufff9' && r <= '\ufffb',
		r >= '\ufdd0' && r <= '\ufdef', r&0xfffe == 0xfffe:
		return 0, false
	}
	return r, true
}

// Within drops the cues that begin at or after the end of a video of this
// duration, and counts them. The other cues are not changed: a player and
// FFmpeg end them with the picture. A duration of zero or less is not known,
// and drops nothing.
func Within(cues []Cue, duration time.Duration) ([]Cue, Notes) {
	if duration <= 0 {
		return cues, nil
	}
	var notes Notes
	kept := make([]Cue, 0, len(cues))
	for _, c := range cues {
		if c.Start < duration {
			kept = append(kept, c)
		} else {
			notes.Add(PastEnd, c.Line)
		}
	}
	return kept, notes
}
