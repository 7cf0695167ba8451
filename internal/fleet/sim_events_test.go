package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// happening is something that happens, and what follows it: a while in which the
// processes look every step.
type happening struct {
	what  string
	n     int           // which, or how many; 0 to 9
	d     time.Duration // how long
	after time.Duration
	step  time.Duration
}

func (e happening) String() string {
	return fmt.Sprintf("%s n=%d d=%s after=%s step=%s", e.what, e.n, e.d, e.after, e.step)
}

// happenings are what a schedule is made of, by name.
var happenings = map[string]func(w *world, e happening){
	"nothing": func(*world, happening) {},
	"opening": (*world).open,
	"submit":  (*world).submit,
	"cancel":  (*world).cancel,
	"crash":   (*world).crash,
	"away":    func(w *world, e happening) { w.kill(0); w.kill(1); w.armed.restart[0] = w.clock.Elapsed() + e.d },
	"restart": func(w *world, e happening) { w.kill(e.n % 2); w.start(e.n % 2) },
	"stop":    (*world).stop,
	"second":  func(w *world, _ happening) { w.second() },
	"suspend": (*world).suspendNext,
	"backup":  func(w *world, _ happening) { w.takeBackup() },
	"restore": func(w *world, _ happening) { w.restore() },
	"clock":   (*world).setClock,
	"full":    func(w *world, e happening) { w.fill(true); w.live(e.d, max(e.step, e.d/10)); w.fill(false) },
	"create":  (*world).armCreate,
	"create down": func(w *world, e happening) {
		w.armed.createDown, w.armed.createDownEnd = downs[e.n%len(downs)], w.clock.Elapsed()+e.d
	},
	"destroy": (*world).armDestroy,
	"list":    (*world).armList,
	"list down": func(w *world, e happening) {
		w.armed.listDown, w.armed.listDownEnd = downs[e.n%len(downs)], w.clock.Elapsed()+4*e.d
	},
	"blip":   (*world).blink,
	"outage": func(w *world, e happening) { w.armed.outage, w.armed.outageEnd = downs[e.n%2], w.clock.Elapsed()+e.d },
	"slow": func(w *world, e happening) {
		w.armed.slow = append(w.armed.slow, min(e.d, time.Duration(1+e.n)*3*time.Second))
	},
	"silent": (*world).hush,
	"slow workers": func(w *world, e happening) {
		if p := w.someProcess(); p != nil {
			p.late = 1 + e.n
		}
	},
	"mismatch":        func(w *world, e happening) { w.armed.mismatch = w.clock.Elapsed() + e.d },
	"unfit":           (*world).disable,
	"host dies":       (*world).killHost,
	"worker restarts": func(w *world, e happening) { w.someBox(e.n, func(b *box) { clear(b.work) }) },
	"poison":          (*world).poison,
	"foreign":         (*world).addForeign,
	"lost":            (*world).addLost,
	"bill":            (*world).armBill,
}

// deck are the happenings that are drawn, as often as they stand here. The
// first is what a shrunk schedule tends to.
var deck = strings.Split("nothing,nothing,submit,submit,submit,submit,cancel,crash,crash,crash,restart,stop,stop,stop,second,second,suspend,suspend,backup,restore,"+
	"clock,full,create,create,create,create,create down,destroy,destroy,list,list,list down,blip,outage,slow,silent,silent,unfit,host dies,worker restarts,"+
	"foreign,lost,poison,slow workers,mismatch,bill,bill", ",")

var (
	spans  = []time.Duration{0, time.Second, 5 * time.Second, 20 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	pauses = []time.Duration{0, time.Second, 5 * time.Second, 15 * time.Second, 40 * time.Second, 100 * time.Second}
	steps  = []time.Duration{250 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second}
	downs  = []error{errors.New("503 Service Unavailable"), errors.New("i/o timeout"), gpu.RateLimited{After: time.Second}, gpu.ErrNotSent}
)

// drawEvent draws one.
func drawEvent(t *rapid.T) happening {
	e := happening{
		what: rapid.SampledFrom(deck).Draw(t, "what"), n: rapid.IntRange(0, 9).Draw(t, "n"),
		d: rapid.SampledFrom(spans).Draw(t, "d"), after: rapid.SampledFrom(pauses).Draw(t, "after"), step: rapid.SampledFrom(steps).Draw(t, "step"),
	}
	e.step = max(e.step, e.after/8) // a schedule is not to take long
	return e
}

// happen lets an event happen, and a while pass.
func (w *world) happen(e happening) {
	if w.broken != "" {
		return
	}
	w.logf("%8s * %s", w.clock.Elapsed(), e)
	if w.happened++; w.happened%6 == 3 {
		w.takeBackup() // as a good operator does
	}
	happenings[e.what](w, e)
	w.live(e.after, max(e.step, 250*time.Millisecond))
}

func (w *world) submit(e happening) {
	takes := e.d
	w.clock.Advance(time.Millisecond) // which orders the jobs
	q := queue.New(w.db, w.clock.Now) // of whoever serves requests
	if p := w.someProcess(); p != nil {
		q = p.q
	}
	run := simRun
	if e.n%4 == 3 {
		run *= 2 // for which another budget may be too small
	}
	j, err := q.Submit(w.ctx, queue.Draft{
		Subtitle: []byte("1"), WaitFor: simWait, RunFor: run, KeepFor: time.Hour, Size: simSizes[e.n%len(simSizes)], Room: simResult / 2,
	})
	if err != nil {
		return // a full disk
	}
	w.jobs[j.ID] = &simJob{takes: 2*time.Second + takes, submitted: w.clock.Elapsed(), status: apigpu.Queued, size: simSizes[e.n%len(simSizes)]}
	w.logf("%8s job %s takes %s", w.clock.Elapsed(), j.ID, takes)
}

func (w *world) someProcess() *orchestrator {
	for _, p := range w.procs {
		if p != nil && !p.dead {
			return p
		}
	}
	return nil
}

func (w *world) cancel(e happening) {
	var open []string
	for id, j := range w.jobs {
		if !j.status.Final() {
			open = append(open, id)
		}
	}
	p := w.someProcess()
	if len(open) == 0 || p == nil {
		return
	}
	slices.Sort(open)
	id := open[e.n%len(open)]
	if _, err := p.q.Cancel(w.ctx, id); err == nil {
		w.jobs[id].canceled = true
	}
}

// crash ends a process at one of its next points, and brings it back later.
func (w *world) crash(e happening) {
	for slot, p := range w.procs {
		if p != nil && (slot == e.n%2 || w.procs[1-slot] == nil) {
			p.dieAt = p.points + 1 + e.n
			w.armed.restart[slot] = w.clock.Elapsed() + e.d + time.Second
			return
		}
	}
}

// second starts another process beside the one that runs.
func (w *world) second() {
	for slot, p := range w.procs {
		if p == nil {
			w.start(slot)
			return
		}
	}
}

// suspendNext suspends the first process that runs, at one of its next points.
func (w *world) suspendNext(e happening) {
	if p := w.someProcess(); p != nil {
		p.stopAt, p.stopFor = p.points+1+e.n, e.d
	}
}

// backup is a copy of the database, and what was known then.
type backup struct {
	rows dbtest.Copy
	jobs map[string]*simJob
}

func (w *world) takeBackup() {
	w.look()
	rows, err := dbtest.CopyOf(w.db)
	if err != nil || w.full {
		return
	}
	b := &backup{rows, map[string]*simJob{}}
	for id, j := range w.jobs {
		known := *j
		b.jobs[id] = &known
	}
	w.backup = b
}

// restore puts the backup back, while nothing runs. What happened since is
// forgotten, by the rules too; what was rented since is there.
func (w *world) restore() {
	if w.backup == nil || w.full {
		return
	}
	w.kill(0)
	w.kill(1)
	w.look()
	if err := w.backup.rows.PutBack(w.db); err != nil {
		w.fault("database", "%v", err)
	}
	w.history.restores++
	for _, b := range w.boxes {
		b.old = true // what was promised it since is forgotten
	}
	if millis(w.clock.Now()) <= w.history.epoch {
		// An epoch is at least the time, so that it rises although the database
		// is an old one: but not where the clock goes back by as much.
		w.history.epoch = 0
	}
	w.history.states, w.history.idle = map[string]gpu.State{}, map[string]time.Duration{}
	w.jobs = map[string]*simJob{}
	for id, j := range w.backup.jobs {
		known := *j
		known.committed = 0
		w.jobs[id] = &known
	}
	w.commits++
	w.disturbed()
	w.version = 0
	w.forgetStates()
	w.start(0)
}

// forgetStates takes the rows as they are for the beginning.
func (w *world) forgetStates() {
	rows, err := w.ledger()
	if err != nil {
		w.fault("database", "%v", err)
	}
	for _, in := range rows {
		w.history.states[in.Label], w.history.since[in.Label] = in.State, w.clock.Elapsed()
	}
}

// setClock sets the clock of the host by an hour.
func (w *world) setClock(e happening) {
	by := time.Hour
	if e.n%2 == 1 {
		by = -by
	}
	leads := func(p *orchestrator) bool { return p != nil && !p.dead && p.Leading() }
	if !slices.ContainsFunc(w.procs[:], leads) {
		w.history.unnoticed = true // nobody can tell by how much
	}
	w.clock.Set(by)
	w.history.jumped = true
	w.purse.redated = true
	w.disturbed()
}

// fill makes the ledger take no writes, or take them again.
func (w *world) fill(full bool) {
	if w.full == full {
		return
	}
	w.full = full
	w.disturbed()
	for _, table := range []string{"fleet", "instances", "jobs"} {
		for _, verb := range []string{"INSERT", "UPDATE", "DELETE"} {
			statement := fmt.Sprintf(`DROP TRIGGER no%s%s`, verb, table)
			if full {
				statement = fmt.Sprintf(`CREATE TRIGGER no%[1]s%[2]s BEFORE %[1]s ON %[2]s BEGIN SELECT RAISE(ABORT, 'no room'); END`, verb, table)
			}
			w.exec(statement)
		}
	}
}

var createFaults = []providertest.CreateStep{
	{Err: errLost, Took: true},
	{Err: errLost},
	{Err: errLost, Took: true, Delay: 3 * time.Minute},
	{Delay: 40 * time.Second},
	{Copies: 1},
	{Err: gpu.ErrPartial, Took: true, Dead: true},
	{Dead: true},
	{Boot: 8760 * time.Hour},
	{Boot: 2 * time.Minute},
	{Err: gpu.ErrOfferGone},
	{Err: errLost, Took: true, Copies: 1, Delay: 5 * time.Second},
	{Err: gpu.ErrNoCapacity},
	{Err: gpu.ErrFunds},
	{Err: gpu.RateLimited{After: time.Second}},
}

func (w *world) armCreate(e happening) {
	n := e.n
	if e.d >= time.Minute {
		n += 4
	}
	w.armed.creates = append(w.armed.creates, createFaults[n%len(createFaults)])
}

func (w *world) armDestroy(e happening) {
	some := []providertest.DestroyStep{
		{Ignored: true}, {Err: errLost}, {Err: errLost, Took: true}, {Delay: 20 * time.Second}, {Err: gpu.RateLimited{After: time.Second}},
	}
	for range 1 + e.n/5*2 {
		w.armed.destroys = append(w.armed.destroys, some[e.n%len(some)])
	}
}

func (w *world) armList(e happening) {
	some := []listFault{{incomplete: true}, {doubled: true}, {err: downs[0]}, {err: gpu.RateLimited{After: time.Second}}}
	for range 1 + 3*(e.n/4) {
		w.armed.lists = append(w.armed.lists, some[e.n%len(some)])
	}
}

// blink hides an instance from complete listings, for less than the gap that
// the provider states: once, for twice in a row would be longer.
func (w *world) blink(e happening) {
	w.someBox(e.n, func(b *box) {
		if !b.blinked {
			b.blinked = true
			w.armed.blip, w.armed.blipEnd = b.id, w.clock.Elapsed()+simPolicy.Traits.AbsenceGap-time.Second
		}
	})
}

// someBox does something to one of the instances that exist.
func (w *world) someBox(n int, do func(*box)) {
	var ids []string
	for _, r := range w.records() {
		if w.boxes[r.ID] != nil && r.Exists(w.now()) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) > 0 {
		do(w.boxes[ids[n%len(ids)]])
	}
}

func (w *world) hush(e happening) { w.someBox(e.n, func(b *box) { b.silent = w.now().Add(e.d) }) }

func (w *world) disable(e happening) { w.someBox(e.n, func(b *box) { b.unfit = w.now().Add(e.d) }) }

// killHost stops a worker whose instance stays listed and costs, or takes the
// instance away.
func (w *world) killHost(e happening) {
	w.someBox(e.n, func(b *box) {
		if e.n%2 == 0 {
			w.fake.Stop(b.label)
		} else {
			w.fake.Vanish(b.label)
		}
	})
}

func (w *world) addForeign(e happening) {
	labels := []string{"", "ag1.us2.x", "ag1.us.a.b", "mine", "ag2.us.x"}
	w.fake.Add(gpu.Instance{Label: labels[e.n%len(labels)], Running: true})
}

// addLost adds an instance of ours that a lost database forgot.
func (w *world) addLost(e happening) {
	w.fake.Add(gpu.Instance{Label: Label(w.fleet.ID, fmt.Sprintf("lost%d", len(w.truth))), Running: e.n%3 != 0})
	w.newBoxes()
}

// poison makes a value of some row unreadable: it must hold up no other.
func (w *world) poison(e happening) {
	w.someBox(e.n, func(b *box) {
		if !w.full {
			w.exec(`UPDATE instances SET worker = '{' WHERE label = $1`, b.label)
		}
	})
}

// heal ends all faults, those to come too.
func (w *world) heal() {
	w.fill(false)
	mismatch := min(w.armed.mismatch, w.clock.Elapsed())
	w.armed = armed{mismatch: mismatch}
	for slot, p := range w.procs {
		if p != nil {
			p.dieAt, p.stopAt = 0, 0
		}
		if p != nil && p.dead {
			w.bury(slot)
		}
	}
	w.raiseBudget()
	if w.someProcess() == nil {
		w.start(0)
	}
	for _, b := range w.boxes {
		if b.silent.After(w.now()) {
			b.silent = w.now()
		}
		if b.unfit.After(w.now()) {
			b.unfit = w.now()
		}
	}
	w.disturbed()
}
