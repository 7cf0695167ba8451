// Package render draws captions on a machine that has FFmpeg and fonts: the
// script and the fonts of a job, and single pictures that show beforehand what
// a job would make.
package render

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/emoji"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

// Captions are cues, and how a request wants them to look.
type Captions struct {
	Cues []caption.Cue
	// Script is that of a document which is drawn as it is styled, or nil.
	Script []byte
	Spec   apigpu.CaptionSpec
}

// Write sets captions for libass, on the frames and in the size of the result
// that want makes of a file, and puts script and fonts into dir, where FFmpeg
// looks for them. Emoji that libass cannot draw become a picture there, which
// want is told to lay over. The warnings tell what is not drawn as it was asked
// for.
func Write(dir string, c Captions, want *ffmpeg.Spec, p ffmpeg.Probe, fonts *font.Set) (typeset.Sheet, []apigpu.Warning, error) {
	width, height := ffmpeg.Canvas(want.Output, p)
	todo := typeset.Job{
		Cues: c.Cues, Script: c.Script, Style: c.Spec.Style, Language: c.Spec.Language,
		Size: typeset.Size{Width: width, Height: height}, Fonts: fonts, Pictured: fonts.Pictured, Clock: frameClock(*want, p),
	}
	sheet, err := typeset.Set(todo)
	if err != nil {
		return sheet, nil, err
	}
	var warnings []apigpu.Warning
	area, err := emoji.Write(filepath.Join(dir, ffmpeg.OverlayFile), sheet.Emoji, image.Pt(width, height), fonts, ffmpeg.Paint(*want, p))
	switch {
	case errors.Is(err, emoji.ErrTooMany):
		todo.Style.Emoji = apigpu.EmojiMono
		if sheet, err = typeset.Set(todo); err != nil {
			return sheet, nil, err
		}
		warnings = append(warnings, apigpu.Warning{Code: "emoji_mono", Message: "There are too many emoji to draw them in colour: they are outlines."})
	case err != nil:
		return sheet, nil, err
	case !area.Empty():
		want.Overlay = &ffmpeg.Overlay{X: area.Min.X, Y: area.Min.Y}
	}
	script := ffmpeg.PaintScript(sheet.ASS, *want, p)
	if err := os.WriteFile(filepath.Join(dir, ffmpeg.ScriptFile), script, 0o600); err != nil {
		return sheet, nil, fmt.Errorf("write script: %w", err)
	}
	warnings = append(append(warnings, typeset.Warnings(sheet.Notes)...), FontReplaced(c.Spec.Style, fonts)...)
	families := append(slices.Clone(sheet.Families), fonts.Base())
	if c.Script != nil { // it may name fonts within its texts, too
		families = append(families, fonts.Own()...)
	}
	return sheet, warnings, InstallFonts(dir, fonts.Files(families))
}

// InstallFonts makes font files the ones that libass finds first: links in a
// job's folder. Two files of one name are both there.
func InstallFonts(dir string, files []string) error {
	dir = filepath.Join(dir, ffmpeg.FontsFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make fonts folder: %w", err)
	}
	for i, path := range files {
		name := strconv.Itoa(i) + "-" + filepath.Base(path)
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link font: %w", err)
		}
	}
	return nil
}

// sentFonts is the folder of fonts that came with a request. They get names of
// ours there, and none is there that our own reader refused.
const sentFonts = "sent-fonts"

// WithFonts returns a set that has the fonts of these files too, whose bytes
// nobody vouches for. The error is of code FontUnreadable where one is none.
func WithFonts(dir string, fonts *font.Set, files [][]byte) (*font.Set, error) {
	if len(files) == 0 {
		return fonts, nil
	}
	dir = filepath.Join(dir, sentFonts)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make fonts folder: %w", err)
	}
	var paths []string
	for i, b := range files {
		if _, err := font.Check(b); err != nil {
			return nil, apigpu.AsError(err).WithField("font")
		}
		path := filepath.Join(dir, strconv.Itoa(i)+".font")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return nil, fmt.Errorf("write font: %w", err)
		}
		paths = append(paths, path)
	}
	return fonts.With(paths...)
}

// FontReplaced warns where the family that was asked for is not here.
func FontReplaced(style apigpu.Style, fonts *font.Set) []apigpu.Warning {
	family := style.Font.Family
	if family == "" || fonts.Has(family) {
		return nil
	}
	return []apigpu.Warning{{
		Code:    "font_replaced",
		Message: fmt.Sprintf("The font %q is not installed; %s was taken.", family, fonts.Base()),
	}}
}

// frameClock is when the frames of the result are shown: at the rate that was
// asked for, else as in the source: exactly, where the file tells, or by its
// rate.
func frameClock(want ffmpeg.Spec, p ffmpeg.Probe) caption.FrameClock {
	if rate := ffmpeg.FrameRate(want.Output.FPS); rate.Num > 0 {
		return caption.FrameClock{Num: rate.Num, Den: rate.Den}
	}
	times := want.Frames.Times
	if len(times) == 0 {
		if p.Video.VFR() {
			return caption.FrameClock{}
		}
		return caption.FrameClock{Num: p.Video.AvgRate.Num, Den: p.Video.AvgRate.Den}
	}
	clock := caption.FrameClock{Times: make([]time.Duration, len(times))}
	for i, ms := range times {
		clock.Times[i] = time.Duration(ms) * time.Millisecond
	}
	return clock
}
