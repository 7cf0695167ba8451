package ffmpeg

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// stillTimeout is for one picture, with up to 250 frames of 4K before it that
// it needs, on one thread.
const stillTimeout = 20 * time.Second

// Plain is a probe of no file: the picture that captions are drawn on where no
// video is at hand.
func Plain(width, height int) Probe {
	return Probe{Video: Video{Width: width, Height: height, AvgRate: Rational{25, 1}, Space: "bt709"}}
}

// Within returns an output whose picture has the shape of o's, and a short side
// of at most so many pixels. It is of standard range, and keeps the frames of
// the source.
func Within(o apigpu.Output, p Probe, side int) apigpu.Output {
	l := layoutOf(o, p)
	w, h := l.width, l.height
	if short := min(w, h); short > side {
		w, h = even(float64(w*side)/float64(short)), even(float64(h*side)/float64(short))
	}
	fit := o.Resolution.Fit
	if o.Resolution.Width == 0 {
		fit = apigpu.FitStretch // of the same shape: rounding must leave no bars
	}
	o.Resolution = apigpu.Resolution{Width: w, Height: h, Fit: fit}
	o.FPS, o.HDR = 0, apigpu.HDRMap
	return o
}

// Still is one picture of a video with its captions.
type Still struct {
	Spec  Spec
	Probe Probe
	Able  Abilities
	// At is when: what captions show then, over the frame that is shown then.
	At time.Duration
	// File takes a PNG, in the folder of InputFile and ScriptFile.
	File string
}

// Args returns the arguments that make File of InputFile.
func (s Still) Args() []string {
	args := append(stillArgs(), "-protocol_whitelist", protocols, "-format_whitelist", formats)
	if s.Spec.Limits.MaxPixels > 0 {
		args = append(args, "-max_pixels", strconv.Itoa(s.Spec.Limits.MaxPixels))
	}
	chain := append([]string{s.clock()}, filters(s.Spec, s.Probe, s.Able)...)
	return append(append(args,
		"-threads", "1",
		// To shortly before the frame, so that rounding does not miss it.
		"-ss", strconv.FormatFloat(max(s.At-2*time.Millisecond, 0).Seconds(), 'f', 3, 64), "-i", InputFile,
		"-map", fmt.Sprintf("0:%d", s.Probe.Video.Index)), s.end(chain)...)
}

// PlainArgs returns the arguments that make File of no file: captions on a dark
// picture.
func (s Still) PlainArgs() []string {
	w, h := Canvas(s.Spec.Output, s.Probe)
	chain := []string{s.clock(), "format=yuv420p", fmt.Sprintf("ass=filename=%s:fontsdir=%s", ScriptFile, FontsFolder)}
	if s.Spec.Overlay != nil {
		chain[len(chain)-1] += s.Spec.Overlay.filters(s.Spec, s.Probe)
	}
	return append(append(stillArgs(),
		"-f", "lavfi", "-i", fmt.Sprintf("color=color=0x23262d:size=%dx%d:rate=25:duration=1,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709", w, h)),
		s.end(chain)...)
}

// clock gives the frame the time of the picture, whatever its own: captions are
// drawn by it.
func (s Still) clock() string {
	return fmt.Sprintf("setpts=PTS-STARTPTS+%s/TB", strconv.FormatFloat(s.At.Seconds(), 'f', 6, 64))
}

func (s Still) end(chain []string) []string {
	chain = append(chain, "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_range=pc", "format=rgb24")
	return []string{"-vf", strings.Join(chain, ","), "-frames:v", "1", "-map_metadata", "-1", "-c:v", "png", "-f", "image2", "-update", "1", s.File}
}

func stillArgs() []string {
	return []string{"-nostdin", "-hide_banner", "-nostats", "-y", "-v", "error", "-max_alloc", maxAlloc, "-filter_threads", "1"}
}

// Draw runs FFmpeg for a picture in dir, within bounds. It makes no file where
// the video has no frame at that time.
func (t Tools) Draw(ctx context.Context, dir string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, stillTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.FFmpeg, args...)
	cmd.Dir = dir
	t.bound(cmd, t.toolBounds(stillTimeout))
	if _, _, err := collect(ctx, cmd); err != nil {
		return fmt.Errorf("draw a picture: %w", err)
	}
	return nil
}

// ProveDrawing finds out whether this FFmpeg draws captions, and no more of
// what it can do. The error has the code NoEncoder where it does not.
func (t Tools) ProveDrawing(ctx context.Context) (Abilities, error) {
	if _, err := t.look(ctx, proveTimeout, "-version"); err != nil {
		return Abilities{}, fmt.Errorf("start ffprobe within bounds: %w", err)
	}
	list, err := t.list(ctx, "-filters")
	if err != nil {
		return Abilities{}, fmt.Errorf("ask ffmpeg for what it has: %w", err)
	}
	has := filterNames(string(list))
	if !has["ass"] {
		return Abilities{}, apigpu.E(apigpu.NoEncoder, nil, "This FFmpeg cannot draw captions: it was built without libass.")
	}
	return Abilities{Threads: 1, ToneMap: has["zscale"] && has["tonemap"]}, nil
}
