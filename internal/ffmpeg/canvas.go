package ffmpeg

import (
	"fmt"
	"math"

	apigpu "github.com/api-gpu/api-gpu"
)

// shortSides are the named resolutions, in pixels of the short side.
var shortSides = map[string]int{"480p": 480, "720p": 720, "1080p": 1080, "1440p": 1440, "4k": 2160}

// Canvas returns the size of the result in square pixels, both even: captions
// are laid out for it. Without a resolution it is that of the source. A name
// makes the picture smaller and never larger; a box is taken as it is, but for
// odd numbers, which become the next even ones.
func Canvas(o apigpu.Output, p Probe) (w, h int) {
	l := layoutOf(o, p)
	return l.width, l.height
}

// layout says how the picture becomes the result: scaled to one size, and then
// padded or cut to another, which may be the same.
type layout struct {
	width, height int                         // of the result
	inner         struct{ width, height int } // of the picture
}

// scaled is the layout of a picture that fills the result.
func scaled(w, h int) (l layout) {
	l.width, l.height = w, h
	l.inner.width, l.inner.height = w, h
	return l
}

func layoutOf(o apigpu.Output, p Probe) layout {
	w, h := p.Display()
	r := o.Resolution
	if side := shortSides[r.Name]; side > 0 && side < min(w, h) {
		factor := float64(side) / float64(min(w, h))
		return scaled(even(float64(w)*factor), even(float64(h)*factor))
	}
	if r.Name != "" || r.Width <= 0 || r.Height <= 0 {
		return scaled(w, h)
	}
	l := scaled(even(float64(r.Width)), even(float64(r.Height)))
	across, down := float64(l.width)/float64(w), float64(l.height)/float64(h)
	switch r.Fit {
	case apigpu.FitStretch:
	case apigpu.FitCover:
		factor := max(across, down)
		l.inner.width, l.inner.height = max(l.width, even(float64(w)*factor)), max(l.height, even(float64(h)*factor))
	default:
		factor := min(across, down)
		l.inner.width, l.inner.height = min(l.width, even(float64(w)*factor)), min(l.height, even(float64(h)*factor))
	}
	return l
}

// filters returns what brings a picture that was scaled into the result's
// shape: nothing, bars or a cut.
func (l layout) filters() []string {
	switch {
	case l.inner.width < l.width || l.inner.height < l.height:
		return []string{fmt.Sprintf("pad=w=%d:h=%d:x=(ow-iw)/2:y=(oh-ih)/2:color=black", l.width, l.height)}
	case l.inner.width > l.width || l.inner.height > l.height:
		return []string{fmt.Sprintf("crop=w=%d:h=%d", l.width, l.height)}
	}
	return nil
}

// FrameRate returns the exact rate for the number that people write. 23.976,
// 29.97 and their like are 1000/1001 of a whole number: the rates of NTSC.
// Zero is the source's own, and not known here.
func FrameRate(fps apigpu.FrameRate) Rational {
	if !(fps > 0 && fps < 1000) {
		return Rational{}
	}
	for _, whole := range []int64{24, 30, 48, 60, 120} {
		if math.Abs(float64(fps)-float64(whole)*1000/1001) < 0.005 {
			return Rational{whole * 1000, 1001}
		}
	}
	num, den := int64(math.Round(float64(fps)*1000)), int64(1000)
	for a, b := num, den; ; a, b = b, a%b { // the greatest common divisor
		if b == 0 {
			return Rational{num / a, den / a}
		}
	}
}
