package fleet

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// mutant names a safety that a world lacks, to see which rule that breaks. No
// switch in the program serves it: each is taken away where the program meets
// the world.
type mutant string

const (
	nothingLacks   mutant = ""
	intent         mutant = "intent row"            // no row of a new instance is kept
	blindRetry     mutant = "no blind retry"        // a create without an answer is sent again
	completeRule   mutant = "complete-listing rule" // every listing is said to be complete
	listingLag     mutant = "listing lag"           // what is missing at once is believed
	absenceGap     mutant = "two listings apart"    // two listings a moment apart are believed
	fence          mutant = "fencing by epoch"      // who believes to hold the lease, holds it
	deadMansSwitch mutant = "dead man's switch"     // no worker ends itself
	foreignRule    mutant = "labels of others"      // every label reads as ours
	budgetGate     mutant = "budget gate"           // no process is told of a budget
	renewReserve   mutant = "reserve of a renewal"  // no row keeps how long a renewal lets a worker live
	leaveReserve   mutant = "reserve of a stop"     // no row keeps how long a stop lets a worker live
	idleGoes       mutant = "end of what is idle"   // no row keeps that a stop ends it
	runReserve     mutant = "reserve of a run"      // jobs are claimed past the ledger
)

// noLeaseNoted keeps rows from saying how long a renewal lets a worker live.
const noLeaseNoted = `CREATE TRIGGER nolease AFTER UPDATE ON instances WHEN NEW.lease_until > OLD.lease_until BEGIN
	UPDATE instances SET lease_until = OLD.lease_until, reserved_until = OLD.reserved_until WHERE label = NEW.label; END`

// noLongLeaseNoted does the same where that is longer than a renewal ever lets it.
var noLongLeaseNoted = fmt.Sprintf(`CREATE TRIGGER nolonglease AFTER UPDATE ON instances WHEN NEW.lease_until > OLD.lease_until + %d AND OLD.state = 'ready' BEGIN
	UPDATE instances SET lease_until = OLD.lease_until, reserved_until = OLD.reserved_until WHERE label = NEW.label; END`, simPolicy.Lease.Milliseconds())

// noIdleEnds takes back that a stop ends what is idle.
const noIdleEnds = `CREATE TRIGGER noidleends AFTER UPDATE ON instances WHEN NEW.state = 'destroying' AND NEW.reason LIKE '%stops%' BEGIN
	UPDATE instances SET state = OLD.state, reason = OLD.reason WHERE label = NEW.label; END`

// unfence gives the lease to a process that believes to have it.
func (p *orchestrator) unfence() {
	p.mu.Lock()
	epoch := p.epoch
	p.mu.Unlock()
	if p.w.lack == fence && epoch != 0 && !p.dead {
		p.w.as(nil, func() {
			p.w.exec(`UPDATE fleet SET epoch = $1, holder = $2, lease_until = $3`, epoch, p.holder, millis(p.steady.Now().Add(leaseFor)))
		})
	}
}

func (w *world) exec(statement string, args ...any) {
	before := w.runs
	w.runs = nil
	defer func() { w.runs = before }()
	err := w.db.Tx(w.ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	})
	if err != nil {
		w.fault("database", "%s: %v", statement, err)
	}
}

// mutants are the safeties, each with a schedule in which it is needed, and the
// rule that is broken without it.
var mutants = map[mutant]struct {
	events []happening
	rule   string
}{
	intent:         {[]happening{{what: "submit", after: 20 * time.Second, step: time.Second}}, "1 intent"},
	blindRetry:     {[]happening{{what: "create", n: 1}, {what: "submit", after: 20 * time.Second, step: time.Second}}, "1 one create"},
	completeRule:   {append(jobRuns(2*time.Minute), happening{what: "list", n: 8}, happening{what: "list", n: 8, after: time.Minute, step: 5 * time.Second}), "3 gone"},
	listingLag:     {jobRuns(time.Minute), "3 gone"},
	absenceGap:     {append(jobRuns(2*time.Minute), happening{what: "blip", after: 20 * time.Second, step: time.Second}), "3 gone"},
	deadMansSwitch: {append(jobRuns(2*time.Minute), happening{what: "away", d: time.Hour, after: 10 * time.Minute, step: 30 * time.Second}), "5 lease"},
	foreignRule:    {[]happening{{what: "foreign", after: time.Minute, step: 5 * time.Second}}, "6 foreign"},
	budgetGate:     {append([]happening{{what: "opening", n: 2}}, jobRuns(time.Minute)...), "7 budget"},
	renewReserve:   {jobRuns(5 * time.Minute), "7 lease"},
	leaveReserve:   {append(jobRuns(time.Minute), happening{what: "stop", n: 4, d: 5 * time.Minute, after: time.Minute, step: 5 * time.Second}), "7 lease"},
	idleGoes:       {[]happening{{what: "submit", after: 40 * time.Second, step: 5 * time.Second}, {what: "stop", n: 4, d: time.Minute}}, "5 left"},
	runReserve:     {jobRuns(time.Minute), "7 run"},
}

// jobRuns is a schedule in which a job has run for some time.
func jobRuns(d time.Duration) []happening {
	return []happening{{what: "submit", d: 5 * time.Minute, after: d, step: 5 * time.Second}}
}

// TestMutants takes one safety away at a time, and wants the rule broken that
// stands for it; and none broken by the same schedule while it is there.
func TestMutants(t *testing.T) {
	t.Parallel()
	s := newStage(t, false)
	for lack, m := range mutants {
		if w := s.play(nothingLacks, m.events, nil); w.broken != "" {
			t.Errorf("with everything: %s\n%s", w.broken, w.story)
		}
		if w := s.play(lack, m.events, nil); !strings.HasPrefix(w.broken, m.rule+" ") {
			t.Errorf("without %s rule %q is not broken; broken is %q", lack, m.rule, w.broken)
		}
	}
}

// TestMutantFence suspends the process that rents at one point after another,
// until another has taken over. It must find that out when it goes on; without
// the fence it rents beside it when the next job comes.
func TestMutantFence(t *testing.T) {
	t.Parallel()
	s := newStage(t, false)
	bites, each := 0, 1
	if raced || os.Getenv("STRICT") != "1" {
		each = 8
	}
	for n := 0; n < 40; n += each {
		events := []happening{
			{what: "submit"}, {what: "second"}, {what: "suspend", n: n, d: 2 * time.Minute, after: 4 * time.Minute, step: 5 * time.Second},
			{what: "submit", after: 10 * time.Second, step: time.Second},
		}
		if w := s.play(nothingLacks, events, nil); w.broken != "" {
			t.Errorf("with the fence, suspended at point %d: %s\n%s", n, w.broken, w.story)
		}
		if w := s.play(fence, events, nil); strings.HasPrefix(w.broken, "5.4-12 fence ") {
			bites++
		}
	}
	if bites == 0 {
		t.Error("without the fence no rule is broken")
	}
	t.Logf("broken at %d of %d points", bites, 40/each)
}
