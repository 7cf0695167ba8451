package fleet

import (
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// stop ends a process in good order: it hands its jobs back, and the lease. With
// n of 4 and more it keeps what is rented, as Run does by SHUTDOWN=keep. It comes
// back after d; with n of 9 only when all that it left has ended.
func (w *world) stop(e happening) {
	slot, away := e.n%2, e.d
	p := w.procs[slot]
	if p == nil || p.inside {
		return
	}
	p.inside = true // no round of it meanwhile
	w.as(p, func() {
		for _, d := range p.drives {
			_ = p.q.Release(w.ctx, d.job.Lease())
		}
		if e.n >= 4 {
			p.leave()
		}
		_ = p.release(w.ctx)
	})
	p.inside = false
	w.kill(slot)
	if e.n == 9 {
		away += 2 * simLeave
	}
	w.armed.restart[slot] = w.clock.Elapsed() + away
}

// leave is what goes does where what is rented is kept, one after another.
func (p *orchestrator) leave() {
	w := p.w
	p.speak() // as Run waits for its contacts
	if p.dead || !p.Leading() {
		return
	}
	p.leaving, p.woke = true, false
	began := w.clock.Elapsed()
	err := p.leaveAll(w.ctx)
	p.speak()
	if err != nil {
		w.logf("%8s process %d leaves: %v", w.clock.Elapsed(), p.slot, err)
	}
	if err == nil && !p.dead && !p.woke && !w.full && p.Leading() && w.clock.Elapsed()-began < leaseFor/2 {
		w.checkLeft()
	}
}

// checkTTL: a worker gets the usual lease, and a longer one only from who stops,
// for a job that runs there.
func (w *world) checkTTL(p *orchestrator, b *box, ttl time.Duration) {
	w.look()
	switch {
	case ttl <= simPolicy.Lease:
	case ttl > simLeave, !p.leaving:
		w.fault("5 lease", "%s was granted %s", b.label, ttl)
	case !w.works(b.label) && !p.woke:
		w.fault("5 lease", "%s was granted %s, and no job runs there", b.label, ttl)
	default:
		w.keptBusy++
	}
}

// checkLeft: who keeps what is rented and stops has ended what is idle.
func (w *world) checkLeft() {
	w.look()
	for _, j := range w.jobs {
		if j.status == apigpu.Queued {
			return // for which all may stay
		}
	}
	for _, in := range w.rows {
		if in.State == gpu.Ready && !w.works(in.Label) {
			w.fault("5 left", "%s is left, and no job runs there", in.Label)
		}
	}
}

// works reports whether a job runs on an instance, by the ledger.
func (w *world) works(label string) bool {
	for _, j := range w.jobs {
		if j.status == apigpu.Running && j.instance == label {
			return true
		}
	}
	return false
}
