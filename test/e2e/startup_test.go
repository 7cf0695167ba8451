package e2e

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/test/need"
)

// startsWithin is how soon a start answers. A redeploy is a moment in which
// nobody does.
const startsWithin = time.Second

// TestStartsWithinASecond starts on no database, whose tables are made, and on
// the one that is there then. Other tests may have the processors, which slows
// each start and tells nothing of it: one of ten must be quick.
func TestStartsWithinASecond(t *testing.T) {
	need.Long(t)
	t.Parallel()
	quick := func(what string, start func() (s *server)) {
		best := time.Hour
		for range 10 {
			began := time.Now()
			s := start()
			best = min(best, time.Since(began))
			s.terminate()
			if best < startsWithin {
				break
			}
		}
		t.Logf("%s: %s", what, best.Round(time.Millisecond))
		if best >= startsWithin {
			t.Errorf("%s: %s at best, want %s", what, best, startsWithin)
		}
	}
	quick("a new database", func() *server { return start(t) })
	s := start(t)
	s.terminate()
	quick("one that is there", func() *server { s.run(); return s })
}
