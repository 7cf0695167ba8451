package ffmpeg

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestThumbnail(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools := testTools(t)
	for _, c := range []struct {
		name, make string
		at         time.Duration
		w, h       int
	}{
		{"the last frame", "-f|lavfi|-i|" + bars + "|" + x264, time.Hour, 160, 120},
		{"wide noise", "-f|lavfi|-i|testsrc2=s=1600x900:r=5:d=1,noise=alls=100:allf=t|" + x264, 300 * time.Millisecond, 1280, 720},
		{"tall", "-f|lavfi|-i|testsrc2=s=90x160:r=5:d=1,setsar=2|" + x264, 0, 180, 160},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ffmpeg(t, dir, append(command(c.make), OutputFile)...)
			out, err := tools.Probe(t.Context(), filepath.Join(dir, OutputFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := tools.Thumbnail(t.Context(), dir, out, Spec{}.Shown(c.at, out), Abilities{}); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, ThumbnailFile))
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > apigpu.MaxThumbnail || !bytes.HasPrefix(raw, []byte("\xff\xd8\xff")) {
				t.Errorf("%d bytes", len(raw))
			}
			luma := ffmpeg(t, dir, "-i", ThumbnailFile, "-vf", "extractplanes=y", "-f", "rawvideo", "-")
			if len(luma) != c.w*c.h {
				t.Errorf("%d pixels, want %d x %d", len(luma), c.w, c.h)
			}
		})
	}
}
