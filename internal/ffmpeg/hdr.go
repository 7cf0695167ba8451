package ffmpeg

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"

	apigpu "github.com/api-gpu/api-gpu"
)

// Paint returns the colour to write into a script for one that is to be seen.
// They differ only where HDR is kept: white there is as bright as paper, not as
// the sun. ITU-R BT.2408 puts white of graphics at 203 nits, which is 58 % of
// the signal in PQ and 75 % in HLG.
//
// Colours go from BT.709 to the BT.2020 of the picture. HLG is coded from light
// of the scene, channel by channel: the small shift of hue that its display
// adds to saturated colours is left as it is.
func Paint(s Spec, p Probe) func(apigpu.Color) apigpu.Color {
	if !s.KeepsHDR(p) {
		return func(c apigpu.Color) apigpu.Color { return c }
	}
	code := pq
	if p.Video.Transfer == "arib-std-b67" {
		code = hlg
	}
	return func(c apigpu.Color) apigpu.Color {
		r, g, b := linear(c.R), linear(c.G), linear(c.B)
		// ITU-R BT.2087, from BT.709 to BT.2020.
		return apigpu.Color{
			R: code(0.6274*r + 0.3293*g + 0.0433*b),
			G: code(0.0691*r + 0.9195*g + 0.0114*b),
			B: code(0.0164*r + 0.0880*g + 0.8956*b),
			A: c.A,
		}
	}
}

var (
	anyColor = regexp.MustCompile(`&H[0-9A-Fa-f]{1,8}`)
	// A change of colour within a text: \c&HBBGGRR& and \1c to \4c. Opacity
	// (\alpha) has other letters.
	override  = regexp.MustCompile(`\{[^}]*\}`)
	inlineTag = regexp.MustCompile(`\\[1-4]?c&H[0-9A-Fa-f]{1,8}`)
)

// PaintScript gives the colours of a script for libass the values of Paint:
// those of its styles, and those that its texts change to. Words that look like
// a colour stay as they are.
func PaintScript(script []byte, s Spec, p Probe) []byte {
	if !s.KeepsHDR(p) {
		return script
	}
	paint := Paint(s, p)
	in := func(token []byte) []byte {
		at := bytes.IndexByte(token, '&')
		return append(token[:at:at], paintASS(string(token[at+2:]), paint)...)
	}
	var out []byte
	for line := range bytes.Lines(script) {
		switch {
		case bytes.HasPrefix(line, []byte("Style:")):
			line = anyColor.ReplaceAllFunc(line, in)
		case bytes.HasPrefix(line, []byte("Dialogue:")):
			line = override.ReplaceAllFunc(line, func(block []byte) []byte { return inlineTag.ReplaceAllFunc(block, in) })
		}
		out = append(out, line...)
	}
	return out
}

// paintASS paints AABBGGRR, of which the first digits may be missing.
func paintASS(hex string, paint func(apigpu.Color) apigpu.Color) string {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		return "&H" + hex
	}
	c := paint(apigpu.Color{R: uint8(n), G: uint8(n >> 8), B: uint8(n >> 16)})
	painted := fmt.Sprintf("%02X%02X%02X", c.B, c.G, c.R)
	if len(hex) > 6 {
		painted = fmt.Sprintf("%02X", n>>24) + painted
	}
	return "&H" + painted
}

// linear is the light of a value of sRGB, 0 to 1 (IEC 61966-2-1).
func linear(v uint8) float64 {
	f := float64(v) / 255
	if f <= 0.04045 {
		return f / 12.92
	}
	return math.Pow((f+0.055)/1.055, 2.4)
}

// pq codes light of which 1 is 203 nits (SMPTE ST 2084).
func pq(light float64) uint8 {
	const m1, m2, c1, c2, c3 = 2610. / 16384, 2523. / 32, 3424. / 4096, 2413. / 128, 2392. / 128
	y := math.Pow(max(light, 0)*203/10000, m1)
	return byteOf(math.Pow((c1+c2*y)/(1+c3*y), m2))
}

// hlg codes light of which 1 becomes 75 % of the signal (ITU-R BT.2100).
func hlg(light float64) uint8 {
	const a, b, c, white = 0.17883277, 0.28466892, 0.55991073, 0.26496256
	e := max(light, 0) * white
	if e <= 1./12 {
		return byteOf(math.Sqrt(3 * e))
	}
	return byteOf(a*math.Log(12*e-b) + c)
}

func byteOf(f float64) uint8 { return uint8(math.Round(min(max(f, 0), 1) * 255)) }
