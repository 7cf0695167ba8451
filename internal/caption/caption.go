// Package caption turns the bytes of a subtitle file into cues, and cues into
// an ASS script for libass. It is pure: bytes in, values out.
//
// FFmpeg's own SubRip reader is never used. It drops cues silently from files
// that are not UTF-8 and refuses common slips of the pen; this reader accepts
// what a person would understand, mends what can be mended, and counts in a
// warning whatever it changed or left out.
package caption

import (
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Limits of a subtitle file. 20,000 cues are about 15 hours of dialogue.
const (
	MaxBytes   = apigpu.MaxSubtitle // bytes of the file
	MaxCues    = 20_000             // cues of the file, dropped ones included
	MaxCueText = 2_000              // characters of one cue
)

// Document is what a subtitle file says.
type Document struct {
	// Cues are sorted by Start; those with equal starts keep their order in
	// the file. Every one has text, Start >= 0 and End > Start.
	Cues []Cue
	// Format is always "srt" today.
	Format string
	// Charset is the encoding the file was read in, such as "utf-8",
	// "utf-16le" or "windows-1252".
	Charset string
	// CuesIn counts the cues met in the file. CuesIn - len(Cues) equals the
	// sum of the counts of the warnings whose code begins with "cue_dropped".
	CuesIn int
	// Warnings tell what was mended, guessed or dropped, in a fixed order.
	Warnings []apigpu.Warning
}

// Captions is the account of the document that a job shows. used is how many
// cues are shown in the video.
func (d Document) Captions(used int) apigpu.Captions {
	return apigpu.Captions{Format: d.Format, Charset: d.Charset, CuesIn: d.CuesIn, CuesUsed: used}
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
	// Align is a position as on a numeric keypad (1 bottom left ... 9 top
	// right), or 0 for the position of the style.
	Align int
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

// The codes of the warnings. Those that begin with "cue_dropped" count cues
// that are not shown.
const (
	WarnCharsetGuessed = "charset_guessed"         // windows-1252 was the only plausible reading
	WarnReplacement    = "replacement_characters"  // the file holds U+FFFD: letters were lost before it came here
	WarnUnwrapped      = "wrapping_removed"        // a code fence or a JSON string was around the text
	WarnPreamble       = "text_before_first_cue"   // lines before the first cue were ignored
	WarnNoTime         = "cue_dropped_no_time"     // a cue without a readable time
	WarnNoText         = "cue_dropped_no_text"     // a cue without text
	WarnBeforeZero     = "cue_dropped_before_zero" // a cue that ends before the video begins
	WarnPastEnd        = "cue_dropped_past_end"    // a cue that begins after the video has ended
	WarnNegative       = "cue_negative_start"      // a start before zero was moved to zero
	WarnReversed       = "cue_end_before_start"    // start and end were swapped, or the end was made up
	WarnZeroLength     = "cue_zero_length"         // a cue without duration was given one
	WarnUnsorted       = "cues_out_of_order"       // cues were sorted by time
)

// Parse reads a subtitle file. An error is an *apigpu.Error of code TooLarge,
// SubtitleCharset, SubtitleNotText, SubtitleEmpty or SubtitleUnparseable; its
// message and hint are meant for the person who made the file.
func Parse(b []byte) (Document, error) {
	if len(b) > MaxBytes {
		return Document{}, apigpu.E(apigpu.TooLarge, nil, "The subtitle file is larger than %d MB.", MaxBytes>>20)
	}
	text, charset, err := decode(b)
	if err != nil {
		return Document{}, err
	}
	var found notes
	if charset == windows1252 {
		found.say(WarnCharsetGuessed, "The file is not UTF-8; it was read as Windows-1252. Save it as UTF-8 to be sure.")
	}
	if n := strings.Count(text, "\uFFFD"); n > 0 {
		found.count(WarnReplacement, n)
	}
	if err := refuseOtherFormats(text); err != nil {
		return Document{}, err
	}
	lines, unwrapped := splitLines(text)
	if unwrapped {
		found.say(WarnUnwrapped, "A code fence or JSON quoting around the subtitles was removed.")
	}
	blocks, err := scan(lines, &found)
	if err != nil {
		return Document{}, err
	}
	cues, err := readCues(blocks, &found)
	if err != nil {
		return Document{}, err
	}
	return Document{
		Cues:     mend(cues, &found),
		Format:   "srt",
		Charset:  charset,
		CuesIn:   len(blocks),
		Warnings: found.warnings(),
	}.orEmpty()
}

// orEmpty refuses a document that has nothing to show: a video delivered
// without captions would look like a success.
func (d Document) orEmpty() (Document, error) {
	if len(d.Cues) > 0 {
		return d, nil
	}
	return Document{}, apigpu.E(apigpu.SubtitleEmpty, nil,
		"The subtitle file has %d cues, and none of them has text to show.", d.CuesIn)
}

// Within drops the cues that begin at or after the end of a video of this
// duration, and counts them in a warning. The other cues are not changed: a
// player and FFmpeg end them with the picture. A duration of zero or less is
// not known, and drops nothing.
func Within(cues []Cue, duration time.Duration) ([]Cue, []apigpu.Warning) {
	if duration <= 0 {
		return cues, nil
	}
	kept := make([]Cue, 0, len(cues))
	for _, c := range cues {
		if c.Start < duration {
			kept = append(kept, c)
		}
	}
	var found notes
	found.count(WarnPastEnd, len(cues)-len(kept))
	return kept, found.warnings()
}
