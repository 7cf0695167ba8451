package subtitle

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// frame is the size, in pixels, of the picture that coordinates belong to.
type frame struct{ w, h float64 }

var coordinate = regexp.MustCompile(`([XYxy][12])\s*:\s*(-?\d{1,5})`)

// frameOf guesses the picture of SubRip's coordinates: the smallest usual one
// that holds them all. SubRip made them of DVDs, 720 pixels wide.
func (r *reading) frameOf(blocks []block) frame {
	if !r.KeepPositions || r.format != caption.SRT {
		return frame{}
	}
	var w, h float64
	for i := range blocks {
		at := coordinates(blocks[i].settings)
		w, h = max(w, at["X1"], at["X2"]), max(h, at["Y1"], at["Y2"])
	}
	for _, f := range []frame{{720, 480}, {720, 576}, {1280, 720}, {1920, 1080}, {3840, 2160}} {
		if w <= f.w && h <= f.h {
			return f
		}
	}
	return frame{w, h}
}

func coordinates(settings string) map[string]float64 {
	if settings == "" {
		return nil
	}
	at := map[string]float64{}
	for _, m := range coordinate.FindAllStringSubmatch(settings, -1) {
		if v, err := strconv.ParseFloat(m[2], 64); err == nil {
			at[strings.ToUpper(m[1])] = max(v, 0)
		}
	}
	return at
}

// place puts a cue where the settings of its time line say.
func (r *reading) place(c *caption.Cue, settings string, f frame) {
	if r.format == caption.WebVTT {
		placeVTT(c, settings)
		return
	}
	at := coordinates(settings)
	if len(at) < 4 || at["X2"] < at["X1"] || at["Y2"] < at["Y1"] {
		return
	}
	// The box holds the text at its lower edge, in the middle.
	c.Place = &caption.Place{X: (at["X1"] + at["X2"]) / 2 / f.w, Y: at["Y2"] / f.h}
	if c.Align == 0 {
		c.Align = 2
	}
}

// placeVTT reads the settings of a WebVTT cue, as section 4.4 of the standard
// has them. What is not valid is ignored, as there.
func placeVTT(c *caption.Cue, settings string) {
	x, y := -1., -1.
	column, row := 0, 0 // of the keypad: 1 to 3, and 0, 1, 2 from below
	text := 2           // how the lines are aligned
	for _, s := range strings.Fields(settings) {
		name, value, _ := strings.Cut(s, ":")
		value, anchor, _ := strings.Cut(value, ",")
		switch strings.ToLower(name) {
		case "position":
			if p, ok := percent(value); ok {
				x = p
				column = map[string]int{"line-left": 1, "start": 1, "center": 2, "middle": 2, "line-right": 3, "end": 3}[anchor]
			}
		case "line":
			y, row = lineOf(value, anchor)
		case "align":
			text = map[string]int{"start": 1, "left": 1, "end": 3, "right": 3}[value]
		}
	}
	if text == 0 {
		text = 2
	}
	if column == 0 {
		column = text // the position's default alignment is that of the text
	}
	if x < 0 {
		x = map[int]float64{1: 0, 2: 0.5, 3: 1}[text]
	}
	if x == 0.5 && y < 0 && column == 2 {
		return // the default
	}
	if y < 0 {
		y, row = 1, 0
	}
	c.Align = row*3 + column
	c.Place = &caption.Place{X: x, Y: y}
}

// vttLines is how many lines a picture has for WebVTT: a line is 5.33 % of its
// height.
const vttLines = 18.75

// lineOf reads the line setting: a percentage, or a number of lines from the
// top, or from the bottom where it is negative. row is the row of the keypad.
func lineOf(value, anchor string) (y float64, row int) {
	if p, ok := percent(value); ok {
		row = map[string]int{"start": 2, "center": 1, "end": 0}[anchor]
		if anchor == "" {
			row = 2
		}
		// The lower part of the picture: a cue of two lines that hangs from
		// there would reach below it.
		if row == 2 && p > 0.75 {
			row, p = 0, min(p+1/vttLines, 1)
		}
		return p, row
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil || n > 100 || n < -100:
		return -1, 0
	case n < 0:
		return max(1+float64(n+1)/vttLines, 0), 0
	}
	return min(float64(n)/vttLines, 1), 2
}

// percent reads "12.5%" as 0.125.
func percent(s string) (float64, bool) {
	digits, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	return v / 100, ok && err == nil && v >= 0 && v <= 100
}
