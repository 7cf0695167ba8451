package render

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// Bounds of a preview.
const (
	// turnWait is how long one may wait for the one before it.
	turnWait = 10 * time.Second
	// drawTime is for all of a preview: nine frames of a video far away at the
	// worst.
	drawTime = 90 * time.Second
	// oneSide and sheetSide bound the short side of a frame, in pixels.
	oneSide, sheetSide = 720, 360
	// lastFrame is how far before the end of a video there surely is a frame.
	lastFrame = 100 * time.Millisecond
	// memory bounds one FFmpeg on a server that does other things, in bytes:
	// enough for a frame of 4096 x 2176 in 10 bits (seen with 5.1.9). A
	// frame that needs more becomes a plain background.
	memory = 1 << 30
	// DirPrefix begins the names of folders of previews.
	DirPrefix = "api-gpu-preview-"
)

// Means are what a Studio draws with.
type Means struct {
	Tools  ffmpeg.Tools
	Able   ffmpeg.Abilities
	Fonts  *font.Set
	Limits ffmpeg.Limits
}

// Studio draws previews, one at a time.
type Studio struct {
	means func(context.Context) (Means, error)
	dir   string
	turn  chan struct{}
}

// NewStudio makes a studio that works in folders below dir. means is asked for
// each picture; its error is that of Draw.
func NewStudio(dir string, means func(context.Context) (Means, error)) *Studio {
	return &Studio{means: means, dir: dir, turn: make(chan struct{}, 1)}
}

// Here finds FFmpeg and the fonts of this machine. The error has the code
// PreviewUnavailable where they are not there.
func Here(ctx context.Context) (Means, error) {
	tools, err := ffmpeg.Find()
	if err != nil {
		return Means{}, Unavailable(err, "FFmpeg is not installed here")
	}
	tools.Launcher, tools.Memory = ffmpeg.Self, memory
	able, err := tools.ProveDrawing(ctx)
	if err != nil {
		return Means{}, Unavailable(err, "FFmpeg cannot draw captions here")
	}
	fonts, err := font.Find(font.SystemDirs())
	if err != nil {
		return Means{}, Unavailable(err, "no font for captions is installed here")
	}
	return Means{Tools: tools, Able: able, Fonts: fonts, Limits: ffmpeg.DefaultLimits()}, nil
}

// Unavailable is why no preview is drawn.
func Unavailable(cause error, why string) *apigpu.Error {
	return apigpu.E(apigpu.PreviewUnavailable, cause, "This server draws no previews: %s, and no worker is ready that could.", why).
		WithHint("Run the orchestrator from its full image, or on a machine with FFmpeg and fonts; a preview is never a reason to rent one.")
}

// Order is what to draw.
type Order struct {
	Document caption.Document
	Spec     apigpu.CaptionSpec
	Ask      apigpu.PreviewAsk
	// Video is where to read the video; nil where the request has none.
	Video *Video
	// Fonts are font files that came with the request, not yet looked at.
	Fonts [][]byte
}

// Draw draws a preview. RateLimited where another is being drawn for too long,
// JobTimeout where this one takes too long, and the errors of a video that the
// job would fail with.
func (s *Studio) Draw(ctx context.Context, o Order) (apigpu.Preview, error) {
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-timer.C:
		e := apigpu.E(apigpu.RateLimited, nil, "Another preview is being drawn; they are drawn one at a time.")
		e.RetryAfter = 5
		return apigpu.Preview{}, e
	case <-ctx.Done():
		return apigpu.Preview{}, context.Cause(ctx)
	}
	late := apigpu.E(apigpu.JobTimeout, nil, "The preview took longer than %s.", drawTime)
	ctx, cancel := context.WithTimeoutCause(ctx, drawTime, late)
	defer cancel()
	p, err := s.draw(ctx, o)
	if cause := context.Cause(ctx); cause != nil {
		return apigpu.Preview{}, cause // whatever broke, this is why
	}
	return p, err
}

func (s *Studio) draw(ctx context.Context, o Order) (_ apigpu.Preview, err error) {
	means, err := s.means(ctx)
	if err != nil {
		return apigpu.Preview{}, err
	}
	dir, err := os.MkdirTemp(s.dir, DirPrefix)
	if err != nil {
		return apigpu.Preview{}, Unavailable(err, "its folder for temporary files cannot be written to")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &drawing{Means: means, order: o, dir: dir}
	if err := d.background(ctx); err != nil {
		return apigpu.Preview{}, err
	}
	defer d.close()
	if err := d.prepare(); err != nil {
		return apigpu.Preview{}, err
	}
	return d.pictures(ctx)
}

// drawing is one preview being drawn.
type drawing struct {
	Means
	order Order
	dir   string

	film     *film        // nil for a plain background
	probe    ffmpeg.Probe // of the film, or of the plain background
	spec     ffmpeg.Spec
	times    []time.Duration
	warnings []apigpu.Warning
}

func (d *drawing) close() {
	if d.film != nil {
		d.film.close()
	}
}

// plain takes the plain background, of the size of the video where that is
// known, and says why where there is a video.
func (d *drawing) plain(width, height int, why string) {
	d.close()
	d.film = nil
	if ask := d.order.Ask; width <= 0 || height <= 0 {
		if width, height = ask.Width, ask.Height; width <= 0 || height <= 0 {
			width, height = 1280, 720
		}
	}
	d.probe = ffmpeg.Plain(width, height)
	if why != "" {
		d.warnings = append(d.warnings, apigpu.Warning{Code: apigpu.PreviewPlain, Message: why})
	}
}

// manyCues is from how many cues on only those near the pictures are set.
const manyCues = 2000

// prepare sets the captions in the size of the pictures.
func (d *drawing) prepare() error {
	cues := d.order.Document.Cues
	if length := d.probe.Duration; length > 0 {
		within, late := caption.Within(cues, length)
		if len(within) == 0 {
			return apigpu.E(apigpu.SubtitleEmpty, nil, "No cue begins before the end of the video.")
		}
		cues, d.warnings = within, append(d.warnings, subtitle.Warnings(late)...)
	}
	d.times = moments(cues, d.order.Ask)
	if last := d.probe.Duration - lastFrame; last > 0 {
		for i, at := range d.times {
			d.times[i] = min(at, last)
		}
	}
	side := oneSide
	if d.order.Ask.Sheet {
		side = sheetSide
	}
	d.spec = ffmpeg.Spec{Output: ffmpeg.Within(d.order.Spec.Output, d.probe, side), Limits: d.Limits}
	if len(cues) > manyCues {
		cues = near(cues, d.times)
	}
	fonts, err := WithFonts(d.dir, d.Fonts, d.order.Fonts)
	if err != nil {
		return err
	}
	_, warnings, err := Write(d.dir, Captions{Cues: cues, Script: d.order.Document.Script, Spec: d.order.Spec}, &d.spec, d.probe, fonts)
	d.warnings = append(d.warnings, warnings...)
	return err
}

// pictures draws the frames, and lays them out.
func (d *drawing) pictures(ctx context.Context) (apigpu.Preview, error) {
	p := apigpu.Preview{Background: apigpu.BackgroundPlain}
	if d.film != nil {
		p.Background = apigpu.BackgroundVideo
	}
	var files []string
	for i, at := range d.times {
		name := fmt.Sprintf("picture-%d.png", i)
		onVideo, err := d.picture(ctx, at, name)
		if err != nil {
			return apigpu.Preview{}, err
		}
		if !onVideo {
			p.Background = apigpu.BackgroundPlain
		}
		p.At, files = append(p.At, at.Seconds()), append(files, filepath.Join(d.dir, name))
	}
	var err error
	if len(files) == 1 {
		p.PNG, err = os.ReadFile(files[0])
	} else {
		p.PNG, err = sheetOf(files)
	}
	for _, w := range append(subtitle.Warnings(d.order.Document.Notes), d.warnings...) {
		if !slices.Contains(p.Warnings, w.Code) {
			p.Warnings = append(p.Warnings, w.Code)
		}
	}
	return p, err
}

// picture draws one frame: over the film where it can be read, else over the
// plain background.
func (d *drawing) picture(ctx context.Context, at time.Duration, name string) (onVideo bool, err error) {
	still := ffmpeg.Still{Spec: d.spec, Probe: d.probe, Able: d.Able, At: at, File: name}
	path := filepath.Join(d.dir, name)
	if d.film != nil {
		err := d.film.reach(ctx, at)
		if err == nil {
			err = d.Tools.Draw(ctx, d.dir, still.Args())
		}
		if err == nil && isThere(path) {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		d.warnings = append(d.warnings, apigpu.Warning{Code: apigpu.PreviewPlain, Message: "The frame of the video could not be read."})
	}
	if err := d.Tools.Draw(ctx, d.dir, still.PlainArgs()); err != nil {
		return false, err
	}
	if !isThere(path) {
		return false, errors.New("draw a picture: FFmpeg made none")
	}
	return false, nil
}

func isThere(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}
