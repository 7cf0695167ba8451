package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Times of one driver.
const (
	heartbeat = 5 * time.Second
	// answerFresh is how old the worker's last authenticated answer may be
	// while the job's lease is still renewed.
	answerFresh = 20 * time.Second
	callTimeout = 15 * time.Second
	// fontTimeout bounds the transfer of one font: 20 MB at 350 kB a second.
	fontTimeout   = time.Minute
	settleTimeout = 15 * time.Second
	cancelTimeout = 5 * time.Second
	retryMin      = 200 * time.Millisecond
	retryMax      = 5 * time.Second
)

// beginning tells how a driver finds its job on the worker.
type beginning int

const (
	fresh    beginning = iota // just claimed: the worker does not have it
	attached                  // taken over: the worker has it, or it is lost
)

// Why a driver stops before its job has ended.
var (
	errCancel   = errors.New("cancel was asked for")
	errDeadline = errors.New("the running deadline has passed")
	errBudget   = errors.New("the time that the job's budget pays for has passed")
	errStale    = errors.New("another drives this attempt")
	// errOurs marks a fault of this process or its database: nothing about
	// the job is wrong, and no machine.
	errOurs = errors.New("this server could not go on")
)

// driver drives one attempt of one job.
type driver struct {
	cfg    Config
	job    queue.Job
	lease  queue.Lease
	log    *slog.Logger
	answer atomic.Int64 // when the worker last gave an authenticated answer, by Fleet.Elapsed
	report reporter
	rests  *rests
	size   int64 // of the result, in bytes; 0 until the worker has told
	pushed int64 // bytes of the video that went through us
}

func newDriver(cfg Config, j queue.Job, r *rests) *driver {
	d := &driver{cfg: cfg, job: j, rests: r, lease: j.Lease(), log: cfg.Log.With("job", j.ID, "attempt", j.Attempt, "instance", j.Instance)}
	d.report = reporter{queue: cfg.Queue, lease: d.lease, log: d.log, now: cfg.Now}
	d.heard()
	return d
}

func (d *driver) heard() { d.answer.Store(int64(d.cfg.Fleet.Elapsed())) }

// drive runs the job to its end, or until it is no longer ours to drive.
func (d *driver) drive(ctx context.Context, how beginning) {
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	worker, err := d.cfg.Fleet.Client(run, d.job.Instance)
	var outcome queue.Outcome
	if err == nil {
		watched := make(chan struct{})
		go func() { defer close(watched); d.watch(run, stop, worker, how) }()
		outcome, err = d.run(run, worker, how)
		cause := context.Cause(run)
		stop(nil)
		<-watched
		if cause != nil {
			err = cause
		}
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if apigpu.CodeOf(err) != apigpu.GPULost {
		err = errors.Join(errOurs, err)
	}
	// What became of it must be recorded though the process is told to stop.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := d.settle(end, worker, outcome, err); err != nil {
		d.log.WarnContext(end, "job not settled", "error", err)
	}
}

// run is the walk of one attempt: inputs out, progress in, result home.
func (d *driver) run(ctx context.Context, worker *client.Client, how beginning) (queue.Outcome, error) {
	crash.Point("dispatch.run")
	d.log.InfoContext(ctx, "job runs", "client", d.job.Client, "push", d.push())
	if err := d.begin(ctx, worker, how); err != nil {
		return queue.Outcome{}, err
	}
	if err := d.pushFonts(ctx, worker); err != nil {
		return queue.Outcome{}, err
	}
	if d.push() {
		if err := d.pushVideo(ctx, worker); err != nil {
			return queue.Outcome{}, err
		}
	}
	done, err := d.follow(ctx, worker)
	if err != nil {
		return queue.Outcome{}, err
	}
	crash.Point("dispatch.followed")
	if done.Status != apigpu.Succeeded {
		if done.Error == nil {
			return queue.Outcome{}, apigpu.E(apigpu.GPULost, nil, "The worker ended the job as %s.", done.Status)
		}
		return queue.Outcome{}, done.Error
	}
	return d.bringHome(ctx, worker, done)
}

// begin gives the worker the job, or makes sure that it has it.
func (d *driver) begin(ctx context.Context, worker *client.Client, how beginning) error {
	if how == attached {
		return d.retry(ctx, func(ctx context.Context) error {
			held, err := worker.Job(ctx, d.job.ID, 0)
			if err == nil && held.Attempt != d.job.Attempt {
				return lost(nil, "The worker has attempt %d of this job.", held.Attempt)
			}
			return lostIfUnknown(err)
		})
	}
	subtitle, err := d.cfg.Queue.Subtitle(ctx, d.job.ID)
	if err != nil {
		return errors.Join(errOurs, err)
	}
	a := assignment(d.job, subtitle, d.push(), d.cfg.RequireGPU, d.job.RunningUntil.Sub(d.cfg.Now()))
	return d.retry(ctx, func(ctx context.Context) error {
		crash.Point("dispatch.assign")
		_, err := worker.Assign(ctx, d.job.ID, a)
		crash.Point("dispatch.assigned")
		return err
	})
}

// assignment is what a worker is told of a job: all that was asked for, and the
// video's address when it may fetch it itself. Never where the subtitles came
// from, a header, or an address of the user's private network.
func assignment(j queue.Job, subtitle []byte, push, requireGPU bool, left time.Duration) apigpu.Assignment {
	spec := j.Spec
	spec.HeadersVideo, spec.HeadersSRT = nil, nil
	spec.URLSRT, spec.SRT, spec.Captions, spec.Words = "", "", nil, nil
	if push {
		spec.URLVideo = ""
	}
	return apigpu.Assignment{
		Attempt: j.Attempt, Spec: spec, Subtitle: subtitle, Fonts: sumsOf(j.Fonts), Push: push,
		DeadlineSeconds: left.Seconds(), RequireGPU: requireGPU,
	}
}

// push reports whether the video travels through us: it was uploaded, or it
// needs headers, or only we can reach it.
func (d *driver) push() bool {
	return d.job.Push || d.job.Upload != "" || len(d.job.Spec.HeadersVideo) > 0 || d.cfg.Fetch.Private(d.job.Spec.URLVideo)
}

// follow shows the worker's progress until the job has ended there.
func (d *driver) follow(ctx context.Context, worker *client.Client) (done apigpu.Job, err error) {
	err = d.retryFor(ctx, 0, func(ctx context.Context) error {
		done, err = worker.Follow(ctx, d.job.ID, func(j apigpu.Job) {
			d.report.worker(ctx, j)
		})
		return lostIfUnknown(err)
	})
	return done, err
}

// watch keeps the lease and stops the run when it must: cancel, deadline, a
// lease that is no longer ours, or a machine that is gone.
func (d *driver) watch(ctx context.Context, stop context.CancelCauseFunc, worker *client.Client, how beginning) {
	left := d.runFor()
	if how == attached {
		// It may have ended well while nobody was here to see.
		left = max(d.job.RunningUntil.Sub(d.cfg.Now()), settleIn)
	}
	over := errDeadline
	if d.cut() {
		over = errBudget
	}
	deadline := time.AfterFunc(left, func() { stop(over) })
	defer deadline.Stop()
	var row sync.WaitGroup
	row.Go(func() { d.watchRow(ctx, stop) })
	defer row.Wait()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		if _, err := d.cfg.Fleet.Client(ctx, d.job.Instance); apigpu.CodeOf(err) == apigpu.GPULost {
			stop(err)
			return
		}
		d.ask(ctx, worker)
		if d.cfg.Fleet.Elapsed()-time.Duration(d.answer.Load()) > answerFresh {
			continue // the lease runs out: whoever is then able takes over
		}
		err := d.cfg.Queue.Heartbeat(ctx, d.lease)
		if apigpu.CodeOf(err) == apigpu.StaleAttempt {
			stop(errStale)
			return
		}
		if err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "lease not renewed", "error", err)
		}
	}
}

// runFor is how long this run may take.
func (d *driver) runFor() time.Duration {
	if d.job.StartedAt == nil {
		return d.job.RunFor
	}
	return d.job.RunningUntil.Sub(*d.job.StartedAt)
}

// cut reports whether that is less than was promised to the job: its budget
// pays for no more.
func (d *driver) cut() bool { return d.runFor() < d.job.RunFor }

// ask gets one authenticated answer: event streams prove nothing.
func (d *driver) ask(ctx context.Context, worker *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	// That it does not have the job (yet) is an answer too.
	if _, err := worker.Job(ctx, d.job.ID, 0); err == nil || apigpu.CodeOf(err) == apigpu.JobNotFound {
		d.heard()
	}
}

// watchRow waits for a cancel, which travels through the row, and for the
// machine's end, which the fleet knows first.
func (d *driver) watchRow(ctx context.Context, stop context.CancelCauseFunc) {
	revision := d.job.Revision - 1 // a cancel may have come before a take-over
	for ctx.Err() == nil {
		j, err := d.cfg.Queue.Wait(ctx, d.job.ID, revision)
		switch {
		case apigpu.CodeOf(err) == apigpu.JobNotFound, err == nil && j.Lease() != d.lease:
			stop(errStale)
			return
		case err == nil && j.CancelRequested:
			stop(errCancel)
			return
		case err != nil && !pause.For(ctx, retryMax):
			return
		}
		revision = j.Revision
	}
}

// retry repeats a call that the worker did not answer, until ctx ends: a
// worker that stays silent is the fleet's to judge.
func (d *driver) retry(ctx context.Context, call func(context.Context) error) error {
	return d.retryFor(ctx, callTimeout, call)
}

// retryFor is retry with a bound for each call; 0 is none.
func (d *driver) retryFor(ctx context.Context, bound time.Duration, call func(context.Context) error) error {
	wait := retryMin
	for {
		err := d.once(ctx, bound, call)
		if err == nil {
			d.heard()
		}
		if apigpu.CodeOf(err) != apigpu.Unavailable && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		d.log.DebugContext(ctx, "worker did not answer", "error", err)
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, retryMax)
	}
}

func (d *driver) once(ctx context.Context, bound time.Duration, call func(context.Context) error) error {
	if bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	return call(ctx)
}

// lost is why an attempt ends on a machine that does not have it.
func lost(cause error, format string, args ...any) error {
	return apigpu.E(apigpu.GPULost, cause, format, args...)
}

func lostIfUnknown(err error) error {
	if apigpu.CodeOf(err) == apigpu.JobNotFound {
		return lost(err, "The worker does not have this job.")
	}
	return err
}
