package ffmpeg

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestDisplay(t *testing.T) {
	for _, c := range []struct {
		name         string
		v            Video
		wantW, wantH int
	}{
		{"plain", Video{Width: 1920, Height: 1080}, 1920, 1080},
		{"phone", Video{Width: 1920, Height: 1080, Rotation: 90}, 1080, 1920},
		{"upside down", Video{Width: 1920, Height: 1080, Rotation: 180}, 1920, 1080},
		{"wide pixels", Video{Width: 640, Height: 360, SAR: Rational{2, 1}}, 1280, 360},
		{"tall pixels grow in height", Video{Width: 720, Height: 480, SAR: Rational{8, 9}}, 720, 540},
		{"wide pixels turned", Video{Width: 640, Height: 360, SAR: Rational{2, 1}, Rotation: 270}, 360, 1280},
		{"anamorphic HD", Video{Width: 1440, Height: 1080, SAR: Rational{4, 3}}, 1920, 1080},
		{"odd", Video{Width: 161, Height: 121}, 162, 122},
		{"one pixel", Video{Width: 1, Height: 1}, 2, 2},
		{"absurd shape is ignored", Video{Width: 640, Height: 360, SAR: Rational{1000, 1}}, 640, 360},
	} {
		if w, h := (Probe{Video: c.v}).Display(); w != c.wantW || h != c.wantH {
			t.Errorf("%s: %d x %d, want %d x %d", c.name, w, h, c.wantW, c.wantH)
		}
	}
}

func TestOrientation(t *testing.T) {
	for _, c := range []struct {
		name, matrix string
		want         int
		mirrored     bool
	}{
		{"none", "\n00000000:        65536           0           0\n00000001:            0       65536           0\n00000002:            0           0  1073741824\n", 0, false},
		{"phone", "\n00000000:            0       65536           0\n00000001:       -65536           0           0\n00000002:            0           0  1073741824\n", 90, false},
		{"upside down", "0: -65536 0 0\n1: 0 -65536 0\n2: 0 0 1073741824\n", 180, false},
		{"other side", "0: 0 -65536 0\n1: 65536 0 0\n2: 0 0 1073741824\n", 270, false},
		{"selfie", "0: -65536 0 0\n1: 0 65536 0\n2: 0 0 1073741824\n", 180, true},
		{"45 degrees", "0: 46341 46341 0\n1: -46341 46341 0\n2: 0 0 1073741824\n", 0, false},
		{"cut short", "0: 0 65536 0\n", 0, false},
		{"no numbers", "0: a b c\n", 0, false},
	} {
		if got, mirrored, _ := orientation(c.matrix); got != c.want || mirrored != c.mirrored {
			t.Errorf("%s: %d %t, want %d %t", c.name, got, mirrored, c.want, c.mirrored)
		}
	}
}

func TestParseProbe(t *testing.T) {
	const video = `{"index":1,"codec_type":"video","codec_name":"h264","pix_fmt":"yuv420p","width":64,"height":48,"time_base":"1/90000","start_pts":900000,"duration":"2.000000"`
	const sound = `{"index":0,"codec_type":"audio","codec_name":"aac","channels":2,"sample_rate":"48000","time_base":"1/48000","start_pts":475200,"duration":"2.000000"}`
	for _, c := range []struct {
		name, answer string
		code         apigpu.Code
		index        int
		start, long  time.Duration
	}{
		{"both", `{"format":{"start_time":"9.900000"},"streams":[` + sound + `,` + video + `}]}`, "", 1, 9900 * time.Millisecond, 2100 * time.Millisecond},
		{"a stream that is not used does not move the start of MPEG-TS",
			`{"format":{"format_name":"mpegts","start_time":"3.000000"},"streams":[` + sound + `,` + video + `}]}`, "", 1, 9900 * time.Millisecond, 2100 * time.Millisecond},
		{"default wins", `{"streams":[` + video + `},` + `{"index":4,"codec_type":"video","codec_name":"vp9","pix_fmt":"yuv420p","width":8,"height":8,"time_base":"1/1000","disposition":{"default":1}}]}`, "", 4, 0, 0},
		{"cover art is no video", `{"streams":[` + sound + `,` + video + `,"disposition":{"default":1,"attached_pic":1}}]}`, apigpu.NoVideoStream, 0, 0, 0},
		{"sound only", `{"streams":[` + sound + `]}`, apigpu.NoVideoStream, 0, 0, 0},
		{"nothing", `{"streams":[]}`, apigpu.MediaUndecodable, 0, 0, 0},
		{"encrypted", `{"streams":[` + video + `,"codec_tag_string":"encv"}]}`, apigpu.MediaUndecodable, 0, 0, 0},
		{"Dolby Vision 5", `{"streams":[` + video + `,"side_data_list":[{"dv_profile":5}]}]}`, apigpu.MediaUndecodable, 0, 0, 0},
		{"no decodable frame", `{"streams":[{"codec_type":"video","codec_name":"vp9","width":8,"height":8,"time_base":"1/1000"}]}`, apigpu.MediaUndecodable, 0, 0, 0},
		{"not JSON", `<html>`, apigpu.Internal, 0, 0, 0},
	} {
		p, err := parseProbe([]byte(c.answer))
		if apigpu.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %q", c.name, err, c.code)
		}
		if err == nil && (p.Video.Index != c.index || p.Start != c.start || p.Duration != c.long) {
			t.Errorf("%s: stream %d from %s for %s", c.name, p.Video.Index, p.Start, p.Duration)
		}
	}
}

func FuzzParseProbe(f *testing.F) {
	f.Add([]byte(`{"format":{"duration":"1e99","start_time":"-5"},"streams":[{"codec_type":"video","codec_name":"h264","pix_fmt":"yuv420p","width":9,"height":9,"time_base":"1/9","sample_aspect_ratio":"1:9"}]}`))
	f.Add([]byte(`{"streams":[{"codec_type":"audio"}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		p, err := parseProbe(answer)
		if err != nil {
			return
		}
		if w, h := p.Display(); w%2 != 0 || h%2 != 0 || w < 2 || h < 2 {
			t.Errorf("displayed at %d x %d", w, h)
		}
		if p.Duration < 0 {
			t.Errorf("lasts %s", p.Duration)
		}
		Args(Spec{Limits: DefaultLimits()}, p, Abilities{Encoder: X264, ToneMap: true})
	})
}

func TestLimits(t *testing.T) {
	long, big, many := plain(), plain(), plain()
	long.Duration = 3 * time.Hour
	big.Video.Width, big.Video.SAR = 4000, Rational{3, 1} // 4.3 million stored, 13 million shown
	many.Streams = 1000
	for _, c := range []struct {
		name  string
		probe Probe
		want  apigpu.Code
	}{
		{"plain", plain(), ""}, {"long", long, apigpu.MediaTooLong}, {"big", big, apigpu.MediaTooBig}, {"many", many, apigpu.MediaTooBig},
	} {
		if got := apigpu.CodeOf(DefaultLimits().Check(c.probe)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if err := (Limits{}).Check(c.probe); err != nil {
			t.Errorf("%s: no limits, but %v", c.name, err)
		}
	}
}

// Files that would make FFmpeg open something else, in the dress of a video.
func TestProbeRefuses(t *testing.T) {
	need.FFmpeg(t)
	t.Parallel()
	tools, dir := testTools(t), t.TempDir()
	ffmpeg(t, dir, "-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1", "-c:v", "mpeg4", "real.mp4")
	ffmpeg(t, dir, "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", "sound.mp4")
	real, err := os.ReadFile(filepath.Join(dir, "real.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, content string
		want          apigpu.Code
	}{
		{"hls", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nreal.mp4\n#EXT-X-ENDLIST\n", apigpu.MediaUndecodable},
		{"concat", "ffconcat version 1.0\nfile real.mp4\n", apigpu.MediaUndecodable},
		{"sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n", apigpu.MediaUndecodable},
		{"dash", `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>real.mp4</BaseURL></Period></MPD>`, apigpu.MediaUndecodable},
		{"metadata", ";FFMETADATA1\ntitle=x\n", apigpu.MediaUndecodable},
		{"image", "P6 2 2 255 aaaaaaaaaaaa", apigpu.MediaUndecodable},
		{"page", "<!DOCTYPE html><html><body>Sign in</body></html>", apigpu.MediaUndecodable},
		{"empty", "", apigpu.MediaUndecodable},
		{"cut before its index", string(real[:len(real)/2]), apigpu.MediaUndecodable},
	} {
		path := filepath.Join(dir, c.name+".mp4")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		if p, err := tools.Probe(t.Context(), path); apigpu.CodeOf(err) != c.want {
			t.Errorf("%s: %v (%s), want %s", c.name, err, p.Format, c.want)
		}
	}
	if _, err := tools.Probe(t.Context(), filepath.Join(dir, "sound.mp4")); apigpu.CodeOf(err) != apigpu.NoVideoStream {
		t.Errorf("sound only: %v", err)
	}
	if _, err := tools.Probe(t.Context(), filepath.Join(dir, "absent.mp4")); err == nil || apigpu.CodeOf(err) != apigpu.Internal {
		t.Errorf("a file that is not there is our fault: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tools.Probe(canceled, filepath.Join(dir, "real.mp4")); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestFramesOf(t *testing.T) {
	const ms = time.Millisecond
	p := Probe{Start: 100 * ms, Video: Video{TimeBase: Rational{1, 1000}, AvgRate: Rational{50, 1}}}
	for _, c := range []struct {
		name, packets string
		format        string
		want          Frames
	}{
		{"sorted and shifted", "140,20,__\n100,20,K_\n120,20,__\n", "", Frames{[]int64{0, 20, 40}, 40 * ms, 60 * ms, false, false}},
		{"not shown", "60,20,KD_\n100,20,K__\n", "", Frames{[]int64{0}, 0, 20 * ms, false, true}},
		{"a length that is not told", "100,N/A,K__\n120,N/A,___\n", "", Frames{[]int64{0, 20}, 20 * ms, 40 * ms, false, false}},
		{"rounded to ticks", "100,33,K__\n133,34,___\n167,33,___\n", "", Frames{[]int64{0, 33, 67}, 67 * ms, 100 * ms, false, false}},
		{"a slide at the end", "100,20,K_\n120,980,__\n", "", Frames{[]int64{0, 20}, 20 * ms, 1000 * ms, true, false}},
		{"a slide before the end", "100,980,K_\n1080,20,__\n", "", Frames{[]int64{0, 980}, 980 * ms, 1000 * ms, true, false}},
		{"no timestamps", "N/A,20,K_\n", "", Frames{}},
		{"nothing", "", "", Frames{}},
		{"a jump in MP4 is a pause", "100,30000,K_\n30100,30000,K_\n", "mov,mp4", Frames{[]int64{0, 30000}, 30 * time.Second, time.Minute, false, false}},
		{"a jump in MPEG-TS is moved by FFmpeg", "100,20,K_\n30100,20,K_\n", "mpegts", Frames{}},
	} {
		p.Format = c.format
		if diff := cmp.Diff(c.want, framesOf([]byte(c.packets), p)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// A pause in the middle costs nothing: only the ends decide.
func TestUneven(t *testing.T) {
	even := make([]shown, 100)
	for i := range even {
		even[i] = shown{int64(i) * 20, 20}
	}
	p := Probe{Video: Video{TimeBase: Rational{1, 1000}}}
	for _, c := range []struct {
		name      string
		pauseAt   int
		last      time.Duration
		wantMoved bool
	}{
		{"even", 100, 20 * time.Millisecond, false},
		{"a pause in the middle", 50, 20 * time.Millisecond, false},
		{"a pause at the start", 1, 20 * time.Millisecond, true},
		{"a pause before the end", 99, 20 * time.Millisecond, true},
		{"a long last frame", 100, time.Second, true},
	} {
		list := slices.Clone(even)
		for i := c.pauseAt; i < len(list); i++ {
			list[i].at += 500
		}
		if got := uneven(list, time.Millisecond, c.last, p); got != c.wantMoved {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestRescale(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		tb   Rational
		want int64
	}{
		{time.Second, Rational{1, 90000}, 90000},
		{-time.Second, Rational{1, 90000}, -90000},
		{500 * time.Millisecond, Rational{1, 1}, 1}, // halves go away from zero
		{-500 * time.Millisecond, Rational{1, 1}, -1},
		{33367 * time.Microsecond, Rational{1001, 30000}, 1},
		{100 * 365 * 24 * time.Hour, Rational{1, 1_000_000_000}, 3153600000 * 1_000_000_000},
	} {
		if got := rescale(c.d, c.tb); got != c.want {
			t.Errorf("%s in %v: %d, want %d", c.d, c.tb, got, c.want)
		}
	}
}
