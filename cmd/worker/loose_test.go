package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestLoose(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLoose(&out)
	line := []byte("one\n")
	for range looseLines / 2 {
		if n, err := l.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	copy(line, "two") // the writer's own again
	l.close()
	if got := out.String(); got != strings.Repeat("one\n", looseLines/2) {
		t.Errorf("%d bytes came out: %.40q", len(got), got)
	}
}
