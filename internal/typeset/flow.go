package typeset

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-text/typesetting/bidi"
	"github.com/go-text/typesetting/segmenter"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// setter sets one job.
type setter struct {
	job      Job
	size     Size
	look     look
	lang     string
	fonts    Fonts
	coloured bool // emoji are drawn by somebody else
	cues     []caption.Cue
	parts    []part
	timing   caption.Timing

	// Kept from cue to cue, to spare memory.
	raw     []char
	emojiAt []bool
	seg     segmenter.Segmenter
	measure segmenter.Segmenter
	bidi    bidi.Paragraph

	out       []byte
	emoji     []Emoji
	families  map[string]int // how much is drawn in each
	absent    map[string]int // characters that no font has → how often
	absentAll int
	notes     caption.Notes
	shown     int
	face      caption.Run // that of the script's style
	fade      string      // tags of all events of a part
}

func newSetter(job Job) *setter {
	s := &setter{
		job: job, size: job.Size.orDefault(), lang: job.Language, fonts: job.Fonts,
		cues: slices.Clone(job.Cues), timing: caption.TimedCues,
		families: map[string]int{}, absent: map[string]int{},
	}
	if s.fonts == nil {
		s.fonts = Estimate{}
	}
	if s.lang == "" {
		s.lang = guessLanguage(s.cues)
	}
	s.look = newLook(job.Style, s.size, s.lang)
	s.coloured = s.look.emoji == apigpu.EmojiColor
	timing := estimate(s.cues) // a cue that is split needs them too
	if s.look.needsWords() {
		s.timing = timing
	}
	return s
}

func (s *setter) runs(text string, face caption.Face, rtl bool) []caption.Run {
	return s.fonts.Runs(text, face, s.lang, rtl)
}

// part is what is shown of a cue at once.
type part struct {
	cue        int
	start, end time.Duration
	rows       []row
	scale      float64
	rtl        bool
	box        rect // with what surrounds the letters
}

// leastScreen is for how long a part of a cue is shown at least, where it
// could have more lines instead.
const leastScreen = 120 * time.Millisecond

// flow breaks cue i into lines and, where it has too many, into parts that are
// shown one after the other.
func (s *setter) flow(i int) {
	c := &s.cues[i]
	text := s.chars(c)
	if len(text) == 0 {
		s.notes.Add(NothingLeft, c.Line)
		return
	}
	t := s.itemsOf(text, nil)
	if len(t.atoms) == 0 {
		s.notes.Add(NothingLeft, c.Line)
		return
	}
	scale := s.fitting(t)
	if torn := t.tooWide(s.look.limit.pixels / scale); len(torn) > 0 {
		s.notes.Add(BrokenWord, c.Line)
		t = s.itemsOf(text, torn)
	}
	shown := s.screensOf(t, scale, c.End-c.Start)
	for range maxTries {
		share := s.roomFor(shown)
		if share >= 1 || scale <= leastTall {
			break
		}
		// Smaller letters make fewer lines too.
		scale = max(scale*bounded(math.Sqrt(share), 0.5, 0.95), leastTall)
		shown = s.screensOf(t, scale, c.End-c.Start)
	}
	s.shown++
	start, least := c.Start, min(leastScreen, (c.End-c.Start)/time.Duration(len(shown)))
	for n, screen := range shown {
		end := c.End
		if n+1 < len(shown) {
			first := shown[n+1].lines[0].from
			end = s.spoken(c, t, first, shown, n)
			end = min(max(end, start+least), c.End-least*time.Duration(len(shown)-n-1))
		}
		s.parts = append(s.parts, s.partOf(i, t, screen, start, end))
		start = end
	}
}

// screensOf breaks a cue into what is shown at once.
func (s *setter) screensOf(t textOf, scale float64, long time.Duration) []screen {
	return t.screens(s.look.limit, s.look.ownLimit, scale, s.look.maxLines, max(int(long/leastScreen), 1))
}

// maxTries bounds how often a cue is broken anew.
const maxTries = 3

// roomFor is the height of the safe area as a share of what the highest of the
// screens needs.
func (s *setter) roomFor(shown []screen) float64 {
	share := math.Inf(1)
	for _, sc := range shown {
		need := float64(len(sc.lines)) * s.look.advance * sc.scale
		share = min(share, (s.look.area.height()-2*s.look.inset())/need)
	}
	return max(share, 0)
}

// leastTall is how small letters become at least where lines are too many for
// the height of the picture.
const leastTall = 0.4

// spoken is when the first word of the screen after n is spoken.
func (s *setter) spoken(c *caption.Cue, t textOf, atom int, shown []screen, n int) time.Duration {
	if w := t.items[t.atoms[atom].from].word; w >= 0 && w < len(c.Words) {
		return c.Words[w].Start
	}
	return c.Start + (c.End-c.Start)*time.Duration(n+1)/time.Duration(len(shown))
}

// fitting is the share of its size at which each word has room on a line: at
// least leastScale, below which words are rather broken than made smaller.
func (s *setter) fitting(t textOf) float64 {
	widest := 0.
	for _, a := range t.atoms {
		widest = max(widest, a.size.pixels)
	}
	if widest <= s.look.limit.pixels {
		return 1
	}
	return max(s.look.limit.pixels/widest, leastScale)
}

const leastScale = 0.6

// tooWide returns where in the text the atoms are that are wider than a line.
func (t textOf) tooWide(pixels float64) (torn [][2]int) {
	for _, a := range t.atoms {
		if a.size.pixels > pixels+0.01 {
			torn = append(torn, a.chars)
		}
	}
	return torn
}

// missing notes characters that no font has.
func (s *setter) missing(text string) {
	for _, r := range text {
		s.absentAll++
		if len(s.absent) < maxAbsent || s.absent[string(r)] > 0 {
			s.absent[string(r)]++
		}
	}
}

// maxAbsent bounds how many missing characters are told apart.
const maxAbsent = 1000

// snap puts the times of all parts on frames.
func (s *setter) snap() {
	slices.SortStableFunc(s.parts, func(a, b part) int { return int(min(max(a.start-b.start, -1), 1)) })
	cues := make([]caption.Cue, len(s.parts))
	for i, p := range s.parts {
		cues[i] = caption.Cue{Start: p.start, End: p.end}
	}
	for i, c := range caption.Snap(cues, s.job.Clock) {
		s.parts[i].start, s.parts[i].end = c.Start, c.End
	}
}

// guessLanguage tells the East Asian languages apart, by which the same
// characters look different. Others make no difference here.
func guessLanguage(cues []caption.Cue) string {
	const simplified, traditional = "们这来说对时为会国过还发后样学见开长问马吗没", "們這來說對時為會國過還發後樣學見開長問馬嗎沒"
	kana, hangul, simple, trad := 0, 0, 0, 0
	for _, c := range cues[:min(len(cues), 2000)] {
		for _, r := range c.Text {
			switch {
			case r < 0x1100:
			case r >= 0x3040 && r <= 0x30ff && r != '・':
				kana++
			case r >= 0xac00 && r <= 0xd7a3:
				hangul++
			case strings.ContainsRune(simplified, r):
				simple++
			case strings.ContainsRune(traditional, r):
				trad++
			}
		}
	}
	switch {
	case kana > 0 && kana >= hangul:
		return "ja"
	case hangul > 0:
		return "ko"
	case trad > simple:
		return "zh-Hant"
	case simple > 0:
		return "zh-Hans"
	}
	return ""
}
