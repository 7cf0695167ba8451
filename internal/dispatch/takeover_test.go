package dispatch

import (
	"context"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A process that is killed hands nothing back: its lease runs out, and the
// next goes on with the same attempt on the same worker.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	job := b.submit(nil)
	claimed, err := b.queue.Claim(t.Context(), job.ID, b.instance(), 0) // by the process that dies
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.fleet.Client(t.Context(), claimed.Instance)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assign(t.Context(), job.ID, assignment(claimed, []byte(subtitle), false, false, time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.shift.Add(int64(queue.LeaseFor))
	taken := b.until(job.ID, func(j queue.Job) bool { return j.Owner != claimed.Owner })
	b.worker.letGo()
	j := b.final(job.ID)
	b.wantResult(j)
	if j.Attempt != 1 || taken.Attempt != 1 {
		t.Errorf("attempt %d", j.Attempt)
	}
	if err := b.queue.Complete(t.Context(), claimed.Lease(), queue.Outcome{}); apigpu.CodeOf(err) != apigpu.StaleAttempt {
		t.Errorf("the dead process completes too: %v", err)
	}
	b.worker.set(func() {
		if len(b.worker.assignments) != 1 {
			t.Errorf("it was assigned %d times", len(b.worker.assignments))
		}
	})
}

// A job that ended well on its worker while the orchestrator was away, past its
// running deadline, is brought home and not failed.
func TestTakeOverAfterDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	job := b.submit(func(d *queue.Draft) { d.RunFor = time.Second })
	claimed, err := b.queue.Claim(t.Context(), job.ID, b.instance(), 0) // by the process that dies
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.fleet.Client(t.Context(), claimed.Instance)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assign(t.Context(), job.ID, assignment(claimed, []byte(subtitle), false, false, time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.shift.Add(int64(2 * queue.LeaseFor))
	b.start()
	b.wantResult(b.final(job.ID))
}

// A cancel that nobody was alive to hear is heard after the take-over.
func TestTakeOverOfCanceled(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	job := b.submit(nil)
	if _, err := b.queue.Claim(t.Context(), job.ID, b.instance(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.queue.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	b.worker.onRequest(times(math.MaxInt, "GET", "/jobs/"+job.ID, problem(apigpu.Unavailable)))
	b.shift.Add(int64(queue.LeaseFor))
	b.start()
	if j := b.final(job.ID); j.Status != apigpu.JobCanceled {
		t.Errorf("%s %v", j.Status, j.Error)
	}
}

func TestTakeOverOfLost(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	job := b.submit(nil)
	if _, err := b.queue.Claim(t.Context(), job.ID, b.instance(), 0); err != nil { // and dies before it tells the worker
		t.Fatal(err)
	}
	b.shift.Add(int64(queue.LeaseFor))
	b.start()
	j := b.final(job.ID)
	b.wantResult(j)
	if j.Attempt != 2 || j.Blamed != 0 {
		t.Errorf("attempt %d, blamed %d", j.Attempt, j.Blamed)
	}
}

func TestShutdownHandsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	stop := b.start()
	job := b.submit(nil)
	running := b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
	stop()
	j, err := b.queue.Job(t.Context(), job.ID)
	if err != nil || j.Status != apigpu.Running || j.LeaseUntil.After(b.now()) || j.Owner != running.Owner {
		t.Fatalf("%s, lease until %s: %v", j.Status, j.LeaseUntil, err)
	}
	b.worker.set(func() {
		if slices.Contains(b.worker.requests, "POST /jobs/"+job.ID+"/cancel") || slices.Contains(b.worker.requests, "DELETE /jobs/"+job.ID) {
			t.Error("the job was ended on the worker")
		}
	})
	b.start() // the next process, at once
	b.until(job.ID, func(j queue.Job) bool { return j.Owner != running.Owner })
	b.worker.letGo()
	done := b.final(job.ID)
	b.wantResult(done)
	if done.Attempt != 1 {
		t.Errorf("attempt %d", done.Attempt)
	}
}

// When the end cannot be recorded, the worker must keep what it has.
func TestStaleDriverLeavesWorkerAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.set(func() { b.worker.hold = true })
	b.start()
	job := b.submit(nil)
	b.until(job.ID, func(j queue.Job) bool { return j.Progress > 0 })
	old, err := b.queue.Job(t.Context(), job.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.shift.Add(int64(2 * queue.LeaseFor)) // the dispatcher takes over from itself
	b.until(job.ID, func(j queue.Job) bool { return j.Owner != old.Owner })
	b.worker.letGo()
	j := b.final(job.ID)
	b.wantResult(j)
	if j.Attempt != 1 {
		t.Errorf("attempt %d", j.Attempt)
	}
}

// A machine that loses every attempt is not given the next at once.
func TestRestBetweenLostAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.onEnd(func(apigpu.Assignment) *apigpu.Error {
		return apigpu.E(apigpu.Unavailable, nil, "The worker was stopped.")
	})
	b.start()
	job := b.submit(nil)
	first := b.until(job.ID, func(j queue.Job) bool { return j.Attempt == 1 && j.Status == apigpu.Queued })
	began := time.Now()
	b.until(job.ID, func(j queue.Job) bool { return j.Attempt == 2 })
	if rested := time.Since(began); rested < restMin/2 || first.Blamed != 0 {
		t.Errorf("it rested for %s, blamed %d", rested, first.Blamed)
	}
}

func TestStopDoesNotWaitForAHungWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	hung := make(chan struct{})
	t.Cleanup(func() { close(hung) })
	b.worker.onRequest(times(math.MaxInt, "PUT", "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lease" {
			httpLease(w)
			return
		}
		<-hung
	}))
	stop := b.start()
	job := b.submit(nil)
	b.until(job.ID, func(j queue.Job) bool { return j.Status == apigpu.Running })
	began := time.Now()
	stop()
	if took := time.Since(began); took > callTimeout*2/3 {
		t.Errorf("it took %s", took)
	}
	if j, err := b.queue.Job(context.WithoutCancel(t.Context()), job.ID); err != nil || j.Status != apigpu.Running || j.LeaseUntil.After(b.now()) {
		t.Errorf("%s until %s: %v", j.Status, j.LeaseUntil, err)
	}
}
