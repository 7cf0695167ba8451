package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Market is where the machine is rented.
type Market interface {
	gpu.Provider
	gpu.Biller
}

// Config says what is tried, and how.
type Config struct {
	Market Market
	// Policy has the times, the traits of the market, and in its Budget.Job the
	// most that may be spent.
	Policy   fleet.Policy
	Identity fleet.Identity // of a fleet of its own
	// Bargains are the offers to try, the first one first.
	Bargains []fleet.Bargain
	// Image is what to rent with, Env what the worker is told beside what every
	// one is; see fleet.Config.
	Image string
	Env   map[string]string
	// Say tells people what happens, a line at a time.
	Say func(format string, args ...any)
	// Sweep ends whatever has a label of Identity, and returns when complete
	// listings prove it gone. It is called with a context that Ctrl-C does not
	// end.
	Sweep func(ctx context.Context) error
	// Overtime is how long after its lease the machine may still be listed.
	Overtime time.Duration
	// Bills is how long the account's charges are waited for at the end.
	Bills time.Duration
	Now   func() time.Time
}

// Report is what became of it.
type Report struct {
	Observed
	Label string // the last that was asked for
	// Left: something may still be rented. Nothing worse can be told.
	Left error
	// At is when the machine's end was proven.
	At time.Time
}

// Bounds beside those of the fleet, and waits between calls. The market's own
// intervals keep its calls further apart.
const (
	cleanTimeout = 15 * time.Minute
	lookGap      = time.Second / 4
	proofTime    = 2 * time.Minute // for the second listing that proves an absence
	billGap      = 10 * time.Second
	destroyTries = 3
)

// Run rents one machine, watches it to its end, and leaves nothing behind:
// whatever happens, and also where ctx ends, what was rented is ended and its
// absence proven. The error is why the trial was broken off; Report tells what
// was seen until then.
func Run(ctx context.Context, cfg Config) (Report, error) {
	r := &runner{cfg: cfg}
	r.seen.RequireGPU, r.seen.Lag = cfg.Policy.RequireGPU, cfg.Policy.Traits.ListingLag
	err := r.run(ctx)
	if r.rented() && (r.seen.Gone == 0 || r.twins) {
		r.report.Left = r.cleanUp(ctx)
	}
	if r.client != nil {
		r.client.Close()
	}
	if r.trial != nil {
		r.report.Label = r.trial.Row.Label
		r.seen.Estimate = r.trial.Cost(r.job, cfg.Now())
	}
	if r.seen.Gone > 0 && r.trial.Row.ProviderID != "" {
		r.bill(ctx)
	}
	r.report.Observed = r.seen
	return r.report, err
}

// runner is a run under way.
type runner struct {
	cfg    Config
	trial  *fleet.Trial
	began  time.Time // the create call was sent
	seen   Observed
	report Report
	client *client.Client
	job    queue.Attempt
	twins  bool // machines of this trial were listed that are not the one
	missed int  // complete listings in a row that lack what one had before
}

// since is the time of the trial.
func (r *runner) since(t time.Time) time.Duration { return max(t.Sub(r.began), 1) }

// once notes a time, the first time.
func (r *runner) once(at *time.Duration, t time.Time) (news bool) {
	if *at == 0 {
		*at, news = r.since(t), true
	}
	return news
}

func (r *runner) say(format string, args ...any) {
	r.cfg.Say("%8s  %s", r.since(r.cfg.Now()).Round(time.Second/10), fmt.Sprintf(format, args...))
}

// rented reports whether something may be rented.
func (r *runner) rented() bool { return r.seen.Created != NotCreated }

func (r *runner) run(ctx context.Context) error {
	run, err := r.create(ctx)
	if err != nil {
		return err
	}
	if err := r.boot(ctx); err != nil {
		return err
	}
	if err := r.work(ctx, run); err != nil {
		return err
	}
	return r.end(ctx)
}

// create rents one machine, of the first offer that is still there, and
// returns how long its job may run.
func (r *runner) create(ctx context.Context) (run time.Duration, err error) {
	err = errors.New("there is no offer")
	for _, b := range r.cfg.Bargains[:min(len(r.cfg.Bargains), fleet.MaxCreates)] {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		err = r.createOne(ctx, b)
		limited, often := errors.AsType[gpu.RateLimited](err)
		if !often && !errors.Is(err, gpu.ErrOfferGone) && !errors.Is(err, gpu.ErrNoCapacity) {
			return b.Run, err
		}
		r.say("Not had: %v.", err)
		if often && !pause.For(ctx, limited.After) {
			return 0, ctx.Err()
		}
	}
	return 0, err
}

// createOne asks for one machine, once. Its answer is waited for though the
// program is told to stop: what exists must be known.
func (r *runner) createOne(ctx context.Context, b fleet.Bargain) error {
	t := fleet.NewTrial(r.cfg.Policy, r.cfg.Identity, b.Offer, r.cfg.Now())
	req, err := t.Request(b.Offer, r.cfg.Image, r.cfg.Env)
	if err != nil {
		return err
	}
	r.trial, r.began = t, r.cfg.Now()
	r.say("Renting %s in %s for %s an hour, at most %s in all, as %s.", cmp.Or(b.GPU, "a machine"), cmp.Or(b.Country, "?"), b.HourlyUSD, b.Most, req.Label)
	r.say("If this program dies from here on: %s", fleet.SweepCommand(r.cfg.Market.Name(), r.cfg.Identity.ID))
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), fleet.CreateTimeout)
	defer cancel()
	told := context.AfterFunc(ctx, func() {
		r.say("Told to stop: first the create call must be answered, in %s at most.", fleet.CreateTimeout)
	})
	id, err := r.cfg.Market.Create(call, req)
	told()
	t.Created(id, err, r.cfg.Now())
	r.seen.Answered = r.since(r.cfg.Now())
	switch {
	case err == nil:
		r.seen.Created = Accepted
		r.say("It is rented, as %s.", id)
		return ctx.Err()
	case errors.Is(err, gpu.ErrPartial):
		r.seen.Created = Stopped
		return fmt.Errorf("rent a machine: %w", err)
	case gpu.IsAmbiguous(err):
		r.seen.Created = Ambiguous
		return fmt.Errorf("the create call ended without an answer: %w", err)
	}
	return fmt.Errorf("rent a machine: %w", err)
}

// look lists, and notes what is seen. A listing that fails says nothing; one
// that is refused for the key ends the trial.
func (r *runner) look(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, fleet.ListTimeout)
	defer cancel()
	s, err := r.cfg.Market.Instances(call)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, gpu.ErrAuth):
		return err
	case err != nil:
		r.seen.Unanswered++
		return nil
	case s.Complete:
		r.seen.Complete++
	default:
		r.seen.Incomplete++
	}
	r.note(s)
	return nil
}

// note keeps what a listing says of the machine.
func (r *runner) note(s gpu.Snapshot) {
	now := r.cfg.Now()
	for id, label := range r.trial.Seen(s, now) {
		if !r.twins {
			r.say("The account has another machine of this trial: %s, as %s.", id, label)
		}
		r.twins = true
	}
	listed := false
	for _, in := range s.Instances {
		if in.Label == r.trial.Row.Label {
			listed = true
			r.noteInstance(in, s.Began)
		}
	}
	switch {
	case listed:
		r.seen.Flickers += r.missed
		r.missed, r.seen.Absent = 0, 0
	case s.Complete && r.seen.Listed > 0 && r.seen.Gone == 0:
		r.missed++
		if r.once(&r.seen.Absent, s.Began) {
			r.say("It is in no listing any more.")
		}
	}
	if r.trial.Row.State == gpu.Gone && r.once(&r.seen.Gone, now) {
		r.report.At = now
		// The ledger believes in absence later than it was there.
		r.trial.Row.EndedAt = r.began.Add(r.seen.Absent)
		r.say("It is gone: two complete listings, %s apart, lack it.", r.cfg.Policy.Traits.AbsenceGap)
	}
}

func (r *runner) noteInstance(in gpu.Instance, began time.Time) {
	if r.once(&r.seen.Listed, began) {
		r.say("It is listed.")
	}
	states := &r.seen.Statuses
	if n := len(*states); n == 0 || (*states)[n-1] != in.Status {
		*states = append(*states, in.Status)
		r.say("The market says: %s%s", in.Status, colon(in.Message))
	}
	if r.seen.Renewed > 0 && r.since(began) > r.seen.Renewed+r.seen.Lease {
		after := &r.seen.After
		if n := len(*after); n == 0 || (*after)[n-1] != in.Status {
			*after = append(*after, in.Status)
		}
	}
	if in.Started && r.once(&r.seen.Running, began) {
		r.say("Its container runs.")
	}
	if in.Address != "" && r.once(&r.seen.Address, began) {
		r.say("Its address is known.")
	}
	r.seen.Dearer = r.trial.Dearer()
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
