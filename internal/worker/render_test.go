package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/test/need"
)

// litFrames returns the numbers of the frames on which something bright is.
func litFrames(t *testing.T, video []byte) []int {
	t.Helper()
	return litAbove(t, video, 150)
}

// litAbove returns the numbers of the frames that are somewhere brighter, of 255.
func litAbove(t *testing.T, video []byte, level byte) []int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := os.WriteFile(path, video, 0o600); err != nil {
		t.Fatal(err)
	}
	pixels, err := run("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")
	if err != nil {
		t.Fatal(err)
	}
	var lit []int
	for n := 0; len(pixels) > 0; n++ {
		if slices.Max(pixels[:160*120]) > level {
			lit = append(lit, n)
		}
		pixels = pixels[160*120:]
	}
	return lit
}

// frames10to19 are those of oneCue at 25 frames per second: 0.4 s up to 0.8 s.
func frames10to19() []int { return []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19} }

// The jobs API of a worker alone: an upload, an answer that waits, the video.
func TestOwnJob(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	job, err := b.client.Caption(t.Context(), client.Request{
		Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(black(t))},
		Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)},
		Wait:     time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if job.Status != apigpu.Succeeded || job.Progress != 100 || job.Video == nil || job.Video.Width != 160 || job.Stats.Encoder == "" || job.Captions.CuesUsed != 1 {
		t.Fatalf("%+v", job)
	}
	var out bytes.Buffer
	if err := b.client.Download(t.Context(), job, &out); err != nil {
		t.Fatal(err)
	}
	if lit := litFrames(t, out.Bytes()); !slices.Equal(lit, frames10to19()) {
		t.Errorf("captions are on frames %v", lit)
	}
	if folders := names(t, b.dir); len(folders) != 1 || contains(folders, uploadPrefix) {
		t.Errorf("folders %q", folders)
	}
	if err := b.client.Delete(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An orchestrator's job: the video from its address, the result by chunks.
func TestAssignedJob(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	video := black(t)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "v.mp4", time.Time{}, bytes.NewReader(video))
	}))
	defer source.Close()
	b := realBench(t, nil)
	b.assign(t, "job_1", apigpu.Assignment{Attempt: 1, Spec: apigpu.CaptionSpec{URLVideo: source.URL}, Subtitle: []byte(oneCue), DeadlineSeconds: 60})
	_, err := b.client.Manifest(t.Context(), "job_1")
	wantCode(t, err, apigpu.NotReady)
	_, err = b.client.Input(t.Context(), "job_1")
	wantCode(t, err, apigpu.Conflict)
	if j := b.final(t, "job_1"); j.Status != apigpu.Succeeded || len(j.Warnings) != 0 {
		t.Fatalf("%s %v %v", j.Status, j.Error, j.Warnings)
	}
	m, err := b.client.Manifest(t.Context(), "job_1")
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for _, c := range m.Chunks {
		data, err := b.client.Chunk(t.Context(), "job_1", c)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if c.Offset != int64(len(whole)) || hex.EncodeToString(sum[:]) != c.SHA256 {
			t.Errorf("chunk %+v", c)
		}
		whole = append(whole, data...)
	}
	sum := sha256.Sum256(whole)
	if int64(len(whole)) != m.Length || hex.EncodeToString(sum[:]) != m.SHA256 {
		t.Errorf("%d bytes, manifest %d", len(whole), m.Length)
	}
	if lit := litFrames(t, whole); !slices.Equal(lit, frames10to19()) {
		t.Errorf("captions are on frames %v", lit)
	}
}

// Cues after the end are left out and counted; a file of nothing else is
// refused, and a character that no font has is told of.
func TestCuesThatCannotBeShown(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	caption := func(srt string) (apigpu.Job, error) {
		return b.client.Caption(t.Context(), client.Request{
			Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(black(t))},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(srt)},
			Wait:     time.Minute,
		})
	}
	const late = "2\n00:10:00,000 --> 00:10:01,000\ntoo late\n"
	job, err := caption(oneCue + "\n" + late)
	if err != nil {
		t.Fatal(err)
	}
	if job.Captions.CuesIn != 2 || job.Captions.CuesUsed != 1 || len(job.Warnings) != 1 {
		t.Errorf("%+v, warnings %v", job.Captions, job.Warnings)
	}
	_, err = caption(late)
	wantCode(t, err, apigpu.SubtitleEmpty)
	// U+E83A is for private use: no font of a system has it.
	if job, err = caption("1\n00:00:00,000 --> 00:00:01,000\na \ue83a b\n"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(job.Warnings, func(w apigpu.Warning) bool { return w.Code == "glyph_missing" && w.Count == 1 }) {
		t.Errorf("warnings %v, want glyph_missing", job.Warnings)
	}
}

// A style goes all the way: words are timed, the fonts are named, and one that
// is not here is replaced.
func TestStyle(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	job, err := b.client.Caption(t.Context(), client.Request{
		Spec: apigpu.CaptionSpec{Style: apigpu.Style{
			Preset: apigpu.PresetBoldSocial, Font: apigpu.Font{Family: "No Such Font"}, Position: apigpu.Position{Name: "top_left"},
		}},
		Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(black(t))},
		Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)},
		Wait:     time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := job.Captions; c.Timing != "estimated" || len(c.Fonts) != 1 || c.CuesUsed != 1 {
		t.Errorf("%+v", c)
	}
	if len(job.Warnings) != 1 || job.Warnings[0].Code != "font_replaced" || !strings.Contains(job.Warnings[0].Message, "No Such Font") {
		t.Errorf("warnings %+v", job.Warnings)
	}
	var out bytes.Buffer
	if err := b.client.Download(t.Context(), job, &out); err != nil {
		t.Fatal(err)
	}
	if lit := litFrames(t, out.Bytes()); !slices.Equal(lit, frames10to19()) {
		t.Errorf("captions are on frames %v", lit)
	}
}

func TestFontsAreLinked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // twice is no error
		if err := render.InstallFonts(dir, []string{"/a/x.ttf", "/b/x.ttf"}); err != nil {
			t.Fatal(err)
		}
	}
	if links := names(t, filepath.Join(dir, ffmpeg.FontsFolder)); len(links) != 2 {
		t.Errorf("%q", links)
	}
}

func TestManifestTiles(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1, apigpu.MaxChunk - 1, apigpu.MaxChunk, apigpu.MaxChunk + 1, 2 * apigpu.MaxChunk} {
		data := bytes.Repeat([]byte("0123456789abcdef"), length/16+1)[:length]
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := manifestOf(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var at int64
		for _, c := range m.Chunks {
			sum := sha256.Sum256(data[c.Offset : c.Offset+c.Length])
			if c.Offset != at || c.Length < 1 || c.Length > apigpu.MaxChunk || c.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%d bytes: chunk %+v at %d", length, c, at)
			}
			at += c.Length
		}
		if sum := sha256.Sum256(data); at != m.Length || m.Length != int64(length) || m.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: %+v", length, m)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := manifestOf(ctx, os.DevNull); err == nil {
		t.Error("it goes on after the end of its context")
	}
}

func TestBadVideo(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	if _, err := b.client.PushInput(t.Context(), "job_1", 1, 0, -1, strings.NewReader("this is no video")); err != nil {
		t.Fatal(err)
	}
	if j := b.final(t, "job_1"); j.Status != apigpu.Failed || j.Error.Code != apigpu.MediaUndecodable {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestCancelReachesFFmpeg(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	video := longClip(t)
	if _, err := b.client.PushInput(t.Context(), "job_1", 1, 0, int64(len(video)), bytes.NewReader(video)); err != nil {
		t.Fatal(err)
	}
	b.until(t, "job_1", func(j apigpu.Job) bool { return j.Phase == apigpu.Rendering && j.Progress > downloadShare })
	began := time.Now()
	j, err := b.client.Cancel(t.Context(), "job_1")
	if err != nil || j.Status != apigpu.JobCanceled {
		t.Fatalf("%s %v", j.Status, err)
	}
	if took := time.Since(began); took > 2*need.Slack*time.Second {
		t.Errorf("cancel took %s", took)
	}
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An upload of a job that never runs leaves nothing behind.
func TestQueuedUploadIsRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(1)) // takes the slot
	b.until(t, "job_1", isRunning)
	request := func(srt string) client.Request {
		return client.Request{
			Video:    &client.File{Name: "a.mp4", Content: strings.NewReader("video")},
			Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(srt)},
		}
	}
	_, err := b.client.Caption(t.Context(), request("no subtitles"))
	if e := wantCode(t, err, apigpu.SubtitleUnparseable); e.Field != "srt" {
		t.Errorf("field %q", e.Field)
	}
	job, err := b.client.Caption(t.Context(), request(oneCue))
	if err != nil || job.Status != apigpu.Queued {
		t.Fatalf("%s %v", job.Status, err)
	}
	if folders := names(t, b.dir); len(folders) != 2 || contains(folders, uploadPrefix) {
		t.Errorf("folders %q", folders)
	}
	_, err = b.client.Jobs(t.Context(), client.Filter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if folders := names(t, b.dir); len(folders) != 1 {
		t.Errorf("folders %q", folders)
	}
}

func TestUploadTooLong(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.MaxInput = 1000 })
	_, err := b.client.Caption(t.Context(), client.Request{
		Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(make([]byte, 1001))},
		Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(oneCue)},
	})
	wantCode(t, err, apigpu.TooLarge)
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestProve(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	if p, err := proof(); err != nil || p.abilities.Encoder == "" || p.fonts == nil || p.fonts.Base() == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	b := newBench(t, func(cfg *Config) { cfg.Tools, cfg.FontDirs = findTools(t), []string{t.TempDir()} })
	wantCode(t, b.Prove(t.Context()), apigpu.NoEncoder)
	_, err := b.client.Assign(t.Context(), "job_1", pushed(1))
	if e := wantCode(t, err, apigpu.NoEncoder); !strings.Contains(e.Message, "font") {
		t.Errorf("it does not say why: %v", e)
	}
}
