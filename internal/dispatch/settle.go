package dispatch

import (
	"context"
	"errors"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Verdict is what follows for a job from how its attempt ended.
type Verdict string

// The verdicts.
const (
	Complete Verdict = "complete" // it is done
	Cancel   Verdict = "cancel"   // somebody asked for its end
	Fail     Verdict = "fail"     // trying again would not help
	Requeue  Verdict = "requeue"  // it runs again
	Release  Verdict = "release"  // the next process goes on with it
	Leave    Verdict = "leave"    // another drives it
)

// Judge decides what follows from the error of an attempt. pushed tells that
// the video travelled through the orchestrator. It is pure: Setback and the
// error for the user are part of its answer.
func Judge(err error, pushed bool) (Verdict, queue.Setback) {
	e := apigpu.AsError(err)
	switch {
	case err == nil:
		return Complete, queue.Setback{}
	case errors.Is(err, errStale), e.Code == apigpu.StaleAttempt:
		return Leave, queue.Setback{}
	case errors.Is(err, errCancel):
		return Cancel, queue.Setback{}
	case errors.Is(err, errDeadline):
		return Fail, queue.Setback{Why: apigpu.E(apigpu.JobTimeout, err, "The job ran longer than it may.").
			WithHint("Send a shorter video, or raise JOB_TIMEOUT.")}
	case errors.Is(err, errBudget):
		return Fail, queue.Setback{Why: overBudget(err)}
	case errors.Is(err, context.Canceled): // the process is told to stop
		return Release, queue.Setback{}
	case errors.Is(err, client.ErrForeign): // its message names the address of the machine
		return Requeue, queue.Setback{Why: apigpu.E(apigpu.GPULost, err, "The machine does not answer us.")}
	case errors.Is(err, errOurs):
		return Requeue, queue.Setback{Why: apigpu.E(apigpu.Internal, err, "Something went wrong on our side.")}
	}
	switch e.Code {
	case apigpu.SourceUnreachable, apigpu.BlockedAddress:
		if !pushed { // the worker could not reach it: perhaps we can
			return Requeue, queue.Setback{Why: e, Push: true}
		}
		return Fail, queue.Setback{Why: e}
	case apigpu.GPULost, apigpu.ResultLost, apigpu.StorageFull: // the machine's fault, or its disk's
		return Requeue, queue.Setback{Why: e}
	case apigpu.Unavailable, apigpu.QueueExpired, apigpu.NotFound, apigpu.RateLimited:
		// The message may name the address of the machine.
		return Requeue, queue.Setback{Why: apigpu.E(apigpu.GPULost, err, "The machine went away, or took no job.")}
	case apigpu.Unauthorized, apigpu.Forbidden, apigpu.InvalidSession, apigpu.AddressNotAllowed:
		// Between us and the worker: nothing that the user asked for.
		return Requeue, queue.Setback{Why: apigpu.E(apigpu.GPULost, err, "The machine does not answer us.")}
	case apigpu.Canceled: // the worker was stopped: not what the user asked for
		return Requeue, queue.Setback{Why: apigpu.E(apigpu.GPULost, err, "The worker stopped the job.")}
	case apigpu.Internal, apigpu.EncoderFailed, apigpu.RenderStalled, apigpu.NoEncoder:
		return Requeue, queue.Setback{Why: e, Blamed: true}
	}
	return Fail, queue.Setback{Why: e}
}

// overBudget is why a job fails that ran for as long as its budget pays.
func overBudget(cause error) *apigpu.Error {
	return apigpu.E(apigpu.BudgetExceeded, cause, "The job ran for as long as the budget of one job pays for.").
		WithHint("Send a shorter video. Its operator can raise BUDGET_JOB_USD.")
}

// settle records what became of the attempt, then frees the worker of it.
func (d *driver) settle(ctx context.Context, worker *client.Client, outcome queue.Outcome, runErr error) error {
	verdict, setback := Judge(runErr, d.push())
	if verdict == Fail && setback.Why.Code == apigpu.JobTimeout && d.cut() { // the worker was faster than our own clock
		setback.Why = overBudget(runErr)
	}
	d.log.InfoContext(ctx, "attempt ended", "verdict", string(verdict), "error", runErr)
	crash.Point("dispatch.settle")
	if verdict == Cancel || verdict == Fail {
		d.cancelOnWorker(ctx, worker)
		crash.Point("dispatch.settle.canceled")
	}
	var err error
	switch verdict {
	case Complete:
		d.rests.work(d.job.Instance)
		outcome.Down, outcome.Cost = d.pushed, d.cost(ctx)
		err = d.cfg.Queue.Complete(ctx, d.lease, outcome)
	case Cancel:
		err = d.cfg.Queue.Cancelled(ctx, d.lease)
	case Fail:
		err = d.cfg.Queue.Fail(ctx, d.lease, setback.Why)
	case Requeue:
		setback.Room = d.size
		return d.requeue(ctx, worker, setback)
	case Release:
		return d.cfg.Queue.Release(ctx, d.lease)
	case Leave:
		return nil
	}
	if err != nil {
		// Not recorded: whoever takes over needs what the worker has. Or
		// another has taken over already, and uses it.
		return err
	}
	if verdict != Complete {
		if err := d.cfg.Fleet.ShowCost(ctx, d.job.ID); err != nil { // it is written again when its machine is gone
			d.log.WarnContext(ctx, "cost not shown yet", "error", err)
		}
	}
	d.forgetOnWorker(ctx, worker)
	crash.Point("dispatch.settle.forgotten")
	return d.cfg.Blob.DeletePartials(ctx, d.partialKey())
}

// cost is what the job cost so far. A job does not fail for want of it: it is
// written again when its machine is gone.
func (d *driver) cost(ctx context.Context) queue.Cost {
	cost, err := d.cfg.Fleet.CostOf(ctx, d.job, d.size)
	if err != nil {
		d.log.WarnContext(ctx, "cost not known yet", "error", err)
		return queue.Cost{}
	}
	return cost
}

// requeue frees the worker first: the next attempt may reach the same worker
// the moment it is recorded, and a late delete would end it.
func (d *driver) requeue(ctx context.Context, worker *client.Client, s queue.Setback) error {
	if !s.Blamed && !s.Push {
		d.rests.lose(d.job.Instance, d.cfg.Now())
	}
	if err := d.cfg.Queue.Heartbeat(ctx, d.lease); err != nil {
		return err // it may be another's by now: then the worker's copy is too
	}
	d.forgetOnWorker(ctx, worker)
	crash.Point("dispatch.requeue.forgotten")
	_, err := d.cfg.Queue.Requeue(ctx, d.lease, s)
	return errors.Join(err, d.cfg.Blob.DeletePartials(ctx, d.partialKey()))
}

// cancelOnWorker stops FFmpeg there. A worker that does not answer has its
// own deadline, and its lease.
func (d *driver) cancelOnWorker(ctx context.Context, worker *client.Client) {
	if worker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	_, err := worker.Cancel(ctx, d.job.ID)
	switch apigpu.CodeOf(err) {
	case "", apigpu.Conflict, apigpu.JobNotFound: // it does not run there
	default:
		d.log.WarnContext(ctx, "cancel did not reach the worker", "error", err)
	}
}

// forgetOnWorker removes the job and its files there. A worker that keeps
// them loses only room: each job there has an end of its own.
func (d *driver) forgetOnWorker(ctx context.Context, worker *client.Client) {
	if worker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	err := worker.Delete(ctx, d.job.ID)
	if err != nil && apigpu.CodeOf(err) != apigpu.JobNotFound {
		d.log.DebugContext(ctx, "job not removed from the worker", "error", err)
	}
}
