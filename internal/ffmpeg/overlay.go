package ffmpeg

import "fmt"

// Overlay is a picture that OverlayFile holds, and where its top left corner
// lies: even numbers, in pixels of the result. It changes by itself, on the
// clock of the result; its last frame stays.
type Overlay struct{ X, Y int }

// filters lay the picture over what comes before. The file is of our own
// making: movie opens it within the same graph, so that a video which changes
// its size in mid-stream, for which FFmpeg builds the graph anew, has it again
// from its beginning.
//
// Its colours are coded as those of the video are: by themselves filters take
// the coefficients of BT.601, whatever the video has. overlay works on the
// formats of the frames before the encoder, in 8 bits or 10, on the CPU,
// whoever encodes.
func (o Overlay) filters(s Spec, p Probe) string {
	format, alpha := "yuv420", "yuva420p"
	if s.KeepsHDR(p) {
		format, alpha = "yuv420p10", "yuva420p10le"
	}
	return fmt.Sprintf("[drawn];movie=filename=%s:format_name=apng,scale=flags=bicubic:out_color_matrix=%s:out_range=tv,format=%s[over];"+
		"[drawn][over]overlay=x=%d:y=%d:eof_action=repeat:format=%s", OverlayFile, s.matrix(p), alpha, o.X, o.Y, format)
}

// matrix is the coefficients by which the frames before the encoder have their
// colours, as the scale filter names them.
func (s Spec) matrix(p Probe) string {
	v := p.Video
	switch {
	case s.KeepsHDR(p):
		return "bt2020"
	case v.rgb(), v.Wide(), v.Space == "bt709":
		return "bt709"
	case v.Space == "smpte170m", v.Space == "bt470bg":
		return "bt601"
	}
	if w, h := Canvas(s.Output, p); min(w, h) >= 720 { // as players guess
		return "bt709"
	}
	return "bt601"
}
