package queue_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// modelJob is all that the rules of a job depend on.
type modelJob struct {
	status       apigpu.Status
	lease        queue.Lease
	leaseUntil   time.Time
	waitingUntil time.Time
	started      time.Time
	slot         int
	blamed       int
	cancel       bool
}

// model drives a queue at random and says beforehand what must come of it.
type model struct {
	q      *queue.Queue
	clock  *providertest.Clock
	read   queue.Reader
	box    string
	jobs   map[string]*modelJob
	ids    []string
	leases []queue.Lease // all that were ever given
}

// TestModel: whatever happens in whatever order, nothing from an old lease is
// accepted, a slot holds one running job, and what has ended stays as it
// ended.
func TestModel(t *testing.T) {
	for name, e := range dbtest.Engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := providertest.NewClock(noon)
			d := e(t)()
			q := queue.New(d, clock.Now)
			run := 0
			rapid.Check(t, func(t *rapid.T) {
				run++
				m := &model{q: q, read: d.Read(), clock: clock, box: fmt.Sprintf("box-%d", run), jobs: map[string]*modelJob{}}
				t.Repeat(map[string]func(*rapid.T){
					"submit": m.submit, "claim": m.claim, "take over": m.takeOver, "cancel": m.cancel, "expire": m.expire,
					"heartbeat": m.heartbeat, "report": m.report, "complete": m.complete, "fail": m.fail,
					"cancelled": m.cancelled, "requeue": m.requeue, "time": m.time, "": m.check,
				})
			})
		})
	}
}

func (m *model) job(t *rapid.T) (string, *modelJob) {
	if len(m.ids) == 0 {
		t.Skip("no job yet")
	}
	id := rapid.SampledFrom(m.ids).Draw(t, "job")
	return id, m.jobs[id]
}

// held draws any lease there ever was, and the job it may still hold.
func (m *model) held(t *rapid.T) (queue.Lease, *modelJob) {
	if len(m.leases) == 0 {
		t.Skip("no lease yet")
	}
	l := rapid.SampledFrom(m.leases).Draw(t, "lease")
	if j := m.jobs[l.JobID]; j.status == apigpu.Running && j.lease == l {
		return l, j
	}
	return l, nil
}

func want(t *rapid.T, err error, allowed bool, refusal apigpu.Code) {
	if allowed {
		refusal = ""
	}
	if apigpu.CodeOf(err) != refusal {
		t.Fatalf("error is %v, want code %q", err, refusal)
	}
}

func (m *model) submit(t *rapid.T) {
	j, err := m.q.Submit(t.Context(), draft())
	want(t, err, true, "")
	m.ids = append(m.ids, j.ID)
	m.jobs[j.ID] = &modelJob{status: apigpu.Queued, waitingUntil: m.clock.Now().Add(waitFor)}
}

func (m *model) claim(t *rapid.T) {
	id, j := m.job(t)
	slot := rapid.IntRange(0, 1).Draw(t, "slot")
	free := true
	for _, other := range m.jobs {
		free = free && (other.status != apigpu.Running || other.slot != slot)
	}
	got, err := m.q.Claim(t.Context(), id, m.box, slot)
	allowed := free && j.status == apigpu.Queued && j.waitingUntil.After(m.clock.Now())
	want(t, err, allowed, apigpu.Conflict)
	if !allowed {
		return
	}
	if got.Attempt != j.lease.Attempt+1 {
		t.Fatalf("attempt %d follows %d", got.Attempt, j.lease.Attempt)
	}
	j.status, j.slot, j.started = apigpu.Running, slot, m.clock.Now()
	m.grant(j, got)
}

func (m *model) grant(j *modelJob, got queue.Job) {
	j.lease, j.leaseUntil = got.Lease(), m.clock.Now().Add(queue.LeaseFor)
	m.leases = append(m.leases, j.lease)
}

func (m *model) takeOver(t *rapid.T) {
	id, j := m.job(t)
	got, err := m.q.TakeOver(t.Context(), id)
	allowed := j.status == apigpu.Running && !j.leaseUntil.After(m.clock.Now())
	want(t, err, allowed, apigpu.Conflict)
	if allowed {
		m.grant(j, got)
	}
}

func (m *model) heartbeat(t *rapid.T) {
	l, j := m.held(t)
	want(t, m.q.Heartbeat(t.Context(), l), j != nil, apigpu.StaleAttempt)
	if j != nil {
		j.leaseUntil = m.clock.Now().Add(queue.LeaseFor)
	}
}

func (m *model) report(t *rapid.T) {
	l, j := m.held(t)
	percent := rapid.Float64Range(0, 100).Draw(t, "percent")
	want(t, m.q.Report(t.Context(), l, queue.Progress{Phase: apigpu.Rendering, Percent: percent}), j != nil, apigpu.StaleAttempt)
}

func (m *model) complete(t *rapid.T) {
	l, j := m.held(t)
	m.end(t, m.q.Complete(t.Context(), l, outcome(l.JobID)), j, apigpu.Succeeded)
}

func (m *model) fail(t *rapid.T) {
	l, j := m.held(t)
	m.end(t, m.q.Fail(t.Context(), l, why()), j, apigpu.Failed)
}

func (m *model) cancelled(t *rapid.T) {
	l, j := m.held(t)
	m.end(t, m.q.Cancelled(t.Context(), l), j, apigpu.JobCanceled)
}

func (m *model) end(t *rapid.T, err error, j *modelJob, s apigpu.Status) {
	want(t, err, j != nil, apigpu.StaleAttempt)
	if j != nil {
		j.status = s
	}
}

func (m *model) requeue(t *rapid.T) {
	l, j := m.held(t)
	blamed := rapid.Bool().Draw(t, "blamed")
	_, err := m.q.Requeue(t.Context(), l, queue.Setback{Why: why(), Blamed: blamed})
	want(t, err, j != nil, apigpu.StaleAttempt)
	if j == nil {
		return
	}
	if blamed {
		j.blamed++
	}
	switch {
	case j.cancel:
		j.status = apigpu.JobCanceled
	case j.blamed >= 3 || l.Attempt >= 10:
		j.status = apigpu.Failed
	default:
		j.status = apigpu.Queued
		j.waitingUntil = j.waitingUntil.Add(m.clock.Now().Sub(j.started))
	}
}

func (m *model) cancel(t *rapid.T) {
	id, j := m.job(t)
	_, err := m.q.Cancel(t.Context(), id)
	want(t, err, !j.status.Final(), apigpu.Conflict)
	j.cancel = true
	if j.status == apigpu.Queued {
		j.status = apigpu.JobCanceled
	}
}

func (m *model) expire(t *rapid.T) {
	want(t, m.q.Expire(t.Context()), true, "")
	for _, j := range m.jobs {
		if j.status == apigpu.Queued && !j.waitingUntil.After(m.clock.Now()) {
			j.status = apigpu.JobExpired
		}
	}
}

func (m *model) time(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Second, queue.LeaseFor, waitFor / 3}).Draw(t, "later")
	m.clock.Advance(d)
}

// check compares every job with the model.
func (m *model) check(t *rapid.T) {
	for _, id := range m.ids {
		got, err := m.q.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := m.jobs[id]
		if got.Status != want.status || got.Attempt != want.lease.Attempt || !got.WaitingUntil.Equal(want.waitingUntil) {
			t.Fatalf("job is %s, attempt %d, waits until %s; want %s, %d, %s",
				got.Status, got.Attempt, got.WaitingUntil, want.status, want.lease.Attempt, want.waitingUntil)
		}
		m.checkAttempts(t, id, got)
		if got.Status == apigpu.Running && got.Lease() != want.lease {
			t.Fatalf("driven under %v, want %v", got.Lease(), want.lease)
		}
	}
}
