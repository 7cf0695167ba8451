package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// Bounds of a thumbnail.
const (
	ThumbnailFile  = "thumbnail.jpg"
	thumbnailWidth = 1280
	// thumbnailTimeout is for one frame, in the middle of a group of 250 at
	// the worst.
	thumbnailTimeout = time.Minute
)

// Shown returns when the frame that is shown at a time begins: the last frame
// where there is none so late, the first where there is none so early.
func (s Spec) Shown(at time.Duration, out Probe) time.Duration {
	last := max(out.Duration, 0)
	if out.Video.Duration > 0 {
		last = ticks(out.Video.StartPTS, out.Video.TimeBase) + out.Video.Duration - out.Start
	}
	if rate := FrameRate(s.Output.FPS); rate.Num > 0 {
		frames := max(int64(last.Seconds()*rate.Float()+0.5), 1)
		n := min(int64(at.Seconds()*rate.Float()+1e-6), frames-1)
		return time.Duration(float64(n) / rate.Float() * float64(time.Second))
	}
	times := s.Frames.Times
	if len(times) == 0 {
		if rate := out.Video.AvgRate.Float(); rate > 0 {
			last -= time.Duration(float64(time.Second) / rate)
		}
		return max(min(at, last), 0)
	}
	// Times are cut to whole milliseconds.
	n, found := slices.BinarySearch(times, at.Milliseconds())
	if !found {
		n--
	}
	return time.Duration(times[min(max(n, 0), len(times)-1)]) * time.Millisecond
}

// Thumbnail writes ThumbnailFile beside the result in dir: a JPEG of the frame
// that begins at a time, as it is displayed, at most 1280 pixels wide and
// apigpu.MaxThumbnail bytes long. HDR is mapped to standard colours.
func (t Tools) Thumbnail(ctx context.Context, dir string, out Probe, at time.Duration, a Abilities) error {
	path := filepath.Join(dir, ThumbnailFile)
	for _, scale := range []int{3, 8, 16, 31} { // FFmpeg's scale of JPEG, from good to poor
		ctx, cancel := context.WithTimeout(ctx, thumbnailTimeout)
		cmd := exec.CommandContext(ctx, t.FFmpeg, thumbnailArgs(out, at, scale, a)...)
		cmd.Dir = dir
		t.bound(cmd, t.toolBounds(thumbnailTimeout))
		_, _, err := collect(ctx, cmd)
		cancel()
		if err != nil {
			return fmt.Errorf("make a thumbnail: %w", err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("make a thumbnail: %w", err)
		}
		if info.Size() > 0 && info.Size() <= apigpu.MaxThumbnail {
			return nil
		}
	}
	return errors.Join(errors.New("make a thumbnail: it is empty or too long"), os.Remove(path))
}

// thumbnailArgs seeks to shortly before the frame, so that rounding does not
// miss it.
func thumbnailArgs(out Probe, at time.Duration, scale int, a Abilities) []string {
	w, h := out.Display()
	if w > thumbnailWidth {
		w, h = thumbnailWidth, max(h*thumbnailWidth/w, 1)
	}
	var chain []string
	if out.Video.Wide() && a.ToneMap {
		chain = toneMap(out.Video)
	}
	chain = append(chain, fmt.Sprintf("scale=w=%d:h=%d:flags=bicubic:out_color_matrix=bt601:out_range=pc", w, h), "format=yuvj420p", "setsar=1")
	return []string{
		"-nostdin", "-hide_banner", "-nostats", "-y", "-v", "error", "-max_alloc", maxAlloc,
		"-protocol_whitelist", protocols, "-format_whitelist", formats,
		"-ss", strconv.FormatFloat(max(at-2*time.Millisecond, 0).Seconds(), 'f', 3, 64), "-i", OutputFile,
		"-map", "0:v:0", "-vf", strings.Join(chain, ","), "-frames:v", "1", "-map_metadata", "-1",
		"-c:v", "mjpeg", "-q:v", strconv.Itoa(scale), "-f", "mjpeg", ThumbnailFile,
	}
}
