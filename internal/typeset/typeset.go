// Package typeset makes a script for libass of cues and a style: which words
// stand on which line, where, in which font, and what each of them does when
// it is spoken.
//
// All of it is decided here, to the pixel: libass is told where each piece of
// a line stands, and breaks, stacks and turns nothing by itself. So the room
// of every word is known before it is drawn: a word that changes its look
// moves no other, and boxes fit.
//
// It is pure: values in, values out.
package typeset

import (
	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// Size is the picture as it is displayed, in pixels: after rotation, and with
// square pixels.
type Size struct {
	Width, Height int
}

func (s Size) orDefault() Size {
	if s.Width <= 0 || s.Height <= 0 {
		return Size{1920, 1080}
	}
	return s
}

func (s Size) portrait() bool { return s.Height > s.Width }

// referenceSide is the short side of a picture in reference pixels.
const referenceSide = 1080

// scale is pixels of the picture per reference pixel.
func (s Size) scale() float64 { return float64(min(s.Width, s.Height)) / referenceSide }

// Fonts know which face draws a text, and how much room it takes.
type Fonts interface {
	// Runs parts a text of one direction into runs of one face each, which
	// cover it in order. want is the face to use wherever it can; lang is a
	// BCP 47 tag, and may be empty.
	Runs(text string, want caption.Face, lang string, rtl bool) []caption.Run
}

// Job asks for a script.
type Job struct {
	// Cues are sorted by Start.
	Cues []caption.Cue
	// Script is the script of a document that is drawn as it is styled, or
	// nil; Style is not looked at then.
	Script []byte
	Style  apigpu.Style
	// Language is a BCP 47 tag, or empty to tell it from the text.
	Language string
	Size     Size
	// Fonts are those that libass will find; nil guesses.
	Fonts Fonts
	// Pictured reports whether somebody can draw an emoji in colour; nil is
	// always. Others become outlines.
	Pictured func(emoji string) bool
	// Clock is when the frames are shown; the zero value knows nothing.
	Clock caption.FrameClock
}

// Sheet is what is drawn over a video.
type Sheet struct {
	// ASS is the script, in UTF-8.
	ASS []byte
	// Emoji are drawn by somebody else, sorted by Start: libass knows no
	// coloured glyphs. The script leaves their room free.
	Emoji []Emoji
	// Families are the names of the fonts that the script asks for, the one
	// of most of the text first.
	Families []string
	// Shown counts the cues of which something is drawn.
	Shown int
	// Timing says where the times of the words come from, where they are
	// used; TimedCues where they are not.
	Timing caption.Timing
	// Notes tell what could not be drawn as it was asked for.
	Notes caption.Notes
}

// Emoji is one emoji over the picture, in pixels of Size.
type Emoji = caption.Emoji

// Set sets cues. Times are snapped to the frames of the clock, those of words
// within a cue too.
//
// No text becomes ASS: it is drawn as the characters it is made of. A cue has
// at most five events for each stretch of it that is of one word, face, look
// and direction, and two for its boxes and lines.
func Set(job Job) (Sheet, error) {
	if job.Script != nil {
		return passThrough(job)
	}
	s := newSetter(job)
	for i := range s.cues {
		s.flow(i)
	}
	s.snap()
	s.place()
	s.header()
	for i := range s.parts {
		s.draw(&s.parts[i])
	}
	return s.sheet(), nil
}
