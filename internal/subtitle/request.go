package subtitle

import (
	"errors"
	"mime"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Read reads a subtitle file as a request wants it: with its charset and
// positions, refused where it is strict and something had to be mended, and
// changed as caption.Prepare says. contentType is what the server said that
// sent the file, or empty. The error is one of Parse's, or SubtitleWarnings.
func Read(b []byte, spec apigpu.CaptionSpec, contentType string) (caption.Document, error) {
	d, err := Parse(b, Options{Charset: spec.Charset, Hint: hintOf(contentType), KeepPositions: spec.KeepPositions})
	if err != nil {
		return caption.Document{}, err
	}
	if spec.Strict {
		if err := Strict(d); err != nil {
			return caption.Document{}, err
		}
	}
	d, err = caption.Prepare(d, changesOf(spec))
	switch {
	case errors.Is(err, caption.ErrTooLong):
		return caption.Document{}, apigpu.E(apigpu.TooLarge, err, "What is replaced makes a caption longer than %d characters.", MaxCueText).WithField("replace")
	case errors.Is(err, caption.ErrTooMany):
		return caption.Document{}, apigpu.E(apigpu.TooLarge, err, "The excluded ranges split the captions into too many.").WithField("exclude_time_ranges")
	case err != nil:
		return caption.Document{}, apigpu.E(apigpu.InvalidRequest, err, "An expression of replace cannot be read.").WithField("replace")
	case len(d.Cues) == 0:
		return caption.Document{}, apigpu.E(apigpu.SubtitleEmpty, nil, "Nothing is left of the captions after what the request does to them.").
			WithHint("Look at offset, speed, exclude_time_ranges and replace.")
	}
	return d, nil
}

// hintOf is the charset of a Content-Type.
func hintOf(contentType string) string {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return params["charset"]
}

// changesOf are the changes that a request asks for.
func changesOf(spec apigpu.CaptionSpec) caption.Changes {
	ch := caption.Changes{
		Speed: spec.Speed, Offset: seconds(spec.Offset), Overlap: caption.OverlapRule(spec.Overlap), MaxText: MaxCueText,
	}
	for _, r := range spec.Replace {
		ch.Replace = append(ch.Replace, caption.Rule{Find: r.Find, Replace: r.Replace, Regexp: r.Regex, Word: r.Word})
	}
	for _, r := range spec.ExcludeTimeRanges {
		ch.Exclude = append(ch.Exclude, caption.Range{Start: seconds(float64(r.Start)), End: seconds(float64(r.End))})
	}
	return ch
}

// seconds rounds to microseconds: 0.1 is a tenth of a second, not a little
// more.
func seconds(s float64) time.Duration {
	return time.Duration(s*1e6+half(s)) * time.Microsecond
}

func half(s float64) float64 {
	if s < 0 {
		return -0.5
	}
	return 0.5
}

// Strict returns an error that lists the warnings of a document, or nil where
// it has none.
func Strict(d caption.Document) error {
	warnings := Warnings(d.Notes)
	if len(warnings) == 0 {
		return nil
	}
	e := apigpu.E(apigpu.SubtitleWarnings, nil, "The subtitle file needs mending, and the request is strict. %s", warnings[0].Message).
		WithHint("Mend the file, or send the request without strict.")
	for _, w := range warnings {
		e.Details = append(e.Details, apigpu.Detail{Field: w.Code, Message: detailed(w)})
	}
	return e
}
