package vast

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// The gaps are the API's and a tenth.
func TestGaps(t *testing.T) {
	t.Parallel()
	l := newLanes(1)
	for name, c := range map[string]struct {
		lane *lane
		want time.Duration
	}{
		"search": {l.search, 2200 * time.Millisecond}, "create": {l.create, 4950 * time.Millisecond},
		"list": {l.list, 1100 * time.Millisecond}, "destroy": {l.destroy, 3300 * time.Millisecond},
		"charges": {l.charges, 1100 * time.Millisecond}, "user": {l.user, 1100 * time.Millisecond},
	} {
		if got := c.lane.gap.Round(time.Millisecond); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if l.create.pause() != 12*time.Second || l.destroy.pause().Round(time.Millisecond) != 6600*time.Millisecond {
		t.Errorf("after a 429 creates stay away for %s and destroys for %s", l.create.pause(), l.destroy.pause())
	}
}

// Calls of one lane are a gap apart, whoever makes them; the first waits for
// nothing, nor does one after a long pause.
func TestLaneKeepsItsGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(3 * time.Second)
		start := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := l.wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(start))
			})
		}
		all.Wait()
		want := []time.Duration{0, 3 * time.Second, 6 * time.Second, 9 * time.Second, 12 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("five calls went at %v", at)
		}
		time.Sleep(time.Minute)
		if before := time.Now(); l.wait(t.Context()) != nil || !time.Now().Equal(before) {
			t.Error("a call after a pause waited")
		}
	})
}

// A full lane of creates keeps no destroy waiting.
func TestDestroysHaveALaneOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, busy := range []*lane{l.create, l.list, l.search} {
			busy.pushBack(10 * time.Second)
			for range 5 {
				all.Go(func() { _ = busy.wait(ctx) })
			}
		}
		synctest.Wait()
		if before := time.Now(); l.destroy.wait(t.Context()) != nil || !time.Now().Equal(before) {
			t.Error("a destroy waited")
		}
		cancel()
		all.Wait()
	})
}

// A 429 moves the time for those too that wait already.
func TestLanePushedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(time.Second)
		start := time.Now()
		_ = l.wait(t.Context())
		done := make(chan time.Duration)
		go func() {
			_ = l.wait(t.Context())
			done <- time.Since(start)
		}()
		time.Sleep(500 * time.Millisecond)
		l.pushBack(10 * time.Second)
		if got := <-done; got != 10500*time.Millisecond {
			t.Errorf("the one who waited went at %s", got)
		}
		l.pushBack(0) // never sooner
		l.widen(5 * time.Second)
		_ = l.wait(t.Context())
		_ = l.wait(t.Context())
		if got := time.Since(start); got != 16500*time.Millisecond {
			t.Errorf("with a wider gap the next two ended at %s", got)
		}
		l.widen(time.Second)
		l.widen(time.Hour)
		if l.gap != maxGap {
			t.Errorf("the gap is %s", l.gap)
		}
	})
}

// No 429 keeps us from a destroy for more than a minute, and whoever asks
// meanwhile is told at once.
func TestDestroyPushedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1).destroy
		start := time.Now()
		l.pushBack(maxAfter)
		limited, ok := errors.AsType[gpu.RateLimited](l.wait(t.Context()))
		if !ok || limited.After != time.Minute || time.Since(start) != 0 {
			t.Errorf("after %s: %+v", time.Since(start), limited)
		}
		time.Sleep(limited.After)
		for range 5 { // one after another, at their gap
			if err := l.wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestLaneWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(time.Hour)
		_ = l.wait(t.Context())
		var all sync.WaitGroup
		for range 3 { // one waits for the time, two for their turn
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := l.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("wait returned %v", err)
				}
			})
		}
		start := time.Now()
		all.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the waits took %s", took)
		}
		time.Sleep(time.Hour)
		if err := l.wait(t.Context()); err != nil {
			t.Errorf("those who left hold the lane: %v", err)
		}
	})
}

// A create does not wait for long: it is refused, and says for how long.
func TestCreateIsImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1).create
		l.pushBack(time.Minute)
		limited, ok := errors.AsType[gpu.RateLimited](l.wait(t.Context()))
		if !ok || limited.After != time.Minute {
			t.Errorf("a create is told %+v", limited)
		}
		time.Sleep(50 * time.Second)
		if err := l.wait(t.Context()); err != nil {
			t.Errorf("ten seconds before the time: %v", err)
		}
	})
}

// What a 429 says reaches the lane of its call, and that one alone.
func Test429PushesItsLaneBack(t *testing.T) {
	t.Parallel()
	api := script(t, step{status: 429, kind: "text/html; charset=utf-8", body: "API requests too frequent: endpoint threshold=30"})
	p := open(t, api.URL)
	if _, err := p.Create(t.Context(), aRequest); !is(err, gpu.RateLimited{}) {
		t.Fatalf("Create: %v", err)
	}
	if limited, ok := errors.AsType[gpu.RateLimited](p.lanes.create.wait(t.Context())); !ok || limited.After < 20*time.Second {
		t.Errorf("the next create is told %+v", limited)
	}
	if p.lanes.create.gap != 33*time.Second {
		t.Errorf("the gap is %s", p.lanes.create.gap)
	}
	if _, err := p.Create(t.Context(), aRequest); !is(err, gpu.RateLimited{}) {
		t.Errorf("the next create: %v", err)
	}
	if n := len(api.calls()); n != 1 {
		t.Errorf("the API was asked %d times", n)
	}
	if err := p.lanes.destroy.wait(t.Context()); err != nil {
		t.Errorf("a destroy waits for creates: %v", err)
	}
}

// The gap counts from when a call is known to have come: its answer.
func TestLaneCountsFromTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(3 * time.Second)
		if err := l.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		l.ended()
		start := time.Now()
		if err := l.wait(t.Context()); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("the next call went %s after the answer, %v", time.Since(start), err)
		}
	})
}

// Two who list the same account, each as often as the API allows, both get
// through: neither falls into step behind the other.
func TestSharedLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var last time.Time
		allowed := func() bool {
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); now.Sub(last) >= time.Second {
				last = now
				return true
			}
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var heard [2]int
		var all sync.WaitGroup
		for n := range heard {
			all.Go(func() {
				l := newLanes(1).list
				for l.wait(ctx) == nil {
					if allowed() {
						heard[n]++
						continue
					}
					l.pushBack(1100 * time.Millisecond)
				}
			})
			time.Sleep(50 * time.Millisecond)
		}
		all.Wait()
		for n, times := range heard {
			if times < 30 { // one in 20 seconds
				t.Errorf("%d got through %d times in 10 minutes, of %v", n, times, heard)
			}
		}
	})
}

// Who goes on after us waits for what we asked last, but for ends.
func TestRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		if d := l.rest(time.Now()); d != 0 {
			t.Errorf("%s, and nothing was asked", d)
		}
		_ = l.destroy.wait(t.Context())
		if d := l.rest(time.Now()); d != 0 {
			t.Errorf("%s after an end", d)
		}
		_ = l.list.wait(t.Context())
		if d := l.rest(time.Now()); d < 1100*time.Millisecond || d > 1650*time.Millisecond {
			t.Errorf("%s after a listing", d)
		}
		_ = l.search.wait(t.Context())
		if d := l.rest(time.Now()); d != 2200*time.Millisecond {
			t.Errorf("%s after a search", d)
		}
		time.Sleep(time.Second)
		if d := l.rest(time.Now()); d != 1200*time.Millisecond {
			t.Errorf("%s a second later", d)
		}
	})
}
