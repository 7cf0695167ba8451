package fleet

import (
	flags "flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
)

// How many schedules are played: in an inner loop, with STRICT=1, and with the
// race detector, then in a file. SCHEDULES says another number.
const (
	schedulesQuick  = 200
	schedulesStrict = 5_000
	schedulesRaced  = 500
	schedulesGlance = 25 // with the race detector, in an inner loop
)

// simSeed is where schedules begin. It stays as it is, so that a test that
// passed passes again; SEED begins elsewhere, as make soak does.
const simSeed = 4

// mostEvents bounds a schedule.
const mostEvents = 25

// schedules is how many are asked for.
func schedules(t *testing.T) int {
	t.Helper()
	strict := os.Getenv("STRICT") == "1"
	if given := os.Getenv("SCHEDULES"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil {
			t.Fatalf("SCHEDULES: %v", err)
		}
		return n
	}
	switch {
	case raced && strict:
		return schedulesRaced
	case raced:
		return schedulesGlance
	case strict:
		return schedulesStrict
	}
	return schedulesQuick
}

// TestSimulation plays schedules that are drawn, on all cores, each of which
// has a stage of its own.
func TestSimulation(t *testing.T) {
	want, cores, fewer := schedules(t), runtime.GOMAXPROCS(0), 1
	if raced {
		fewer = 2 // files and the race detector take ten times as long
	}
	var played atomic.Int64
	var all tally
	var sums sync.Mutex
	start := time.Now()
	gc := debug.SetGCPercent(400) // many small things, of which nearly all die young
	t.Cleanup(func() {
		debug.SetGCPercent(gc)
		n := played.Load()
		t.Logf("counted: %d schedules, %.1f a second; in them %s", n, float64(n)/time.Since(start).Seconds(), all)
		if n < int64(want) && !t.Failed() {
			t.Errorf("only %d schedules were played, %d are asked for", n, want)
		}
	})
	for core := range cores {
		t.Run(fmt.Sprintf("core=%d", core), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, raced)
			check(t, core, (want+cores-1)/cores, func(r *rapid.T) {
				w := s.newWorld(r.Logf, nothingLacks)
				defer w.end()
				w.happen(drawOpening(r))
				for range rapid.SampledFrom([]int{1, 4, 8, 12, 18, mostEvents}).Draw(r, "events") / fewer {
					w.happen(drawEvent(r))
				}
				w.settle()
				played.Add(1)
				sums.Lock()
				all.add(w)
				sums.Unlock()
				if w.broken != "" {
					r.Fatal(w.broken)
				}
			})
		})
	}
}

// checking guards the flags of rapid, by which alone it is told how often to
// try, and where to begin.
var checking sync.Mutex

// check tries a property n times, beginning elsewhere on each core. Where
// -rapid.seed is given it begins there.
func check(t *testing.T, core, n int, property func(*rapid.T)) {
	t.Helper()
	seed := uint64(simSeed)
	if given := os.Getenv("SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 32); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	checking.Lock()
	release := sync.OnceFunc(checking.Unlock)
	defer release()
	set := func(name, value string) func() {
		f := flags.Lookup(name)
		before := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		return func() { _ = f.Value.Set(before) }
	}
	restore := []func(){set("rapid.checks", strconv.Itoa(n))}
	if flags.Lookup("rapid.seed").Value.String() == "0" {
		restore = append(restore, set("rapid.seed", strconv.FormatUint(seed<<16+uint64(core)<<48+1, 10)))
	}
	began := sync.OnceFunc(func() { // rapid has read its flags by now
		for _, r := range restore {
			r()
		}
		release()
	})
	defer began()
	rapid.Check(t, func(r *rapid.T) { began(); property(r) })
}

// play plays a schedule and returns the world as it then is; story is all that
// happened, for where a rule was broken.
func (s *stage) play(lack mutant, events []happening, before func(*world)) *world {
	var story []string
	w := s.newWorld(func(format string, args ...any) { story = append(story, fmt.Sprintf(format, args...)) }, lack)
	defer w.end()
	if before != nil {
		before(w)
	}
	for _, e := range events {
		w.happen(e)
	}
	w.settle()
	w.story = strings.Join(story, "\n")
	return w
}

// foundFaults are schedules that once broke a rule, shrunk by rapid: whoever mends a
// fault that the simulation finds puts it here.
var foundFaults = map[string][]happening{
	// It went on with what it knew before, and called a worker silent that it
	// had not spoken to meanwhile.
	"suspended in the middle of a round": {
		{what: "submit", d: 5 * time.Minute, after: 40 * time.Second, step: 5 * time.Second},
		{what: "suspend", n: 2, d: 2 * time.Minute, after: time.Minute, step: 5 * time.Second},
	},
	// It rented a machine whose time to boot was over.
	"suspended after the intent": {
		{what: "submit"}, {what: "suspend", n: 8, d: 5 * time.Minute, after: time.Minute, step: 5 * time.Second},
	},
	// It sent a renewal that it had noted long before: the worker lived for longer.
	"suspended before a renewal": {
		{what: "submit", d: 5 * time.Minute, after: 80 * time.Second, step: 5 * time.Second},
		{what: "suspend", n: 9, d: 2 * time.Minute, after: time.Minute, step: 5 * time.Second},
	},
	// It called a machine gone that its provider did not list yet.
	"the clock was set while nobody ran": {
		{what: "submit", after: 3 * time.Second, step: time.Second}, {what: "away", d: time.Second},
		{what: "clock", n: 0, after: 40 * time.Second, step: time.Second},
	},
	// What nobody names in a bill was held to be a create that never was.
	"a charge without a name": {
		{what: "foreign"}, {what: "foreign"}, {what: "create", n: 1}, {what: "submit", after: 20 * time.Second, step: 5 * time.Second},
	},
	// The bill was higher than its estimate, by the download of an image that
	// nobody had measured yet, and the difference was spent on another.
	"the bill of the first machine": {
		{what: "opening", n: 3}, {what: "create", n: 9}, {what: "submit", d: 20 * time.Second, after: 16 * time.Second, step: 2 * time.Second},
		{what: "submit", n: 5, d: 20 * time.Second, after: 15 * time.Second, step: time.Second}, {what: "submit", n: 1, d: 20 * time.Second, after: 5 * time.Minute, step: 5 * time.Second},
		{what: "create", n: 7}, {what: "submit", n: 9, after: 3 * time.Minute, step: 2 * time.Second},
	},
	// Its worker lived longer than was reserved: its first lease counts from its
	// own start.
	"a slow boot": {{what: "create", n: 8}, {what: "submit", after: 100 * time.Second, step: 5 * time.Second}},
}

func TestFound(t *testing.T) {
	t.Parallel()
	s := newStage(t, false)
	points := 12 // the point itself moves with every change of a round
	if raced || os.Getenv("STRICT") != "1" {
		points = 2
	}
	for name, events := range foundFaults {
		for more := range points {
			moved := slices.Clone(events)
			for i := range moved {
				if moved[i].what == "suspend" {
					moved[i].n += more
				}
			}
			if w := s.play(nothingLacks, moved, nil); w.broken != "" {
				t.Errorf("%s: %s\n%s", name, w.broken, w.story)
			}
		}
	}
}

// TestSimulationIsDeterministic plays schedules twice: all that happens is the
// same, but for the random part of names.
func TestSimulationIsDeterministic(t *testing.T) {
	t.Parallel()
	s := newStage(t, false)
	random := regexp.MustCompile(`(01[0-9a-zA-Z]{8})[0-9a-zA-Z]{16}`)
	drawn := rapid.SliceOfN(rapid.Custom(drawEvent), mostEvents, mostEvents)
	for seed := range 4 {
		var traces [2]strings.Builder
		for i := range traces {
			w := s.newWorld(func(format string, args ...any) {
				fmt.Fprintln(&traces[i], random.ReplaceAllString(fmt.Sprintf(format, args...), "$1"))
			}, nothingLacks)
			w.happen(rapid.Custom(drawOpening).Example(seed))
			for _, e := range drawn.Example(seed) {
				w.happen(e)
			}
			w.settle()
			w.end()
		}
		if diff := cmp.Diff(traces[0].String(), traces[1].String()); diff != "" {
			t.Fatalf("seed %d (-first +second):\n%s", seed, diff)
		}
	}
}

// tally is what happened in all schedules: one in which nothing happens proves
// nothing.
type tally struct {
	hours, jobs, succeeded, creates, readies, deaths, suspended, restores, takenOver, keptBusy, refused, bills int
}

func (a *tally) add(w *world) {
	a.hours += int(w.clock.Elapsed().Minutes()) // summed up in minutes
	a.jobs += len(w.jobs)
	for _, j := range w.jobs {
		if j.status == apigpu.Succeeded {
			a.succeeded++
		}
	}
	a.creates += w.history.creates
	a.readies += w.history.readies
	a.deaths += w.deaths
	a.suspended += w.suspended
	a.restores += w.history.restores
	a.takenOver += w.takenOver
	a.keptBusy += w.keptBusy
	a.refused += w.purse.refused
	a.bills += len(w.purse.settled)
}

func (a tally) String() string {
	return fmt.Sprintf("%d hours, %d jobs (%d succeeded, %d taken over), %d creates, %d workers that got ready, %d deaths of a process, %d suspensions, %d databases put back, "+
		"%d bills, %d claims that a budget refused, %d workers left at work by a stop",
		a.hours/60, a.jobs, a.succeeded, a.takenOver, a.creates, a.readies, a.deaths, a.suspended, a.restores, a.bills, a.refused, a.keptBusy)
}
