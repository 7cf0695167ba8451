package render

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/image/font/gofont/gomono"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/subtitle"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestMain(m *testing.M) {
	ffmpeg.Launch() // this program is its own launcher
	goleak.VerifyTestMain(m)
}

var here = sync.OnceValues(func() (Means, error) { return Here(context.Background()) })

// studio draws with the programs and fonts of this machine.
func studio(t *testing.T) *Studio {
	t.Helper()
	need.FFmpeg(t)
	dir := t.TempDir()
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	return NewStudio(dir, func(context.Context) (Means, error) { return here() })
}

// source is a video that counts what is read of it.
type source struct {
	content []byte
	read    int64
	whole   int
	refuse  error
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(s.content).ReadAt(p, off)
	s.read += int64(n)
	return n, err
}

func (s *source) video() *Video {
	return &Video{
		Open: func(context.Context) (io.ReaderAt, int64, error) { return s, int64(len(s.content)), s.refuse },
		Whole: func(_ context.Context, to *os.File, limit int64) error {
			s.whole++
			if s.refuse != nil {
				return s.refuse
			}
			if int64(len(s.content)) > limit {
				return errors.New("too long")
			}
			_, err := to.Write(s.content)
			return err
		},
	}
}

// filmed makes a video.
func filmed(t *testing.T, name string, args ...string) *source {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append(append([]string{"-v", "error"}, args...), path)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return &source{content: content}
}

// halves is a film of 20 seconds, 320 x 180, red up to 10 s and then blue.
var halves = []string{
	"-f", "lavfi", "-i", "color=red:s=320x180:r=25:d=10,noise=alls=20:allf=t", "-f", "lavfi", "-i", "color=blue:s=320x180:r=25:d=10,noise=alls=20:allf=t",
	"-f", "lavfi", "-i", "sine=d=20", "-filter_complex", "[0][1]concat=n=2[v]", "-map", "[v]", "-map", "2",
	"-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac",
}

func join(a []string, b ...string) []string { return append(append([]string(nil), a...), b...) }

func cues(texts ...string) caption.Document {
	d := caption.Document{Format: caption.SRT}
	for i, text := range texts {
		start := time.Duration(i) * 4 * time.Second
		d.Cues = append(d.Cues, caption.Cue{Start: start, End: start + 3*time.Second, Text: text})
	}
	return d
}

func decode(t *testing.T, p apigpu.Preview) image.Image {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(p.PNG))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// colour is what most of a picture's upper half is.
func colour(p image.Image, in image.Rectangle) string {
	var r, g, b uint64
	for y := in.Min.Y; y < in.Min.Y+in.Dy()/2; y++ {
		for x := in.Min.X; x < in.Max.X; x++ {
			cr, cg, cb, _ := p.At(x, y).RGBA()
			r, g, b = r+uint64(cr>>8), g+uint64(cg>>8), b+uint64(cb>>8)
		}
	}
	switch n := uint64(in.Dx() * in.Dy() / 2); {
	case r/n > 150 && b/n < 80:
		return "red"
	case b/n > 150 && r/n < 80:
		return "blue"
	case r/n < 60 && g/n < 60 && b/n < 60:
		return "dark"
	}
	return "another"
}

// white counts pixels that only letters have.
func white(p image.Image, in image.Rectangle) (n int) {
	for y := in.Min.Y; y < in.Max.Y; y++ {
		for x := in.Min.X; x < in.Max.X; x++ {
			if r, g, b, _ := p.At(x, y).RGBA(); r>>8 > 230 && g>>8 > 230 && b>>8 > 230 {
				n++
			}
		}
	}
	return n
}

func at(seconds float64) *float64 { return &seconds }

// TestPreviewOfAVideo draws on frames of videos, and reads little of them where
// they tell where their frames are.
func TestPreviewOfAVideo(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		args  []string
		whole bool
	}{
		"mp4":       {"a.mp4", halves, false},
		"faststart": {"b.mp4", join(halves, "-movflags", "+faststart"), false},
		"fragments": {"c.mp4", join(halves, "-movflags", "+frag_keyframe+empty_moov"), true},
		"matroska":  {"d.mkv", halves, true},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "mp4" {
				need.Long(t)
			}
			t.Parallel()
			testFilm(t, filmed(t, c.file, c.args...), c.whole)
		})
	}
}

func testFilm(t *testing.T, film *source, whole bool) {
	t.Helper()
	s, d := studio(t), cues("One", "Two", "Three", "Four", "Five")
	for _, want := range []struct {
		at     *float64
		colour string
		text   bool
	}{{nil, "red", true}, {at(9), "red", true}, {at(17), "blue", true}, {at(15.5), "blue", false}, {at(1000), "blue", false}} {
		film.read = 0
		p, err := s.Draw(t.Context(), Order{Document: d, Ask: apigpu.PreviewAsk{At: want.at}, Video: film.video()})
		if err != nil {
			t.Fatalf("at %v: %v", want.at, err)
		}
		picture := decode(t, p)
		if b := picture.Bounds(); b.Dx() != 320 || b.Dy() != 180 || p.Background != apigpu.BackgroundVideo || len(p.Warnings) > 0 {
			t.Errorf("%v %s %v", b, p.Background, p.Warnings)
		}
		if got := colour(picture, picture.Bounds()); got != want.colour || (white(picture, picture.Bounds()) > 10) != want.text {
			t.Errorf("at %v: %s with %d of letters, want %+v", p.At, got, white(picture, picture.Bounds()), want)
		}
		if !whole && film.read > int64(len(film.content))/2 {
			t.Errorf("read %d of %d bytes", film.read, len(film.content))
		}
	}
	if (film.whole > 0) != whole {
		t.Errorf("read whole %d times", film.whole)
	}
}

// TestOneAtATime lets a second preview wait, and not for ever.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		s := NewStudio(t.TempDir(), func(context.Context) (Means, error) {
			entered <- struct{}{}
			<-leave
			return Means{}, Unavailable(nil, "this is a test")
		})
		first := make(chan error, 1)
		draw := func() error { _, err := s.Draw(t.Context(), Order{Document: cues("One")}); return err }
		go func() { first <- draw() }()
		<-entered
		if e := apigpu.AsError(draw()); e.Code != apigpu.RateLimited || e.RetryAfter == 0 {
			t.Errorf("beside another: %v", e)
		}
		close(leave)
		if e := apigpu.AsError(<-first); e.Code != apigpu.PreviewUnavailable || e.Hint == "" || e.Retryable {
			t.Errorf("without means: %v", e)
		}
	})
}

// TestSheet shows nine frames, in their order.
func TestSheet(t *testing.T) {
	t.Parallel()
	s := studio(t)
	p, err := s.Draw(t.Context(), Order{
		Document: cues("One", "Two", "Three", "Four", "Five"), Ask: apigpu.PreviewAsk{Sheet: true}, Video: filmed(t, "a.mp4", halves...).video(),
	})
	if err != nil {
		t.Fatal(err)
	}
	picture := decode(t, p)
	if b := picture.Bounds(); b.Dx() != 3*320+2*gap || b.Dy() != 3*180+2*gap || len(p.At) != 9 || p.Background != apigpu.BackgroundVideo {
		t.Fatalf("%v %v %s", b, p.At, p.Background)
	}
	for i, when := range p.At {
		corner := image.Pt(i%3*(320+gap), i/3*(180+gap))
		cell := image.Rect(0, 0, 320, 180).Add(corner)
		want := "red"
		if when >= 10 {
			want = "blue"
		}
		if i > 0 && when <= p.At[i-1] || colour(picture, cell) != want || white(picture, cell) < 10 {
			t.Errorf("frame %d at %g: %s with %d of letters", i, when, colour(picture, cell), white(picture, cell))
		}
	}
}

// TestPlain draws without a video, and says why where one was named.
func TestPlain(t *testing.T) {
	t.Parallel()
	s := studio(t)
	broken := filmed(t, "a.mp4", halves...)
	broken.content = append([]byte("this is no video"), broken.content[:2000]...)
	cut := filmed(t, "b.mp4", join(halves, "-movflags", "+faststart")...)
	cut.content = cut.content[:len(cut.content)/3] // its tables tell of more
	for name, c := range map[string]struct {
		order   Order
		size    image.Point
		warning bool
	}{
		"no video":       {Order{}, image.Pt(1280, 720), false},
		"of a size":      {Order{Ask: apigpu.PreviewAsk{Width: 1080, Height: 1920}}, image.Pt(720, 1280), false},
		"small":          {Order{Ask: apigpu.PreviewAsk{Width: 200, Height: 200}}, image.Pt(200, 200), false},
		"in a box":       {Order{Spec: apigpu.CaptionSpec{Output: apigpu.Output{Resolution: apigpu.Resolution{Width: 1080, Height: 1080}}}}, image.Pt(720, 720), false},
		"smaller":        {Order{Spec: apigpu.CaptionSpec{Output: apigpu.Output{Resolution: apigpu.Resolution{Name: "480p"}}}}, image.Pt(854, 480), false},
		"a damaged file": {Order{Video: broken.video()}, image.Pt(1280, 720), true},
		"half a file":    {Order{Video: cut.video(), Ask: apigpu.PreviewAsk{At: at(17)}}, image.Pt(320, 180), true},
		"out of reach":   {Order{Video: (&source{refuse: apigpu.E(apigpu.SourceUnreachable, nil, "It does not answer.")}).video()}, image.Pt(1280, 720), true},
	} {
		c.order.Document = cues("One", "Two", "Three", "Four", "Five")
		p, err := s.Draw(t.Context(), c.order)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		picture := decode(t, p)
		b := picture.Bounds()
		if b.Size() != c.size || colour(picture, b) != "dark" || white(picture, b) < 10 || p.Background != apigpu.BackgroundPlain {
			t.Errorf("%s: %v, %s, %d of letters, %s", name, b, colour(picture, b), white(picture, b), p.Background)
		}
		if got := len(p.Warnings) == 1 && p.Warnings[0] == apigpu.PreviewPlain; got != c.warning {
			t.Errorf("%s: %q", name, p.Warnings)
		}
	}
}

// TestRefusedVideos are those that the job would end with, too.
func TestRefusedVideos(t *testing.T) {
	t.Parallel()
	s := studio(t)
	sound := filmed(t, "a.mp4", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac")
	for name, c := range map[string]struct {
		film *source
		code apigpu.Code
	}{
		"sound alone": {sound, apigpu.NoVideoStream},
		"a page":      {&source{refuse: apigpu.E(apigpu.SourceIsHTML, nil, "It is a page.")}, apigpu.SourceIsHTML},
		"private":     {&source{refuse: apigpu.E(apigpu.BlockedAddress, nil, "Not there.")}, apigpu.BlockedAddress},
	} {
		_, err := s.Draw(t.Context(), Order{Document: cues("One"), Video: c.film.video()})
		if e := apigpu.AsError(err); e == nil || e.Code != c.code || e.Field != "url_video" {
			t.Errorf("%s: %v", name, err)
		}
	}
	late := caption.Document{Cues: []caption.Cue{{Start: time.Hour, End: time.Hour + time.Second, Text: "Late"}}}
	if _, err := s.Draw(t.Context(), Order{Document: late, Video: filmed(t, "b.mp4", halves...).video()}); apigpu.CodeOf(err) != apigpu.SubtitleEmpty {
		t.Errorf("no cue within the video: %v", err)
	}
}

// TestFontsOfClients draws with a font that comes with the order, and emoji in
// their colours.
func TestFontsOfClients(t *testing.T) {
	t.Parallel()
	s := studio(t)
	need.Fonts(t)
	draw := func(text, family string, fonts ...[]byte) (apigpu.Preview, image.Image) {
		t.Helper()
		p, err := s.Draw(t.Context(), Order{
			Document: cues(text), Fonts: fonts,
			Spec: apigpu.CaptionSpec{Style: apigpu.Style{Font: apigpu.Font{Family: family}, Position: apigpu.Position{Name: "bottom"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p, decode(t, p)
	}
	_, usual := draw("Hamburgefonstiv", "")
	p, own := draw("Hamburgefonstiv", "Go Mono", gomono.TTF)
	if len(p.Warnings) > 0 || apart(usual, own) < far {
		t.Errorf("warnings %q, %.1f apart from the usual font", p.Warnings, apart(usual, own))
	}
	if p, _ := draw("Hamburgefonstiv", "Go Mono"); len(p.Warnings) != 1 || p.Warnings[0] != "font_replaced" {
		t.Errorf("without it: %q", p.Warnings)
	}
	p, picture := draw("🍕🍕🍕", "")
	colourful := 0
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			if r, _, b, _ := picture.At(x, y).RGBA(); r>>8 > 180 && b>>8 < 90 {
				colourful++
			}
		}
	}
	if len(p.Warnings) > 0 || colourful < 100 {
		t.Errorf("emoji have %d pixels of their colours; %q", colourful, p.Warnings)
	}
}

// TestFontsOfAScript: a font that came along is drawn where a script names it
// within a text.
func TestFontsOfAScript(t *testing.T) {
	t.Parallel()
	s := studio(t)
	need.Fonts(t)
	document, err := subtitle.Parse([]byte("[Script Info]\nPlayResX: 1280\nPlayResY: 720\n\n[Events]\n"+
		"Dialogue: 0,0:00:00.00,0:00:05.00,Default,,0,0,0,,{\\fnGo Mono\\fs120}Hamburgefonstiv\n"), subtitle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pictures []image.Image
	for _, fonts := range [][][]byte{nil, {gomono.TTF}} {
		p, err := s.Draw(t.Context(), Order{Document: document, Fonts: fonts})
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, decode(t, p))
	}
	if d := apart(pictures[0], pictures[1]); d < far {
		t.Errorf("%.1f apart from the usual font", d)
	}
}
