package fleet

import (
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// The rules. Their names begin with the number of the invariant in the design
// that they prove, or with 5.4-n where none of those says it.

const (
	// simSlack is what a process may need for what it does at its next look:
	// the lease of the one before it, one round of contact, and the longest
	// step between two rounds.
	simSlack = leaseFor + settleIn + 45*time.Second
	// simAdopt bounds, with simAdoptEach an instance, how long an instance of
	// ours may exist of which no live row knows.
	simAdopt, simAdoptEach = 2 * time.Minute, 3 * time.Second
	// simLag is how late the fake shows what exists.
	simLag = 20 * time.Second
)

// simJob is what is known of a job beside its row.
type simJob struct {
	takes     time.Duration // of work
	submitted time.Duration
	waited    time.Time // when it was last seen to wait, by the ledger's clock
	canceled  bool      // somebody asked for it
	late      bool      // it ran for longer than it may
	committed int       // results
	status    apigpu.Status
	attempt   int
	instance  string
	until     time.Time // when its run must be over, by the ledger's clock
	size      int64     // of its video, as far as was known beforehand
}

// history is what the rules remember.
type history struct {
	boots  map[string]time.Duration // label → a boot time of its own
	delays map[string]time.Duration // label → how much later it came to exist
	asked  map[string]int           // label → creates that were sent
	states map[string]gpu.State
	since  map[string]time.Duration // label → when it came into its state
	broke  map[string]time.Duration // provider id → when it was first seen not to run
	idle   map[string]time.Duration // label → since when it is ready and nobody needs it
	// calm is since when nothing disturbs: no call fails, and the same
	// processes run.
	calm      time.Duration
	epoch     int64 // the highest that anybody acted under
	creates   int
	readies   int
	restores  int
	jumped    bool // the clock was set, and nobody has moved the deadlines yet
	unnoticed bool // the clock was set, and nobody lived to tell
}

func newHistory() history {
	return history{
		boots: map[string]time.Duration{}, delays: map[string]time.Duration{}, asked: map[string]int{}, states: map[string]gpu.State{},
		since: map[string]time.Duration{}, idle: map[string]time.Duration{}, broke: map[string]time.Duration{},
	}
}

// disturbed notes that something goes wrong now: what is due within some time
// is due later.
func (w *world) disturbed() { w.history.calm = w.clock.Elapsed() }

// look reads the tables, where something was written, and holds them against
// the rules. It is called before any time passes, so that what is written is
// compared with the truth of that moment.
func (w *world) look() {
	if w.commits == w.seen || w.broken != "" {
		return
	}
	w.seen = w.commits
	var version int64
	if err := w.eyes.QueryRowContext(w.ctx, `PRAGMA data_version`).Scan(&version); err == nil && version == w.version {
		return // a transaction that wrote nothing
	}
	w.version = version
	rows, err := w.ledger()
	if err != nil {
		w.fault("database", "%v", err)
		return
	}
	w.rows = rows
	w.records()
	w.checkRows()
	w.checkJobs()
	w.checkMoney()
}

// selectEyes is what ledger reads.
const selectEyes = `SELECT label, state, reason, provider_id, address, deadline, hourly_usd, created_at, state_since, started_at,
	ready_at, ended_at, absent_since, lease_until, reserved_until, reserved_down, reserved_up, cost_usd, cost_state
	FROM instances ORDER BY created_at, label`

// ledger reads what the rules look at of each instance: a whole row takes long,
// and this happens after each write.
func (w *world) ledger() (out []Instance, err error) {
	rows, err := w.eyes.QueryContext(w.ctx, selectEyes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var in Instance
		var deadline, created, since, started, ready, ended, absent, lease, reserved int64
		if err := rows.Scan(&in.Label, &in.State, &in.Reason, &in.ProviderID, &in.Address, &deadline, &in.HourlyUSD, &created, &since, &started,
			&ready, &ended, &absent, &lease, &reserved, &in.ReservedDown, &in.ReservedUp, &in.CostUSD, &in.CostState); err != nil {
			return nil, err
		}
		in.Deadline, in.CreatedAt, in.StateSince, in.StartedAt, in.ReadyAt = at(deadline), at(created), at(since), at(started), at(ready)
		in.EndedAt, in.AbsentSince, in.LeaseUntil, in.ReservedUntil = at(ended), at(absent), at(lease), at(reserved)
		out = append(out, in)
	}
	return out, rows.Err()
}

// order of the states: an instance goes up only, but for a worker that can no
// longer encode.
var order = map[gpu.State]int{gpu.Planned: 1, gpu.Creating: 2, gpu.Booting: 3, gpu.Ready: 4, gpu.Destroying: 5, gpu.Gone: 6}

// checkRows holds the ledger against the provider's truth.
func (w *world) checkRows() {
	h, live := &w.history, 0
	for _, in := range w.rows {
		if in.State != gpu.Gone {
			live++
		}
		before := h.states[in.Label]
		if in.State == before {
			continue
		}
		h.states[in.Label], h.since[in.Label] = in.State, w.clock.Elapsed()
		if order[in.State] < order[before] && (before != gpu.Ready || in.State != gpu.Booting) {
			w.fault("states", "%s went from %s to %s", in.Label, before, in.State)
		}
		switch in.State {
		case gpu.Ready:
			h.readies++
		case gpu.Gone:
			for _, r := range w.truth {
				// One that starts later than the provider says it may
				// is not there yet, and will be a stray.
				if r.Label == in.Label && r.Exists(w.now()) && h.delays[in.Label] < time.Minute {
					w.fault("3 gone", "%s is called gone (%s), and %s exists", in.Label, in.Reason, r.ID)
				}
			}
		}
	}
	if most := simPolicy.MaxGPUs; live > most && h.restores == 0 {
		w.fault("5.4-9 caps", "%d instances in the ledger, at most %d are allowed", live, most)
	}
}

// checkJobs holds the jobs against what they were.
func (w *world) checkJobs() {
	rows, err := w.eyes.QueryContext(w.ctx, `SELECT id, status, attempt, COALESCE(instance, ''), COALESCE(running_until, 0),
		COALESCE(error LIKE '%"' || $1 || '"%', false) FROM jobs`, apigpu.BudgetExceeded)
	if err != nil {
		w.fault("database", "%v", err)
		return
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id, instance string
		var status apigpu.Status
		var attempt int
		var until int64
		var spent bool // it ended because of what it had cost
		if err := rows.Scan(&id, &status, &attempt, &instance, &until, &spent); err != nil {
			w.fault("database", "%v", err)
			return
		}
		n++
		if j := w.jobs[id]; j != nil {
			w.checkJob(id, j, status, attempt, spent && attempt > 0 && w.budget.Job > 0)
			if j.status == apigpu.Queued || status == apigpu.Queued {
				j.waited = w.clock.Now()
			}
			j.status, j.attempt, j.instance, j.until = status, attempt, instance, at(until)
		}
	}
	if n != len(w.jobs) {
		w.fault("10 jobs", "%d jobs were submitted and %d are there", len(w.jobs), n)
	}
}

// checkJob holds a job against what it was. A job fails when it ran for longer
// than it may, when ten attempts were to blame, and when it has spent its own
// budget: on a machine that died under it, say.
func (w *world) checkJob(id string, j *simJob, status apigpu.Status, attempt int, spent bool) {
	switch {
	case j.status.Final() && status != j.status:
		w.fault("9 one end", "job %s was %s and is %s", id, j.status, status)
	case attempt < j.attempt:
		w.fault("9 attempts", "attempt %d of job %s follows %d", attempt, id, j.attempt)
	case status == j.status:
	case status == apigpu.JobExpired && w.clock.Elapsed()-j.submitted < simWait-time.Minute && !w.history.unnoticed:
		w.fault("5.4-15 time", "job %s expired after %s", id, w.clock.Elapsed()-j.submitted)
	case status == apigpu.JobCanceled && !j.canceled:
		w.fault("9 one end", "job %s is canceled, and nobody asked", id)
	case status == apigpu.Failed && !j.late && !spent && attempt < 10:
		w.fault("10 jobs", "job %s failed at attempt %d", id, attempt)
	}
}

// completed notes that a result was accepted.
func (w *world) completed(id string, attempt int) {
	w.look()
	j := w.jobs[id]
	if j.committed++; j.committed > 1 || j.attempt != attempt {
		w.fault("9 one result", "job %s at attempt %d took the result of attempt %d, its number %d", id, j.attempt, attempt, j.committed)
	}
}

// row returns the row of a label in the tables as they were last read.
func (w *world) row(label string) (in Instance, ok bool) {
	n := slices.IndexFunc(w.rows, func(in Instance) bool { return in.Label == label })
	if n < 0 {
		return in, false
	}
	return w.rows[n], true
}

// checkCreate is at the provider's door, before a create takes effect.
func (w *world) checkCreate(p *orchestrator, req gpu.Request) {
	h := &w.history
	in, ok := w.row(req.Label)
	switch {
	case !ok || in.State != gpu.Creating && !p.woke:
		w.fault("1 intent", "%s is created, and its row is %q", req.Label, in.State)
	case !in.Deadline.After(p.steady.Now()) && !p.woke:
		w.fault("1 intent", "%s is created with a deadline that is over", req.Label)
	}
	if h.asked[req.Label]++; h.asked[req.Label] > 1 {
		w.fault("1 one create", "%s is created twice", req.Label)
	}
	if p.listFailed {
		w.fault("3 blind", "%s is created though the last listing failed", req.Label)
	}
	if w.full && !p.woke {
		w.fault("1 intent", "%s is created though the ledger takes no writes", req.Label)
	}
	waiting := 0
	for _, j := range w.jobs {
		// A call that is late was begun for a job that may have been canceled since.
		if j.status == apigpu.Queued || ok && !j.waited.Before(in.CreatedAt) {
			waiting++
		}
	}
	if waiting == 0 && !p.woke {
		w.fault("5.4-9 runaway", "%s is created, and no job waits", req.Label)
	}
	h.creates++
	if most := 2*(8+int(w.clock.Elapsed().Minutes())+8*h.readies) + 10*h.restores; h.creates > most {
		w.fault("5.4-9 runaway", "%d creates after %s", h.creates, w.clock.Elapsed())
	}
	w.checkReserve(p, req.Label)
	w.checkEpoch(p, "creates "+req.Label)
}

// checkEpoch: who acts is the latest that took the lease, or was suspended in
// the middle of it. On a ledger that takes no writes nobody can take it, and
// whoever finds it run out may ask for ends.
func (w *world) checkEpoch(p *orchestrator, what string) {
	p.mu.Lock()
	epoch := p.epoch
	p.mu.Unlock()
	if epoch < w.history.epoch && !p.woke && !w.full {
		w.fault("5.4-12 fence", "process %d of epoch %d %s, and epoch %d has acted", p.slot, epoch, what, w.history.epoch)
	}
	w.history.epoch = max(w.history.epoch, epoch)
}

// checkDestroy is at the provider's door, before a destroy takes effect.
func (w *world) checkDestroy(p *orchestrator, id string) {
	r, ok := w.record(id)
	switch {
	case !ok:
		w.fault("6 foreign", "%s is destroyed, which never was", id)
		return
	case !Ours(w.fleet.ID, r.Label):
		w.fault("6 foreign", "%s is destroyed, which is %q", id, r.Label)
		return
	}
	b := w.boxes[id]
	in, known := w.row(r.Label)
	if !known || in.State != gpu.Destroying && in.State != gpu.Gone {
		// An end that stands in the ledger is never taken back: whoever asks for it
		// decides nothing, though another has taken over between record and call.
		w.checkEpoch(p, "destroys "+r.Label)
	}
	if b == nil || !known || in.ProviderID != id || !b.runs(w) || w.now().Sub(b.silent) < simSlack || w.now().Sub(b.unfit) < simPolicy.BootTimeout {
		return
	}
	if refused := w.armed.mismatch; refused > 0 && w.clock.Elapsed()-refused < simSlack {
		return // nor does it answer us
	}
	for job, j := range w.jobs {
		held := b.work[job]
		if held != nil && j.status == apigpu.Running && j.instance == r.Label && held.attempt == j.attempt && !j.canceled && !w.history.unnoticed {
			w.fault("5.4-7 busy", "%s is destroyed (%s), and job %s runs there", r.Label, in.Reason, job)
		}
	}
}

// checkTimes holds what exists against the times within which something must
// have come of it.
func (w *world) checkTimes() {
	awake := slices.ContainsFunc(w.procs[:], func(p *orchestrator) bool { return p != nil && !p.dead && !p.inside })
	if !awake || w.full || w.outage() != nil || w.clock.Elapsed() < max(w.armed.listDownEnd, w.armed.blipEnd, w.armed.mismatch) ||
		len(w.armed.lists)+len(w.armed.destroys)+len(w.armed.slow) > 0 {
		w.disturbed()
	}
	calm := w.clock.Elapsed() - w.history.calm
	ours := 0
	for _, r := range w.truth {
		if !Ours(w.fleet.ID, r.Label) || !r.Exists(w.now()) {
			continue
		}
		ours++
		b := w.boxes[r.ID]
		if b != nil && r.Running && !w.now().Before(b.starts) && w.now().Sub(b.until) > 2*simRetry && w.clock.Elapsed()-w.armed.outageEnd > 2*simRetry {
			w.fault("5 lease", "%s lives %s after its lease", b, w.now().Sub(b.until))
		}
	}
	for _, r := range w.truth {
		if Ours(w.fleet.ID, r.Label) && r.Exists(w.now()) {
			w.checkBroken(r, calm)
			w.checkAge(r.ID, r.Label, min(calm, w.now().Sub(r.Created)), ours)
		}
	}
}

// checkBroken: what is listed and does not work goes at once.
func (w *world) checkBroken(r providertest.Record, calm time.Duration) {
	now := w.clock.Elapsed()
	first, ok := w.history.broke[r.ID]
	if !r.Running && !ok {
		w.history.broke[r.ID], first = now, now
	}
	in, known := w.row(r.Label)
	lasted := min(calm, now-first, w.now().Sub(r.Created)-simLag)
	if !r.Running && known && in.ProviderID == r.ID && order[in.State] < order[gpu.Destroying] && lasted > simSlack {
		w.fault("5.4-18 stopped", "%s does not work for %s and is %s", r.Label, lasted, in.State)
	}
}

// checkAge: calm is how long nothing has disturbed since the instance exists.
func (w *world) checkAge(id, label string, calm time.Duration, ours int) {
	in, ok := w.row(label)
	h, now := &w.history, w.clock.Elapsed()
	if !ok || in.State == gpu.Gone || in.ProviderID != id && in.ProviderID != "" {
		if calm > simLag+simAdopt+time.Duration(ours)*simAdoptEach {
			w.fault("4 adopt", "no live row knows %s (%s) after %s", id, label, calm)
		}
		return
	}
	lasted := min(calm, now-h.since[label])
	idle := in.State == gpu.Ready && !w.needed(label)
	if !idle {
		h.idle[label] = now
	}
	switch {
	case h.unnoticed: // deadlines may be an hour off, either way
	case in.State == gpu.Destroying && lasted > simSlack:
		w.fault("11 destroys", "%s exists %s after its end was decided", label, lasted)
	case in.State == gpu.Booting && lasted > simPolicy.BootTimeout+simSlack:
		w.fault("boot", "%s boots for %s", label, lasted)
	case idle && min(lasted, now-h.idle[label]) > simPolicy.IdleTimeout+simSlack:
		w.fault("idle", "%s is idle for %s", label, now-h.idle[label])
	}
}

// needed reports whether a job runs on an instance, or waits for any.
func (w *world) needed(label string) bool {
	for _, j := range w.jobs {
		if j.status == apigpu.Queued || j.status == apigpu.Running && j.instance == label {
			return true
		}
	}
	return false
}

// checkEnd is what holds once all has come right.
func (w *world) checkEnd() {
	for _, r := range w.truth {
		if !Ours(w.fleet.ID, r.Label) && !r.Ended.IsZero() {
			w.fault("6 foreign", "%s (%q) has ended", r.ID, r.Label)
		}
	}
	w.checkAccounts()
	for id, j := range w.jobs {
		if j.status == apigpu.Succeeded && j.committed == 0 && w.deaths+w.history.restores == 0 {
			w.fault("9 one result", "job %s succeeded without a result", id)
		}
	}
}
