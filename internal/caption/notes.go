package caption

import "slices"

// Code is what was mended, guessed or dropped. It is the code of the warning
// that the user sees; package subtitle has its sentence. Those that begin with
// "cue_dropped" count cues that are not shown.
type Code string

// The codes.
const (
	CharsetGuessed Code = "charset_guessed"         // the encoding was told from the text
	Replacement    Code = "replacement_characters"  // the file holds U+FFFD: letters were lost before it came here
	Unwrapped      Code = "wrapping_removed"        // a code fence or a JSON string was around the text
	Preamble       Code = "text_before_first_cue"   // lines before the first cue were ignored
	NoTime         Code = "cue_dropped_no_time"     // a cue without a readable time
	NoText         Code = "cue_dropped_no_text"     // a cue without text
	BeforeZero     Code = "cue_dropped_before_zero" // a cue that ends before the video begins
	PastEnd        Code = "cue_dropped_past_end"    // a cue that begins after the video has ended
	Negative       Code = "cue_negative_start"      // a start before zero was moved to zero
	Reversed       Code = "cue_end_before_start"    // start and end were swapped, or the end was made up
	ZeroLength     Code = "cue_zero_length"         // a cue without duration was given one
	Unsorted       Code = "cues_out_of_order"       // cues were sorted by time

	TimestampMap Code = "timestamp_map_applied"      // X-TIMESTAMP-MAP moved the cues
	Duplicate    Code = "cue_dropped_duplicate"      // a cue that only repeats the one before
	Rolling      Code = "rolling_lines_removed"      // lines that a cue repeats from the one before
	Ruby         Code = "ruby_removed"               // readings beside the characters, which are not drawn
	Embedded     Code = "embedded_files_ignored"     // fonts and pictures within a script
	Limited      Code = "script_limited"             // effects of a script that would take too long to draw
	Crowded      Code = "cue_dropped_crowded"        // too many events of a script at the same time
	WordsMended  Code = "word_times_mended"          // words without a time, or out of order
	WordsIgnored Code = "words_ignored"              // words that are not those of their caption's text
	Milliseconds Code = "times_read_as_milliseconds" // a list of words whose unit only its figures tell
	StyleIgnored Code = "caption_style_ignored"      // what a caption's own style cannot say

	Excluded Code = "cue_dropped_excluded" // a cue within exclude_time_ranges
	Cut      Code = "cues_cut"             // a cue that reaches into them
	SplitCue Code = "cues_split"           // a cue around one: one more is shown than before
	Trimmed  Code = "cues_trimmed"         // a cue that ends where the next begins
	Covered  Code = "cue_dropped_covered"  // one that begins with the next
	Merged   Code = "cue_dropped_merged"   // one whose text is shown in the cue that it overlaps
	Replaced Code = "text_replaced"        // how often replace found something
	Emptied  Code = "cue_dropped_replaced" // a cue of which replace left nothing
	Unfound  Code = "replace_not_found"    // a text to be replaced that is nowhere
	Unstyled Code = "script_not_changed"   // what cannot be done to a script that is drawn as it is styled
)

// MaxLines is how many lines of the file a note names.
const MaxLines = 10

// Note tells of something mended, guessed or dropped.
type Note struct {
	Code Code
	// Count is how often, or 0 where that means nothing.
	Count int
	// Lines are where in the file, from 1, rising, the first MaxLines of them.
	Lines []int
	// Detail is what was found, where the code alone does not say enough.
	Detail string
}

// Notes are kept in the order of first sight. The zero value is ready to use.
type Notes []Note

// Say adds a note that is not counted.
func (n *Notes) Say(code Code, detail string) {
	*n = append(*n, Note{Code: code, Detail: detail})
}

// Add counts one more case of code, at a line of the file, or at 0 where lines
// mean nothing.
func (n *Notes) Add(code Code, line int) {
	note := n.of(code)
	note.Count++
	if line > 0 && len(note.Lines) < MaxLines {
		note.Lines = append(note.Lines, line)
	}
}

// Count adds k cases of code. A k of 0 changes nothing.
func (n *Notes) Count(code Code, k int) {
	if k > 0 {
		n.of(code).Count += k
	}
}

func (n *Notes) of(code Code) *Note {
	for i := range *n {
		if (*n)[i].Code == code {
			return &(*n)[i]
		}
	}
	*n = append(*n, Note{Code: code})
	return &(*n)[len(*n)-1]
}

// Join adds the cases of other to n: those of a code that n has to it, the
// rest behind it.
func (n *Notes) Join(other Notes) {
	for _, o := range other {
		if o.Count == 0 {
			*n = append(*n, o)
			continue
		}
		note := n.of(o.Code)
		note.Count += o.Count
		room := max(MaxLines-len(note.Lines), 0)
		note.Lines = append(slices.Clone(note.Lines), o.Lines[:min(len(o.Lines), room)]...)
	}
}

func (n Notes) clone() Notes { return slices.Clone(n) }
