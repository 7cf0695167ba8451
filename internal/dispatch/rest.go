package dispatch

import (
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/fleet"
)

// Rests of an instance: 1 s after the first attempt that it lost, doubled with
// each more. Ten attempts then take minutes and not the second in which a
// worker restarts.
const (
	restMin = time.Second
	restMax = time.Minute
)

// rests keeps instances that lose attempts from being given the next at once.
// It lives in memory: a new process may try again.
type rests struct {
	mu sync.Mutex
	of map[string]rest // by label
}

type rest struct {
	lost  int
	until time.Time
}

// lose notes that an attempt on an instance came to nothing, and not by the
// fault of its job.
func (r *rests) lose(instance string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]rest{}
	}
	lost := r.of[instance].lost + 1
	r.of[instance] = rest{lost, now.Add(min(restMax, restMin<<min(lost-1, 10)))}
}

// work notes that an instance brought a job to its end.
func (r *rests) work(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, instance)
}

// awake returns the slots of instances that do not rest, and forgets the
// instances that have long done so.
func (r *rests) awake(slots []fleet.Slot, now time.Time) []fleet.Slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	for instance, rest := range r.of {
		if now.Sub(rest.until) > 2*restMax {
			delete(r.of, instance)
		}
	}
	return slices.DeleteFunc(slots, func(s fleet.Slot) bool {
		left := r.of[s.Instance].until.Sub(now)
		return left > 0 && left <= restMax // more is a clock that was set back
	})
}
