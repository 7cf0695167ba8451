package fleet

// The simulation: the real Fleet, queue and SQL in a world of virtual time,
// whose provider lies, whose workers fall silent, and whose processes die at
// any write and any call. One goroutine does everything, so that a schedule
// always goes the same way; rapid draws schedules, and shrinks one that breaks
// a rule to the few events that matter.
//
//	sim_test.go          the world, its time, and its end: the faults stop, and all must come right
//	sim_events_test.go   what can happen
//	sim_market_test.go   the provider as a process sees it: a providertest.Fake, slow and lying
//	sim_box_test.go      the workers, with the dead man's switch
//	sim_process_test.go  a process: its fleet, the driving of its jobs, its death
//	sim_leave_test.go    its stop in good order, with what it keeps
//	sim_check_test.go    the rules: the invariants of the design
//	sim_money_test.go    the rules of money
//	sim_purse_test.go    prices, budgets, and the provider's bill
//	sim_run_test.go      the schedules: drawn, and one for each point at which a process can die
//	sim_mutant_test.go   the rules bite: without one safety some rule is broken
//
// Real are fleet.Fleet by its rounds (step), queue.Queue, db, client, the
// ledger's SQL. A model stands for:
//   - dispatch: sim_process_test.go does with the real queue what a
//     dispatch.Dispatcher does, once a round and in one goroutine. It sends no
//     bytes, keeps no results, and blames no job.
//   - the worker: its lease as in worker.lease, on the virtual clock, and the
//     call by which it ends itself. Jobs take a time and bring nothing.
//   - TLS: a box knows by the keys of a request whether it is meant.
//   - Fleet.Run: rounds come when a schedule says so. While a call of the
//     provider takes long, what tend does is done every few seconds.

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// simPolicy has the provider's times as they are, and ours shorter, so that a
// schedule need not be long.
var simPolicy = Policy{
	MaxGPUs: 3, MaxUpload: simVideo, MaxWait: 2 * time.Minute, IdleTimeout: 30 * time.Second, BootTimeout: 3 * time.Minute, Lease: 4 * time.Minute, Silence: 90 * time.Second,
	Traits: gpu.Traits{ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second, Pinned: true},
}

// simOffers are machines of several owners: one that fails is to be avoided.
var simOffers = []gpu.Offer{
	simOffer("a", 91*mill, 9*mill, 5*mill, 1, "m1", "h1"),
	simOffer("b", 90*mill, 21*mill, 0, 1, "m2", "h1"),
	simOffer("c", 125*mill, 0, 3*mill, 1, "m3", "h2"), // not told apart
	simOffer("d", 180*mill, 20*mill, 20*mill, 1, "m4", "h3"),
	simOffer("e", 970*mill, 30*mill, 0, 2, "m5", "h4"),
	simOffer("f", 1000*mill, 0, 0, 1, "", ""),
}

const (
	simLeave  = 12 * time.Minute // the lease of a worker that is left at work
	simWait   = 3 * time.Hour    // how long a job may wait
	simRun    = 15 * time.Minute
	simRetry  = 10 * time.Second // between two tries of a worker to end itself
	simStep   = 12 * time.Second // at the end: shorter than the fleet lease, which is not lost then
	simSettle = time.Hour        // how long the end of a world may take
)

// stage is where worlds are played one after another: a database that each
// finds new.
type stage struct {
	db    *db.DB
	eyes  *sql.Conn // that of the rules
	fresh dbtest.Copy
	world *world // the one that is played
	fleet Identity
}

// newStage opens a database in memory, or where files is set in a folder of
// the test's.
func newStage(t testing.TB, files bool) *stage {
	t.Helper()
	s := &stage{}
	opts := db.Options{NoSync: true, Writes: func(committed bool) error {
		if s.world == nil {
			return nil
		}
		return s.world.written(committed)
	}}
	if files {
		d, err := db.Open(context.Background(), dbtest.URL(t), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		s.db = d
	} else {
		s.db = dbtest.Memory(t, opts)
	}
	var err error
	if s.fleet, err = LoadIdentity(context.Background(), s.db, "us", "a root secret"); err != nil {
		t.Fatal(err)
	}
	if s.eyes, err = s.db.Read().Conn(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.eyes.Close() })
	if s.fresh, err = dbtest.CopyOf(s.db); err != nil {
		t.Fatal(err)
	}
	return s
}

// world is everything that there is, for one schedule.
type world struct {
	*stage
	ctx    context.Context
	clock  *providertest.Clock // of the host: it may be set
	fake   *providertest.Fake
	boxes  map[string]*box // by provider id
	procs  [2]*orchestrator
	runs   *orchestrator // whose code runs now
	jobs   map[string]*simJob
	lack   mutant // the safety that is missing
	budget Budget // that the operator set
	purse  purse
	broken string // the first rule that was broken, and how
	story  string // all that happened, where play keeps it
	logf   func(format string, args ...any)

	armed  armed // faults to come
	backup *backup
	full   bool // the ledger takes no writes

	commits, seen int   // writes so far, and when the tables were looked at
	version       int64 // of the tables, as the database counts
	rows          []Instance
	truth         []providertest.Record // about all instances, by the provider
	history       history
	happened      int
	deaths        int
	suspended     int
	takenOver     int
	keptBusy      int           // workers that a stop left at work, with the long lease
	peak          int           // most points that a process passed
	away          time.Duration // how long a process that died stays away, where nothing else is said
}

// newWorld begins a world at noon, with one process.
func (s *stage) newWorld(logf func(string, ...any), lack mutant) *world {
	w := &world{
		stage: s, ctx: context.Background(), clock: providertest.NewClock(noon), boxes: map[string]*box{}, jobs: map[string]*simJob{},
		logf: logf, lack: lack, history: newHistory(), purse: purse{terms: map[string]Terms{}},
	}
	s.world = nil
	if err := s.fresh.PutBack(s.db); err != nil {
		panic(err) // in memory: nothing can be wrong with it
	}
	s.world = w
	if lack == intent {
		w.exec(`CREATE TRIGGER nointent AFTER UPDATE ON instances WHEN NEW.state = 'creating' BEGIN DELETE FROM instances WHERE label = NEW.label; END`)
	}
	if lack == renewReserve {
		w.exec(noLeaseNoted)
	}
	if lack == leaveReserve {
		w.exec(noLongLeaseNoted)
	}
	if lack == idleGoes {
		w.exec(noIdleEnds)
	}
	w.commits = 1
	w.fake = providertest.NewFake(providertest.FakeConfig{
		Now: w.now, Traits: simPolicy.Traits, Lag: 20 * time.Second, Linger: 5 * time.Second, Boot: boot, Offers: simOffers,
	})
	w.start(0)
	return w
}

// now is the true time, which nobody sets.
func (w *world) now() time.Time { return noon.Add(w.clock.Elapsed()) }

// fault notes that a rule was broken. What comes after the first says little.
func (w *world) fault(rule, format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf("%s after %s: ", rule, w.clock.Elapsed()) + fmt.Sprintf(format, args...)
		w.logf("BROKEN %s", w.broken)
	}
}

// pass lets time pass, and workers whose lease runs out end themselves.
func (w *world) pass(d time.Duration) {
	w.look()
	end := w.clock.Elapsed() + d
	for {
		due, b := w.nextEnd(end)
		w.clock.Advance(due - w.clock.Elapsed())
		if b == nil {
			return
		}
		b.endItself(w)
	}
}

// live lets time pass, and all processes do a round in each step.
func (w *world) live(d, step time.Duration) {
	for ; d > 0 && w.broken == ""; d -= step {
		w.pass(min(step, d))
		w.round()
	}
}

// round is one round of each process that runs and is not in the middle of
// one.
func (w *world) round() {
	for n, p := range w.procs {
		switch {
		case p != nil && p.dead:
			w.bury(n)
		case p == nil && w.armed.restart[n] > 0 && w.clock.Elapsed() >= w.armed.restart[n]:
			w.armed.restart[n] = 0
			w.start(n)
		}
		if p := w.procs[n]; p != nil && !p.inside {
			p.round()
		}
	}
	w.look()
	w.records()
	w.checkTimes()
}

// settle ends all faults and lets the world come right: every job has ended,
// and no instance of ours is left. Then, too, all rows are gone.
func (w *world) settle() {
	if w.broken != "" {
		return
	}
	w.heal()
	until := w.clock.Elapsed() + simSettle
	if w.history.unnoticed {
		until += 5 * time.Hour // what was to last minutes may last an hour
	}
	for w.broken == "" && !w.right() {
		if w.clock.Elapsed() > until {
			w.fault("11 progress", "an hour after all faults ended: %s", w.left())
			return
		}
		w.live(simStep, simStep)
	}
	w.waitForBills()
	w.look()
	w.checkEnd()
}

// right reports whether nothing is left to be done.
func (w *world) right() bool { w.look(); return w.left() == "" }

// left says what is left to be done.
func (w *world) left() string {
	var out []string
	for id, j := range w.jobs {
		if !j.status.Final() {
			out = append(out, fmt.Sprintf("job %s is %s", id, j.status))
		}
	}
	for _, r := range w.truth {
		if Ours(w.fleet.ID, r.Label) && (r.Ended.IsZero() || r.Ended.After(w.now())) {
			out = append(out, fmt.Sprintf("instance %s (%s) exists", r.ID, r.Label))
		}
	}
	for _, in := range w.rows {
		if in.State != gpu.Gone {
			out = append(out, fmt.Sprintf("row %s is %s: %s", in.Label, in.State, in.Reason))
		}
	}
	return strings.Join(out, "; ")
}

// written is called before and after each commit.
func (w *world) written(committed bool) error {
	p := w.runs
	if committed {
		w.commits++
	}
	if p == nil {
		return nil
	}
	return p.atWrite(committed)
}

// end leaves the stage as the next world needs it.
func (w *world) end() {
	w.fill(false)
	if w.lack == intent {
		w.exec(`DROP TRIGGER nointent`)
	}
	if w.lack == renewReserve {
		w.exec(`DROP TRIGGER nolease`)
	}
	if w.lack == leaveReserve {
		w.exec(`DROP TRIGGER nolonglease`)
	}
	if w.lack == idleGoes {
		w.exec(`DROP TRIGGER noidleends`)
	}
	for slot := range w.procs {
		w.kill(slot)
	}
	w.stage.world = nil
}

// as runs something as a process: its writes are its own.
func (w *world) as(p *orchestrator, do func()) {
	before := w.runs
	w.runs = p
	defer func() { w.runs = before }()
	do()
}

// quietLog is a log that nobody reads.
var quietLog = slog.New(slog.DiscardHandler)
