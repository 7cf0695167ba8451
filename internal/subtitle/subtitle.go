// Package subtitle turns the bytes of a subtitle file into the cues of package
// caption. It is pure: bytes in, values out.
//
// FFmpeg's own readers are never used. They drop cues silently from files
// that are not UTF-8 and refuse common slips of the pen; this reader accepts
// what a person would understand, mends what can be mended, and counts in a
// note whatever it changed or left out.
//
// The format is told by the content: SubRip (and SBV and SubViewer, which
// differ from it by their time lines), WebVTT, ASS and SSA, and JSON (see
// json.go for its shapes).
package subtitle

import (
	"slices"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Limits of a subtitle file. 20,000 cues are about 15 hours of dialogue.
const (
	MaxBytes   = apigpu.MaxSubtitle // bytes of the file
	MaxCues    = 20_000             // cues of the file, dropped ones included
	MaxCueText = 2_000              // characters of one cue
)

// Limits bound what is read. A member that is zero has the value of the
// constant above.
type Limits struct {
	Bytes, Cues, CueText int
}

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = MaxBytes
	}
	if l.Cues == 0 {
		l.Cues = MaxCues
	}
	if l.CueText == 0 {
		l.CueText = MaxCueText
	}
	return l
}

// Options say what is known of a file beside its bytes.
type Options struct {
	// Charset is the encoding that its owner names, or empty: any name or
	// alias of https://encoding.spec.whatwg.org/#names-and-labels, and some of
	// IANA's more.
	Charset string
	// Hint is the encoding that the server named which sent the file. Servers
	// are often wrong: it only decides where the text itself leaves it open.
	Hint string
	// KeepPositions reads where the file puts its cues. Without it only \an of
	// SubRip is read, which people write by hand.
	KeepPositions bool
	Limits        Limits
}

// reading is one file being read.
type reading struct {
	Options
	limits Limits
	notes  caption.Notes
	format caption.Format
	script []byte // rebuilt, where the format is ASS
	cuesIn int
	// looks are what the style sheet of a WebVTT file gives its classes.
	looks map[string]caption.Look
	// buffer is used again for each cue.
	buffer []styled
	// shifts move the cues from a line on (X-TIMESTAMP-MAP).
	shifts []shift
}

// shift moves the cues that begin at line or later, up to the next shift.
type shift struct {
	line int
	by   time.Duration
}

// Parse reads a subtitle file. An error is an *apigpu.Error of code TooLarge,
// SubtitleCharset, SubtitleNotText, SubtitleEmpty or SubtitleUnparseable; its
// message and hint are meant for the person who made the file.
func Parse(b []byte, o Options) (caption.Document, error) {
	r := &reading{Options: o, limits: o.Limits.orDefault(), format: caption.SRT}
	if len(b) > r.limits.Bytes {
		return caption.Document{}, apigpu.E(apigpu.TooLarge, nil, "The subtitle file is larger than %d MB.", r.limits.Bytes>>20)
	}
	d, err := decode(b, o)
	if err != nil {
		return caption.Document{}, err
	}
	if d.guessed {
		r.notes.Say(caption.CharsetGuessed, d.detail())
	}
	r.notes.Count(caption.Replacement, strings.Count(d.text, "\uFFFD"))
	cues, err := r.read(d.text)
	if err != nil {
		return caption.Document{}, err
	}
	doc := caption.Document{
		Cues: cues, Script: r.script, Format: r.format, Charset: d.charset, Confidence: d.confidence, CuesIn: r.cuesIn, Notes: r.notes,
	}
	return doc, notEmpty(doc)
}

// read reads a text of any format, and returns its cues in order.
func (r *reading) read(text string) ([]caption.Cue, error) {
	if err := refuseOtherFormats(text); err != nil {
		return nil, err
	}
	if isJSON(text) {
		r.format = caption.JSON
		return r.readJSON(text)
	}
	lines, unwrapped := splitLines(text)
	if unwrapped {
		r.notes.Say(caption.Unwrapped, "")
	}
	switch {
	case isASS(lines):
		r.format = caption.ASS
		return r.readASS(lines)
	case isVTT(lines):
		r.format = caption.WebVTT
		return r.readVTT(lines)
	case isCommaTimed(lines):
		return r.readLines(lines, commaTiming)
	}
	return r.readLines(lines, parseTiming)
}

// readLines reads cues that a time line begins.
func (r *reading) readLines(lines []string, timeOf func(string) (timing, bool)) ([]caption.Cue, error) {
	blocks, err := r.scan(lines, timeOf)
	if err != nil {
		return nil, err
	}
	r.cuesIn = len(blocks)
	cues, err := r.readCues(blocks)
	if err != nil {
		return nil, err
	}
	cues = mend(cues, &r.notes)
	cues, notes := caption.Dedupe(cues)
	r.notes.Join(notes)
	return cues, nil
}

// notEmpty refuses a document that has nothing to show: a video delivered
// without captions would look like a success.
func notEmpty(d caption.Document) error {
	if len(d.Cues) > 0 {
		return nil
	}
	if slices.ContainsFunc(d.Notes, func(n caption.Note) bool { return n.Code == caption.NoTime && n.Count == d.CuesIn }) {
		return apigpu.E(apigpu.SubtitleEmpty, nil, "No caption has both a start and an end that can be read.")
	}
	return apigpu.E(apigpu.SubtitleEmpty, nil,
		"The subtitle file has %d cues, and none of them has text to show.", d.CuesIn)
}

// Account is what a job shows of a document. used is how many cues are shown
// in the video.
func Account(d caption.Document, used int) apigpu.Captions {
	return apigpu.Captions{
		Format: string(d.Format), Charset: d.Charset, Confidence: d.Confidence, CuesIn: d.CuesIn, CuesUsed: used,
		Timing: string(caption.TimingOf(d.Cues)),
	}
}
