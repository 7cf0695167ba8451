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
		return "Characters that an earlier conversion had already lost are shown as a replacement sign."
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
	return string(n.Code)
}
