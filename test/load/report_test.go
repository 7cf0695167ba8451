package load

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// times are how long requests took.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

func (s *times) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

// sorted returns them once everybody has left.
func (s *times) sorted() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.all)
	return s.all
}

// percentile of sorted times, p from 0 to 1.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func (c *crowd) report(t *testing.T, usage []usage) {
	t.Helper()
	seconds := c.plan.last.Seconds()
	for _, s := range []struct {
		name string
		of   *times
	}{{"submit", &c.submitted}, {"status", &c.read}} {
		all := s.of.sorted()
		t.Logf("%-7s %6.1f/s  p50 %7.2f ms  p99 %7.2f ms  max %7.2f ms", s.name, float64(len(all))/seconds,
			ms(percentile(all, 0.5)), ms(percentile(all, 0.99)), ms(percentile(all, 1)))
	}
	t.Logf("streams %d held, %d events, %d cut; %d requests sent again", c.plan.streams, c.events.Load(), c.refused.Load(), c.retried.Load())
	for n, u := range usage {
		t.Logf("orchestrator %d: %.0f %% of a core; resident over time, MB: %v", n+1, 100*u.cpu.Seconds()/u.lasted.Seconds(), every10(u.resident))
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// every10 thins samples of each second out, in MB.
func every10(kb []int) (mb []int) {
	for n := 0; n < len(kb); n += 10 {
		mb = append(mb, kb[n]/1000)
	}
	return append(mb, kb[len(kb)-1]/1000)
}

// judge fails where a figure is missed.
func (c *crowd) judge(t *testing.T, usage []usage) {
	t.Helper()
	for _, fault := range c.faults[:min(10, len(c.faults))] {
		t.Error(fault)
	}
	if p99 := percentile(c.submitted.sorted(), 0.99); p99 > c.plan.maxSubmit {
		t.Errorf("submit: 99 %% within %s, want %s", p99, c.plan.maxSubmit)
	}
	if p99 := percentile(c.read.sorted(), 0.99); p99 > c.plan.maxRead {
		t.Errorf("status: 99 %% within %s, want %s", p99, c.plan.maxRead)
	}
	if !c.plan.flat {
		return
	}
	for n, u := range usage {
		// Once all have come: after the middle, where one of two may have gone.
		from := len(u.resident)/2 + 2
		if before, after := mean(u.resident[from:from+5]), mean(u.resident[len(u.resident)-5:]); after > before*6/5 {
			t.Errorf("orchestrator %d grew from %d to %d kB", n+1, before, after)
		}
	}
}

func mean(of []int) int {
	sum := 0
	for _, n := range of {
		sum += n
	}
	return sum / len(of)
}
