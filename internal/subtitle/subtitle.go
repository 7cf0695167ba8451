// Package subtitle turns the bytes of a subtitle file into the cues of package
// caption. It is pure: bytes in, values out.
//
// FFmpeg's own readers are never used. They drop cues silently from files
// that are not UTF-8 and refuse common slips of the pen; this reader accepts
// what a person would understand, mends what can be mended, and counts in a
// note whatever it changed or left out.
package subtitle

import (
	"strings"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Limits of a subtitle file. 20,000 cues are about 15 hours of dialogue.
const (
	MaxBytes   = apigpu.MaxSubtitle // bytes of the file
	MaxCues    = 20_000             // cues of the file, dropped ones included
	MaxCueText = 2_000              // characters of one cue
)

// Options say what is known of a file beside its bytes.
type Options struct {
	// Charset is the encoding that its owner names, or empty.
	Charset string
}

// Parse reads a subtitle file. An error is an *apigpu.Error of code TooLarge,
// SubtitleCharset, SubtitleNotText, SubtitleEmpty or SubtitleUnparseable; its
// message and hint are meant for the person who made the file.
func Parse(b []byte, o Options) (caption.Document, error) {
	if len(b) > MaxBytes {
		return caption.Document{}, apigpu.E(apigpu.TooLarge, nil, "The subtitle file is larger than %d MB.", MaxBytes>>20)
	}
	text, charset, err := decode(b)
	if err != nil {
		return caption.Document{}, err
	}
	var found caption.Notes
	if charset == windows1252 {
		found.Say(caption.CharsetGuessed, "Windows-1252")
	}
	found.Count(caption.Replacement, strings.Count(text, "\uFFFD"))
	if err := refuseOtherFormats(text); err != nil {
		return caption.Document{}, err
	}
	lines, unwrapped := splitLines(text)
	if unwrapped {
		found.Say(caption.Unwrapped, "")
	}
	blocks, err := scan(lines, &found)
	if err != nil {
		return caption.Document{}, err
	}
	cues, err := readCues(blocks, &found)
	if err != nil {
		return caption.Document{}, err
	}
	d := caption.Document{Format: caption.SRT, Charset: charset, Confidence: 1, CuesIn: len(blocks)}
	d.Cues = mend(cues, &found)
	d.Notes = found
	return d, notEmpty(d)
}

// notEmpty refuses a document that has nothing to show: a video delivered
// without captions would look like a success.
func notEmpty(d caption.Document) error {
	if len(d.Cues) > 0 {
		return nil
	}
	return apigpu.E(apigpu.SubtitleEmpty, nil,
		"The subtitle file has %d cues, and none of them has text to show.", d.CuesIn)
}

// Account is what a job shows of a document. used is how many cues are shown
// in the video.
func Account(d caption.Document, used int) apigpu.Captions {
	return apigpu.Captions{Format: string(d.Format), Charset: d.Charset, Confidence: d.Confidence, CuesIn: d.CuesIn, CuesUsed: used}
}
