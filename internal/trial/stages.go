package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// boot watches until the worker has proven an encoder, or the fleet's own
// rules give it up.
func (r *runner) boot(ctx context.Context) error {
	for {
		if err := r.look(ctx); err != nil {
			return err
		}
		row := r.trial.Row
		switch {
		case row.State == gpu.Gone:
			return errors.New("it is gone before it was ready")
		case row.Address != "":
			r.renew(ctx)
		}
		if r.trial.Row.State == gpu.Ready {
			return nil
		}
		if r.seen.GivenUp = r.trial.GivenUp(r.cfg.Now()); r.seen.GivenUp != "" {
			r.say("Given up: %s.", r.seen.GivenUp)
			return fmt.Errorf("the machine did not become ready: %s", r.seen.GivenUp)
		}
		if !pause.For(ctx, lookGap) {
			return ctx.Err()
		}
	}
}

// renew renews the lease, and notes what the worker says of itself.
func (r *runner) renew(ctx context.Context) {
	if r.client == nil || r.seen.Heard == 0 { // its address may have changed
		if r.client != nil {
			r.client.Close()
		}
		var err error
		if r.client, err = r.trial.Client(); err != nil {
			r.client = nil
			r.seen.Unfit = err.Error()
			return
		}
	}
	sent := r.cfg.Now()
	reply, err := r.trial.Renew(ctx, r.client, r.cfg.Now)
	if err != nil {
		// It may have been heard all the same.
		if r.seen.Heard > 0 {
			r.seen.Renewed, r.seen.Lease = r.since(sent), r.cfg.Policy.Lease
		}
		return
	}
	now := r.cfg.Now()
	r.seen.Renewed, r.seen.Lease = r.since(sent), r.cfg.Policy.Lease
	if r.once(&r.seen.Heard, now) {
		r.say("Its worker answers, with the key of the link: version %s.", reply.Worker.Version)
	}
	r.seen.Encoder, r.seen.GPU, r.seen.Unfit = reply.Worker.Encoder, reply.Worker.GPU, reply.Reason
	if r.trial.Row.State == gpu.Ready && r.once(&r.seen.Ready, now) {
		r.say("Its encoder is proven: %s%s.", reply.Worker.Encoder, on(reply.Worker))
	}
}

func on(w apigpu.WorkerInfo) string {
	if w.GPU == "" {
		return ""
	}
	return " on " + w.GPU
}

// work has a job done on the machine, and renews its lease until then. That
// the job fails ends no trial: how the machine ends is still to be seen.
func (r *runner) work(ctx context.Context, within time.Duration) error {
	r.say("A job: a clip of %s is captioned there.", clipLength)
	r.job.JobID, r.job.Number, r.job.StartedAt, r.job.Down = jobID, 1, r.cfg.Now(), int64(len(clip))
	call, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	type outcome struct {
		moved int64
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		moved, err := caption(call, r.client, r.cfg.Policy.RequireGPU, within)
		done <- outcome{moved, err}
	}()
	renew := time.NewTicker(r.cfg.Policy.Lease / 4)
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			r.renew(ctx)
		case end := <-done:
			now := r.cfg.Now()
			r.job.EndedAt, r.job.Up = now, end.moved
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case end.err != nil:
				r.seen.JobFault = end.err.Error()
				r.say("The job failed: %v.", end.err)
			default:
				r.once(&r.seen.Done, now)
				r.say("The job is done: the result is here, and is right.")
			}
			return nil
		}
	}
}

// end renews the lease no more, and watches whether the machine ends itself.
func (r *runner) end(ctx context.Context) error {
	over := r.trial.Row.LeaseUntil
	// It asks its provider first, and listings are late.
	deadline := over.Add(r.cfg.Overtime)
	r.say("Its lease is renewed no more: it must end itself in %s.", over.Sub(r.cfg.Now()).Round(time.Second))
	for {
		if err := r.look(ctx); err != nil {
			return err
		}
		now := r.cfg.Now()
		switch {
		case r.seen.Gone > 0 && r.seen.EndedItself():
			r.say("It has ended itself.")
			return nil
		case r.seen.Gone > 0:
			return errors.New("the machine was gone before its lease had run out: somebody else ended it, so nothing is proven")
		case r.seen.Absent == 0 && now.After(deadline) && len(r.seen.After) == 0:
			return fmt.Errorf("nobody can say whether the machine ended itself: no listing came whole in %s after its lease", r.cfg.Overtime)
		case r.seen.Absent == 0 && now.After(deadline):
			r.say("It does not end itself.")
			return fmt.Errorf("the machine did not end itself: %s after its lease it was still listed, as %s", r.cfg.Overtime, words(r.seen.After))
		case now.After(deadline.Add(proofTime)):
			return errors.New("the machine is listed no more, but that it ended itself is not proven: no second listing came whole")
		}
		if !pause.For(ctx, lookGap) {
			return ctx.Err()
		}
	}
}

// cleanUp ends what is rented, and proves it. What names an id is ended
// without waiting for a listing.
func (r *runner) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	r.say("Ending what was rented.")
	if r.seen.Gone == 0 { // else it is about its twins
		r.seen.Destroyed = true
		if id := r.trial.Row.ProviderID; id != "" {
			r.destroy(ctx, id)
		}
	}
	if err := r.cfg.Sweep(ctx); err != nil {
		r.seen.Refused = err.Error()
		return err
	}
	r.report.At = r.cfg.Now()
	r.once(&r.seen.Gone, r.report.At)
	return nil
}

func (r *runner) destroy(ctx context.Context, id string) {
	for range destroyTries {
		call, cancel := context.WithTimeout(ctx, fleet.DestroyTimeout)
		err := r.cfg.Market.Destroy(call, id)
		cancel()
		limited, often := errors.AsType[gpu.RateLimited](err)
		switch {
		case err == nil:
			r.seen.Refused = ""
			r.trial.Row.EndedAt = r.cfg.Now()
			r.say("The end of %s was accepted.", id)
			return
		case !often:
			limited.After = time.Second
		}
		r.seen.Refused = err.Error()
		r.say("The end of %s was not accepted: %v.", id, err)
		if !pause.For(ctx, limited.After) {
			return
		}
	}
}

// bill waits for what the account was charged: until the bill reaches the end
// of the machine, or for as long as there is patience.
func (r *runner) bill(ctx context.Context) {
	if r.cfg.Bills <= 0 || ctx.Err() != nil {
		return
	}
	r.say("Waiting for the bill, at most %s.", r.cfg.Bills)
	until := r.cfg.Now().Add(r.cfg.Bills)
	for {
		call, cancel := context.WithDeadline(ctx, until)
		charges, err := r.cfg.Market.Charges(call, r.began, r.cfg.Now())
		cancel()
		if err != nil {
			r.seen.ChargeFault = err.Error()
		}
		if err != nil && (errors.Is(err, gpu.ErrAuth) || ctx.Err() != nil) {
			return
		}
		for _, c := range charges {
			if c.InstanceID == r.trial.Row.ProviderID {
				r.seen.Charge, r.seen.Pulled = &c, r.trial.Pulled(c.Down, r.job)
			}
		}
		end := r.trial.Row.EndedAt
		if c := r.seen.Charge; c != nil && !end.IsZero() && !c.Until.Before(end.Add(-time.Minute)) {
			return
		}
		if r.cfg.Now().Add(billGap).After(until) || !pause.For(ctx, billGap) {
			return
		}
	}
}
