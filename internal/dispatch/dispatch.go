// Package dispatch drives jobs: it claims each waiting job for a free slot,
// sends its inputs to the worker, follows it, brings the result home,
// verifies it, and ends the job.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Times of the driver.
const (
	tick    = time.Second           // how often to look when nothing pokes
	tickMin = 20 * time.Millisecond // between two rounds, however often they are poked
	// settleIn: after a start nothing expires before one full round of
	// contact, so that the time we were away is blamed on nobody.
	settleIn = 30 * time.Second
	// A job that a budget refuses is passed over for passedFor, and passedMost
	// are: as many as the fleet looks at for one that it rents for.
	passedFor  = 3 * time.Second
	passedMost = 32
)

// Config says what the dispatcher works with. All fields are required.
type Config struct {
	Queue *queue.Queue
	Fleet *fleet.Fleet
	Blob  *blob.Store
	Fetch *fetch.Client
	// RequireGPU fails a job rather than let a CPU encode it.
	RequireGPU bool
	// ResultGrace is how long a worker is kept for a result of which no byte
	// could be stored.
	ResultGrace time.Duration
	Log         *slog.Logger
	Now         func() time.Time // the clock of the database
}

// Dispatcher drives the jobs of one process.
type Dispatcher struct {
	cfg     Config
	started time.Duration // as the fleet measures it, whatever the clock shows
	drivers sync.WaitGroup
	full    bool // the last round found no room for some result; used by Run only
	rests   rests
	passed  map[string]time.Time // jobs that a budget refused just now, and until when they are passed over; used by Run only
}

// New returns a dispatcher that does nothing before Run.
func New(cfg Config) *Dispatcher {
	return &Dispatcher{cfg: cfg, started: cfg.Fleet.Elapsed(), passed: map[string]time.Time{}}
}

// Run drives jobs until ctx ends. Then it hands the running ones back, so
// that the next process goes on with them on the same workers.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.drivers.Wait()
	jobs := d.cfg.Queue.Watch()
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for ctx.Err() == nil {
		if d.cfg.Fleet.MayDrive() {
			if err := d.round(ctx); err != nil && ctx.Err() == nil {
				d.cfg.Log.ErrorContext(ctx, "dispatch", "error", err)
			}
		}
		select {
		case <-jobs:
		case <-d.cfg.Fleet.Changed():
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		// Pokes that come meanwhile wait in their channels: a thousand requests
		// a second are not as many rounds.
		select {
		case <-time.After(tickMin):
		case <-ctx.Done():
		}
	}
	return nil
}

// round goes on with what nobody drives, and starts what can be started now.
// Each part runs though another failed. While the clock cannot be believed nothing is judged by it: see
// fleet.Steady.
func (d *Dispatcher) round(ctx context.Context) error {
	if !d.cfg.Fleet.Steady() {
		return nil
	}
	running, err := d.cfg.Queue.Running(ctx)
	if err != nil {
		return err
	}
	running, err = d.condemn(ctx, running)
	for _, j := range running {
		if !j.LeaseUntil.After(d.cfg.Now()) {
			err = errors.Join(err, d.takeOver(ctx, j))
		}
	}
	if d.cfg.Fleet.Elapsed()-d.started >= settleIn {
		err = errors.Join(err, d.cfg.Queue.Expire(ctx))
	}
	return errors.Join(err, d.fill(ctx))
}

// fill gives the free slots to the jobs that have waited longest. Where a
// budget refuses all that it looked at, it looks at those behind them.
func (d *Dispatcher) fill(ctx context.Context) (err error) {
	for {
		before := len(d.passed)
		err = errors.Join(err, d.fillOnce(ctx))
		if len(d.passed) <= before || len(d.passed) >= passedMost || ctx.Err() != nil {
			return err
		}
	}
}

func (d *Dispatcher) fillOnce(ctx context.Context) error {
	free, err := d.cfg.Fleet.Slots(ctx)
	if err != nil {
		return err
	}
	now := d.cfg.Now()
	maps.DeleteFunc(d.passed, func(_ string, until time.Time) bool { return !now.Before(until) || until.Sub(now) > passedFor })
	free = d.rests.awake(free, now)
	next, err := d.cfg.Queue.Next(ctx, len(free)+spareLooks+maxRefused+len(d.passed))
	if err != nil {
		return err
	}
	next = slices.DeleteFunc(next, func(j queue.Job) bool { return d.passed[j.ID] != time.Time{} })
	next, err = d.condemn(ctx, next)
	if len(free) == 0 {
		return err
	}
	next, release := d.haveRoom(ctx, next, len(free))
	defer func() { release() }()
	if len(next) == 0 && d.full { // none of the oldest: the fleet keeps a worker while any has room
		small, smallErr := d.cfg.Queue.Smallest(ctx, len(free))
		small, condemnErr := d.condemn(ctx, small)
		err = errors.Join(err, smallErr, condemnErr)
		next, release = d.haveRoom(ctx, small, len(free))
	}
	for {
		assignments := fleet.Assign(next, free, d.cfg.Now())
		if len(assignments) == 0 {
			return err
		}
		for _, a := range assignments {
			next = slices.DeleteFunc(next, func(j queue.Job) bool { return j.ID == a.JobID })
			j, claimErr := d.claim(ctx, a)
			if apigpu.CodeOf(claimErr) == apigpu.BudgetExceeded {
				d.cfg.Log.DebugContext(ctx, "no budget for a job", "job", a.JobID, "error", claimErr)
				d.passed[a.JobID] = now.Add(passedFor)
				continue // the slot is free for one that may cost less
			}
			free = slices.DeleteFunc(free, func(s fleet.Slot) bool { return s == a.Slot })
			switch {
			case apigpu.CodeOf(claimErr) == apigpu.Conflict: // somebody was faster
			case claimErr != nil:
				err = errors.Join(err, claimErr)
			default:
				d.start(ctx, j, fresh)
			}
		}
	}
}

// condemn ends the jobs whose rows nobody can read, and returns the others.
func (d *Dispatcher) condemn(ctx context.Context, jobs []queue.Job) (sound []queue.Job, err error) {
	for _, j := range jobs {
		if j.Damaged == nil {
			sound = append(sound, j)
			continue
		}
		d.cfg.Log.ErrorContext(ctx, "job condemned", "job", j.ID, "error", j.Damaged)
		err = errors.Join(err, d.cfg.Queue.Condemn(ctx, j.ID))
	}
	return sound, err
}

// claim is not cut short by a stop: a job that was claimed and has no driver
// would have to wait until its lease runs out.
func (d *Dispatcher) claim(ctx context.Context, a fleet.Assignment) (queue.Job, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return d.cfg.Fleet.Claim(ctx, a)
}

// takeOver goes on with a job whose driver fell silent. Like claim, it is not
// cut short.
func (d *Dispatcher) takeOver(ctx context.Context, j queue.Job) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	j, err := d.cfg.Queue.TakeOver(whole, j.ID)
	if apigpu.CodeOf(err) == apigpu.Conflict {
		return nil
	}
	if err != nil {
		return err
	}
	d.cfg.Log.InfoContext(ctx, "job taken over", "job", j.ID, "attempt", j.Attempt, "instance", j.Instance)
	d.start(ctx, j, attached)
	return nil
}

// start drives a job in a goroutine of its own: one that hangs holds up
// nobody.
func (d *Dispatcher) start(ctx context.Context, j queue.Job, how beginning) {
	d.drivers.Go(func() { newDriver(d.cfg, j, &d.rests).drive(ctx, how) })
}
