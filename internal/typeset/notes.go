package typeset

import (
	"fmt"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// The codes of what cannot be drawn as it was asked for.
const (
	GlyphMissing caption.Code = "glyph_missing"          // characters that no font has; Detail names them
	NothingLeft  caption.Code = "cue_dropped_undrawable" // cues of nothing that can be drawn
	BrokenWord   caption.Code = "word_broken"            // words that are wider than the picture has room for
)

// MissingGlyphs is the note of characters that no font has.
func MissingGlyphs(absent []rune) caption.Note {
	const most = 20
	var list []string
	for _, r := range absent {
		if len(list) == most {
			list = append(list, "…")
			break
		}
		list = append(list, fmt.Sprintf("U+%04X", r))
	}
	return caption.Note{Code: GlyphMissing, Count: len(absent), Detail: strings.Join(list, " ")}
}

// Warnings are the notes of a sheet as users read them.
func Warnings(notes caption.Notes) []apigpu.Warning {
	var out []apigpu.Warning
	for _, n := range notes {
		out = append(out, apigpu.Warning{Code: string(n.Code), Message: explain(n), Count: n.Count, Lines: n.Lines})
	}
	return out
}

func explain(n caption.Note) string {
	switch n.Code {
	case GlyphMissing:
		return fmt.Sprintf("No font here has these characters, which were left out: %s.", n.Detail)
	case NothingLeft:
		return "Cues of nothing but what cannot be drawn were left out."
	case BrokenWord:
		return "Words that are too wide for the picture were broken."
	}
	return string(n.Code)
}
