package ffmpeg

import (
	"bytes"
	"sync"
	"time"
)

// watch follows the progress of a run, hands it on, and calls stalled when
// nothing moved for too long. Its methods may be called at any time, by any
// goroutine.
type watch struct {
	dir        string
	stall      time.Duration
	onProgress func(Progress)
	stalled    func()

	mu      sync.Mutex
	closed  bool
	pending Progress // the report that is being read
	last    Progress // the last complete report
	written time.Time
	timer   *time.Timer
}

// newWatch starts to watch. It must be closed.
func newWatch(r Render, stalled func()) *watch {
	w := &watch{dir: r.Dir, stall: r.Stall, onProgress: r.OnProgress, stalled: stalled}
	if w.stall <= 0 {
		w.stall = defaultStall
	}
	w.mu.Lock() // the timer may not fire before it is kept
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.stall, w.due)
	return w
}

// line takes one line of -progress.
func (w *watch) line(line []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	next, complete := w.pending.Apply(string(line))
	w.pending = next
	if !complete {
		return
	}
	if w.last.moved(next) {
		w.timer.Reset(w.stall)
	}
	w.last = next
	if w.onProgress != nil {
		w.onProgress(next)
	}
}

// due is called when no report moved for the time of a stall. While FFmpeg
// moves the index to the front of a finished file it reports nothing, which
// may take minutes for gigabytes on a slow disk, but the file changes.
func (w *watch) due() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if written := modTime(w.dir); written.After(w.written) {
		w.written = written
		w.timer.Reset(w.stall)
		return
	}
	w.stalled()
}

// close ends the watch and returns the last report. Nothing is called after.
func (w *watch) close() Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.timer.Stop()
	return w.last
}

// maxLine bounds a line, in bytes; the rest of a longer one is dropped.
const maxLine = 4096

// lines is a writer that hands on whole lines. exec may still write to it
// after Wait gave up on a pipe, so it can be closed.
type lines struct {
	take func(line []byte)

	mu     sync.Mutex
	closed bool
	part   []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := len(p)
	for !l.closed {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
		if !found {
			break
		}
		l.take(l.part)
		l.part, p = l.part[:0], rest
	}
	return total, nil
}

// close hands on what was not ended by a line end, and takes no more.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && len(l.part) > 0 {
		l.take(l.part)
	}
	l.closed = true
}
