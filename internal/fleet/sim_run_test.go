package fleet

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSimulation(t *testing.T) {
	s := newStage(t, false)
	n := 0
	start := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		n++
		w := s.newWorld(t.Logf, nothingLacks)
		for range rapid.IntRange(1, 25).Draw(t, "events") {
			w.happen(drawEvent(t))
		}
		w.settle()
		w.end()
		if w.broken != "" {
			t.Fatal(w.broken)
		}
	})
	t.Logf("%d schedules, %s each", n, time.Since(start)/time.Duration(n))
}
