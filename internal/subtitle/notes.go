package subtitle

import (
	"fmt"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Warnings are notes as users read them.
func Warnings(notes caption.Notes) []apigpu.Warning {
	var out []apigpu.Warning
	for _, n := range notes {
		out = append(out, apigpu.Warning{Code: string(n.Code), Message: explain(n), Count: n.Count, Lines: n.Lines})
	}
	return out
}

// explain is the sentence of a note.
func explain(n caption.Note) string {
	switch n.Code {
	case caption.CharsetGuessed:
		return fmt.Sprintf("The file is not UTF-8; it was read as %s. Save it as UTF-8 to be sure.", n.Detail)
	case caption.Replacement:
		return "Characters that the encoding does not have, or that were lost before, are shown as a replacement sign."
	case caption.Unwrapped:
		return "A code fence or JSON quoting around the subtitles was removed."
	case caption.Preamble:
		return "Lines before the first cue were ignored."
	case caption.NoTime:
		return "Cues without a readable time were left out."
	case caption.NoText:
		return "Cues without text were left out."
	case caption.BeforeZero:
		return "Cues that end before the video begins were left out."
	case caption.PastEnd:
		return "Cues that begin after the end of the video were left out."
	case caption.Negative:
		return "Cues that start before zero now start at zero."
	case caption.Reversed:
		return "Cues that end before they start were mended."
	case caption.ZeroLength:
		return "Cues without a duration were given one."
	case caption.Unsorted:
		return "Cues out of order were sorted by time."
	}
	return explainMore(n)
}

func explainMore(n caption.Note) string {
	switch n.Code {
	case caption.TimestampMap:
		return fmt.Sprintf("The file's X-TIMESTAMP-MAP moved the cues by %s s.", n.Detail)
	case caption.Duplicate:
		return "Cues that only repeat the one before were left out."
	case caption.Rolling:
		return "Lines that a cue repeats from the one before were removed."
	case caption.Ruby:
		return "Readings beside characters (ruby) were left out."
	case caption.Embedded:
		return "Fonts or pictures within the script are not used."
	case caption.Limited:
		return "Effects of the script that would take too long to draw were left out or reduced."
	case caption.Crowded:
		return "Events of the script were left out: too many are shown at the same time."
	case caption.WordsMended:
		return "Words without a time, or out of order, were given times between their neighbours'."
	case caption.WordsIgnored:
		return "Words that are not in the text of their caption were ignored."
	case caption.Milliseconds:
		return "The times of the words were taken for milliseconds: they are whole numbers, as AssemblyAI writes them."
	case caption.StyleIgnored:
		return "Styles of single captions say what is not known there (color, bold, italic, underline, position are), and were ignored."
	}
	return explainChange(n)
}

// explainChange is the sentence of what the request itself asked for.
func explainChange(n caption.Note) string {
	switch n.Code {
	case caption.Excluded:
		return "Cues within exclude_time_ranges were left out."
	case caption.Cut:
		return "Cues that reach into exclude_time_ranges were cut."
	case caption.SplitCue:
		return "Cues around one of exclude_time_ranges are shown before and after it."
	case caption.Trimmed:
		return "Cues were ended where the next one begins."
	case caption.Covered:
		return "Cues that begin together with the next one were left out."
	case caption.Merged:
		return "Cues shown at the same time were joined: the text of these is in the one before."
	case caption.Replaced:
		return "Text was replaced."
	case caption.Emptied:
		return "Cues of which replace left nothing were left out."
	case caption.Unfound:
		return fmt.Sprintf("Nothing to replace was found for %q.", n.Detail)
	case caption.Unstyled:
		return fmt.Sprintf("A script is drawn as it is styled: this could not be applied to it: %s.", n.Detail)
	}
	return string(n.Code)
}

// detailed is a warning with its figures, for where there is only room for
// text.
func detailed(w apigpu.Warning) string {
	s := w.Message
	if w.Count > 0 {
		s += fmt.Sprintf(" (%d", w.Count)
		for i, line := range w.Lines {
			if i == 0 {
				s += "; line"
			}
			s += fmt.Sprintf(" %d", line)
		}
		s += ")"
	}
	return s
}
