package worker

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/test/need"
)

// caption sends a video and subtitles to a worker alone, and returns the job
// and its result.
func (b *bench) caption(t *testing.T, video []byte, srt string, spec apigpu.CaptionSpec) (apigpu.Job, []byte, error) {
	t.Helper()
	job, err := b.client.Caption(t.Context(), client.Request{
		Video:    &client.File{Name: "a.mp4", Content: bytes.NewReader(video)},
		Subtitle: &client.File{Name: "a.srt", Content: strings.NewReader(srt)},
		Spec:     spec, Wait: 10 * time.Minute, // a busy machine takes its time
	})
	if err != nil {
		return job, nil, err
	}
	var out bytes.Buffer
	err = b.client.Download(t.Context(), job, &out)
	return job, out.Bytes(), err
}

func codes(job apigpu.Job) (all []string) {
	for _, w := range job.Warnings {
		all = append(all, w.Code)
	}
	return all
}

// readBack runs ffmpeg on bytes in a file.
func readBack(t *testing.T, video []byte, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.mp4")
	if err := os.WriteFile(path, video, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(append([]string{"-i", path}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A text track needs no font, and no encoder where the picture may stay.
func TestSoft(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	b.mu.Lock()
	b.fonts, b.unfit, b.fontless = nil, "No font for captions is installed.", true
	b.mu.Unlock()
	const overlapping = "1\n00:00:00,400 --> 00:00:00,800\nHello\n\n2\n00:00:00,600 --> 00:00:09,000\n<i>you</i>\n"
	job, video, err := b.caption(t, plainClip(t), overlapping, apigpu.CaptionSpec{Mode: apigpu.Soft, Language: "pt-BR"})
	if err != nil {
		t.Fatal(err)
	}
	if job.Stats.Encoder != ffmpeg.Copy || job.Stats.GPU != "" || job.Captions.CuesUsed != 2 {
		t.Errorf("%+v %+v", job.Stats, job.Captions)
	}
	if lit := litFrames(t, video); len(lit) > 0 {
		t.Errorf("captions are in the picture of frames %v", lit)
	}
	got := strings.ReplaceAll(string(readBack(t, video, "-map", "0:s:0", "-f", "srt", "-")), "\r", "") // FFmpeg's own
	want := "1\n00:00:00,400 --> 00:00:00,600\nHello\n\n2\n00:00:00,600 --> 00:00:00,800\nHello\n<i>you</i>\n\n3\n00:00:00,800 --> 00:00:02,000\n<i>you</i>\n\n"
	if got != want {
		t.Errorf("the text track holds %q", got)
	}
	_, _, err = b.caption(t, plainClip(t), oneCue, apigpu.CaptionSpec{})
	wantCode(t, err, apigpu.NoEncoder)
}

// plainClip is black as a file that players know by its index.
func plainClip(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plain.mp4")
	if _, err := run("-f", "lavfi", "-i", "color=black:s=160x120:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast", path); err != nil {
		t.Fatal(err)
	}
	video, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return video
}

func TestBothWithAThumbnail(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	at := 0.5
	job, video, err := b.caption(t, black(t), oneCue, apigpu.CaptionSpec{Mode: apigpu.Both, Output: apigpu.Output{
		Thumbnail: &at, FPS: 12.5, Codec: apigpu.HEVC, Resolution: apigpu.Resolution{Width: 240, Height: 320},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if v := job.Video; v.Width != 240 || v.Height != 320 || v.FPS != 12.5 || v.Codec != "hevc" || v.HDR || job.Stats.Encoder == "" {
		t.Errorf("%+v by %s", v, job.Stats.Encoder)
	}
	if got := string(readBack(t, video, "-map", "0:s:0", "-f", "srt", "-")); got != "1\n00:00:00,400 --> 00:00:00,800\nHello\n\n" {
		t.Errorf("the text track holds %q", got)
	}
	pixels := readBack(t, video, "-map", "0:v", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	var lit []int
	for n := 0; n < len(pixels)/(240*320); n++ {
		if slices.Max(pixels[n*240*320:(n+1)*240*320]) > 150 {
			lit = append(lit, n)
		}
	}
	if !slices.Equal(lit, []int{5, 6, 7, 8, 9}) { // 0.4 s up to 0.8 s, at 12.5 frames a second
		t.Errorf("captions are on frames %v", lit)
	}
	// The picture of 0.5 s has the caption, and opens by its link alone.
	resp, err := http.Get(job.ThumbnailURL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var jpeg bytes.Buffer
	if _, err := jpeg.ReadFrom(resp.Body); err != nil || resp.Header.Get("Content-Type") != "image/jpeg" {
		t.Fatalf("%v %v", resp.Header, err)
	}
	luma := readBack(t, jpeg.Bytes(), "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if len(luma) != 240*320 || slices.Max(luma) < 150 {
		t.Errorf("a picture of %d pixels", len(luma))
	}
	got, err := b.client.Thumbnail(t.Context(), job.ID)
	if err != nil || !bytes.Equal(got, jpeg.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestNoThumbnail(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	job, _, err := b.caption(t, black(t), oneCue, apigpu.CaptionSpec{})
	if err != nil || job.ThumbnailURL != "" {
		t.Fatalf("%q, %v", job.ThumbnailURL, err)
	}
	_, err = b.client.Thumbnail(t.Context(), job.ID)
	wantCode(t, err, apigpu.NotFound)
}

// A result keeps to its bytes, or the job says that it cannot.
func TestMaxSize(t *testing.T) {
	need.Long(t)
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	path := filepath.Join(t.TempDir(), "noise.mp4")
	if _, err := run("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=6,noise=alls=25:allf=t", "-c:v", "libx264", "-preset", "ultrafast", path); err != nil {
		t.Fatal(err)
	}
	noisy, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []apigpu.Codec{apigpu.H264, apigpu.HEVC, apigpu.AV1} {
		job, video, err := b.caption(t, noisy, oneCue, apigpu.CaptionSpec{Output: apigpu.Output{Codec: codec, MaxSizeMB: 0.2}})
		if err != nil {
			t.Errorf("%s: %v", codec, err)
			continue
		}
		if len(video) > 200_000 || len(video) < 80_000 {
			t.Errorf("%s: %d bytes, %v", codec, len(video), codes(job))
		}
	}
}

// Where the sound alone is larger than the result may be, nothing is tried.
func TestMaxSizeOfSound(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := realBench(t, nil)
	talk := kind{ext: "mp4", make: []string{"-f|lavfi|-i|color=black:s=160x120:r=1:d=20|-f|lavfi|-i|anoisesrc=d=20|-c:v|libx264|-preset|ultrafast|-c:a|aac|-b:a|96k"}}.made(t)
	_, _, err := b.caption(t, talk, oneCue, apigpu.CaptionSpec{Output: apigpu.Output{MaxSizeMB: 0.1}})
	if e := wantCode(t, err, apigpu.TooLarge); e.Field != "output.max_size_mb" {
		t.Errorf("field %q", e.Field)
	}
}

// A codec that nobody here encodes is refused before the video is fetched.
func TestCodecThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := pushed(1)
	a.Spec.Output.Codec = apigpu.AV1
	_, err := b.client.Assign(t.Context(), "job_1", a)
	if e := wantCode(t, err, apigpu.NoEncoder); e.Field != "output.codec" {
		t.Errorf("field %q", e.Field)
	}
}

// Captions on HDR that is kept are as bright as paper: white is 203 nits, which
// is 58 % of the signal in PQ and 75 % in HLG.
func TestCaptionsOnHDR(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	for transfer, signal := range map[string]float64{"smpte2084": 0.58, "arib-std-b67": 0.75} {
		t.Run(transfer, func(t *testing.T) {
			if transfer != "smpte2084" {
				need.Long(t)
			}
			t.Parallel()
			b := realBench(t, nil)
			source := kind{ext: "mkv", make: []string{
				"-f|lavfi|-i|color=black:s=320x180:r=25:d=1|-vf|format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=" + transfer + ":range=tv|-c:v|ffv1",
			}}.made(t)
			job, video, err := b.caption(t, source, oneCue, apigpu.CaptionSpec{Output: apigpu.Output{Codec: apigpu.HEVC, HDR: apigpu.HDRKeep}})
			if err != nil {
				t.Fatal(err)
			}
			if !job.Video.HDR || len(job.Warnings) > 0 {
				t.Errorf("%+v, %v", job.Video, job.Warnings)
			}
			pixels := readBack(t, video, "-ss", "0.5", "-map", "0:v", "-frames:v", "1", "-vf", "extractplanes=y", "-f", "rawvideo", "-")
			most := 0
			for i := 0; i+1 < len(pixels); i += 2 {
				most = max(most, int(binary.LittleEndian.Uint16(pixels[i:])))
			}
			if want := 64 + signal*876; math.Abs(float64(most)-want) > 25 { // the encoder overshoots a little
				t.Errorf("white is coded as %d, want %.0f of 1023", most, want)
			}
		})
	}
}
