package hostile

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// refused is one request for captions that must not succeed. Where it names
// no video or no subtitles, good ones are taken.
type refused struct {
	name  string
	body  map[string]any
	codes []apigpu.Code // any of them
}

func video(address string) map[string]any    { return map[string]any{"url_video": address} }
func subtitle(address string) map[string]any { return map[string]any{"url_srt": address} }

func codes(list ...apigpu.Code) []apigpu.Code { return list }

// addresses lead where nobody may go, however they are written.
func addresses(base string) (list []refused) {
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	blocked := codes(apigpu.BlockedAddress)
	for _, host := range []string{
		"127.0.0.1:1", "127.1.2.3", "localhost", "localhost:" + port, "0.0.0.0", "[::1]", "[::]", "10.0.0.1", "192.168.0.1", "100.64.0.1",
		"169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]:" + port, "[::ffff:169.254.169.254]",
		"[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "0177.0.0.1",
	} {
		list = append(list, refused{"subtitles at " + host, subtitle("http://" + host + "/latest/meta-data"), blocked})
		list = append(list, refused{"a video at " + host, video("http://" + host + "/latest/meta-data"), blocked})
	}
	to := func(target string) string { return base + "/to?url=" + url.QueryEscape(target) }
	for _, target := range []string{"http://169.254.169.254/", "http://localhost:" + port + "/tripwire", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x"} {
		list = append(list, refused{"a redirect to " + target, subtitle(to(target)), blocked})
		list = append(list, refused{"a video redirected to " + target, video(to(target)), blocked})
	}
	for _, address := range []string{
		"file:///etc/passwd", "concat:http://a|http://b", "data:video/mp4;base64,AAAA", "/etc/passwd", "ftp://example.com/x", "pipe:0", "-i", "",
		"http://", "http:///x", "http://a b\x00", "http://[::1", "//example.com/x", "http://x/" + strings.Repeat("a", 9000),
		"http://example.com/\u0001", "javascript:alert(1)", "subfile,,start,0,end,1,,:http://x",
	} {
		list = append(list, refused{"the address " + address[:min(len(address), 30)], video(address), codes(apigpu.InvalidRequest)})
	}
	return list
}

// answers are sources that lie about what they send.
func answers(base string) []refused {
	unreachable := codes(apigpu.SourceUnreachable)
	return []refused{
		{"10 GB, it says", video(base + "/10GB"), codes(apigpu.TooLarge)},
		{"10 GB with ranges", video(base + "/10GB-with-ranges"), codes(apigpu.TooLarge)},
		{"10 GB without a length", video(base + "/10GB-in-chunks"), codes(apigpu.TooLarge)},
		{"one byte a second", video(base + "/drip"), codes(apigpu.JobTimeout, apigpu.SourceUnreachable)},
		{"cut at 90 %", video(base + "/cut"), unreachable},
		{"shorter than it says", video(base + "/shorter"), unreachable},
		{"longer than it says", video(base + "/longer"), codes(apigpu.MediaUndecodable)},
		{"two lengths", video(base + "/two-lengths"), unreachable},
		{"a negative length", video(base + "/negative"), unreachable},
		{"a wrong range", video(base + "/wrong-range"), unreachable},
		{"no HTTP", video(base + "/no-http"), unreachable},
		{"headers without end", video(base + "/headers-without-end"), unreachable},
		{"a loop of redirects", video(base + "/loop"), unreachable},
		{"redirects without end", video(base + "/further/"), unreachable},
		{"a packed video", video(base + "/packed.mp4"), unreachable},
		{"an empty video", video(base + "/empty"), unreachable},
		{"a page", video(base + "/page"), codes(apigpu.SourceIsHTML)},
		{"nothing there", video(base + "/nothing"), unreachable},

		{"subtitles: a page", subtitle(base + "/page"), codes(apigpu.SubtitleNotText)},
		{"subtitles: JSON", subtitle(base + "/json"), codes(apigpu.SubtitleNotText)},
		{"subtitles: binary", subtitle(base + "/binary"), codes(apigpu.SubtitleNotText, apigpu.SubtitleCharset)},
		{"subtitles: a video", subtitle(base + "/file/good.mp4"), codes(apigpu.SubtitleNotText)},
		{"subtitles: empty", subtitle(base + "/empty"), codes(apigpu.SubtitleEmpty)},
		{"subtitles: blank", subtitle(base + "/blank"), codes(apigpu.SubtitleEmpty)},
		{"subtitles: words", subtitle(base + "/words"), codes(apigpu.SubtitleUnparseable)},
		{"subtitles: 100 MB", subtitle(base + "/100MB.srt"), codes(apigpu.TooLarge)},
		{"subtitles: 100 MB without a length", subtitle(base + "/100MB-in-chunks.srt"), codes(apigpu.TooLarge)},
		{"subtitles: packed 100 MB", subtitle(base + "/packed.srt"), codes(apigpu.TooLarge)},
		{"subtitles: badly packed", subtitle(base + "/badly-packed.srt"), unreachable},
		{"subtitles: a loop", subtitle(base + "/loop"), unreachable},
		{"subtitles: a range", subtitle(base + "/wrong-range"), unreachable},
	}
}

// media are files that FFmpeg must not trip over.
func media(base string) []refused {
	undecodable := codes(apigpu.MediaUndecodable)
	list := []refused{
		{"truncated", video(base + "/file/truncated.mp4"), undecodable},
		{"scrambled", video(base + "/file/scrambled.mp4"), undecodable},
		{"damaged", video(base + "/file/damaged.ts"), undecodable},
		{"zeros", video(base + "/file/zeros.mp4"), undecodable},
		{"boxes in boxes", video(base + "/file/nested.mp4"), undecodable},
		{"a header of 16k x 16k", video(base + "/file/16k.mp4"), codes(apigpu.MediaTooBig)},
		{"8k x 8k", video(base + "/file/big.mkv"), codes(apigpu.MediaTooBig)},
		{"a header of 143,165 s", video(base + "/file/liar.mp4"), codes(apigpu.MediaTooLong)},
		{"1,000 streams", video(base + "/file/streams.mkv"), codes(apigpu.MediaTooBig)},
		{"sound only", video(base + "/file/sound.mp4"), codes(apigpu.NoVideoStream)},
		{"sound only, mkv", video(base + "/file/sound.mkv"), codes(apigpu.NoVideoStream)},
		{"subtitles only", video(base + "/file/subtitles.mkv"), codes(apigpu.NoVideoStream)},
		{"a picture", video(base + "/file/picture.mp4"), undecodable},
		{"a subtitle file", video(base + "/good.srt"), undecodable},
	}
	for _, name := range []string{"hls", "hls-file", "dash", "ffconcat", "sdp", "svg", "ffmeta", "lavfi"} {
		list = append(list, refused{"a list: " + name, video(base + "/" + name + ".mp4"), codes(apigpu.MediaUndecodable, apigpu.SourceIsHTML)})
	}
	return list
}

// TestHostile runs every case against one server, and looks at what is left.
func TestHostile(t *testing.T) {
	need.Long(t)
	need.FFmpeg(t)
	dir := t.TempDir()
	makeMedia(t, dir)
	from := serveSources(t, dir)
	s := start(t, strings.TrimPrefix(from.URL, "http://"))
	before := s.settled(t)
	t.Run("cases", func(t *testing.T) {
		for _, c := range slices.Concat(addresses(from.URL), answers(from.URL), media(from.URL)) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s.refuses(t, c, from.URL)
			})
		}
		t.Run("requests", func(t *testing.T) { t.Parallel(); s.requests(t) })
		t.Run("bodies", func(t *testing.T) { t.Parallel(); s.bodies(t) })
		t.Run("texts", func(t *testing.T) { t.Parallel(); s.texts(t, from.URL) })
	})
	if n := from.tripped.Load(); n > 0 {
		t.Errorf("%d requests for what only a list named", n)
	}
	t.Run("honest jobs after all that", func(t *testing.T) {
		s.honest(t, from.URL+"/file/good.mp4", from.URL+"/good.srt")
	})
	from.CloseClientConnections()
	after := s.settled(t)
	t.Logf("goroutines, files: before %v, after %v", before, after)
	for i, what := range []string{"goroutines", "open files"} {
		if after[i] > before[i]+20 { // the worker's connections, and the database's
			t.Errorf("%s: %.0f before, %.0f after", what, before[i], after[i])
		}
	}
	if left := s.files(); len(left) > 0 {
		t.Errorf("files were left behind: %q", left)
	}
	if left := s.processes("ffmpeg", "ffprobe"); len(left) > 0 {
		t.Errorf("processes were left behind: %q", left)
	}
}

// honest captions a video of one second, and forgets it.
func (s *server) honest(t *testing.T, video, srt string) {
	t.Helper()
	body := `{"url_video": "` + video + `", "url_srt": "` + srt + `"}`
	a := s.send(t, "POST", "/video/caption?wait=120", nil, strings.NewReader(body))
	var r apigpu.Result
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if r.Job.Video == nil || r.Job.Video.Duration < 0.9 || r.Job.Video.Duration > 1.2 {
		t.Errorf("the result is %+v", r.Job.Video)
	}
	if a := s.send(t, "DELETE", "/jobs/"+r.Job.ID, nil, nil); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}

// settled waits until no job is open and returns how many goroutines and files
// the orchestrator has then.
func (s *server) settled(t *testing.T) (now [2]float64) {
	t.Helper()
	eventually(t, "no job is open", func() bool {
		queued, err := s.number(`api_gpu_jobs{status="queued"}`)
		running, err2 := s.number(`api_gpu_jobs{status="running"}`)
		return err == nil && err2 == nil && queued+running == 0
	})
	last := [2]float64{-1, -1}
	eventually(t, "the numbers stay", func() bool {
		time.Sleep(time.Second)
		var err, err2 error
		now[0], err = s.number("go_goroutines")
		now[1], err2 = s.number("process_open_fds")
		same := now == last
		last = now
		return err == nil && err2 == nil && same
	})
	return now
}

// refuses sends one case, waits for its end, and looks at the error.
func (s *server) refuses(t *testing.T, c refused, base string) {
	t.Helper()
	body := map[string]any{"url_video": base + "/file/good.mp4"}
	if _, own := c.body["srt"]; !own {
		body["url_srt"] = base + "/good.srt"
	}
	for name, value := range c.body {
		body[name] = value
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	a := s.send(t, "POST", "/video/caption?wait=600", nil, strings.NewReader(string(raw)))
	if took := time.Since(began); took > bound {
		t.Errorf("it took %s", took)
	}
	var p apigpu.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status < 400 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if !slices.Contains(c.codes, p.Code) {
		t.Errorf("code %s (%s), want %v", p.Code, p.Detail, c.codes)
	}
	if p.JobID == "" && a.status >= 500 && p.Code != apigpu.JobTimeout {
		t.Errorf("a bad request is called our fault: %d %s", a.status, a.body)
	}
	for _, word := range []string{s.dir, "/tmp/", "goroutine", "panic", ".go:"} {
		if strings.Contains(a.body, word) {
			t.Errorf("the answer tells %q: %s", word, a.body)
		}
	}
}
