package typeset

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/font"
	"github.com/api-gpu/api-gpu/test/need"
)

// frame is a picture: three bytes a pixel.
type frame struct {
	Size
	pixels []byte
}

func (f frame) at(x, y int) [3]byte {
	if x < 0 || y < 0 || x >= f.Width || y >= f.Height {
		return [3]byte{}
	}
	return [3]byte(f.pixels[3*(y*f.Width+x):])
}

// grey is the picture that is drawn on.
const grey = 0x80

// near reports whether two colours look alike.
func near(a, b [3]byte, by int) bool {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d > by || d < -by {
			return false
		}
	}
	return true
}

// count counts the pixels of r that are of a colour.
func (f frame) count(r rect, c apigpu.Color, by int) (n int) {
	for y := int(r.top); y < int(r.bottom); y++ {
		for x := int(r.left); x < int(r.right); x++ {
			if near(f.at(x, y), [3]byte{c.R, c.G, c.B}, by) {
				n++
			}
		}
	}
	return n
}

// extent is the rectangle that holds all pixels for which drawn is true.
func (f frame) extent(drawn func(x, y int) bool) (r rect, any bool) {
	for y := range f.Height {
		for x := range f.Width {
			if !drawn(x, y) {
				continue
			}
			at := rect{float64(x), float64(y), float64(x + 1), float64(y + 1)}
			if !any {
				r, any = at, true
			}
			r = rect{min(r.left, at.left), min(r.top, at.top), max(r.right, at.right), max(r.bottom, at.bottom)}
		}
	}
	return r, any
}

func (f frame) drawn() (rect, bool) {
	return f.extent(func(x, y int) bool { return !near(f.at(x, y), [3]byte{grey, grey, grey}, 6) })
}

// differs is the rectangle of the pixels in which two frames differ.
func (f frame) differs(g frame) (rect, bool) {
	return f.extent(func(x, y int) bool { return !near(f.at(x, y), g.at(x, y), 6) })
}

func (r rect) grown(by float64) rect {
	return rect{r.left - by, r.top - by, r.right + by, r.bottom + by}
}

func (r rect) holds(o rect) bool {
	return r.left <= o.left && r.top <= o.top && r.right >= o.right && r.bottom >= o.bottom
}

// render draws a script on two grey seconds, at 25 frames a second.
func render(t *testing.T, script []byte, size Size) []frame {
	t.Helper()
	path := filepath.Join(t.TempDir(), "captions.ass")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi",
		"-i", fmt.Sprintf("color=0x808080:s=%dx%d:r=25:d=2", size.Width, size.Height),
		"-vf", "format=rgb24,ass="+filepath.Base(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	cmd.Dir = filepath.Dir(path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.String())
	}
	var frames []frame
	for n := 3 * size.Width * size.Height; len(raw) >= n; raw = raw[n:] {
		frames = append(frames, frame{size, raw[:n]})
	}
	if len(frames) != 50 {
		t.Fatalf("ffmpeg gave %d frames: %s", len(frames), stderr.String())
	}
	return frames
}

func systemFonts(t *testing.T) *font.Set {
	t.Helper()
	need.FFmpeg(t)
	need.Fonts(t)
	fonts, err := font.Find(font.SystemDirs())
	if err != nil {
		t.Fatal(err)
	}
	return fonts
}

const frameTime = 40 * time.Millisecond

// TestPictures draws every preset on every shape of picture, and looks: on the
// right frames, within the safe area, in the colours of the style, and no word
// moves when another is spoken.
func TestPictures(t *testing.T) {
	t.Parallel()
	fonts := systemFonts(t)
	shapes := map[string]Size{"wide": {480, 270}, "tall": {270, 480}, "square": {300, 300}}
	for _, preset := range apigpu.Presets() {
		for name, size := range shapes {
			t.Run(string(preset)+"/"+name, func(t *testing.T) {
				if preset != apigpu.PresetBoldSocial && preset != apigpu.PresetPodcast || name == "square" {
					need.Long(t)
				}
				t.Parallel()
				look := picture{job: Job{
					Cues:  []caption.Cue{{Start: 410 * time.Millisecond, End: 1650 * time.Millisecond, Text: "Few people see this trick, and it works."}},
					Style: apigpu.Style{Preset: preset}, Size: size, Fonts: fonts, Clock: caption.FrameClock{Num: 25, Den: 1},
				}}
				look.check(t)
			})
		}
	}
}

// picture is a job whose result is looked at.
type picture struct {
	job    Job
	s      *setter
	frames []frame
}

func (p *picture) check(t *testing.T) {
	p.frames = render(t, sheetOf(t, p.job).ASS, p.job.Size)
	p.s = newSetter(p.job)
	for i := range p.s.cues {
		p.s.flow(i)
	}
	p.s.snap()
	p.s.place()
	p.onFrames(t)
	for i := range p.s.parts {
		p.inside(t, &p.s.parts[i])
		p.colours(t, &p.s.parts[i])
		p.still(t, &p.s.parts[i])
	}
}

func (p *picture) onFrames(t *testing.T) {
	c := p.job.Cues[0]
	for n, f := range p.frames {
		at := time.Duration(n) * frameTime
		if _, drawn := f.drawn(); drawn != (c.Start <= at && at < c.End) {
			t.Errorf("frame %d at %v: drawn is %v", n, at, drawn)
		}
	}
}

// of returns the numbers of the frames of a time.
func (p *picture) of(start, end time.Duration) (numbers []int) {
	for n := range p.frames {
		if at := time.Duration(n) * frameTime; start <= at && at < end {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// inside: nothing but the edge of a shadow is outside of the safe area, and
// the lines are where they were reckoned to be.
func (p *picture) inside(t *testing.T, part *part) {
	l := &p.s.look
	around := l.blur + max(l.shadowX, l.shadowY) + l.active.scale*2 + 2
	area := l.area.grown(around)
	area.left, area.right = (float64(p.job.Size.Width)-l.middle)/2-around, (float64(p.job.Size.Width)+l.middle)/2+around
	for _, n := range p.of(part.start, part.end) {
		drawn, _ := p.frames[n].drawn()
		if !area.holds(drawn) {
			t.Errorf("frame %d: %v is outside of the safe area %v", n, drawn, area)
		}
		if !part.box.grown(around + l.size*0.15).holds(drawn) {
			t.Errorf("frame %d: %v is outside of its room %v", n, drawn, part.box)
		}
		if l.box == apigpu.BoxBlock {
			if at := p.frames[n].at(int(part.box.left)+2, int(part.box.top+part.box.bottom)/2); at[0] > 70 {
				t.Errorf("frame %d: no box at the side of the text, but %v", n, at)
			}
		}
	}
}

// colours: the active colour is on a word while it is spoken, and at no other
// time.
func (p *picture) colours(t *testing.T, part *part) {
	active := p.s.look.active.color
	if p.s.look.animation != apigpu.AnimationHighlight || p.s.look.active.box != nil || active == nil {
		return
	}
	words := p.s.moments(part)
	for i := range part.rows {
		for j := range part.rows[i].pieces {
			at := part.rows[i].pieces[j]
			m := words[at.word]
			where := roomOf(part, i, j, p.s.look.size)
			for _, n := range p.of(part.start, part.end) {
				time := time.Duration(n) * frameTime
				lit := p.frames[n].count(where, *active, 40) > 5
				if spoken := m.start <= time && time < m.end; lit != spoken {
					t.Errorf("frame %d: the colour of %q is on: %v, spoken: %v", n, at.text, lit, spoken)
				}
			}
		}
	}
}

// roomOf is where a piece is drawn.
func roomOf(p *part, row, piece int, size float64) rect {
	r := &p.rows[row]
	at := &r.pieces[piece]
	left := r.left + at.left
	return rect{left, r.base - size*p.scale*0.75, left + at.width, r.base + size*p.scale*0.2}
}

// still: between two frames of a part nothing changes but the words that begin
// or cease to be spoken.
func (p *picture) still(t *testing.T, part *part) {
	if p.s.look.animation == apigpu.AnimationFade {
		return
	}
	words := p.s.moments(part)
	numbers := p.of(part.start, part.end)
	for k := 1; k < len(numbers); k++ {
		a, b := numbers[k-1], numbers[k]
		changed, any := p.frames[b].differs(p.frames[a])
		if !any {
			continue
		}
		var may rect
		for i := range part.rows {
			for j := range part.rows[i].pieces {
				m := words[part.rows[i].pieces[j].word]
				t0, t1 := time.Duration(a)*frameTime, time.Duration(b)*frameTime
				before, after := m.start <= t0 && t0 < m.end, m.start <= t1 && t1 < m.end
				if before || after {
					room := roomOf(part, i, j, p.s.look.size)
					if may == (rect{}) {
						may = room
					}
					may = rect{min(may.left, room.left), min(may.top, room.top), max(may.right, room.right), max(may.bottom, room.bottom)}
				}
			}
		}
		if grown := may.grown(p.s.look.size*0.3 + p.s.look.outline); !grown.holds(changed) {
			t.Errorf("from frame %d to %d pixels of %v changed, though only words in %v do", a, b, changed, grown)
		}
	}
}

// TestMeasuredAsDrawn: libass draws a text as wide as it was reckoned to be,
// in the font that it was reckoned with.
func TestMeasuredAsDrawn(t *testing.T) {
	t.Parallel()
	fonts := systemFonts(t)
	size := Size{640, 120}
	for name, c := range map[string]struct {
		text  string
		style apigpu.Style
	}{
		"Latin":   {text: "AV To Wave, fjord & Šafařík"},
		"light":   {text: "Hamburgefonts", style: apigpu.Style{Font: apigpu.Font{Weight: 400}}},
		"heavy":   {text: "Hamburgefonts", style: apigpu.Style{Font: apigpu.Font{Weight: 900}}},
		"spaced":  {text: "Hamburgefonts", style: apigpu.Style{Font: apigpu.Font{LetterSpacing: at(40)}}},
		"Greek":   {text: "Καλημέρα κόσμε"},
		"Russian": {text: "Съешь ещё этих"},
		"Arabic":  {text: "مرحبا بالعالم الجميل"},
		"Hebrew":  {text: "שלום עולם טוב"},
		"Hindi":   {text: "ज़्यादातर लोग।"},
		"Thai":    {text: "คนส่วนใหญ่ไม่เคย"},
		"Chinese": {text: "大多数人从来没有"},
		"Korean":  {text: "대부분의 사람들은"},
		"mixed":   {text: "the word שלום, (12) ok"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "Latin" && name != "mixed" {
				need.Long(t)
			}
			t.Parallel()
			c.style.Preset, c.style.SafeArea, c.style.Font.Size = apigpu.PresetNone, apigpu.SafeArea{Name: "none"}, px(400)
			job := Job{Cues: []caption.Cue{{End: 2 * time.Second, Text: c.text}}, Style: c.style, Size: size, Fonts: fonts}
			sheet := sheetOf(t, job)
			if len(sheet.Notes) > 0 {
				t.Skipf("needs fonts: %v", sheet.Notes)
			}
			if name != "mixed" && len(sheet.Families) != 1 {
				t.Errorf("it is drawn in %q", sheet.Families)
			}
			drawn, _ := render(t, sheet.ASS, size)[0].drawn()
			s := newSetter(job)
			s.flow(0)
			s.place()
			r := s.parts[0].rows[0]
			// Letters have room at their sides, and reach over it a little.
			if want := (rect{r.left, r.base - r.top, r.left + r.width, r.base + r.bottom}); len(s.parts[0].rows) != 1 ||
				!want.grown(3).holds(drawn) || drawn.width() < want.width()-10 {
				t.Errorf("drawn on %v, reckoned to be on %v", drawn, want)
			}
		})
	}
}
