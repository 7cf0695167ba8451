package queue_test

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// together calls do at the same time, as many times as asked, and returns how
// many calls ended without an error. Every other error must be a Conflict.
func (b *bench) together(times int, do func(n int) error) (won int) {
	b.Helper()
	errs := make([]error, times)
	var all sync.WaitGroup
	start := make(chan struct{})
	for n := range times {
		all.Go(func() { <-start; errs[n] = do(n) })
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			b.want(err, apigpu.Conflict)
		}
	}
	return won
}

func claimOnce(b *bench) {
	j := b.submit()
	other := queue.New(b.reopen(), b.clock.Now) // another process
	won := b.together(16, func(n int) error {
		q := []*queue.Queue{b.Queue, other}[n%2]
		_, err := q.Claim(b.Context(), j.ID, fmt.Sprintf("box-%d", n), 0)
		return err
	})
	got := b.is(j.ID, apigpu.Running)
	if won != 1 || got.Attempt != 1 {
		b.Errorf("%d of 16 claims won, attempt is %d", won, got.Attempt)
	}
	if got.RunningUntil != b.clock.Now().Add(runFor) || got.LeaseUntil != b.clock.Now().Add(queue.LeaseFor) || got.Owner == "" {
		b.Errorf("runs until %s, leased until %s by %q", got.RunningUntil, got.LeaseUntil, got.Owner)
	}
}

func slotIsUnique(b *bench) {
	var ids []string
	for range 8 {
		ids = append(ids, b.submit().ID)
	}
	won := b.together(8, func(n int) error {
		_, err := b.Claim(b.Context(), ids[n], "box", 0)
		return err
	})
	if won != 1 {
		b.Fatalf("%d jobs hold one slot", won)
	}
	jobs, err := b.List(b.Context(), queue.Filter{Status: apigpu.Running, Limit: 9})
	b.ok(err)
	b.complete(jobs[0])
	free := slices.IndexFunc(ids, func(id string) bool { return id != jobs[0].ID })
	if _, err := b.Claim(b.Context(), ids[free], "box", 0); err != nil {
		b.Errorf("the slot of an ended job is not free: %v", err)
	}
}

func claimRefuses(b *bench) {
	canceled, late, taken := b.submit(), b.submit(), b.running()
	_, err := b.Cancel(b.Context(), canceled.ID)
	b.ok(err)
	b.clock.Advance(waitFor)
	for _, id := range []string{canceled.ID, late.ID, taken.ID, "job_none"} {
		_, err := b.Claim(b.Context(), id, "other", 0)
		b.want(err, apigpu.Conflict)
	}
}

// writes are all that a driver may write.
func (b *bench) writes() map[string]func(queue.Lease) error {
	return map[string]func(queue.Lease) error{
		"heartbeat": func(l queue.Lease) error { return b.Heartbeat(b.Context(), l) },
		"release":   func(l queue.Lease) error { return b.Release(b.Context(), l) },
		"report": func(l queue.Lease) error {
			return b.Report(b.Context(), l, queue.Progress{Phase: apigpu.Rendering, Percent: 50})
		},
		"complete":  func(l queue.Lease) error { return b.Complete(b.Context(), l, outcome(l.JobID)) },
		"fail":      func(l queue.Lease) error { return b.Fail(b.Context(), l, why()) },
		"cancelled": func(l queue.Lease) error { return b.Cancelled(b.Context(), l) },
		"requeue": func(l queue.Lease) error {
			_, err := b.Requeue(b.Context(), l, queue.Setback{Why: why(), Blamed: true})
			return err
		},
	}
}

// fence: nothing from an old attempt or an old owner is accepted.
func fence(b *bench) {
	first := b.running()
	_, err := b.Requeue(b.Context(), first.Lease(), queue.Setback{Why: why()})
	b.ok(err)
	second := b.claim(first.ID)
	if second.Attempt != 2 || second.Owner == first.Owner {
		b.Fatalf("attempt %d, same owner %t", second.Attempt, second.Owner == first.Owner)
	}
	waiting := b.submit()
	ended := b.running()
	b.complete(ended)
	b.clock.Advance(time.Second)
	for name, l := range map[string]queue.Lease{
		"old lease":         first.Lease(),
		"old attempt":       {JobID: second.ID, Attempt: 1, Owner: second.Owner},
		"future attempt":    {JobID: second.ID, Attempt: 3, Owner: second.Owner},
		"other owner":       {JobID: second.ID, Attempt: 2, Owner: "somebody"},
		"no owner":          {JobID: second.ID, Attempt: 2},
		"a job that waits":  waiting.Lease(),
		"a job that ended":  ended.Lease(),
		"a job that is not": {JobID: "job_none", Attempt: 1, Owner: "o"},
	} {
		for what, write := range b.writes() {
			before, _ := b.Job(b.Context(), l.JobID)
			if err := write(l); apigpu.CodeOf(err) != apigpu.StaleAttempt {
				b.Errorf("%s with %s: %v, want stale_attempt", what, name, err)
			}
			after, _ := b.Job(b.Context(), l.JobID)
			if d := diff(before, after); d != "" {
				b.Errorf("%s with %s changed the job:\n%s", what, name, d)
			}
		}
	}
	b.complete(second)
}

func takeOver(b *bench) {
	j := b.running()
	_, err := b.TakeOver(b.Context(), j.ID)
	b.want(err, apigpu.Conflict)
	b.clock.Advance(queue.LeaseFor - time.Second)
	b.ok(b.Heartbeat(b.Context(), j.Lease()))
	b.clock.Advance(queue.LeaseFor - time.Millisecond)
	_, err = b.TakeOver(b.Context(), j.ID)
	b.want(err, apigpu.Conflict)
	b.clock.Advance(time.Millisecond)
	next, err := b.TakeOver(b.Context(), j.ID)
	b.ok(err)
	if next.Attempt != j.Attempt || next.Owner == j.Owner || next.Instance != j.Instance || next.RunningUntil != j.RunningUntil {
		b.Errorf("taken over as %+v", next.Lease())
	}
	b.want(b.Heartbeat(b.Context(), j.Lease()), apigpu.StaleAttempt)
	b.complete(next)
	_, err = b.TakeOver(b.Context(), j.ID)
	b.want(err, apigpu.Conflict)
}

func takeOverOnce(b *bench) {
	j := b.running()
	b.clock.Advance(queue.LeaseFor)
	other := queue.New(b.reopen(), b.clock.Now)
	won := b.together(16, func(n int) error {
		_, err := []*queue.Queue{b.Queue, other}[n%2].TakeOver(b.Context(), j.ID)
		return err
	})
	if won != 1 {
		b.Errorf("%d of 16 took over", won)
	}
}

func release(b *bench) {
	j := b.running()
	b.ok(b.Release(b.Context(), j.Lease()))
	next, err := b.TakeOver(b.Context(), j.ID)
	b.ok(err)
	if next.Attempt != 1 {
		b.Errorf("attempt is %d", next.Attempt)
	}
}

func report(b *bench) {
	j := b.running()
	for _, c := range []struct{ report, shown float64 }{
		{10, 10}, {40, 40}, {20, 40}, {nan(), 40}, {-5, 40}, {140, 100}, {50, 100},
	} {
		b.ok(b.Report(b.Context(), j.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: c.report}))
		if got := b.get(j.ID); got.Progress != c.shown || got.Phase != apigpu.Rendering {
			b.Errorf("after %v the progress is %v, %s", c.report, got.Progress, got.Phase)
		}
	}
	_, err := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why()})
	b.ok(err)
	j = b.claim(j.ID)
	if j.Progress != 0 || j.ETASeconds != nil {
		b.Errorf("a new attempt begins at %v", j.Progress)
	}
	b.clock.Advance(time.Minute)
	b.ok(b.Report(b.Context(), j.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 1}))
	if got := b.get(j.ID).ETASeconds; got != nil {
		b.Errorf("one percent is too little to judge by, and gave %v", *got)
	}
	b.ok(b.Report(b.Context(), j.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 25}))
	if got := b.get(j.ID).ETASeconds; got == nil || *got != 180 { // a minute a quarter
		b.Errorf("eta is %v, want 180", got)
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
