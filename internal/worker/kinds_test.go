package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// threeStyles are a caption as most are, one that the file puts elsewhere, and
// one that must be broken. Between them the picture is black.
const threeStyles = `1
00:00:00,200 --> 00:00:00,600
Hello there

2
00:00:00,800 --> 00:00:01,200
{\an7}Top left

3
00:00:01,400 --> 00:00:01,800
The quick brown fox jumps over the lazy dog, and nobody at all would have thought so
`

// shownAt is when they are shown, in milliseconds.
var shownAt = [][2]int64{{200, 600}, {800, 1200}, {1400, 1800}}

// kind is a black video of two seconds as some program or camera makes them.
type kind struct {
	name  string
	short bool     // runs in every test, and not in make test alone
	make  []string // ffmpeg commands, split at "|"; the last writes in.*
	ext   string
	then  func(t *testing.T, video []byte) []byte
	w, h  int
}

func kinds() []kind {
	const (
		dark   = "-f|lavfi|-i|color=black:s=320x180:r=25:d=2|"
		tone   = "-f|lavfi|-i|sine=d=2|"
		x264   = "-c:v|libx264|-preset|ultrafast"
		hdrOf  = dark + "-vf|format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=%s:range=tv|-c:v|ffv1"
		second = "-f|lavfi|-i|color=white:s=64x64:r=5:d=2|"
	)
	turned := func(a, b, c, d int32) func(*testing.T, []byte) []byte {
		return func(t *testing.T, video []byte) []byte { return turn(t, video, a, b, c, d) }
	}
	return []kind{
		{name: "plain", short: true, ext: "mp4", w: 320, h: 180, make: []string{dark + tone + x264 + "|-c:a|aac"}},
		{name: "phone", short: true, ext: "mp4", w: 180, h: 320, make: []string{dark + x264}, then: turned(0, 1, -1, 0)},
		{name: "phone the other way", ext: "mp4", w: 180, h: 320, make: []string{dark + x264}, then: turned(0, -1, 1, 0)},
		{name: "upside down", ext: "mp4", w: 320, h: 180, make: []string{dark + x264}, then: turned(-1, 0, 0, -1)},
		{name: "mirrored", ext: "mp4", w: 320, h: 180, make: []string{dark + x264}, then: turned(-1, 0, 0, 1)},
		{name: "turned and mirrored", ext: "mp4", w: 180, h: 320, make: []string{dark + x264}, then: turned(0, 1, 1, 0)},
		{name: "anamorphic", ext: "mp4", w: 640, h: 180, make: []string{dark + "-vf|setsar=2|" + x264}},
		{name: "odd", ext: "webm", w: 322, h: 182, make: []string{"-f|lavfi|-i|color=black:s=322x182:r=25:d=2,format=yuv444p,crop=321:181:exact=1|" + tone + "-pix_fmt|yuv420p|-c:v|libvpx-vp9|-cpu-used|8|-deadline|realtime|-c:a|libopus"}},
		{name: "PQ", ext: "mkv", w: 320, h: 180, make: []string{fmt.Sprintf(hdrOf, "smpte2084")}},
		{name: "HLG", ext: "mkv", w: 320, h: 180, make: []string{fmt.Sprintf(hdrOf, "arib-std-b67")}},
		{name: "ten bits, 4:2:2, PCM", ext: "mkv", w: 320, h: 180, make: []string{dark + tone + "-pix_fmt|yuv422p10le|-c:v|ffv1|-c:a|pcm_s24le"}},
		{name: "full range", ext: "mp4", w: 320, h: 180, make: []string{dark + "-vf|format=yuvj420p|" + x264}},
		{name: "irregular", ext: "mp4", w: 320, h: 180, make: []string{
			"-f|lavfi|-i|color=black:s=320x180:r=25:d=2,select=not(between(n\\,5\\,9)),settb=1/57600,setpts=(N*0.043+0.01*mod(N*3\\,7))/TB|-fps_mode|passthrough|-enc_time_base|1/57600|-video_track_timescale|57600|" + x264}},
		{name: "interlaced", ext: "ts", w: 320, h: 180, make: []string{"-f|lavfi|-i|color=black:s=320x180:r=50:d=2,interlace|-flags|+ilme+ildct|-c:v|mpeg2video|-q:v|2"}},
		{name: "transparent", ext: "mov", w: 320, h: 180, make: []string{dark + "-vf|format=rgba,colorchannelmixer=aa=0.5|-c:v|qtrle"}},
		{name: "several streams", ext: "mkv", w: 320, h: 180, make: []string{
			dark + second + tone + tone + "-map|0|-map|1|-map|2|-map|3|" + x264 + "|-c:a:0|aac|-c:a:1|libvorbis|-disposition:v:0|default|-disposition:v:1|0"}},
		{name: "late start", ext: "ts", w: 320, h: 180, make: []string{dark + "-itsoffset|-0.2|-f|lavfi|-i|sine=d=2.2|" + x264 + "|-c:a|aac|-output_ts_offset|100"}},
		{name: "edit list", ext: "mp4", w: 320, h: 180, make: []string{
			"-f|lavfi|-i|color=black:s=320x180:r=25:d=4|-f|lavfi|-i|sine=d=4|-c:v|libx264|-preset|veryfast|-g|25|-c:a|aac|whole.mp4", "-ss|1.36|-i|whole.mp4|-t|2|-c|copy"}},
		{name: "a header that lies", ext: "mp4", w: 320, h: 180, make: []string{dark + tone + x264 + "|-c:a|aac"}, then: lie},
		{name: "size changes", ext: "ts", w: 320, h: 180, make: []string{
			"-f|lavfi|-i|color=black:s=320x180:r=25:d=1|-tune|zerolatency|" + x264 + "|a.ts",
			"-f|lavfi|-i|color=black:s=640x480:r=25:d=1|-tune|zerolatency|" + x264 + "|-output_ts_offset|1|b.ts", "-i|concat:a.ts\\|b.ts|-c|copy"}},
		{name: "cut off", ext: "mkv", w: 320, h: 180, make: []string{dark + tone + x264 + "|-c:a|aac"},
			then: func(_ *testing.T, video []byte) []byte { return video[:len(video)*9/10] }},
	}
}

// made makes the video.
func (k kind) made(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "in."+k.ext)
	for i, line := range k.make {
		args := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		for n, arg := range args {
			arg = strings.ReplaceAll(arg, "\x00", "|")
			for _, name := range []string{"whole.mp4", "a.ts", "b.ts"} {
				arg = strings.ReplaceAll(arg, name, filepath.Join(dir, name))
			}
			args[n] = arg
		}
		if i == len(k.make)-1 {
			args = append(args, path)
		}
		if _, err := run(args...); err != nil {
			t.Fatal(err)
		}
	}
	video, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if k.then != nil {
		video = k.then(t, video)
	}
	return video
}

// turn overwrites the display matrix of the first track of an MP4: 40 bytes
// into the payload of a tkhd of version 0 (ISO/IEC 14496-12, 8.3.2).
func turn(t *testing.T, video []byte, a, b, c, d int32) []byte {
	t.Helper()
	at := bytes.Index(video, []byte("tkhd"))
	if at < 0 || video[at+4] != 0 {
		t.Fatal("no tkhd of version 0")
	}
	for i, n := range []int32{a, b, 0, c, d, 0, 0, 0, 0x4000} {
		binary.BigEndian.PutUint32(video[at+44+4*i:], uint32(n<<16)) // 16.16, and 2.30 in the last
	}
	return video
}

// lie makes the headers of an MP4 promise a thousand times its length: 16
// bytes into the payload of mvhd, 20 into that of tkhd, in version 0.
func lie(_ *testing.T, video []byte) []byte {
	for name, into := range map[string]int{"mvhd": 16, "mdhd": 16, "tkhd": 20} {
		for from := 0; ; {
			at := bytes.Index(video[from:], []byte(name))
			if at < 0 {
				break
			}
			from += at + 4
			length := video[from+into : from+into+4]
			binary.BigEndian.PutUint32(length, binary.BigEndian.Uint32(length)*1000)
		}
	}
	return video
}

// TestEveryKindOfVideo holds three captions against videos of all kinds: where
// they are, and on which frames.
func TestEveryKindOfVideo(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			if !k.short {
				need.Long(t)
			}
			t.Parallel()
			b := realBench(t, nil)
			source := k.made(t)
			job, video, err := b.caption(t, source, threeStyles, apigpu.CaptionSpec{})
			if err != nil {
				t.Fatal(err)
			}
			if v := job.Video; v.Width != k.w || v.Height != k.h || v.Codec != "h264" || v.HDR {
				t.Fatalf("%+v, want %d x %d", v, k.w, k.h)
			}
			was, is := lookAt(t, b, source), lookAt(t, b, video)
			if is.pixFmt != "yuv420p" {
				t.Errorf("pixels are %s", is.pixFmt)
			}
			if d := is.end - was.end; d.Abs() > 41*time.Millisecond {
				t.Errorf("it ends at %s, and the source at %s", is.end, was.end)
			}
			comparePictures(t, video, k.w, k.h, is.times)
		})
	}
}

type looked struct {
	pixFmt string
	times  []int64 // of the frames, in milliseconds
	end    time.Duration
}

func lookAt(t *testing.T, b *bench, video []byte) looked {
	t.Helper()
	path := filepath.Join(t.TempDir(), "video")
	if err := os.WriteFile(path, video, 0o600); err != nil {
		t.Fatal(err)
	}
	probe, err := b.cfg.Tools.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := b.cfg.Tools.Frames(t.Context(), path, probe)
	if err != nil {
		t.Fatal(err)
	}
	return looked{probe.Video.PixFmt, frames.Times, frames.End}
}

// comparePictures wants each caption on exactly its frames, where its style
// puts it, and within the safe area.
func comparePictures(t *testing.T, video []byte, w, h int, times []int64) {
	t.Helper()
	pixels := readBack(t, video, "-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if len(pixels) != len(times)*w*h {
		t.Fatalf("%d bytes of picture, want %d frames", len(pixels), len(times))
	}
	for n, at := range times {
		left, top, right, bottom, found := bounds(pixels[n*w*h:(n+1)*w*h], w)
		style := -1
		for i, span := range shownAt {
			if span[0] <= at && at < span[1] {
				style = i
			}
		}
		if found != (style >= 0) {
			t.Errorf("frame %d at %d ms: caption %t, want %t", n, at, found, style >= 0)
		}
		if !found || style < 0 {
			continue
		}
		where := fmt.Sprintf("frame %d at %d ms: from %d,%d to %d,%d of %d x %d", n, at, left, top, right, bottom, w, h)
		margin := [4]int{5, 5, 5, 5} // percent at the top, right, bottom and left
		if h > w {
			margin = [4]int{13, 16, 24, 6}
		}
		if top < h*margin[0]/100 || right > w-w*margin[1]/100 || bottom > h-h*margin[2]/100 || left < w*margin[3]/100 {
			t.Errorf("%s: not in the safe area", where)
		}
		corner := style == 1
		if corner != (bottom < h/2 && left < w/3) || !corner && (top < h/2 || (left+right-w+1)/2 > w/50 || (w-1-left-right)/2 > w/50) {
			t.Errorf("%s: caption %d is somewhere else", where, style+1)
		}
	}
}

// bounds is the smallest box around what is bright.
func bounds(luma []byte, w int) (left, top, right, bottom int, found bool) {
	left, top = w, len(luma)/w
	for i, p := range luma {
		if p > 120 {
			x, y := i%w, i/w
			left, right, top, bottom, found = min(left, x), max(right, x), min(top, y), max(bottom, y), true
		}
	}
	return left, top, right, bottom, found
}

// What is no video is refused for what it is.
func TestKindsThatAreNoVideo(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	sound := kind{ext: "mp4", make: []string{"-f|lavfi|-i|sine=d=1|-c:a|aac"}}.made(t)
	_, _, err := b.caption(t, sound, oneCue, apigpu.CaptionSpec{})
	wantCode(t, err, apigpu.NoVideoStream)
	for name, list := range map[string]string{
		"hls":    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
		"concat": "ffconcat version 1.0\nfile '/etc/passwd'\n",
		"sdp":    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
	} {
		_, _, err := b.caption(t, []byte(list), oneCue, apigpu.CaptionSpec{})
		if apigpu.CodeOf(err) != apigpu.MediaUndecodable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
