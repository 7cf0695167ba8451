package typeset

import (
	"fmt"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
)

// draw writes the events of a part.
func (s *setter) draw(p *part) {
	s.fade = ""
	if s.look.animation == apigpu.AnimationFade {
		s.fade = fadeOf(p.end - p.start)
	}
	s.boxes(p)
	words := s.moments(p)
	for i := range p.rows {
		r := &p.rows[i]
		for j := range r.pieces {
			at := &r.pieces[j]
			if m, ok := words[at.word]; ok && s.look.byWord() {
				s.word(p, r, at, m)
			} else {
				s.still(p, r, at, p.start, p.end, s.plainPaint(at), layerText)
			}
		}
	}
}

// fadeOf fades in and out in a sixth of a second, less of a short cue. The
// first frame shows something: a caption is on all its frames.
func fadeOf(shown time.Duration) string {
	const long, faint = 160, 150
	ms := shown.Milliseconds()
	in := min(long, ms/4)
	return fmt.Sprintf(`\fade(%[1]d,0,%[1]d,0,%[2]d,%[3]d,%[4]d)`, faint, in, ms-in, ms)
}

// plainPaint is how letters look that are not spoken.
func (s *setter) plainPaint(at *piece) paint {
	w := paint{fill: s.look.color, line: s.look.outlineColor, width: s.look.outline, more: s.fade}
	if c := optional(at.mark.Color); at.mark.Color != "" && c != nil {
		c.A = s.look.color.A
		w.fill = *c
	}
	return w
}

// activePaint is how the spoken word looks.
func (s *setter) activePaint(at *piece) paint {
	w := s.plainPaint(at)
	if c := s.look.active.color; c != nil {
		w.fill = *c
	}
	if c := s.look.active.outline; c != nil {
		w.line = *c
		if w.width == 0 {
			w.width = s.size.scale() * 4
		}
	}
	return w
}

// still draws a piece with its shadow.
func (s *setter) still(p *part, r *row, at *piece, start, end time.Duration, w paint, layer int) {
	if end <= start {
		return
	}
	if at.emoji {
		s.emoji = append(s.emoji, s.emojiOf(p, r, *at, start, end))
		return
	}
	s.shadow(p, r, at, start, end, w)
	s.text(layer, start, end, p, r, at, w)
}

func (s *setter) shadow(p *part, r *row, at *piece, start, end time.Duration, w paint) {
	l := &s.look
	if at.emoji || l.shadowColor.A == 0 || l.shadowX == 0 && l.shadowY == 0 && l.blur == 0 || end <= start {
		return
	}
	w.fill, w.line, w.blur, w.dx, w.dy = l.shadowColor, l.shadowColor, l.blur/2, l.shadowX, l.shadowY
	s.text(layerShadow, start, end, p, r, at, w)
}

// moment is when a word is spoken, on frames.
type moment struct {
	start, end time.Duration
	spoken     time.Duration // how long it takes to speak it
}

// held is for how long a word stays marked after it, where nothing follows.
const held = 400 * time.Millisecond

// moments puts the times of a part's words on frames: each from its start to
// that of the next, but not for longer than held after its end.
func (s *setter) moments(p *part) map[int]moment {
	if !s.look.byWord() {
		return nil
	}
	all := s.cues[p.cue].Words
	var order []int
	for i := range p.rows {
		for _, at := range p.rows[i].pieces {
			if at.word >= 0 && at.word < len(all) {
				order = append(order, at.word)
			}
		}
	}
	slices.Sort(order)
	order = slices.Compact(order)
	cues := make([]caption.Cue, len(order))
	for n, w := range order {
		start, end := all[w].Start, p.end
		if n+1 < len(order) {
			end = all[order[n+1]].Start
		}
		if end > all[w].End+held {
			end = all[w].End
		}
		start = min(max(start, p.start), p.end)
		if n > 0 {
			start = max(start, cues[n-1].Start)
		}
		cues[n] = caption.Cue{Start: start, End: min(max(end, start), p.end)}
	}
	out := make(map[int]moment, len(order))
	for n, c := range caption.Snap(cues, s.job.Clock) {
		w := all[order[n]]
		m := moment{start: min(max(c.Start, p.start), p.end), end: min(max(c.End, p.start), p.end)}
		m.spoken = min(max(w.End-w.Start, 0), m.end-m.start)
		out[order[n]] = m
	}
	return out
}

// word draws a piece of a word that is spoken at m.
func (s *setter) word(p *part, r *row, at *piece, m moment) {
	plain, active := s.plainPaint(at), s.activePaint(at)
	switch s.look.animation {
	case apigpu.AnimationTypewriter:
		s.still(p, r, at, m.start, p.end, plain, layerText)
	case apigpu.AnimationUnderline:
		s.still(p, r, at, p.start, p.end, plain, layerText)
		s.underline(p, r, at, m)
	case apigpu.AnimationKaraoke:
		s.still(p, r, at, p.start, p.end, plain, layerText)
		if !at.emoji && m.end > m.start {
			active.more += s.filling(r, at, m)
			s.text(layerActive, m.start, p.end, p, r, at, active)
		}
	default: // highlight and pop
		s.stressed(p, r, at, m, plain, active)
	}
}

// stressed draws a word that looks different for a moment.
func (s *setter) stressed(p *part, r *row, at *piece, m moment, plain, active paint) {
	if at.emoji {
		s.still(p, r, at, p.start, p.end, plain, layerText)
		return
	}
	k := s.look.active.scale
	if s.look.animation == apigpu.AnimationPop {
		active.more += s.popping(len(p.rows) == 1 && len(r.pieces) == 1)
	} else if k != 1 {
		active.more += fmt.Sprintf(`\fscx%[1]s\fscy%[1]s`, decimal(100*k))
		left, right, _ := r.wordAt(at) // its pieces grow from the middle of the word
		active.dx = (r.left + at.left + at.width/2 - (left+right)/2) * (k - 1)
	}
	s.markBox(p, r, at, m)
	if m.start <= p.start && m.end >= p.end { // it is all that is seen of it
		s.shadow(p, r, at, p.start, p.end, active)
		s.text(layerActive, p.start, p.end, p, r, at, active)
		return
	}
	s.shadow(p, r, at, p.start, p.end, plain)
	if k >= 1 && s.look.outline > 0 && active.width >= plain.width && active.line.A == 255 && active.fill.A == 255 {
		// Its outline hides what is under it.
		s.text(layerText, p.start, p.end, p, r, at, plain)
	} else {
		s.letters(p, r, at, p.start, m.start, plain)
		s.letters(p, r, at, m.end, p.end, plain)
	}
	if m.end > m.start {
		s.text(layerActive, m.start, m.end, p, r, at, active)
	}
}

// letters draws a piece without its shadow.
func (s *setter) letters(p *part, r *row, at *piece, start, end time.Duration, w paint) {
	if end > start {
		s.text(layerText, start, end, p, r, at, w)
	}
}

// popping makes a word grow for a moment. A word that stands alone comes up
// from a smaller size.
func (s *setter) popping(alone bool) string {
	peak := s.look.active.scale
	if peak == 1 {
		peak = 1.15
	}
	if alone {
		return fmt.Sprintf(`\fscx70\fscy70\t(0,90,\fscx%[1]s\fscy%[1]s)\t(90,180,\fscx100\fscy100)`, decimal(100*peak))
	}
	return fmt.Sprintf(`\t(0,80,\fscx%[1]s\fscy%[1]s)\t(80,200,\fscx100\fscy100)`, decimal(100*peak))
}

// filling shows a word from its beginning on, more and more of it until it is
// spoken.
func (s *setter) filling(r *row, at *piece, m moment) string {
	reach := s.look.outline + 0.1*s.look.size
	x0, x1, h := r.left+at.left-reach, r.left+at.left+at.width+reach, s.size.Height
	from, to := [2]float64{x0, x0}, [2]float64{x0, x1}
	if at.level%2 == 1 {
		from = [2]float64{x1, x1}
	}
	return fmt.Sprintf(`\clip(%s,0,%s,%[5]d)\t(0,%[6]d,\clip(%[3]s,0,%[4]s,%[5]d))`,
		decimal(from[0]), decimal(from[1]), decimal(to[0]), decimal(to[1]), h, max(m.spoken.Milliseconds(), 1))
}
