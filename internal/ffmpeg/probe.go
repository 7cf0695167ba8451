package ffmpeg

import (
	"context"
	"errors"
	"math"
	"os/exec"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Rational is an exact fraction; its zero value means "not known".
type Rational struct{ Num, Den int64 }

// Float returns the value of r, and 0 where it is not known.
func (r Rational) Float() float64 {
	if r.Num == 0 || r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// Probe is what the headers of a file, and its first frames, say about it.
type Probe struct {
	// Format is FFmpeg's name of the demuxer: "mov,mp4,m4a,3gp,3g2,mj2".
	Format string
	// Duration is what the headers promise for the streams that are kept, 0
	// where they promise nothing.
	// Headers have been seen to be wrong by a factor of 100,000: good for an
	// estimate, for a percentage that is clamped, and for refusing a file,
	// but never for believing that it is short enough.
	Duration time.Duration
	// Start is the timestamp in the file that becomes 0 in the result.
	Start   time.Duration
	Streams int // of all kinds
	// Video is the stream that gets the captions: the first that is marked as
	// default, else the first; never a cover picture.
	Video Video
	// Audio are the tracks that can be kept, in the order of the file.
	Audio []Audio
	// AudioDropped counts the tracks whose codec FFmpeg does not know.
	AudioDropped int
	// Texts counts the subtitle tracks that MP4 calls text (mov_text).
	Texts int
}

// Video is one video stream. Words are FFmpeg's own (ffprobe); those that are
// not known are empty.
type Video struct {
	Index         int
	Codec         string
	PixFmt        string
	Width, Height int      // as stored
	SAR           Rational // shape of a stored pixel; zero is square
	Rotation      int      // degrees clockwise to show it upright: 0, 90, 180, 270
	Mirrored      bool
	Tilted        bool     // turned by an angle that is no multiple of 90 degrees
	AvgRate       Rational // frames per second, mean
	Rate          Rational // FFmpeg's guess at a base rate; absurd (57600) for irregular video
	TimeBase      Rational // seconds per tick of a timestamp
	StartPTS      int64    // in TimeBase
	Duration      time.Duration
	Frames        int64  // as the header counts them; 0 where it does not
	Range         string // "tv", "pc"
	Space         string // matrix coefficients: "bt709", "bt2020nc"
	Transfer      string // "bt709", "smpte2084" (PQ), "arib-std-b67" (HLG)
	Primaries     string // "bt709", "bt2020"
	FieldOrder    string // "progressive", "tt", "bb", "tb", "bt"
	DolbyVision   int    // profile of Dolby Vision, 0 without
}

// Audio is one track of sound.
type Audio struct {
	Index      int
	Codec      string
	Channels   int
	SampleRate int
	StartPTS   int64
	TimeBase   Rational
	Duration   time.Duration // 0 where the header does not tell
	BitRate    int64         // bits a second; 0 where the header does not tell
}

// maxStretch is the most that a pixel may be wider than high, or the other
// way round, before its shape is taken for an error in the file. Anamorphic
// video in use stays below 2.4.
const maxStretch = 5.0

// Display returns the size of the result in square pixels: turned upright,
// stretched where stored pixels are not square, and even, as H.264 in 4:2:0
// needs. It is also the size for which captions are laid out. A stored
// dimension is never made smaller, so that no detail is lost.
func (p Probe) Display() (w, h int) {
	v := p.Video
	width, height := float64(v.Width), float64(v.Height)
	switch stretch := v.SAR.Float(); {
	case stretch > 1 && stretch <= maxStretch:
		width *= stretch
	case stretch < 1 && stretch >= 1/maxStretch:
		height /= stretch
	}
	if v.Rotation == 90 || v.Rotation == 270 {
		width, height = height, width
	}
	return even(width), even(height)
}

// even rounds to a whole number, and up to an even one: 1 pixel is repeated
// rather than lost.
func even(f float64) int {
	n := max(int(math.Round(f)), 2)
	return n + n%2
}

// Interlaced reports whether frames hold two fields.
func (v Video) Interlaced() bool {
	switch v.FieldOrder {
	case "tt", "bb", "tb", "bt":
		return true
	}
	return false
}

// HDR reports a transfer function that a screen of standard range cannot
// show: PQ or HLG.
func (v Video) HDR() bool { return v.Transfer == "smpte2084" || v.Transfer == "arib-std-b67" }

// Wide reports BT.2020 colours, in high or standard dynamic range.
func (v Video) Wide() bool {
	return v.HDR() || v.Primaries == "bt2020" || strings.HasPrefix(v.Space, "bt2020")
}

// VFR reports timestamps that look irregular. It is for people: the arguments
// are the same.
func (v Video) VFR() bool {
	rate, avg := v.Rate.Float(), v.AvgRate.Float()
	return avg > 0 && math.Abs(rate-avg)/avg > 0.01
}

// alpha reports whether the pixel format may hold transparency.
func (v Video) alpha() bool {
	for _, prefix := range []string{"yuva", "gbrap", "rgba", "argb", "bgra", "abgr", "ya8", "ya16", "pal8"} {
		if strings.HasPrefix(v.PixFmt, prefix) {
			return true
		}
	}
	return false
}

// rgb reports whether the pixel format holds red, green and blue.
func (v Video) rgb() bool {
	for _, prefix := range []string{"rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2rgb", "x2bgr", "pal8"} {
		if strings.HasPrefix(v.PixFmt, prefix) {
			return true
		}
	}
	return false
}

// Probe reads the headers of the file at path. The codes of its errors are
// MediaUndecodable and NoVideoStream; any other error is not the file's.
func (t Tools) Probe(ctx context.Context, path string) (Probe, error) {
	out, err := t.look(ctx, probeTimeout,
		"-hide_banner", "-v", "error", "-max_alloc", maxAlloc,
		"-protocol_whitelist", protocols, "-format_whitelist", formats,
		"-show_entries", probeEntries, "-of", "json",
		"-i", "file:"+path)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Probe{}, apigpu.E(apigpu.MediaUndecodable, err, "The file takes too long to look at; it may be damaged.")
	}
	if err != nil {
		return Probe{}, probeError(err)
	}
	return parseProbe(out)
}

// probeError tells a bad file from a machine in trouble.
func probeError(err error) error {
	failed, ok := errors.AsType[*commandError](err)
	_, exited := errors.AsType[*exec.ExitError](err)
	if !ok || !exited {
		return err // it did not start, or was canceled
	}
	why := killed(err)
	switch {
	case why != nil && why.Code == apigpu.EncoderFailed: // by the kernel, for want of memory
		return why
	case strings.Contains(failed.complaint, "No such file or directory"),
		strings.Contains(failed.complaint, "Permission denied"):
		return err
	case why != nil, strings.Contains(failed.complaint, "Cannot allocate memory"):
		return apigpu.E(apigpu.MediaUndecodable, err, "The file takes more memory or time to look at than it may; it may be damaged.")
	case strings.Contains(failed.complaint, "Format not on whitelist"):
		return apigpu.E(apigpu.MediaUndecodable, err, "The file is not a video in a format that is accepted.").
			WithHint("Send MP4, MOV, MKV, WebM, AVI, MPEG, FLV, WMV or OGV. Playlists are not followed.")
	case strings.Contains(failed.complaint, "moov atom not found"):
		return apigpu.E(apigpu.MediaUndecodable, err, "The video is cut off: its index is missing.").
			WithHint("The upload or the recording may not have finished.")
	}
	return apigpu.E(apigpu.MediaUndecodable, err, "The file is not a video that can be read.")
}

// Check compares p with the limits. The error has the code MediaTooLong or
// MediaTooBig.
func (l Limits) Check(p Probe) error {
	w, h := p.Display()
	pixels := max(p.Video.Width*p.Video.Height, w*h)
	switch {
	case l.MaxDuration > 0 && p.Duration > l.MaxDuration:
		return apigpu.E(apigpu.MediaTooLong, nil, "The video is %s long; at most %s is accepted.",
			p.Duration.Round(time.Second), l.MaxDuration)
	case l.MaxPixels > 0 && pixels > l.MaxPixels:
		return apigpu.E(apigpu.MediaTooBig, nil, "The video is %d x %d pixels; at most %d pixels are accepted.", w, h, l.MaxPixels)
	case l.MaxStreams > 0 && p.Streams > l.MaxStreams:
		return apigpu.E(apigpu.MediaTooBig, nil, "The file has %d streams; at most %d are accepted.", p.Streams, l.MaxStreams)
	}
	return nil
}
