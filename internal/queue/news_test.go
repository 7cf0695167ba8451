package queue_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

func revisionRises(b *bench) {
	j := b.submit()
	last := j.Revision
	rose := func(what string) {
		b.Helper()
		now := b.get(j.ID).Revision
		if now <= last {
			b.Errorf("%s: revision was %d, is %d", what, last, now)
		}
		last = now
	}
	b.ok(b.Note(b.Context(), "a worker is starting"))
	rose("note")
	run := b.claim(j.ID)
	rose("claim")
	b.ok(b.Report(b.Context(), run.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 5}))
	rose("report")
	b.clock.Advance(queue.LeaseFor)
	run, err := b.TakeOver(b.Context(), j.ID)
	b.ok(err)
	rose("take over")
	_, err = b.Requeue(b.Context(), run.Lease(), queue.Setback{Why: why()})
	b.ok(err)
	rose("requeue")
	run = b.claim(j.ID)
	rose("claim again")
	_, err = b.Cancel(b.Context(), j.ID)
	b.ok(err)
	rose("cancel")
	b.complete(run)
	rose("complete")
	b.clock.Advance(keepFor)
	_, err = b.Prune(b.Context())
	b.ok(err)
	rose("prune")
}

// waited is what a Wait brought, once it has returned.
func (b *bench) waited(q *queue.Queue, ctx context.Context, id string, after int64) <-chan queue.Job {
	out := make(chan queue.Job, 1)
	go func() {
		j, err := q.Wait(ctx, id, after)
		if err != nil {
			b.Errorf("wait: %v", err)
		}
		out <- j
	}()
	return out
}

// within returns what comes through ch before the time is over.
func within[T any](b *bench, d time.Duration, ch <-chan T) (v T) {
	b.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		b.Fatalf("nothing came within %s", d)
	}
	return v
}

func wait(b *bench) {
	j := b.submit()
	if got := within(b, time.Second, b.waited(b.Queue, b.Context(), j.ID, 0)); got.Revision != 1 {
		b.Errorf("revision is %d", got.Revision)
	}
	// Below the gap of the poll: only the news can be as fast. Two waiters,
	// and each wakes.
	one, two := b.waited(b.Queue, b.Context(), j.ID, 1), b.waited(b.Queue, b.Context(), j.ID, 1)
	b.claim(j.ID)
	for _, ch := range []<-chan queue.Job{one, two} {
		if got := within(b, 900*time.Millisecond, ch); got.Status != apigpu.Running {
			b.Errorf("woke with a job that is %s", got.Status)
		}
	}
	// The end of the waiting is no error.
	ctx, cancel := context.WithCancel(b.Context())
	still := b.waited(b.Queue, ctx, j.ID, 2)
	cancel()
	if got := within(b, time.Second, still); got.Status != apigpu.Running || got.Revision != 2 {
		b.Errorf("ended with a job that is %s", got.Status)
	}
	_, err := b.Wait(b.Context(), "job_none", 0)
	b.want(err, apigpu.JobNotFound)
}

func waitAcross(b *bench) {
	j := b.submit()
	other := queue.New(b.reopen(), b.clock.Now)
	waiting := b.waited(other, b.Context(), j.ID, 1)
	began := time.Now()
	b.claim(j.ID)
	if got := within(b, 5*time.Second, waiting); got.Status != apigpu.Running {
		b.Errorf("woke with a job that is %s", got.Status)
	}
	if took := time.Since(began); took > 1500*need.Slack*time.Millisecond {
		b.Errorf("another process knew after %s", took)
	}
}

// follows lets another process follow, and returns it.
func (b *bench) follows() *queue.Queue {
	other := queue.New(b.reopen(), b.clock.Now)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); other.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	b.Cleanup(func() { cancel(); <-done })
	return other
}

// follow: what one process changes wakes who waits in another, and what
// watches the queue there.
func follow(b *bench) {
	other := b.follows()
	poked := other.Watch()
	j := b.submit()
	within(b, 20*time.Second, poked)
	waiting := b.waited(other, b.Context(), j.ID, 1)
	b.claim(j.ID)
	if got := within(b, 20*time.Second, waiting); got.Status != apigpu.Running {
		b.Errorf("woke with a job that is %s", got.Status)
	}
	waiting = b.waited(other, b.Context(), j.ID, 2)
	b.ok(b.Report(b.Context(), b.get(j.ID).Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 5}))
	if got := within(b, 20*time.Second, waiting); got.Progress != 5 {
		b.Errorf("woke at %v %%", got.Progress)
	}
	waiting = b.waited(b.Queue, b.Context(), j.ID, b.get(j.ID).Revision)
	_, err := other.Cancel(b.Context(), j.ID) // and the other way, without Follow
	b.ok(err)
	if got := within(b, 20*time.Second, waiting); !got.CancelRequested {
		b.Error("woke without the cancel")
	}
}

// shift: the clock was set by an hour, and nothing is nearer to its end.
func shift(b *bench) {
	for n, by := range []time.Duration{time.Hour + waitFor, -time.Hour, queue.OnceFor + time.Hour} {
		waiting, run, ended := b.submit(), b.running(), b.running()
		b.complete(ended)
		ended = b.get(ended.ID)
		hooked := draft()
		hooked.WebhookURL = "https://receiver.example/"
		once := queue.Once{Key: fmt.Sprint("key ", n), Digest: "what is asked for"}
		called, _, err := b.SubmitOnce(b.Context(), hooked, once)
		b.ok(err)
		b.complete(b.claim(called.ID))
		b.clock.Advance(by)
		b.ok(b.db.Tx(b.Context(), func(tx *sql.Tx) error { return b.Shift(b.Context(), tx, by) }))
		b.ok(b.Expire(b.Context()))
		if got := b.is(waiting.ID, apigpu.Queued); got.WaitingUntil != waiting.WaitingUntil.Add(by) || got.CreatedAt != waiting.CreatedAt || got.Revision <= waiting.Revision {
			b.Errorf("the job that waits became %+v", got)
		}
		if got := b.is(run.ID, apigpu.Running); got.RunningUntil != run.RunningUntil.Add(by) || got.LeaseUntil != run.LeaseUntil.Add(by) || *got.StartedAt != run.StartedAt.Add(by) {
			b.Errorf("the job that runs became %+v", got)
		}
		_, err = b.TakeOver(b.Context(), run.ID)
		b.want(err, apigpu.Conflict)
		b.ok(b.Heartbeat(b.Context(), run.Lease()))
		if due, found, err := b.NextWebhook(b.Context(), nil); err != nil || !found || due.JobID != called.ID || due.Wait > 0 {
			b.Errorf("by %s: the webhook became %+v, %v", by, due, err)
		}
		d, err := b.ClaimWebhook(b.Context(), called.ID)
		b.ok(err)
		b.ok(b.RecordWebhook(b.Context(), d, queue.WebhookOutcome{Status: apigpu.WebhookDelivered}))
		if j, found, err := b.Repeated(b.Context(), hooked.Client, once); err != nil || !found || j.ID != called.ID {
			b.Errorf("by %s: the key is free: %v", by, err)
		}
		keys, err := b.Prune(b.Context())
		if b.ok(err); len(keys) != 0 {
			b.Errorf("by %s: results are pruned: %q", by, keys)
		}
		ended.ExpiresAt = ended.ExpiresAt.Add(by)
		if d := diff(ended, b.get(ended.ID)); d != "" {
			b.Errorf("a job that has ended changed:\n%s", d)
		}
		b.complete(run)
	}
}

// orphan: jobs that nobody drives are taken over without waiting.
func orphan(b *bench) {
	run, waiting := b.running(), b.submit()
	orphan := func(process string) {
		b.Helper()
		b.ok(b.db.Tx(b.Context(), func(tx *sql.Tx) error { return b.Orphan(b.Context(), tx, process) }))
	}
	orphan("another")
	_, err := b.TakeOver(b.Context(), run.ID)
	b.want(err, apigpu.Conflict)
	every := b.running()
	orphan(b.Process())
	orphan("")
	_, err = b.TakeOver(b.Context(), every.ID)
	b.ok(err)
	b.is(waiting.ID, apigpu.Queued)
	next, err := b.TakeOver(b.Context(), run.ID)
	b.ok(err)
	if next.Attempt != run.Attempt || next.Instance != run.Instance {
		b.Errorf("taken over as %+v", next.Lease())
	}
	b.want(b.Heartbeat(b.Context(), run.Lease()), apigpu.StaleAttempt)
}

func final(b *bench) {
	j := b.running()
	out := make(chan queue.Job, 1)
	go func() {
		got, err := b.Final(b.Context(), j.ID)
		if err != nil {
			b.Errorf("final: %v", err)
		}
		out <- got
	}()
	b.ok(b.Report(b.Context(), j.Lease(), queue.Progress{Phase: apigpu.Uploading, Percent: 90}))
	b.complete(j)
	if got := within(b, 5*time.Second, out); got.Status != apigpu.Succeeded {
		b.Errorf("final is %s", got.Status)
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	got, err := b.Final(ctx, b.submit().ID)
	if err != nil || got.Status != apigpu.Queued {
		b.Errorf("at the end of ctx: %s, %v", got.Status, err)
	}
}

// watch: decisions wake the watchers, progress and heartbeats do not.
func watch(b *bench) {
	poked := b.Watch()
	expect := func(what string, want bool) {
		b.Helper()
		got := false
		select { // a change has poked before it returned
		case <-poked:
			got = true
		default:
		}
		if got != want {
			b.Errorf("%s: poked %t, want %t", what, got, want)
		}
	}
	j := b.submit()
	expect("submit", true)
	run := b.claim(j.ID)
	expect("claim", true)
	b.ok(b.Heartbeat(b.Context(), run.Lease()))
	expect("heartbeat", false)
	b.ok(b.Report(b.Context(), run.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 5}))
	expect("report", false)
	b.want(b.Fail(b.Context(), queue.Lease{JobID: j.ID}, why()), apigpu.StaleAttempt)
	expect("a stale write", false)
	b.ok(b.Note(b.Context(), "nobody waits"))
	expect("a note to nobody", false)
	_, err := b.Cancel(b.Context(), j.ID)
	b.ok(err)
	expect("cancel", true)
	b.ok(b.Release(b.Context(), run.Lease()))
	expect("release", true)
	run, err = b.TakeOver(b.Context(), j.ID)
	b.ok(err)
	expect("take over", true)
	b.complete(run)
	expect("complete", true)
}
