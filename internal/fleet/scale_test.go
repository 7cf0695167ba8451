package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// waiting is so many jobs that take so long each and came just now.
func waiting(n int, each time.Duration) []Work {
	return slices.Repeat([]Work{{For: each, Since: noon}}, n)
}

func TestProjectedWait(t *testing.T) {
	t.Parallel()
	s := time.Second
	for _, c := range []struct {
		name string
		free []time.Duration
		jobs []time.Duration
		want []time.Duration
	}{
		{"none", []time.Duration{0}, nil, []time.Duration{}},
		{"one after another", []time.Duration{20 * s}, []time.Duration{10 * s, 5 * s, s}, []time.Duration{20 * s, 30 * s, 35 * s}},
		{"whoever is free first", []time.Duration{20 * s, 25 * s}, []time.Duration{10 * s, s, s}, []time.Duration{20 * s, 25 * s, 26 * s}},
		{"a job of no length", []time.Duration{0}, []time.Duration{-s, s}, []time.Duration{0, 0}},
	} {
		var jobs []Work
		for _, d := range c.jobs {
			jobs = append(jobs, Work{For: d})
		}
		before := slices.Clone(c.free)
		if got := projectedWait(c.free, jobs); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if !slices.Equal(before, c.free) {
			t.Errorf("%s: the caller's times were changed", c.name)
		}
	}
}

// Another machine makes no job start later; starts rise with the queue; and
// work is neither lost nor done twice.
func TestProjectedWaitIsMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "ns")) })
		free := rapid.SliceOfN(span, 1, 6).Draw(t, "free")
		var jobs []Work
		for _, d := range rapid.SliceOfN(span, 0, 30).Draw(t, "jobs") {
			jobs = append(jobs, Work{For: d})
		}
		before := projectedWait(free, jobs)
		after := projectedWait(append(slices.Clone(free), span.Draw(t, "another")), jobs)
		if !slices.IsSorted(before) {
			t.Fatalf("starts are %v", before)
		}
		for n := range jobs {
			if after[n] > before[n] {
				t.Fatalf("job %d starts in %s, and with another machine in %s", n, before[n], after[n])
			}
		}
	})
}

func TestScale(t *testing.T) {
	t.Parallel()
	p := policy
	p.MaxGPUs, p.MaxWait = 3, 4*time.Minute
	fresh := func(label string) Instance {
		i := booting(label)
		i.CreatedAt, i.Deadline = noon, in(5*time.Minute)
		return i
	}
	busy := func(label string) Instance {
		return with(ready(label), func(i *Instance) { i.IdleSince, i.Slots = time.Time{}, 1 })
	}
	market := World{Offers: []gpu.Offer{cheap}, OffersAt: noon}
	world := func(backlog []Work, instances ...Instance) World {
		w := market
		w.Instances, w.Backlog, w.Waiting, w.Busy, w.Left = instances, backlog, len(backlog), map[string]int{}, map[string][]time.Duration{}
		for _, i := range instances {
			if i.State == gpu.Ready && i.IdleSince.IsZero() {
				w.Busy[i.Label], w.Left[i.Label] = 1, []time.Duration{time.Minute}
			}
		}
		return w
	}
	change := func(w World, do func(*World)) World { do(&w); return w }
	policyWith := func(do func(*Policy)) Policy { p := p; do(&p); return p }
	for _, c := range []struct {
		name   string
		policy Policy
		world  World
		rents  bool
		why    string
	}{
		{"the first at once", p, world(waiting(1, time.Second)), true, "a job waits: offer cheap"},
		{"the first of many at once", p, world(waiting(5, time.Second)), true, "5 jobs wait"},
		{"short jobs wait for the one that boots", p, world(waiting(20, 5*time.Second), fresh("a")), false,
			"20 jobs wait; the last is expected to start in 3m35s (MAX_WAIT 4m0s): no further machine"},
		{"long jobs do not", p, world(waiting(20, time.Minute), fresh("a")), true, "(MAX_WAIT 4m0s), and starts"},
		{"nor when two boot", p, world(waiting(20, time.Minute), fresh("a"), fresh("b")), true, "starts"},
		{"and never more than MAX_GPUS", p, world(waiting(20, time.Minute), fresh("a"), fresh("b"), fresh("c")), false, "MAX_GPUS is 3 and 3 exist"},
		{"even of those that end", p, world(waiting(20, time.Minute), fresh("a"), with(ready("b"), func(i *Instance) { i.State, i.EndAskedAt = gpu.Destroying, noon }),
			with(ready("c"), func(i *Instance) { i.State, i.EndAskedAt = gpu.Destroying, noon })), false, "MAX_GPUS is 3 and 3 exist, of which 2 end and count until proven gone"},
		{"one at a time is tried", policyWith(func(p *Policy) { p.MaxBoots = 1 }), world(waiting(20, time.Minute), fresh("a")), false, "starting already"},
		{"one that is asked for counts", p, world(waiting(20, 5*time.Second), with(fresh("a"), func(i *Instance) { i.State = gpu.Creating })), false, "no further machine"},
		{"one of which nobody knows counts", p, world(waiting(20, 5*time.Second), with(fresh("a"), func(i *Instance) { i.State, i.Ambiguous = gpu.Creating, true })), false, "no further machine"},
		{"one that ends does not", p, world(waiting(20, 5*time.Second), with(fresh("a"), func(i *Instance) { i.State, i.EndAskedAt = gpu.Destroying, noon })), true, "20 jobs wait"},
		{"one that is about to end does not", p, change(world(waiting(1, time.Hour), busy("a")), func(w *World) { w.Exited = map[string]bool{"a": true} }), true, "a job waits"},
		{"each job has a place", p, world(waiting(2, time.Hour), fresh("a"), fresh("b")), false, "each has a place"},
		{"a job behind a short one", p, world(waiting(1, time.Hour), busy("a")), false, "to start in 1m0s"},
		{"a job behind a long one", p, change(world(waiting(1, time.Hour), busy("a")), func(w *World) { w.Left["a"] = []time.Duration{time.Hour} }), true, "starts 58m0s sooner"},
		{"a job behind one that is almost done", p, change(world(waiting(1, time.Hour), busy("a")), func(w *World) {
			w.Backlog[0].Since, w.Left["a"] = ago(5*time.Minute), []time.Duration{2*time.Minute + 10*time.Second}
		}), false, "which another would change too little"},
		{"jobs that nobody looked at are assumed", p, change(world(nil, busy("a")), func(w *World) { w.Waiting = 400 }), true, "400 jobs wait"},
		{"free slots take them", p, world(waiting(3, time.Hour), with(ready("a"), func(i *Instance) { i.Slots = 4 })), false, "each has a place, the last in 0s"},
		{"without MAX_WAIT, one", policyWith(func(p *Policy) { p.MaxWait = 0 }), world(waiting(20, time.Hour), busy("a")), false, "for a machine that is there"},
		{"on our own machine, one", policyWith(func(p *Policy) { p.Traits.Free = true }), world(waiting(20, time.Hour), busy("a")), false, "for a machine that is there"},
		{"without MAX_WAIT, the first", policyWith(func(p *Policy) { p.MaxWait = 0 }), world(waiting(20, time.Hour)), true, "20 jobs wait"},
		{"nothing waits", p, world(nil), false, "no job waits"},
		{"no room", p, change(world(waiting(1, time.Hour)), func(w *World) { w.NoRoom = true }), false, "storage is full"},
		{"a reason not to", policyWith(func(p *Policy) { p.NoRent = "data/ is no volume" }), world(waiting(1, time.Hour)), false, "a job waits, but data/ is no volume"},
		{"a stop", p, change(world(waiting(1, time.Hour)), func(w *World) { w.Stops = []Stop{{Reason: "no money"}} }), false, "a job waits, but no money"},
		{"nothing is on offer", p, change(world(waiting(1, time.Hour)), func(w *World) { w.Offers = nil }), false, "nothing will do of 0 offers"},
	} {
		for _, a := range must(Plan(c.policy, c.world, noon)) {
			if a.Kind == Search || a.Kind == Rent != c.rents && a.Kind != Destroy {
				t.Errorf("%s: %+v", c.name, a)
			}
		}
		actions := must(Plan(c.policy, c.world, noon))
		if got := slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == Rent }); got != c.rents {
			t.Errorf("%s: rents %v: %+v", c.name, got, actions)
		}
		if got := whyNothing(c.policy, c.world, noon); !strings.Contains(got, c.why) {
			t.Errorf("%s: explained as %q, want %q", c.name, got, c.why)
		}
	}
}

func must(actions []Action, _ time.Time) []Action { return actions }

// Offers are looked for only where one of them may be taken.
func TestSearchesForNothingElse(t *testing.T) {
	t.Parallel()
	p := policy
	p.MaxWait = time.Minute
	rapid.Check(t, func(t *rapid.T) {
		flag := rapid.Bool()
		w := World{Waiting: rapid.IntRange(0, 3).Draw(t, "waiting"), Blind: flag.Draw(t, "blind"), NoRoom: flag.Draw(t, "no room"), Extra: rapid.IntRange(0, 3).Draw(t, "extra")}
		if flag.Draw(t, "stop") {
			w.Stops = []Stop{{Reason: "x"}}
		}
		if flag.Draw(t, "paused") {
			w.PausedUntil = in(time.Second)
		}
		if flag.Draw(t, "boots") {
			w.Instances = append(w.Instances, booting("a"))
		}
		actions, _ := Plan(p, w, noon)
		w.Offers, w.OffersAt = []gpu.Offer{cheap}, noon
		rents, _ := Plan(p, w, noon)
		if len(actions) != len(rents) || len(actions) > 1 || len(actions) == 1 && (actions[0].Kind != Search || rents[0].Kind != Rent) {
			t.Fatalf("%+v and then %+v", actions, rents)
		}
	})
}

// whyNothing says why grow gets no instance.
func whyNothing(p Policy, w World, now time.Time) string {
	_, staying, _ := shrink(p, w, now)
	return grow(p, w, staying, now).why
}
