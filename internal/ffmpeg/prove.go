package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"

	apigpu "github.com/api-gpu/api-gpu"
)

// Prove finds out what this machine can do, by doing it: FFmpeg lists
// encoders that fail on first use, those of a GPU above all. The error has the
// code NoEncoder when it cannot encode H.264 or cannot draw captions.
//
// Its programs run at the same time: starting them is what takes the time, and
// the machine is paid for.
func (t Tools) Prove(ctx context.Context) (Abilities, error) {
	var version, filters, coders []byte
	var versionErr, lookErr, filtersErr, codersErr, nvencErr error
	var gpu []string
	var all sync.WaitGroup
	all.Go(func() { version, versionErr = output(ctx, proveTimeout, t.FFmpeg, "-version") })
	// Within the bounds of a job: where they cannot be set, no job would run.
	all.Go(func() { _, lookErr = t.look(ctx, proveTimeout, "-version") })
	all.Go(func() { filters, filtersErr = t.list(ctx, "-filters") })
	all.Go(func() { coders, codersErr = t.list(ctx, "-encoders") })
	all.Go(func() {
		if nvencErr = t.encodeOne(ctx, NVENC); nvencErr == nil {
			gpu = t.encoding(ctx, NVENCHEVC, NVENCAV1)
		}
	})
	all.Wait()
	switch {
	case versionErr != nil:
		return Abilities{}, fmt.Errorf("ask ffmpeg for its version: %w", versionErr)
	case lookErr != nil:
		return Abilities{}, fmt.Errorf("start ffprobe within bounds: %w", lookErr)
	case filtersErr != nil || codersErr != nil:
		return Abilities{}, fmt.Errorf("ask ffmpeg for what it has: %w", errors.Join(filtersErr, codersErr))
	}
	has := filterNames(string(filters))
	a := Abilities{
		Version: parseVersion(string(version)),
		More:    append(gpu, listed(string(coders), X265, SVTAV1, AOM)...),
		Threads: max(1, int(math.Ceil(Cores()))),
		ToneMap: has["zscale"] && has["tonemap"],
	}
	if !has["ass"] {
		return a, apigpu.E(apigpu.NoEncoder, nil, "This FFmpeg cannot draw captions: it was built without libass.")
	}
	if nvencErr == nil {
		a.Encoder, a.GPU = NVENC, gpuName(ctx)
		return a, nil
	}
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	if err := t.encodeOne(ctx, X264); err != nil {
		return a, apigpu.E(apigpu.NoEncoder, fmt.Errorf("nvenc: %w; x264: %w", nvencErr, err), "This machine cannot encode H.264.")
	}
	a.Encoder = X264
	return a, nil
}

// list asks FFmpeg what it was built with.
func (t Tools) list(ctx context.Context, what string) ([]byte, error) {
	return output(ctx, proveTimeout, t.FFmpeg, "-hide_banner", "-v", "error", what)
}

// encoding returns the encoders of names that encode a frame, in their order.
// They are asked once the first of this GPU has: cards bound how many work at
// a time.
func (t Tools) encoding(ctx context.Context, names ...string) (able []string) {
	worked := make([]bool, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { worked[i] = t.encodeOne(ctx, name) == nil })
	}
	all.Wait()
	for i, name := range names {
		if worked[i] {
			able = append(able, name)
		}
	}
	return able
}

// listed returns the encoders of names that -encoders lists: flags, name,
// description.
func listed(list string, names ...string) (there []string) {
	known := map[string]bool{}
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); len(words) >= 2 {
			known[words[1]] = true
		}
	}
	for _, name := range names {
		if known[name] {
			there = append(there, name)
		}
	}
	return there
}

// encodeOne encodes one frame with the very options of a job. 256 x 256 is
// above the least size of every NVENC.
func (t Tools) encodeOne(ctx context.Context, name string) error {
	args := []string{"-nostdin", "-hide_banner", "-v", "error", "-f", "lavfi", "-i", "color=gray:size=256x256:rate=25"}
	args = append(args, encoder(name, effort{threads: 1})...)
	args = append(args, "-frames:v", "1", "-f", "null", "-")
	_, err := output(ctx, proveTimeout, t.FFmpeg, args...)
	return err
}

// gpuName asks the driver for the model of the first GPU. It is for people:
// without an answer it is "NVIDIA".
func gpuName(ctx context.Context) string {
	out, err := output(ctx, proveTimeout, "nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
	name, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || name == "" {
		return "NVIDIA"
	}
	return strings.TrimSpace(name)
}

// parseVersion reads the third word of "ffmpeg version 5.1.9-0+deb12u1 …".
func parseVersion(s string) string {
	words := strings.Fields(s)
	if len(words) < 3 || words[1] != "version" {
		return "unknown"
	}
	return words[2]
}

// filterNames reads -filters: flags, name, kinds of pads, description.
func filterNames(list string) map[string]bool {
	names := make(map[string]bool)
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); len(words) >= 3 && strings.Contains(words[2], "->") {
			names[words[1]] = true
		}
	}
	return names
}

// fontSelected is libass's word on the font it took, the last of which is the
// font's own name: "fontselect: (Noto Sans, 700, 0) -> …, 0, NotoSans-Bold".
var fontSelected = regexp.MustCompile(`(?m)fontselect: \(.*\) -> .*, ([^,\s]+)\s*$`)

// ProveFont draws ScriptFile of dir, with the fonts of its FontsFolder, on a
// black frame, and returns the name of the font that libass took. The script
// must show text at time 0. libass never fails for want of a font: it takes
// another, or draws nothing. So the name is for the caller to compare, and a
// frame that stays black is an error.
func (t Tools) ProveFont(ctx context.Context, dir string) (string, error) {
	pixels, log, err := outputs(ctx, proveTimeout, dir, t.FFmpeg,
		"-nostdin", "-hide_banner", "-nostats", "-v", "info",
		"-f", "lavfi", "-i", "color=black:size=320x180:rate=25",
		"-vf", fmt.Sprintf("ass=filename=%s:fontsdir=%s,format=gray", ScriptFile, FontsFolder),
		"-frames:v", "1", "-f", "rawvideo", "pipe:1")
	if err != nil {
		return "", fmt.Errorf("draw a caption: %w", err)
	}
	if !lit(pixels) {
		return "", apigpu.E(apigpu.NoEncoder, nil, "Captions cannot be drawn: no font is found.")
	}
	match := fontSelected.FindSubmatch(log)
	if match == nil {
		return "unknown", nil
	}
	return string(match[1]), nil
}

// lit reports whether something bright was drawn: more than a few pixels
// above half of white.
func lit(pixels []byte) bool {
	bright := 0
	for _, p := range pixels {
		if p > 127 {
			bright++
		}
	}
	return bright > 10
}
