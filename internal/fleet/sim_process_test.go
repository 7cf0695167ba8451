package fleet

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/queue"
)

var errDead = errors.New("this process is dead")

// Times of the driving of jobs: those of package dispatch.
const (
	driveBeat    = 5 * time.Second
	driveFresh   = 20 * time.Second
	driveRestMax = time.Minute
)

// orchestrator is one process: a fleet, and the driving of the jobs.
//
// Its death is one of everything that it does: from that moment on no write of
// it takes effect and no call of it goes out, and what it still computes is
// forgotten with it.
type orchestrator struct {
	*Fleet
	w      *world
	slot   int
	q      *queue.Queue
	steady *db.Clock

	dead   bool
	inside bool          // a round of it is under way, and perhaps suspended
	began  time.Duration // of that round
	points int           // passed so far: writes and calls
	dieAt  int           // the point at which it dies; 0 is none
	// stopAt is the point at which it is suspended, for stopFor.
	stopAt  int
	stopFor time.Duration
	woke    bool // it was suspended, and has not called the provider since
	leaving bool // it stops, and keeps what is rented

	listFailed bool // its last listing
	started    time.Duration
	contacts   []func() // that have begun
	late       int      // rounds in which they last until the next call of the provider
	drives     []*drive
	rests      map[string]rested
	billed     time.Duration // when it last looked for bills
}

type rested struct {
	lost  int
	until time.Duration
}

// drive is one attempt of one job, as a driver sees it.
type drive struct {
	job      queue.Job
	attached bool
	assigned bool
	began    time.Duration
	heard    time.Duration // when the worker last answered
	beat     time.Duration
}

// start begins a process in a slot.
func (w *world) start(slot int) *orchestrator {
	p := &orchestrator{w: w, slot: slot, started: w.clock.Elapsed(), rests: map[string]rested{}}
	p.steady = db.NewClock(w.clock.Now, w.clock.Elapsed)
	p.q = queue.New(w.db, p.steady.Now)
	policy := simPolicy
	policy.Traits, policy.Budget = w.traits(), w.budgetTold()
	p.Fleet = New(Config{
		DB: w.db, Queue: p.q, Provider: liar{w, p}, Policy: policy, Identity: w.fleet, Log: quietLog,
		LeaveLease: simLeave, Clock: p.steady, Transport: http.RoundTripper(wire{w, p}),
	})
	p.spawn = func(contact func()) { p.contacts = append(p.contacts, contact) }
	w.procs[slot] = p
	w.disturbed()
	w.logf("%8s process %d starts", w.clock.Elapsed(), slot)
	return p
}

// bury forgets a dead process.
func (w *world) bury(slot int) {
	if p := w.procs[slot]; p != nil && !p.inside {
		p.forget(nil)
		w.procs[slot] = nil
	}
}

// kill ends a process now.
func (w *world) kill(slot int) {
	if p := w.procs[slot]; p != nil {
		p.die()
		w.bury(slot)
	}
}

func (p *orchestrator) die() {
	if !p.dead {
		p.dead = true
		p.w.deaths++
		if p.w.away > 0 {
			p.w.armed.restart[p.slot] = p.w.clock.Elapsed() + p.w.away
		}
		p.w.history.unnoticed = p.w.history.unnoticed || p.w.history.jumped
		p.w.disturbed()
		p.w.logf("%8s process %d dies at point %d", p.w.clock.Elapsed(), p.slot, p.points)
	}
}

// point is a moment at which the process may die, or be suspended.
func (p *orchestrator) point() error {
	if p.dead {
		return errDead
	}
	p.points++
	p.w.peak = max(p.w.peak, p.points)
	if p.points == p.dieAt {
		p.die()
		return errDead
	}
	if p.stopAt > 0 && p.points >= p.stopAt {
		p.stopAt = 0
		p.suspend()
	}
	return nil
}

// suspend lets the world go on without the process, which is in the middle of
// something.
func (p *orchestrator) suspend() {
	w := p.w
	w.suspended++
	w.logf("%8s process %d is suspended", w.clock.Elapsed(), p.slot)
	w.disturbed()
	w.as(nil, func() { w.live(p.stopFor, 5*time.Second) })
	p.unfence()
	w.disturbed()
	p.woke = true
	w.logf("%8s process %d goes on", w.clock.Elapsed(), p.slot)
}

// atWrite is a point before or after a commit. Before it the process may not be
// suspended: it has locked the database.
func (p *orchestrator) atWrite(committed bool) error {
	switch {
	case p.dead:
		return errDead
	case committed:
		p.woke = false // whoever can commit holds the lease
		return p.point()
	}
	p.points++
	if p.points == p.dieAt {
		p.die()
		return errDead
	}
	return nil
}

// waits is a call that takes long, during which Run goes on to tend.
func (p *orchestrator) waits(d time.Duration) {
	const step = 5 * time.Second
	for ; d > step && !p.dead; d -= step {
		p.w.pass(step)
		if leading, err := p.hold(p.w.ctx); err == nil && leading {
			if rows, err := p.Fleet.live(p.w.ctx); err == nil {
				p.contactAll(p.w.ctx, rows)
			}
		}
		p.speak()
	}
	p.w.pass(max(0, d))
}

// round is what a process does when it wakes: a round of the fleet, its
// contacts, and one of the driving.
func (p *orchestrator) round() {
	if p.w.clock.Elapsed()-p.began >= leaseFor {
		p.w.disturbed() // it was away, and judges nobody by that time
	}
	p.inside, p.began = true, p.w.clock.Elapsed()
	defer func() { p.inside = false }()
	p.w.as(p, func() {
		p.unfence()
		if err := p.Tick(p.w.ctx); err != nil {
			p.w.logf("%8s process %d: %v", p.w.clock.Elapsed(), p.slot, err)
		}
		if p.late--; p.late < 0 {
			p.speak()
		}
		p.tendBill()
		if !p.dead {
			p.driveAll()
		}
		if !p.dead && p.MayDrive() {
			p.dispatch()
		}
	})
	p.woke = false
	if !p.dead && p.Leading() && p.Steady() {
		p.w.history.jumped = false // all deadlines are moved
	}
	if p.dead {
		p.inside = false
		p.w.bury(p.slot)
	}
}

// speak lets the contacts happen that have begun.
func (p *orchestrator) speak() {
	for len(p.contacts) > 0 {
		next := p.contacts[0]
		p.contacts = p.contacts[1:]
		next()
	}
}

// dispatch takes over what nobody drives, and starts what can be started.
func (p *orchestrator) dispatch() {
	ctx, w := p.w.ctx, p.w
	if !p.Steady() || !w.busy() {
		return
	}
	running, err := p.q.Running(ctx)
	if err != nil {
		return
	}
	for _, j := range running {
		if j.LeaseUntil.After(p.steady.Now()) || p.dead {
			continue
		}
		taken, err := p.q.TakeOver(ctx, j.ID)
		if err == nil {
			w.takenOver++
			p.begin(taken, true)
		}
	}
	if w.clock.Elapsed()-p.started >= settleIn {
		_ = p.q.Expire(ctx)
	}
	p.fill()
}

// busy reports whether any job is open.
func (w *world) busy() bool {
	w.look()
	for _, j := range w.jobs {
		if !j.status.Final() {
			return true
		}
	}
	return false
}

// fill gives free slots to the jobs that have waited longest.
func (p *orchestrator) fill() {
	ctx, w := p.w.ctx, p.w
	free, err := p.Slots(ctx)
	if err != nil || len(free) == 0 {
		return
	}
	free = slices.DeleteFunc(free, func(s Slot) bool { return p.rests[s.Instance].until > w.clock.Elapsed() })
	next, err := p.q.Next(ctx, len(free)+4)
	if err != nil {
		return
	}
	for !p.dead {
		assigned := Assign(next, free, p.steady.Now())
		if len(assigned) == 0 {
			return
		}
		for _, a := range assigned {
			next = slices.DeleteFunc(next, func(j queue.Job) bool { return j.ID == a.JobID })
			j, err := p.claim(a)
			if apigpu.CodeOf(err) == apigpu.BudgetExceeded {
				w.purse.refused++
				continue // another may cost less
			}
			free = slices.DeleteFunc(free, func(s Slot) bool { return s == a.Slot })
			if err == nil {
				w.checkJobBudget(p, j)
				p.begin(j, false)
			}
		}
	}
}

// claim is past the ledger where that safety is missing.
func (p *orchestrator) claim(a Assignment) (queue.Job, error) {
	if p.w.lack == runReserve {
		return p.q.Claim(p.w.ctx, a.JobID, a.Slot.Instance, a.Slot.Number)
	}
	return p.Claim(p.w.ctx, a)
}

func (p *orchestrator) begin(j queue.Job, attached bool) {
	now := p.w.clock.Elapsed()
	p.w.logf("%8s process %d drives %s, attempt %d on %s, attached %t", now, p.slot, j.ID, j.Attempt, j.Instance, attached)
	p.drives = append(p.drives, &drive{job: j, attached: attached, began: now, heard: now})
}

func (p *orchestrator) driveAll() {
	p.drives = slices.DeleteFunc(p.drives, func(d *drive) bool { return !p.dead && !p.goesOn(d) })
}

// goesOn is what a driver does now, and reports whether it goes on.
func (p *orchestrator) goesOn(d *drive) bool {
	w, ctx, lease := p.w, p.w.ctx, d.job.Lease()
	row, err := p.q.Job(ctx, lease.JobID)
	switch {
	case apigpu.CodeOf(err) == apigpu.JobNotFound, err == nil && (row.Lease() != lease || row.Status != apigpu.Running):
		return false // another drives it
	case err != nil:
		return true
	}
	if _, err := p.Client(ctx, row.Instance); apigpu.CodeOf(err) == apigpu.GPULost {
		return p.lost(d)
	}
	b := w.reach(w.addressOf(row.Instance))
	if row.CancelRequested {
		if b != nil {
			delete(b.work, lease.JobID)
		}
		if p.q.Cancelled(ctx, lease) == nil {
			_ = p.ShowCost(ctx, lease.JobID)
		}
		return false
	}
	if w.clock.Elapsed()-d.began > d.job.RunningUntil.Sub(*d.job.StartedAt) { // less than RunFor where a budget cuts it
		if b != nil {
			delete(b.work, lease.JobID)
		}
		w.jobs[lease.JobID].late = true
		if p.q.Fail(ctx, lease, apigpu.E(apigpu.JobTimeout, nil, "The job ran longer than it may.")) == nil {
			_ = p.ShowCost(ctx, lease.JobID)
		}
		return false
	}
	if b != nil {
		if over := p.meet(d, b); over {
			return false
		}
	}
	now := w.clock.Elapsed()
	if now-d.beat >= driveBeat && now-d.heard <= driveFresh {
		d.beat = now
		if err := p.q.Heartbeat(ctx, lease); apigpu.CodeOf(err) == apigpu.StaleAttempt {
			return false
		}
	}
	return true
}

// meet is a driver that reaches the worker. It reports whether that was its end.
func (p *orchestrator) meet(d *drive, b *box) (over bool) {
	w, id, attempt := p.w, d.job.ID, d.job.Attempt
	if p.point() != nil {
		return false
	}
	d.heard = w.clock.Elapsed()
	held := b.work[id]
	switch {
	case !d.attached && !d.assigned:
		switch {
		case held != nil && held.attempt > attempt:
			return true // StaleAttempt: it is left to whoever has that
		case held == nil && len(b.work) > 0: // its one slot is taken
			return !p.lost(d)
		case held == nil || held.attempt < attempt:
			b.work[id] = &work{attempt, w.now().Add(w.jobs[id].takes)}
			b.down += w.jobs[id].download()
		}
		d.assigned = true
	case held == nil, held.attempt != attempt:
		return !p.lost(d)
	case !w.now().Before(held.done):
		b.up += simResult
		cost, _ := p.CostOf(w.ctx, d.job, simResult)
		if p.point() != nil {
			return true
		}
		out := queue.Outcome{Result: "results/" + id, Video: apigpu.Video{Bytes: simResult}, Down: w.jobs[id].size, Cost: cost}
		if err := p.q.Complete(w.ctx, d.job.Lease(), out); err == nil {
			w.completed(id, attempt)
			delete(b.work, id)
		}
		return true // where it was not recorded, whoever takes over goes on
	}
	return false
}

// lost puts a job back whose machine is gone, or does not have it.
func (p *orchestrator) lost(d *drive) (goesOn bool) {
	w, lease := p.w, d.job.Lease()
	r := p.rests[d.job.Instance]
	r.lost++
	r.until = w.clock.Elapsed() + min(driveRestMax, time.Second<<min(r.lost-1, 10))
	p.rests[d.job.Instance] = r
	if p.q.Heartbeat(w.ctx, lease) != nil {
		return false
	}
	if b := w.reach(w.addressOf(d.job.Instance)); b != nil {
		delete(b.work, lease.JobID)
	}
	_, _ = p.q.Requeue(w.ctx, lease, queue.Setback{Why: apigpu.E(apigpu.GPULost, nil, "The machine is gone.")})
	return false
}

// addressOf is the address of an instance by the ledger.
func (w *world) addressOf(label string) string {
	w.look()
	n := slices.IndexFunc(w.rows, func(in Instance) bool { return in.Label == label })
	if n < 0 {
		return ""
	}
	return w.rows[n].Address
}
