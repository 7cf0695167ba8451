package main

import (
	"bytes"
	"io"
	"time"
)

const (
	// looseLines is how many lines wait for a reader; the first process of a
	// machine writes a few a minute.
	looseLines = 256
	// looseEnd is how long the last lines may take to get out.
	looseEnd = time.Second
)

// loose is a writer for lines that nobody may wait for: where its target
// stands still they are dropped, and never who writes them. What holds the lease of
// a machine must not hang on a pipe that nobody reads.
type loose struct {
	lines chan []byte
	done  chan struct{}
}

func newLoose(w io.Writer) *loose {
	l := &loose{lines: make(chan []byte, looseLines), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := range l.lines {
			if line == nil {
				return
			}
			_, _ = w.Write(line) // nobody to tell if it fails
		}
	}()
	return l
}

// Write implements io.Writer. It never waits and never fails.
func (l *loose) Write(line []byte) (int, error) {
	select {
	case l.lines <- bytes.Clone(line):
	default:
	}
	return len(line), nil
}

// close waits a moment for what was written. What is written later is dropped.
func (l *loose) close() {
	patience := time.After(looseEnd)
	select {
	case l.lines <- nil:
	case <-patience:
		return
	}
	select {
	case <-l.done:
	case <-patience:
	}
}
