package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/api-gpu/api-gpu/test/need"
)

// lanes is how many folders with programs of their own are worked on at once: a
// case computes for a fifth of a second, and waits for seconds.
const (
	lanes         = 6
	lanesPostgres = 3
)

// crashBin builds the programs that can be killed at each of their points.
var crashBin = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(bin, "crash")
	return dir, need.Programs(context.Background(), dir, "crashpoints", "orchestrator", "worker")
})

// point is a moment of a program: its n-th passage of a named point.
type point struct {
	program, name string
	n             int
}

func (p point) String() string { return fmt.Sprintf("%s/%s#%d", p.program, p.name, p.n) }

// crashCase is a death in the course of a scenario, and perhaps another one, at
// a point that is passed only where somebody has died before.
type crashCase struct {
	scenario string
	at, then point
}

func (c crashCase) String() string {
	if c.then == (point{}) {
		return fmt.Sprintf("%s/%s", c.scenario, c.at)
	}
	return fmt.Sprintf("%s/%s+%s", c.scenario, c.at, c.then)
}

// plan is the cases that are still to be tried.
type plan struct {
	mu     sync.Mutex
	left   []crashCase
	known  map[string]bool // points for which there is a case
	single bool            // no second deaths
	tried  int
	missed []string
}

// next takes a case.
func (p *plan) next() (c crashCase, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) == 0 {
		return c, false
	}
	c, p.left = p.left[0], p.left[1:]
	p.tried++
	return c, true
}

// add plans a death at each point that a scenario passed, in the first scenario
// that did: at its first passage, in the middle, and at the last of a few.
// Points that were passed after a death are for a second one.
func (p *plan) add(r *rig, scenario string, after point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, program := range programs {
		count, order := r.passed(program)
		for _, name := range order {
			id := program + "/" + name
			if p.known[id] && (after != (point{}) || os.Getenv("CRASH_ALL") != "1") {
				continue
			}
			p.known[id] = true
			if after != (point{}) && (program != after.program || program == "orchestrator") {
				p.left = append(p.left, crashCase{scenario, after, point{program, name, 1}})
			}
			if after != (point{}) {
				continue
			}
			for _, n := range passages(count[name]) {
				p.left = append(p.left, crashCase{scenario, point{program, name, n}, point{}})
			}
		}
	}
}

// TestCrashAnywhere kills each program at each point that it passes: the points
// are those that a run without a kill records, and those that show only after
// one. CRASH=TEXT tries only the cases whose names hold TEXT, and CRASH_ALL=1
// each point in each scenario that passes it.
func TestCrashAnywhere(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := crashMedia(t)
	tryAll(t, record(t, newRig(t, media), scenarios), lanes, func(t *testing.T) *rig { return newRig(t, media) })
}

// TestCrashAnywherePostgres does so on PostgreSQL with a worker that somebody
// else runs, where the database is written: the rest is the same on both.
func TestCrashAnywherePostgres(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := crashMedia(t)
	walk := scenarios[:1]
	if os.Getenv("CRASH_ALL") == "1" {
		walk = slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.name == "boot" }) // nobody starts a worker here
	}
	p := record(t, newPostgresRig(t, media), walk)
	p.left = slices.DeleteFunc(p.left, func(c crashCase) bool { return !strings.Contains(c.at.name, ".commit") })
	p.single = os.Getenv("CRASH_ALL") != "1"
	tryAll(t, p, lanesPostgres, func(t *testing.T) *rig { return newPostgresRig(t, media) })
}

// tryAll tries all cases of a plan, so many at once.
func tryAll(t *testing.T, p *plan, lanes int, build func(*testing.T) *rig) {
	t.Run("lanes", func(t *testing.T) {
		for n := range lanes {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				r := build(t)
				r.warm()
				for c, ok := p.next(); ok; c, ok = p.next() {
					r.clearTraces()
					passed := r.try(c)
					p.note(c, passed)
					if passed && c.then == (point{}) && !p.single {
						p.add(r, c.scenario, c.at)
					}
				}
				r.finish()
			})
		}
	})
	t.Logf("%d deaths tried at %d points; not passed this time: %d %v", p.tried, len(p.known), len(p.missed), p.missed)
	steps := slices.DeleteFunc(slices.Clone(p.missed), beside.MatchString)
	if p.tried == 0 || len(p.missed) == p.tried || len(steps) > 1+p.tried/5 {
		t.Errorf("%d of %d points were not passed: %v", len(steps), p.tried, steps)
	}
}

// beside matches the points of what runs beside a job by a clock of its own,
// and so is passed when it is passed: on a busy machine more often while the
// points are recorded than later.
var beside = regexp.MustCompile(`/(fleet\.(hold|observe|contact|noteIdle)|queue\.(Heartbeat|Report|Note))\.`)

// record runs each scenario without a kill, and plans the deaths to try.
func record(t *testing.T, r *rig, scenarios []scenario) *plan {
	t.Helper()
	p := &plan{known: map[string]bool{}}
	r.warm()
	for _, s := range scenarios {
		r.clearTraces()
		r.now = s.name + "/recording"
		s.run(r)
		p.add(r, s.name, point{})
	}
	r.finish()
	if only := os.Getenv("CRASH"); only != "" {
		p.left = slices.DeleteFunc(p.left, func(c crashCase) bool { return !strings.Contains(c.String(), only) })
	}
	return p
}

// note remembers a case whose point was not passed.
func (p *plan) note(c crashCase, passed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !passed {
		p.missed = append(p.missed, c.String())
	}
}

// warm lets a worker start: that is not what the first scenarios are about.
func (r *rig) warm() {
	r.now = "warming"
	r.until("the orchestrator answers", r.answers)
	r.fetches()
}

// passages says which of so many passages of a point are tried.
func passages(count int) []int {
	switch {
	case count < 4:
		return []int{1, 2, 3}[:count]
	default:
		return []int{1, count/2 + 1}
	}
}

var programs = []string{"orchestrator", "worker"}

// passed counts the points that a program has passed, in the order of their
// first passage.
func (r *rig) passed(program string) (count map[string]int, order []string) {
	r.t.Helper()
	count = map[string]int{}
	file, err := os.Open(filepath.Join(r.points(program), "trace"))
	if os.IsNotExist(err) {
		return count, nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if point := lines.Text(); point != "" {
			if count[point]++; count[point] == 1 {
				order = append(order, point)
			}
		}
	}
	return count, order
}

func (r *rig) clearTraces() {
	for _, program := range programs {
		_ = os.Remove(filepath.Join(r.points(program), "trace"))
	}
}

// arm tells a program where to die.
func (r *rig) arm(p point) {
	r.t.Helper()
	at := filepath.Join(r.points(p.program), "at")
	write(r.t, r.points(p.program), "at.new", fmt.Sprintf("%s#%d", p.name, p.n))
	if err := os.Rename(at+".new", at); err != nil {
		r.t.Fatal(err)
	}
}

// disarm reports whether a program was not there.
func (r *rig) disarm(program string) bool {
	return os.Remove(filepath.Join(r.points(program), "at")) == nil
}

// try lets a program die at a point while a scenario runs, and checks what
// became of it. It reports whether the points were passed.
func (r *rig) try(c crashCase) bool {
	r.t.Helper()
	r.now, r.again = c.String(), c.at.program == "worker" || c.then.program == "worker"
	r.arm(c.at)
	switch {
	case c.then == (point{}):
	case c.then.program != c.at.program:
		r.arm(c.then) // which it passes only when the other has died
	default:
		r.then = c.then
	}
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == c.scenario })
	scenarios[i].run(r)
	passed := r.then == (point{})
	r.then = point{}
	for _, program := range programs {
		if r.disarm(program) {
			passed = false
		}
	}
	r.until("the orchestrator answers", r.answers)
	return passed
}

// TestNoCrashPoints holds ordinary programs against those of the tests: they
// have none of the points.
func TestNoCrashPoints(t *testing.T) {
	need.Long(t)
	t.Parallel()
	dir, err := crashBin()
	if err != nil {
		t.Fatal(err)
	}
	for program, name := range map[string]string{"orchestrator": "blob.publish.renamed", "worker": "worker.assigned"} {
		for _, c := range []struct {
			dir  string
			want bool
		}{{bin, false}, {dir, true}} {
			raw, err := os.ReadFile(filepath.Join(c.dir, program))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{name, "CRASH_DIR"} {
				if has := strings.Contains(string(raw), word); has != c.want {
					t.Errorf("%s in %s: %q is in it: %v", program, c.dir, word, has)
				}
			}
		}
	}
}

// diedOfKill reports whether a program ended as kill -9 ends it.
func diedOfKill(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
