package apigpu

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// The members of a style that people write in one of two ways: a name, or
// figures. Each reads both, and writes what was given.

// Length is in reference pixels, or a share of the picture's short side:
// 54 or "5%". Zero is not set.
type Length struct{ Pixels float64 }

// UnmarshalJSON reads a number or a percentage.
func (l *Length) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		share, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || v != v || v-v != 0 {
			return notOf[Length](s)
		}
		if percent {
			v *= 1080. / 100
		}
		l.Pixels = v
		return nil
	}
	return json.Unmarshal(b, &l.Pixels)
}

// MarshalJSON writes reference pixels.
func (l Length) MarshalJSON() ([]byte, error) { return json.Marshal(l.Pixels) }

// IsZero reports whether l is not set.
func (l Length) IsZero() bool { return l.Pixels == 0 }

// Position is one of nine places within the safe area, or a point of the
// picture. The zero value is not set.
type Position struct {
	// Name is one of Positions, or empty for a point.
	Name string `json:"-"`
	// X and Y are percent of the picture's width and height, from the top
	// left, at which the middle of the caption is.
	X float64 `json:"x" minimum:"0" maximum:"100" doc:"Percent of the width, from the left"`
	Y float64 `json:"y" minimum:"0" maximum:"100" doc:"Percent of the height, from the top"`
}

// Positions lists the names of positions; top, center and bottom are those of
// the middle column.
func Positions() []string {
	return []string{
		"top_left", "top_center", "top_right", "center_left", "center", "center_right",
		"bottom_left", "bottom_center", "bottom_right", "top", "bottom",
	}
}

// UnmarshalJSON reads a name or a point.
func (p *Position) UnmarshalJSON(b []byte) error {
	type point Position
	return nameOr(b, &p.Name, (*point)(p))
}

// MarshalJSON writes a name or a point.
func (p Position) MarshalJSON() ([]byte, error) {
	type point Position
	return writeNameOr(p.Name, point(p))
}

// IsZero reports whether p is not set.
func (p Position) IsZero() bool { return p == Position{} }

// SafeArea is the part of the picture that captions keep to: the name of a
// platform, or what stays free at each edge. The zero value is not set.
type SafeArea struct {
	// Name is one of SafeAreas, or empty where the edges are given.
	Name string `json:"-"`
	// Percent of the height (Top, Bottom) and the width (Left, Right).
	Top    float64 `json:"top" minimum:"0" maximum:"45"`
	Right  float64 `json:"right" minimum:"0" maximum:"45"`
	Bottom float64 `json:"bottom" minimum:"0" maximum:"45"`
	Left   float64 `json:"left" minimum:"0" maximum:"45"`
}

// SafeAreas lists the names of safe areas; package typeset has their figures.
func SafeAreas() []string {
	return []string{"auto", "none", "tiktok", "reels", "shorts", "broadcast"}
}

// UnmarshalJSON reads a name or the edges.
func (s *SafeArea) UnmarshalJSON(b []byte) error {
	type edges SafeArea
	return nameOr(b, &s.Name, (*edges)(s))
}

// MarshalJSON writes a name or the edges.
func (s SafeArea) MarshalJSON() ([]byte, error) {
	type edges SafeArea
	return writeNameOr(s.Name, edges(s))
}

// IsZero reports whether s is not set.
func (s SafeArea) IsZero() bool { return s == SafeArea{} }

// Resolution is the size of the result: a name, or a box in pixels into which
// the picture is put. The zero value is not set.
type Resolution struct {
	// Name is one of Resolutions, or empty for a box.
	Name   string `json:"-"`
	Width  int    `json:"w" minimum:"16" maximum:"8192" doc:"Pixels"`
	Height int    `json:"h" minimum:"16" maximum:"8192" doc:"Pixels"`
	// Fit says how a picture of another shape is put into the box.
	Fit Fit `json:"fit,omitempty" enum:"contain,cover,stretch" doc:"contain: bars; cover: cut; stretch: distort"`
}

// Fit is how a picture fills a box of another shape.
type Fit string

// The fits.
const (
	FitContain Fit = "contain" // all of it, with black bars
	FitCover   Fit = "cover"   // all of the box, the rest of the picture cut
	FitStretch Fit = "stretch"
)

// Resolutions lists the names of resolutions. Those with a figure are the short
// side of the picture in pixels, and never make it larger.
func Resolutions() []string {
	return []string{"source", "480p", "720p", "1080p", "1440p", "4k"}
}

// UnmarshalJSON reads a name or a box.
func (r *Resolution) UnmarshalJSON(b []byte) error {
	type box Resolution
	return nameOr(b, &r.Name, (*box)(r))
}

// MarshalJSON writes a name or a box.
func (r Resolution) MarshalJSON() ([]byte, error) {
	type box Resolution
	return writeNameOr(r.Name, box(r))
}

// IsZero reports whether r is not set.
func (r Resolution) IsZero() bool { return r == Resolution{} }

// FrameRate is in frames per second; "source" and 0 keep the source's.
type FrameRate float64

// UnmarshalJSON reads a number, or "source".
func (f *FrameRate) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		v, err := strconv.ParseFloat(s, 64) // forms and workflow tools quote figures
		if s != "source" && err != nil {
			return notOf[FrameRate](s)
		}
		*f = FrameRate(v)
		return nil
	}
	return json.Unmarshal(b, (*float64)(f))
}

// Seconds is a time in the video: a number, or a time code such as
// "1:02:03.5".
type Seconds float64

// UnmarshalJSON reads a number or a time code.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*float64)(s))
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	fields := strings.Split(strings.ReplaceAll(strings.TrimSpace(text), ",", "."), ":")
	total := 0.
	for i, field := range fields {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil || len(fields) > 3 || !(v >= 0 && v < 1e7) || i > 0 && v >= 60 {
			return notOf[Seconds](text)
		}
		total = total*60 + v
	}
	*s = Seconds(total)
	return nil
}

// notOf says that s is no T. It is the error to which encoding/json adds the
// field that s was read for.
func notOf[T any](s string) error {
	return &json.UnmarshalTypeError{Value: fmt.Sprintf("%.40q", s), Type: reflect.TypeFor[T]()}
}

func nameOr(b []byte, name *string, figures any) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, name)
	}
	*name = ""
	return json.Unmarshal(b, figures)
}

func writeNameOr(name string, figures any) ([]byte, error) {
	if name != "" {
		return json.Marshal(name)
	}
	return json.Marshal(figures)
}
