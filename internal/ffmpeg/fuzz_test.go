package ffmpeg

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzFrames: whatever ffprobe says of packets, times rise, or none are known.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("0,512,K__\n512,512,___\n1024,N/A,___\n"), int64(1), int64(12800))
	f.Add([]byte("9223372036854775807,1,\n-9223372036854775808,1,\n"), int64(1), int64(1))
	f.Add([]byte("5,1,_D\n,1,K\n3,-1,\n"), int64(1001), int64(30000))
	f.Fuzz(func(t *testing.T, packets []byte, num, den int64) {
		p := Probe{Duration: time.Minute}
		p.Video.TimeBase, p.Video.AvgRate = Rational{num, den}, Rational{25, 1}
		frames := framesOf(packets, p)
		for i := 1; i < len(frames.Times); i++ {
			if frames.Times[i] < frames.Times[i-1] {
				t.Fatalf("frame %d is at %d ms, after %d ms", i, frames.Times[i], frames.Times[i-1])
			}
		}
	})
}

// FuzzComplaints: whatever FFmpeg says, a failure has a code and a message that
// tells nothing of our paths.
func FuzzComplaints(f *testing.F) {
	for _, seed := range []string{
		"[h264 @ 0x55] corrupt decoded frame", "Error while decoding stream #0:0", "No space left on device", "glyph 0x1F600 (",
		"/tmp/secret/input.mp4: Invalid data found", "[ass] fontselect: failed to find any fallback with glyph 0x4E00 for font", "\xff\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := newComplaints(nil)
		c.line(line)
		e := c.failure(errors.New("exit status 1"))
		if e == nil || e.Code == "" || e.Message == "" || !utf8.ValidString(e.Message) {
			t.Fatalf("%+v", e)
		}
	})
}
