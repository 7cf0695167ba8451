package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/show"
)

// step is how far something has come.
type step struct {
	label   string
	percent float64 // 0 to 100; below 0 where it means nothing
	note    string
}

// stepOf is how far a job has come. The percentage is of the whole job, and
// means nothing while it waits.
func stepOf(job apigpu.Job) step {
	s := step{label: phaseWords(job), percent: job.Progress, note: jobNote(job)}
	if job.Status == apigpu.Queued {
		s.percent = -1
	}
	return s
}

// meter shows steps: on a terminal as a bar that is drawn over itself, and
// elsewhere as lines, one a label and one each ten percent.
type meter struct {
	out io.Writer
	// width tells how wide the terminal is now; nil where there is none.
	width func() int
	last  step
	begun bool
}

// newMeter makes a meter that suits where out leads to.
func newMeter(out io.Writer) *meter {
	m := &meter{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				return w
			}
			return 80 // columns, where the terminal does not say
		}
	}
	return m
}

// show tells of a step, where there is something new to tell.
func (m *meter) show(s step) {
	s.label, s.note = show.Clean(s.label), show.Clean(s.note)
	switch {
	case m.width != nil && (!m.begun || s != m.last):
		// \r and "erase to the end of the line" (ECMA-48, EL) are all that a
		// terminal must know.
		fmt.Fprintf(m.out, "\r%s\x1b[K", barLine(s, m.width()))
	case m.width == nil && (!m.begun || worthALine(m.last, s)):
		fmt.Fprintln(m.out, plainLine(s))
	case m.width == nil:
		return // m.last stays the last that was shown
	}
	m.last, m.begun = s, true
}

// clear takes the bar off the terminal, so that words can follow.
func (m *meter) clear() {
	if m.width != nil && m.begun {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
	m.begun = false
}

// worthALine reports whether s tells more than the line before it.
func worthALine(before, s step) bool {
	return s.label != before.label || int(max(s.percent, 0))/10 > int(max(before.percent, 0))/10
}

// plainLine is a step in one line of a log.
func plainLine(s step) string {
	line := s.label
	if s.percent >= 0 {
		line += fmt.Sprintf(" %d%%", int(s.percent))
	}
	if s.note != "" {
		line += ", " + s.note
	}
	return line
}

// barWidth is the length of the bar itself, in columns.
const barWidth = 24

// barLine is a step in one line that is shorter than width: in the last
// column a terminal would begin a new one.
func barLine(s step, width int) string {
	line := s.label
	if s.percent >= 0 {
		full := int(min(s.percent, 100) / 100 * barWidth)
		line = fmt.Sprintf("%-24s [%s%s] %3d%%", s.label, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), int(s.percent))
	}
	if s.note != "" {
		line += "  " + s.note
	}
	if runes := []rune(line); len(runes) >= width {
		line = string(runes[:max(width-1, 0)])
	}
	return line
}

// counted shows how much of a file of known size has passed.
type counted struct {
	meter *meter
	label string
	size  int64
	n     int64
}

func (c *counted) add(n int) {
	c.n += int64(n)
	if c.size > 0 { // in whole percents: bytes would redraw without end
		c.meter.show(step{label: c.label, percent: float64(min(c.n, c.size) * 100 / c.size)})
	}
}

// countingReader and countingWriter count what passes.
type countingReader struct {
	io.Reader
	counted
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.add(n)
	return n, err
}

type countingWriter struct {
	io.Writer
	counted
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.add(n)
	return n, err
}
