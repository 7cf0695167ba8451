package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// cues have times that fall on frames, between them, and a hair beside them.
const cues = `1
00:00:00,500 --> 00:00:01,001
one

2
00:00:01,001 --> 00:00:01,333
two follows at once

3
00:00:01,967 --> 00:00:02,034
short

4
00:00:02,500 --> 00:00:02,999
Ação, coração, über, naïve
`

var spans = [][2]float64{{0.5, 1.001}, {1.001, 1.333}, {1.967, 2.034}, {2.5, 2.999}}

// TestFrames checks, frame by frame, that exactly those carry captions that
// should, at the rates that videos really have.
func TestFrames(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", cues)
	rates := []string{"24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"}
	for _, rate := range rates {
		ffmpeg(t, "-f", "lavfi", "-i", "color=black:size=320x180:rate="+rate+":duration=3", "-f", "lavfi", "-i", "sine=duration=3",
			"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", filepath.Join(media, name(rate)))
	}
	base := files(t, media, 0)
	s := start(t)
	for _, rate := range rates {
		t.Run(name(rate), func(t *testing.T) {
			path := s.caption(t, base+"/"+name(rate), base+"/s.srt")
			source := filepath.Join(media, name(rate))
			checkFrames(t, path)
			checkSame(t, source, path)
		})
	}
}

func name(rate string) string { return strings.ReplaceAll(rate, "/", "-") + "fps.mp4" }

// caption sends a job, waits for it in the request, and fetches the result.
func (s *server) caption(t testing.TB, video, srt string) string {
	t.Helper()
	var r apigpu.Result
	if status := s.post("?wait=120", map[string]any{"url_video": video, "url_srt": srt}, &r); status != http.StatusOK {
		t.Fatalf("status %d: %+v", status, r)
	}
	return s.fetch(r.VideoURL)
}

// checkFrames decodes a captioned black video and compares each frame with
// the cues.
func checkFrames(t testing.TB, path string) {
	t.Helper()
	const size = 320 * 180
	raw := ffmpeg(t, "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	times := strings.Fields(string(command(t, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path)))
	if len(times) == 0 || len(raw) != size*len(times) {
		t.Fatalf("%d bytes for %d frames", len(raw), len(times))
	}
	wrong := 0
	for n, text := range times {
		at, err := strconv.ParseFloat(strings.Trim(text, ","), 64)
		if err != nil {
			t.Fatal(err)
		}
		lit := slices.Max(raw[n*size:(n+1)*size]) > 120
		want := false
		for _, span := range spans {
			want = want || at >= span[0]-1e-6 && at < span[1]-1e-6
		}
		if lit != want {
			wrong++
			t.Errorf("frame %d at %.4f s: caption %v, want %v", n, at, lit, want)
		}
	}
	if wrong == 0 {
		t.Logf("%d frames, each as it should be", len(times))
	}
}

// checkSame compares what must not change: the sound, the number of frames,
// and the duration within one frame.
func checkSame(t testing.TB, source, result string) {
	t.Helper()
	sound := func(path string) string {
		return string(ffmpeg(t, "-i", path, "-map", "0:a:0", "-c", "copy", "-f", "md5", "pipe:1"))
	}
	if a, b := sound(source), sound(result); a != b {
		t.Errorf("the sound changed: %s → %s", a, b)
	}
	a, b := look(t, source), look(t, result)
	if a.frames != b.frames {
		t.Errorf("%d frames became %d", a.frames, b.frames)
	}
	if math.Abs(a.duration-b.duration) > a.duration/float64(a.frames)+0.001 {
		t.Errorf("%.4f s became %.4f s", a.duration, b.duration)
	}
}

type picture struct {
	width, height, frames int
	duration              float64
}

func look(t testing.TB, path string) picture {
	t.Helper()
	var p struct {
		Streams []struct {
			Width, Height int
			Frames        string `json:"nb_read_packets"`
			Duration      string
		}
	}
	raw := command(t, "ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries",
		"stream=width,height,nb_read_packets,duration", "-of", "json", path)
	if err := json.Unmarshal(raw, &p); err != nil || len(p.Streams) != 1 {
		t.Fatalf("ffprobe says %s (%v)", raw, err)
	}
	frames, _ := strconv.Atoi(p.Streams[0].Frames)
	duration, _ := strconv.ParseFloat(p.Streams[0].Duration, 64)
	return picture{p.Streams[0].Width, p.Streams[0].Height, frames, duration}
}

// TestPhone checks that a phone's video, stored on its side, comes out upright
// with its captions at the bottom.
func TestPhone(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", "1\n00:00:00,000 --> 00:00:02,000\nupright\n")
	plain, turned := filepath.Join(media, "plain.mp4"), filepath.Join(media, "turned.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=2", "-c:v", "libx264", "-pix_fmt", "yuv420p", plain)
	rotate(t, plain, turned)
	base := files(t, media, 0)
	s := start(t)
	result := s.caption(t, base+"/turned.mp4", base+"/s.srt")
	if p := look(t, result); p.width != 180 || p.height != 320 {
		t.Fatalf("%d x %d, want 180 x 320", p.width, p.height)
	}
	raw := ffmpeg(t, "-i", result, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	first, last := -1, -1
	for i, b := range raw {
		if b > 120 {
			if first < 0 {
				first = i / 180
			}
			last = i / 180
		}
	}
	if first < 160 || last >= 320 {
		t.Errorf("the caption is on rows %d to %d of 320, want it in the lower half", first, last)
	}
}

// rotate copies a video and marks it to be shown turned, as phones do. The
// way to say so changed with FFmpeg 6.
func rotate(t testing.TB, from, to string) {
	t.Helper()
	ffmpeg(t, "-i", from, "-c", "copy", "-metadata:s:v:0", "rotate=90", to)
	if strings.Contains(string(command(t, "ffprobe", "-v", "error", "-show_streams", to)), "rotation=") {
		return
	}
	ffmpeg(t, "-display_rotation", "90", "-i", from, "-c", "copy", to)
}

// TestTrust checks that a link opens without a header, that another key's job
// is not there, and that no key means no answer.
func TestTrust(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", "1\n00:00:00,000 --> 00:00:01,000\nhello\n")
	ffmpeg(t, "-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", filepath.Join(media, "v.mp4"))
	base := files(t, media, 0)
	s := start(t)
	job := s.submit(base+"/v.mp4", base+"/s.srt")
	done := s.final(job.ID, time.Minute)
	if done.VideoURL != job.VideoURL {
		t.Errorf("video_url changed from %s to %s", job.VideoURL, done.VideoURL)
	}
	s.fetch(job.VideoURL)
	get := func(path, key string) int {
		req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for _, c := range []struct {
		path, key string
		want      int
	}{
		{"/jobs/" + job.ID, key, 200},
		{"/jobs/" + job.ID, "another-key", 404},
		{"/jobs/" + job.ID + "/video", "another-key", 404},
		{"/jobs/" + job.ID + "/events", "another-key", 404},
		{"/jobs/" + job.ID, "", 401},
		{"/jobs/" + job.ID, "wrong", 401},
		{"/metrics", key, 200},
		{"/metrics", "another-key", 403},
		{"/health", "", 200},
		{strings.TrimPrefix(job.VideoURL, s.url) + "x", "", 404},
		{fmt.Sprintf("/files/%s/video.mp4", job.ID), "", 404},
	} {
		if got := get(c.path, c.key); got != c.want {
			t.Errorf("GET %s with key %q: %d, want %d", c.path, c.key, got, c.want)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(s.dir, "data", "local")); len(entries) > 1 {
		t.Errorf("%d local instances, want at most one", len(entries))
	}
}
