package e2e

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestOutput checks that what a request asks of its result reaches the worker,
// and that a thumbnail comes home with the video.
func TestOutput(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	t.Parallel()
	media := t.TempDir()
	write(t, media, "s.srt", "1\n00:00:00,400 --> 00:00:00,800\nOlá\n")
	ffmpeg(t, "-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=2", "-f", "lavfi", "-i", "sine=duration=2",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", filepath.Join(media, "v.mp4"))
	base := files(t, media, 0)
	s := start(t)
	ask := func(more map[string]any) apigpu.Job {
		t.Helper()
		body := map[string]any{"url_video": base + "/v.mp4", "url_srt": base + "/s.srt", "language": "pt-BR"}
		for k, v := range more {
			body[k] = v
		}
		var r apigpu.Result
		if status := s.post("?wait=120", body, &r); status != http.StatusOK {
			t.Fatalf("status %d: %+v", status, r)
		}
		return r.Job
	}
	both := ask(map[string]any{"mode": "both", "output": map[string]any{
		"codec": "hevc", "resolution": map[string]any{"w": 180, "h": 320}, "fps": 12.5, "audio": "none", "thumbnail": 0.5,
	}})
	if v := both.Video; v.Codec != "hevc" || v.Width != 180 || v.Height != 320 || v.FPS != 12.5 || v.Audio != "" {
		t.Errorf("%+v", v)
	}
	streams := string(command(t, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name:stream_tags=language", "-of", "csv=p=0", s.fetch(both.VideoURL)))
	if !strings.Contains(streams, "mov_text,por") {
		t.Errorf("streams %q", streams)
	}
	picture := func(url string) []byte {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(url, ".jpg") { // without a signature
			req.Header.Set("X-API-Key", key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/jpeg" {
			t.Fatalf("%s: %s %.200q, %v", url, resp.Status, raw, err)
		}
		return raw
	}
	jpeg := picture(both.ThumbnailURL)
	if !bytes.HasPrefix(jpeg, []byte("\xff\xd8\xff")) || !bytes.Equal(jpeg, picture(both.Links.Self+"/thumbnail.jpg")) {
		t.Errorf("%d bytes, or another picture with the key", len(jpeg))
	}
	soft := ask(map[string]any{"mode": "soft"})
	if soft.Stats.Encoder != "copy" || soft.Video.Audio != "aac" || soft.ThumbnailURL != "" {
		t.Errorf("%+v %+v %q", soft.Stats, soft.Video, soft.ThumbnailURL)
	}
}
