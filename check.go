package apigpu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// faults collects what is not right about a request, field by field.
type faults struct{ list []Detail }

func (f *faults) add(field, format string, args ...any) {
	f.list = append(f.list, Detail{Field: field, Message: fmt.Sprintf(format, args...)})
}

// err is the error of a request with these faults, or nil without any.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	first := f.list[0]
	e := E(InvalidRequest, nil, "%s %s", first.Field, first.Message).WithField(first.Field)
	if len(f.list) > 1 {
		e.Message = fmt.Sprintf("%d fields are not right; the first: %s", len(f.list), e.Message)
	}
	e.Details = f.list
	return e
}

// oneOf wants an empty name, or one of names.
func oneOf[T ~string](f *faults, field string, name T, names ...T) {
	if name == "" || slices.Contains(names, name) {
		return
	}
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	f.add(field, "%.40q is none of %s", string(name), strings.Join(all, ", "))
}

// between wants a figure within bounds; one that is not set is.
func between[T int | float64](f *faults, field string, v *T, low, high T) {
	if v != nil && !(*v >= low && *v <= high) { // NaN is not within
		f.add(field, "must be from %v to %v, not %v", low, high, *v)
	}
}

// set is a pointer to v, or nil where v is zero and so not set.
func set[T int | float64](v T) *T {
	if v == 0 {
		return nil
	}
	return &v
}

// color wants an empty text, or a colour.
func (f *faults) color(field, s string) {
	if _, ok := ParseColor(s); s != "" && !ok {
		f.add(field, "%.40q is no colour: write #rrggbb, #rrggbbaa or a name of CSS", s)
	}
}

func (f *faults) text(field, s string, most int) {
	switch {
	case utf8.RuneCountInString(s) > most:
		f.add(field, "is longer than %d characters", most)
	case strings.ContainsFunc(s, isControl):
		f.add(field, "holds a control character")
	}
}

// check looks at a style; in is its path.
func (s Style) check(f *faults, in string) {
	oneOf(f, in+"preset", s.Preset, Presets()...)
	s.Font.check(f, in+"font.")
	oneOf(f, in+"text.transform", s.Text.Transform, TransformNone, TransformUpper, TransformLower, TransformCapitalize)
	f.color(in+"color", s.Color)
	f.color(in+"outline.color", s.Outline.Color)
	between(f, in+"outline.width", s.Outline.Width, 0, 40)
	f.color(in+"shadow.color", s.Shadow.Color)
	between(f, in+"shadow.x", s.Shadow.X, -100, 100)
	between(f, in+"shadow.y", s.Shadow.Y, -100, 100)
	between(f, in+"shadow.blur", s.Shadow.Blur, 0, 50)
	f.color(in+"box.color", s.Box.Color)
	between(f, in+"box.padding", s.Box.Padding, 0, 200)
	between(f, in+"box.radius", s.Box.Radius, 0, 200)
	oneOf(f, in+"box.mode", s.Box.Mode, BoxNone, BoxLine, BoxBlock)
	s.Position.check(f, in+"position")
	s.SafeArea.check(f, in+"safe_area")
	oneOf(f, in+"align", s.Align, AlignLeft, AlignCenter, AlignRight)
	between(f, in+"max_lines", set(s.MaxLines), 1, 10)
	between(f, in+"max_chars_per_line", set(s.MaxCharsPerLine), 4, 200)
	between(f, in+"max_words_per_line", set(s.MaxWordsPerLine), 1, 50)
	oneOf(f, in+"animation", s.Animation, AnimationNone, AnimationKaraoke, AnimationHighlight, AnimationWord,
		AnimationUnderline, AnimationPop, AnimationFade, AnimationTypewriter)
	f.color(in+"active.color", s.Active.Color)
	f.color(in+"active.box", s.Active.Box)
	f.color(in+"active.outline", s.Active.Outline)
	between(f, in+"active.scale", s.Active.Scale, 0.5, 2)
	if len(s.WordStyles) > maxWordStyles {
		f.add(in+"word_styles", "holds more than %d", maxWordStyles)
	} else {
		for i, w := range s.WordStyles {
			w.check(f, fmt.Sprintf("%sword_styles[%d].", in, i))
		}
	}
	oneOf(f, in+"emoji", s.Emoji, EmojiColor, EmojiMono, EmojiStrip)
}

func (t Font) check(f *faults, in string) {
	f.text(in+"family", t.Family, 100)
	if strings.ContainsAny(t.Family, ",{}\\") {
		f.add(in+"family", "%.40q is no name of a font", t.Family)
	}
	between(f, in+"size", set(t.Size.Pixels), minSize, maxSize)
	between(f, in+"weight", set(t.Weight), 100, 900)
	between(f, in+"letter_spacing", t.LetterSpacing, -20, 100)
	between(f, in+"line_height", t.LineHeight, 0.5, 4)
}

func (p Position) check(f *faults, field string) {
	oneOf(f, field, p.Name, Positions()...)
	between(f, field+".x", &p.X, 0, 100)
	between(f, field+".y", &p.Y, 0, 100)
}

func (s SafeArea) check(f *faults, field string) {
	oneOf(f, field, s.Name, SafeAreas()...)
	between(f, field+".top", &s.Top, 0, 45)
	between(f, field+".right", &s.Right, 0, 45)
	between(f, field+".bottom", &s.Bottom, 0, 45)
	between(f, field+".left", &s.Left, 0, 45)
}

func (w WordStyle) check(f *faults, in string) {
	f.text(in+"match", w.Match, 100)
	if strings.TrimSpace(w.Match) == "" {
		f.add(in+"match", "is required: a word or a phrase")
	}
	f.color(in+"color", w.Color)
}

// check looks at what the result should be.
func (o Output) check(f *faults, in string) {
	oneOf(f, in+"codec", o.Codec, H264, HEVC, AV1)
	oneOf(f, in+"quality", o.Quality, Draft, Balanced, High, Max)
	between(f, in+"bitrate_kbps", set(o.BitrateKbps), 50, 200_000)
	between(f, in+"max_size_mb", set(o.MaxSizeMB), 0.1, 20_000)
	if o.BitrateKbps != 0 && o.MaxSizeMB != 0 {
		f.add(in+"bitrate_kbps", "and max_size_mb bound the same thing; give one of them")
	}
	o.Resolution.check(f, in+"resolution")
	between(f, in+"fps", set(float64(o.FPS)), 1, 120)
	oneOf(f, in+"hdr", o.HDR, HDRAuto, HDRMap, HDRKeep)
	if o.HDR == HDRKeep && o.Codec != HEVC {
		f.add(in+"hdr", "keep needs output.codec hevc: H.264 with 10 bits plays almost nowhere")
	}
	oneOf(f, in+"audio", o.Audio, AudioAuto, AudioCopy, AudioAAC, AudioNone)
	between(f, in+"thumbnail", o.Thumbnail, 0, maxTime)
}

func (r Resolution) check(f *faults, field string) {
	oneOf(f, field, r.Name, Resolutions()...)
	if r.Name == "" && !r.IsZero() {
		between(f, field+".w", &r.Width, 16, 8192)
		between(f, field+".h", &r.Height, 16, 8192)
	}
	oneOf(f, field+".fit", r.Fit, FitContain, FitCover, FitStretch)
}

// Limits of the members below.
const (
	maxWordStyles = 100
	maxRanges     = 1000
	maxReplaces   = 200
	maxFind       = 500    // characters
	maxSteps      = 5000   // of all expressions of replace; see stepsOf
	maxTime       = 86_400 // seconds: a day
	minSize       = 8.     // of a font, in reference pixels
	maxSize       = 400.
)

// languageTag is the shape of a BCP 47 tag; whether its parts are registered
// makes no difference here.
var (
	languageTag = regexp.MustCompile(`^[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*$`)
	charsetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]*$`)
)

// checkText looks at what is to become of the subtitles.
func (s CaptionSpec) checkText(f *faults) {
	if s.Charset != "" && !charsetName.MatchString(s.Charset) {
		f.add("charset", "%.40q is no name of an encoding", s.Charset)
	}
	f.text("charset", s.Charset, 40)
	if s.Language != "" && !(len(s.Language) <= 35 && languageTag.MatchString(s.Language)) {
		f.add("language", "%.40q is no language tag: write en, pt-BR or ja", s.Language)
	}
	between(f, "offset", &s.Offset, -maxTime, maxTime)
	between(f, "speed", set(s.Speed), 0.1, 10)
	if len(s.ExcludeTimeRanges) > maxRanges {
		f.add("exclude_time_ranges", "holds more than %d", maxRanges)
	}
	for i, r := range s.ExcludeTimeRanges[:min(len(s.ExcludeTimeRanges), maxRanges)] {
		if !(r.Start >= 0 && r.End > r.Start && r.End <= 1e7) {
			f.add(fmt.Sprintf("exclude_time_ranges[%d]", i), "must end after its start, and start at 0 or later")
		}
	}
	if len(s.Replace) > maxReplaces {
		f.add("replace", "holds more than %d", maxReplaces)
	}
	steps := 0
	for i, r := range s.Replace[:min(len(s.Replace), maxReplaces)] {
		steps += r.check(f, fmt.Sprintf("replace[%d].", i))
	}
	if steps > maxSteps {
		f.add("replace", "holds expressions of %d steps, their repeats written out; at most %d are accepted", steps, maxSteps)
	}
	oneOf(f, "overlap", s.Overlap, OverlapStack, OverlapTrim, OverlapMerge)
	oneOf(f, "mode", s.Mode, Burn, Soft, Both)
}

// check looks at a rule, and returns the steps of its expression.
func (r Replace) check(f *faults, in string) (steps int) {
	var err error
	switch {
	case r.Find == "":
		f.add(in+"find", "is required: the text to look for")
	case utf8.RuneCountInString(r.Find) > maxFind:
		f.add(in+"find", "is longer than %d characters", maxFind)
	case r.Regex:
		if steps, err = stepsOf(r.Find); err != nil {
			f.add(in+"find", "is no regular expression: %v", err)
		}
	}
	if utf8.RuneCountInString(r.Replace) > maxFind {
		f.add(in+"replace", "is longer than %d characters", maxFind)
	}
	return steps
}

// stepsOf is how many steps each character of a text may take in an expression:
// RE2 takes time in proportion to both, and ".{999}" is a thousand in six
// characters.
func stepsOf(expression string) (int, error) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0, err
	}
	return len(prog.Inst), nil
}

// given reports whether a member of the request holds anything.
func given(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && !bytes.Equal(raw, []byte("null"))
}
