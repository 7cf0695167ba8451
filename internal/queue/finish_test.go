package queue_test

import (
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func (b *bench) complete(j queue.Job) {
	b.Helper()
	b.ok(b.Complete(b.Context(), j.Lease(), outcome(j.ID)))
}

func requeue(b *bench) {
	j := b.running()
	b.ok(b.Report(b.Context(), j.Lease(), queue.Progress{Phase: apigpu.Rendering, Percent: 50}))
	got, err := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why(), Push: true})
	b.ok(err)
	if got.Status != apigpu.Queued || got.Phase != apigpu.WaitingGPU || got.PhaseNote != "The machine went away." || got.Progress != 0 ||
		got.StartedAt != nil || got.Owner != "" || got.Instance != "" || got.Error != nil || !got.Push || got.Blamed != 0 || got.Attempt != 1 {
		b.Errorf("requeued as %+v", got)
	}
	j = b.claim(j.ID)
	got, err = b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why(), Blamed: true})
	b.ok(err)
	if !got.Push || got.Blamed != 1 {
		b.Errorf("push %t, blamed %d; want true, 1", got.Push, got.Blamed)
	}
}

// refuse: a job that waits fails, and no other does.
func refuse(b *bench) {
	j := b.submit()
	if ok, err := b.Refuse(b.Context(), j.ID, why()); !ok || err != nil {
		b.Fatal(ok, err)
	}
	if got := b.get(j.ID); got.Status != apigpu.Failed || got.Error == nil || got.Error.Code != why().Code || got.FinishedAt == nil || got.ExpiresAt.IsZero() {
		b.Errorf("refused as %+v", got)
	}
	for _, id := range []string{j.ID, b.running().ID, "none"} {
		if ok, err := b.Refuse(b.Context(), id, why()); ok || err != nil {
			b.Errorf("%s: %t, %v", id, ok, err)
		}
	}
}

func requeueLimits(b *bench) {
	for _, c := range []struct {
		blamed bool
		last   int
	}{{true, 3}, {false, 10}} {
		j := b.submit()
		for n := 1; n <= c.last; n++ {
			run := b.claim(j.ID)
			got, err := b.Requeue(b.Context(), run.Lease(), queue.Setback{Why: why(), Blamed: c.blamed})
			b.ok(err)
			want := apigpu.Queued
			if n == c.last {
				want = apigpu.Failed
			}
			if got.Status != want || got.Attempt != n {
				b.Fatalf("blamed %t: after attempt %d the job is %s", c.blamed, got.Attempt, got.Status)
			}
		}
		if got := b.get(j.ID); got.Error == nil || got.Error.Code != apigpu.GPULost || got.FinishedAt == nil {
			b.Errorf("failed with %v", got.Error)
		}
	}
}

// requeueAfterCancel: a job that was asked to end and whose machine is lost
// has ended. It would wait for ever: nobody may claim it.
func requeueAfterCancel(b *bench) {
	j := b.running()
	_, err := b.Cancel(b.Context(), j.ID)
	b.ok(err)
	got, err := b.Requeue(b.Context(), j.Lease(), queue.Setback{Why: why(), Blamed: true})
	b.ok(err)
	if got.Status != apigpu.JobCanceled || got.Phase != apigpu.Done || got.Error == nil || got.Error.Code != apigpu.Canceled ||
		got.FinishedAt == nil || !got.ExpiresAt.Equal(b.clock.Now().Add(keepFor)) {
		b.Errorf("requeued as %s, %v", got.Status, got.Error)
	}
}

// waitingStandsStill: a job that lost its machine has as much waiting left as
// before it ran.
func waitingStandsStill(b *bench) {
	j := b.submit()
	b.clock.Advance(waitFor - time.Minute)
	run := b.claim(j.ID)
	b.clock.Advance(5 * time.Minute)
	got, err := b.Requeue(b.Context(), run.Lease(), queue.Setback{Why: why()})
	b.ok(err)
	left := got.WaitingUntil.Sub(b.clock.Now())
	if left > time.Minute || left < 59*time.Second {
		b.Errorf("%s of waiting left, want a minute", left)
	}
	b.ok(b.Expire(b.Context()))
	b.is(j.ID, apigpu.Queued)
}

func cancel(b *bench) {
	waiting := b.submit()
	got, err := b.Cancel(b.Context(), waiting.ID)
	b.ok(err)
	if got.Status != apigpu.JobCanceled || got.Error == nil || got.FinishedAt == nil || !got.ExpiresAt.Equal(b.clock.Now().Add(keepFor)) {
		b.Errorf("a queued job became %+v", got)
	}
	run := b.running()
	got, err = b.Cancel(b.Context(), run.ID)
	b.ok(err)
	if got.Status != apigpu.Running || !got.CancelRequested || got.Lease() != run.Lease() || got.FinishedAt != nil {
		b.Errorf("a running job became %+v", got)
	}
	if _, err = b.Cancel(b.Context(), run.ID); err != nil {
		b.Errorf("asking twice: %v", err)
	}
	b.ok(b.Cancelled(b.Context(), run.Lease()))
	b.is(run.ID, apigpu.JobCanceled)
	done := b.running()
	b.complete(done)
	for _, id := range []string{waiting.ID, run.ID, done.ID} {
		before := b.get(id)
		_, err := b.Cancel(b.Context(), id)
		b.want(err, apigpu.Conflict)
		if d := diff(before, b.get(id)); d != "" {
			b.Errorf("canceling a job that has ended changed it:\n%s", d)
		}
	}
	_, err = b.Cancel(b.Context(), "job_none")
	b.want(err, apigpu.JobNotFound)
}

func expire(b *bench) {
	run, waiting := b.running(), b.submit()
	until := waiting.WaitingUntil
	b.clock.Advance(until.Sub(b.clock.Now()) - time.Millisecond)
	b.ok(b.Expire(b.Context()))
	b.is(waiting.ID, apigpu.Queued)
	b.clock.Advance(time.Millisecond)
	b.ok(b.Expire(b.Context()))
	got := b.is(waiting.ID, apigpu.JobExpired)
	if got.Error == nil || got.Error.Code != apigpu.QueueExpired || !got.FinishedAt.Equal(until) {
		b.Errorf("expired with %v at %v", got.Error, got.FinishedAt)
	}
	b.clock.Advance(365 * 24 * time.Hour)
	b.ok(b.Expire(b.Context()))
	b.is(run.ID, apigpu.Running)
}

func complete(b *bench) {
	j := b.submit(func(d *queue.Draft) {
		d.Warnings = []apigpu.Warning{{Code: "mended"}, {Code: "late", Message: "foretold"}}
	})
	b.clock.Advance(2 * time.Second)
	run := b.claim(j.ID)
	b.clock.Advance(time.Minute)
	b.complete(run)
	got := b.is(j.ID, apigpu.Succeeded)
	if got.Progress != 100 || got.Phase != apigpu.Done || got.Video == nil || got.Video.Bytes != 7 || got.Result != "results/"+j.ID ||
		got.Stats.QueueMS != 2001 || len(got.Warnings) != 2 || got.Error != nil || got.Owner != "" || got.Instance != "" {
		b.Errorf("completed as %+v", got)
	}
	if !got.FinishedAt.Equal(b.clock.Now()) || !got.ExpiresAt.Equal(b.clock.Now().Add(keepFor)) || got.LinkUntil != j.LinkUntil {
		b.Errorf("finished %v, expires %v, link until %v", got.FinishedAt, got.ExpiresAt, got.LinkUntil)
	}
}

func deleteEnded(b *bench) {
	waiting, run := b.submit(), b.running()
	for _, id := range []string{waiting.ID, run.ID} {
		_, err := b.Delete(b.Context(), id)
		b.want(err, apigpu.Conflict)
	}
	b.complete(run)
	got, err := b.Delete(b.Context(), run.ID)
	if err != nil || got.Result != "results/"+run.ID {
		b.Errorf("deleted %q, %v", got.Result, err)
	}
	for range 2 {
		_, err = b.Delete(b.Context(), run.ID)
		b.want(err, apigpu.JobNotFound)
	}
}

func prune(b *bench) {
	upload := func(key string) func(*queue.Draft) { return func(d *queue.Draft) { d.Upload = key } }
	run, waiting := b.claim(b.submit(upload("up/1")).ID), b.submit(upload("up/2"))
	expect := func(pruned, kept []string) {
		b.Helper()
		keys, err := b.Prune(b.Context())
		b.ok(err)
		slices.Sort(keys)
		if !slices.Equal(keys, pruned) {
			b.Errorf("pruned %q, want %q", keys, pruned)
		}
		files, err := b.Files(b.Context())
		b.ok(err)
		if len(files) != len(kept) || slices.ContainsFunc(kept, func(k string) bool { return !files[k] }) {
			b.Errorf("kept %v, want %q", files, kept)
		}
	}
	expect(nil, []string{"up/1", "up/2"})
	b.complete(run)
	result := "results/" + run.ID
	expect([]string{"up/1"}, []string{result, "up/2"})
	b.clock.Advance(keepFor - time.Millisecond)
	expect(nil, []string{result, "up/2"})
	b.clock.Advance(time.Millisecond)
	expect([]string{result}, []string{"up/2"})
	if got := b.is(run.ID, apigpu.Succeeded); got.Result != "" || got.Video == nil {
		b.Errorf("after its end the result is %q", got.Result)
	}
	b.clock.Advance(31 * 24 * time.Hour)
	expect(nil, []string{"up/2"})
	_, err := b.Job(b.Context(), run.ID)
	b.want(err, apigpu.JobNotFound)
	b.is(waiting.ID, apigpu.Queued)
}
