package mp4

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// probed is what ffprobe says of a stream.
type probed struct {
	Kind     string `json:"codec_type"`
	Codec    string `json:"codec_name"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Duration string `json:"duration"`
	Frames   string `json:"nb_frames"`
	Rate     string `json:"avg_frame_rate"` // a fraction: 30000/1001
	SideData []struct {
		Rotation int `json:"rotation"` // counter-clockwise, -180 to 180
	} `json:"side_data_list"`
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// TestAgainstFFprobe makes files with ffmpeg and compares what ffprobe, which
// decodes them, says of them.
func TestAgainstFFprobe(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	picture := []string{"-f", "lavfi", "-i", "testsrc=s=96x64:r=25:d=1.2"}
	both := append([]string{"-f", "lavfi", "-i", "sine=d=1.2"}, picture...)
	fast := []string{"-preset", "ultrafast"}
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for name, c := range map[string]struct {
		args []string
		file string
		edit func([]byte) []byte
	}{
		"h264 and aac":   {args: join(both, fast)},
		"faststart":      {args: join(picture, fast, []string{"-movflags", "+faststart"})},
		"mpeg4 and mp3":  {args: join(both, []string{"-c:v", "mpeg4", "-c:a", "libmp3lame"})},
		"QuickTime":      {args: join(both, []string{"-c:v", "prores", "-c:a", "pcm_s16le"}), file: "a.mov"},
		"MOV with AAC":   {args: join(both, fast, []string{"-c:a", "aac"}), file: "a.mov"},
		"fragments":      {args: join(both, fast, []string{"-g", "10", "-movflags", "frag_keyframe+empty_moov"})},
		"a segment list": {args: join(picture, fast, []string{"-g", "10", "-movflags", "dash+frag_keyframe"})},
		"a late start":   {args: join([]string{"-itsoffset", "0.6"}, picture, fast)},
		"29.97":          {args: join(picture, fast, []string{"-r", "30000/1001"})},
		"turned": {args: join(picture, fast), edit: func(b []byte) []byte {
			// The only upright matrix after the word tkhd is the track's. Older
			// and newer ffmpeg have different options for it.
			at := bytes.Index(b, []byte("tkhd"))
			return append(b[:at:at], bytes.Replace(b[at:], upright[:20], quarter, 1)...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.file == "" {
				c.file = "a.mp4"
			}
			path := filepath.Join(t.TempDir(), c.file)
			run(t, "ffmpeg", join([]string{"-v", "error", "-nostdin"}, c.args, []string{"-pix_fmt", "yuv420p", "-threads", "1", path})...)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				b = c.edit(b)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			compare(t, b, path)
		})
	}
}

// quarter turns right: what phones write that are held upright.
var quarter = join(uint32(0), one, uint32(0), -int32(one), uint32(0))

func compare(t *testing.T, b []byte, path string) {
	t.Helper()
	got, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var report struct{ Streams []probed }
	if err := json.Unmarshal(run(t, "ffprobe", "-v", "error", "-show_streams", "-of", "json", path), &report); err != nil {
		t.Fatal(err)
	}
	audio := ""
	for _, s := range report.Streams {
		if s.Kind == "audio" {
			audio = s.Codec
			continue
		}
		rotation := 0
		for _, d := range s.SideData {
			rotation = (360 - d.Rotation) % 360
		}
		if rotation%180 != 0 {
			s.Width, s.Height = s.Height, s.Width
		}
		if got.VideoCodec != s.Codec || got.Width != s.Width || got.Height != s.Height || got.Rotation != rotation {
			t.Errorf("got %+v, ffprobe says %+v", got, s)
		}
		if want, _ := strconv.ParseFloat(s.Duration, 64); math.Abs(got.Duration.Seconds()-want) > 0.001 {
			t.Errorf("duration %v, ffprobe says %s", got.Duration, s.Duration)
		}
		if got.Fragmented {
			continue // ffprobe counts no frames, and guesses the rate
		}
		if want, ok := new(big.Rat).SetString(s.Rate); !ok {
			t.Errorf("ffprobe's rate %q is no fraction", s.Rate)
		} else if f, _ := want.Float64(); math.Abs(got.FPS-f) > 0.001 {
			t.Errorf("%v fps, ffprobe says %s", got.FPS, s.Rate)
		}
		if want, _ := strconv.ParseInt(s.Frames, 10, 64); got.Frames != want {
			t.Errorf("%d frames, ffprobe says %s", got.Frames, s.Frames)
		}
	}
	if got.AudioCodec != audio && !(got.AudioCodec == "pcm" && audio == "pcm_s16le") {
		t.Errorf("audio %q, ffprobe says %q", got.AudioCodec, audio)
	}
}
