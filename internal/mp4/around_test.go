package mp4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// TestAround: a file that holds nothing but the ranges decodes to the very
// frame of the whole file.
func TestAround(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	picture := []string{"-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=10", "-f", "lavfi", "-i", "sine=d=10", "-c:a", "aac", "-pix_fmt", "yuv420p"}
	for name, args := range map[string][]string{
		"usual":      join2(picture, "-c:v", "libx264", "-g", "50", "-bf", "3"),
		"fast":       join2(picture, "-c:v", "libx264", "-g", "50", "-movflags", "+faststart"),
		"one key":    join2(picture, "-c:v", "libx264", "-g", "1000", "-keyint_min", "1000", "-sc_threshold", "0"),
		"all keys":   join2(picture, "-c:v", "mjpeg", "-q:v", "5"),
		"late start": join2(picture, "-c:v", "libx264", "-g", "25", "-bf", "2", "-output_ts_offset", "2"),
		"mov":        join2(picture, "-c:v", "libx264", "-g", "50", "-f", "mov"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			whole := filepath.Join(dir, "whole.mp4")
			run(t, "ffmpeg", append(append([]string{"-v", "error"}, args...), whole)...)
			b, err := os.ReadFile(whole)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []time.Duration{0, 3960 * time.Millisecond, 8 * time.Second, time.Minute} {
				ranges, err := Around(bytes.NewReader(b), int64(len(b)), at)
				if err != nil {
					t.Fatal(at, err)
				}
				sparse, kept := make([]byte, len(b)), int64(0)
				for i, r := range ranges {
					if i > 0 && r.Offset <= ranges[i-1].Offset+ranges[i-1].Length {
						t.Errorf("ranges touch: %v", ranges)
					}
					kept += r.Length
					copy(sparse[r.Offset:r.Offset+r.Length], b[r.Offset:])
				}
				part := filepath.Join(dir, "part.mp4")
				if err := os.WriteFile(part, sparse, 0o600); err != nil {
					t.Fatal(err)
				}
				if got, want := frameAt(t, part, at), frameAt(t, whole, at); got != want {
					t.Errorf("at %s: another frame, with %d of %d bytes", at, kept, len(b))
				}
				if name == "usual" && kept > int64(len(b))*3/4 {
					t.Errorf("at %s: %d of %d bytes", at, kept, len(b))
				}
			}
		})
	}
}

func join2(a []string, more ...string) []string { return append(append([]string(nil), a...), more...) }

// frameAt is the digest of the frame at a time, or of the last.
func frameAt(t *testing.T, path string, at time.Duration) string {
	t.Helper()
	at = min(at, 9900*time.Millisecond)
	out := run(t, "ffmpeg", "-v", "fatal", "-ss", fmt.Sprintf("%.3f", at.Seconds()), "-i", path, "-an", "-frames:v", "1", "-f", "rawvideo", "-")
	if len(out) == 0 {
		t.Fatalf("no frame at %s of %s", at, path)
	}
	return fmt.Sprintf("%x", sha256.Sum256(out))
}

func TestAroundRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"no file":      {nil, ErrNotMP4},
		"no moov":      {join(ftyp, mdat), ErrDamaged},
		"no film":      {join(ftyp, moov(sound(mp4a(0x40))), mdat), ErrNoVideo},
		"no tables":    {join(ftyp, moov(film{}.trak()), mdat), ErrNoTables},
		"in fragments": {join(ftyp, moov(film{}.trak(), box("mvex")), mdat), ErrNoTables},
	} {
		if _, err := Around(bytes.NewReader(c.file), int64(len(c.file)), time.Second); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzAround: whatever a file claims, ranges are within it and in order.
func FuzzAround(f *testing.F) {
	tables := join(box("stsc", zeros(4), uint32(1), uint32(1), uint32(10), uint32(1)), box("stco", zeros(4), uint32(1), uint32(40)))
	f.Add(join(ftyp, moov(film{}.trak()), mdat), uint32(1000))
	f.Add(join(ftyp, mdat, moov(box("trak", box("mdia", box("hdlr", zeros(8), "vide", zeros(13)), box("minf", box("stbl", tables)))))), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, ms uint32) {
		ranges, err := Around(bytes.NewReader(b), int64(len(b)), time.Duration(ms)*time.Millisecond)
		if err != nil {
			return
		}
		end := int64(-1)
		for _, r := range ranges {
			if r.Offset <= end || r.Length < 0 || r.Offset+r.Length > int64(len(b)) {
				t.Fatalf("%v of %d bytes", ranges, len(b))
			}
			end = r.Offset + r.Length
		}
	})
}
