package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func testTools(t *testing.T) Tools {
	t.Helper()
	tools, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	tools.Launcher = Self // as the worker has it: TestMain calls Launch
	return tools
}

// ffmpeg makes or reads test data, with x264 at its fastest.
func ffmpeg(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %q: %v\n%s", args, err, &stderr)
	}
	return stdout.Bytes()
}

// writeScript writes captions that need no font: a white box over the left
// half of the lowest quarter of a picture of w x h, from the start on.
func writeScript(t *testing.T, dir string, w, h int) {
	t.Helper()
	script := fmt.Sprintf(`[Script Info]
ScriptType: v4.00+
PlayResX: %d
PlayResY: %d
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Sans,40,&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,0,0,7,0,0,0,1
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,1:00:00.00,Default,,0,0,0,,{\pos(0,%d)\p1}m 0 0 l %d 0 %d %d 0 %d
`, w, h, h*3/4, w/2, w/2, h/4, h/4)
	if err := os.WriteFile(filepath.Join(dir, ScriptFile), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
}

// turn overwrites the display matrix of the first track of an MP4: FFmpeg's
// own options for it differ between versions.
func turn(t *testing.T, path string, a, b, c, d int32) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The matrix stands 40 bytes into the payload of a tkhd of version 0
	// (ISO/IEC 14496-12, 8.3.2).
	at := bytes.Index(file, []byte("tkhd"))
	if at < 0 || file[at+4] != 0 {
		t.Fatal("no tkhd of version 0")
	}
	at += 4 + 40
	for i, n := range []int32{a, b, 0, c, d, 0, 0, 0, 0x4000} {
		binary.BigEndian.PutUint32(file[at+4*i:], uint32(n<<16)) // 16.16, and 2.30 in the last
	}
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
}

// picture is the luma of one frame.
type picture struct {
	w    int
	luma []byte
}

func (p picture) at(x, y int) byte { return p.luma[y*p.w+x] }

// firstFrame decodes the first frame of a result of w x h.
func firstFrame(t *testing.T, path string, w, h int) picture {
	t.Helper()
	luma := ffmpeg(t, "", "-i", path, "-frames:v", "1", "-vf", "format=yuv420p,extractplanes=y", "-f", "rawvideo", "-")
	if len(luma) != w*h {
		t.Fatalf("a frame of %d bytes, want %d x %d", len(luma), w, h)
	}
	return picture{w, luma}
}
