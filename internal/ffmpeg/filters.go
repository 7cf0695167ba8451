package ffmpeg

import "fmt"

// filters returns the chain from the decoder to the encoder, in order:
//
//	(upright) → progressive → rate → on black → standard colours → size → shape → captions → emoji
//
// FFmpeg turns the picture upright by itself before the first filter, and
// removes the rotation from the result. Captions come last, so that libass
// draws on the very pixels and frames that are shown: square, upright, of
// limited range, at the result's own times.
func filters(s Spec, p Probe, a Abilities) []string {
	v := p.Video
	var chain []string
	if deinterlaces(v) {
		// One frame for each frame: the rate stays. Frames that are not
		// flagged as interlaced pass untouched.
		chain = append(chain, "bwdif=mode=send_frame:parity=auto:deint=interlaced")
	}
	chain = append(chain, s.rateFilters()...)
	if v.alpha() {
		// Colour times opacity is the picture on black. Without it, what was
		// invisible would show.
		format := "yuva444p"
		if v.rgb() {
			format = "gbrap"
		}
		chain = append(chain, "format="+format, "premultiply=inplace=1")
	}
	format := "format=yuv420p"
	switch {
	case s.KeepsHDR(p):
		format = "format=yuv420p10le"
	case v.Wide() && a.ToneMap:
		chain = append(chain, toneMap(v)...)
	}
	l := layoutOf(s.Output, p)
	// The size is forced even where it is the input's own: then scale passes
	// frames through, until a stream changes its size on the way.
	//
	// Full range becomes limited range. The loss is rounding (56 dB against
	// the full-range picture, measured), and the gain is that every player
	// agrees on black and white, and that libass in FFmpeg 5.1, which draws
	// white as 235 whatever the range, draws white.
	scale := fmt.Sprintf("scale=w=%d:h=%d:flags=bicubic:out_range=tv", l.inner.width, l.inner.height)
	switch {
	case v.rgb():
		chain = append(chain, scale+":out_color_matrix=bt709", format,
			// Frames would go on to say that they are RGB, and the encoder
			// would pass that on to players.
			"setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709")
	case s.KeepsHDR(p):
		chain = append(chain, scale, format,
			// Said again: files leave some of them open.
			"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc="+v.Transfer+":range=tv")
	default:
		chain = append(chain, scale, format)
	}
	chain = append(append(chain, l.filters()...), "setsar=1")
	if s.burns() {
		chain = append(chain, fmt.Sprintf("ass=filename=%s:fontsdir=%s", ScriptFile, FontsFolder))
		if s.Overlay != nil {
			chain[len(chain)-1] += s.Overlay.filters(s, p)
		}
	}
	return chain
}

// rateFilters put frame n at n/rate, from 0 on: the clock that cues are put on.
//
// A filter is not told how long the last frame is (see timing). Where it is
// longer than one of the result, it is repeated until its end.
func (s Spec) rateFilters() []string {
	rate := FrameRate(s.Output.FPS)
	if rate.Num <= 0 {
		return nil
	}
	chain := []string{fmt.Sprintf("fps=fps=%d/%d:start_time=0:round=near", rate.Num, rate.Den)}
	last, frames := s.Frames.End-s.Frames.Last, int64(s.Frames.End.Seconds()*rate.Float()+0.5)
	if last.Seconds()*rate.Float() > 1.5 && frames > 0 {
		chain = append(chain,
			fmt.Sprintf("tpad=stop_mode=clone:stop_duration=%.6f", last.Seconds()),
			fmt.Sprintf("trim=end_frame=%d", frames))
	}
	return chain
}

// deinterlaces reports whether fields are woven into frames. A turned picture
// is left as it is: its fields are columns by then. No camera is known to
// record both.
func deinterlaces(v Video) bool { return v.Interlaced() && v.Rotation == 0 }

// toneMap returns the filters from BT.2020 to BT.709. PQ and HLG are made
// linear with 100 nits as white, brought into range by Hable's curve, and
// coded again. Of three curves at two levels this one kept both clouds and
// shadows of a sunlit scene (by eye). Wide colours of standard range need no
// curve.
//
// The input's properties are said again, each from a short list, because
// zscale refuses frames that leave one open.
func toneMap(v Video) []string {
	matrix, primaries, inRange := "bt2020nc", "bt2020", "limited"
	if v.Space == "bt709" {
		matrix = "bt709"
	}
	if v.Primaries == "bt709" || v.Primaries == "smpte432" {
		primaries = v.Primaries
	}
	if v.Range == "pc" {
		inRange = "full"
	}
	in := fmt.Sprintf("zscale=min=%s:pin=%s:rin=%s", matrix, primaries, inRange)
	if !v.HDR() {
		return []string{in + ":tin=bt709:m=bt709:p=bt709:t=bt709:r=limited:d=error_diffusion", "format=yuv420p"}
	}
	return []string{
		in + ":tin=" + v.Transfer + ":t=linear:npl=100",
		"format=gbrpf32le",
		"zscale=p=bt709",
		"tonemap=tonemap=hable:desat=0",
		"zscale=m=bt709:t=bt709:r=limited",
		// Said here, so that zscale makes YUV and not the next filter, which
		// would do it by the coefficients of BT.601.
		"format=yuv420p",
	}
}
