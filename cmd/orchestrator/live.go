package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/show"
	"github.com/api-gpu/api-gpu/internal/transcript"
	"github.com/api-gpu/api-gpu/internal/trial"
)

// live is doctor --live: one machine is rented, has a job done, and must end
// itself.
type live struct {
	Live           int    `name:"live" placeholder:"CENTS" help:"Rent the cheapest GPU that suits for at most so many US cents, and see it boot, work and end itself. Some minutes; a few cents as a rule."`
	LiveTranscript string `name:"live-transcript" placeholder:"FILE" default:"data/live-transcript.jsonl" help:"Where --live writes what was said to the marketplace, without secrets, for vastsim --compare (default: ${default})."`

	times liveTimes
}

// liveTimes are what tests hurry. Zero values stand for what the fleet goes by.
type liveTimes struct {
	pace     float64       // of the calls of the marketplace
	lease    time.Duration // of the machine
	boot     time.Duration // BOOT_TIMEOUT
	overtime time.Duration // until it may still be listed after its lease
	bills    time.Duration
	traits   *gpu.Traits
	round    time.Duration // of the sweep
}

// The times of a trial. A lease is short, so that what it costs to see it run
// out is little; overtime is the fleet's, and what listings may be late by.
const (
	liveLease    = time.Minute
	liveOvertime = fleet.Overtime + 30*time.Second
	liveBills    = 3 * time.Minute
	cent         = gpu.Dollar / 100
)

// wanted reports whether it was asked for.
func (l *live) wanted() bool { return l.Live != 0 }

// run rents, watches and tells. Its error means that something that we rely on
// was seen to be otherwise, or could not be seen.
func (l *live) run(ctx context.Context, c *Config, out program.Output) (err error) {
	switch {
	case l.Live < 0:
		return errors.New("--live must be a number of cents above 0")
	case !c.rented():
		return errors.New("--live rents a machine: it needs PROVIDER=vast and VAST_API_KEY")
	}
	ctx, out, release := steadfast(ctx, out)
	defer release()
	// Before anything is rented: what was shown is to be kept.
	d, err := c.openDatabase(ctx, db.Open, db.Options{Log: program.Log(out.Stderr, "warn", c.production())})
	if err != nil {
		return fmt.Errorf("the proof could not be kept: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	// Nor is a transcript written that nobody may write.
	err = os.MkdirAll(filepath.Dir(l.LiveTranscript), 0o700)
	if err != nil {
		return fmt.Errorf("--live-transcript: %w", err)
	}
	file, err := os.OpenFile(l.LiveTranscript, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--live-transcript: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	t, err := l.prepare(ctx, c, out)
	if err != nil {
		return errors.Join(err, removeEmpty(file))
	}
	defer t.provider.Close()
	report, runErr := trial.Run(ctx, t.config(ctx))
	if err := t.write(file, report); err != nil {
		show.Lines(out.Stderr, "The transcript could not be written: "+err.Error())
	}
	return errors.Join(t.tell(report, runErr), t.keep(ctx, d, report))
}

// steadfast keeps a program alive that has something to end: a terminal that is
// closed ends ctx as Ctrl-C does, and nobody reading what it prints, as after a
// Ctrl-C that also reached the program behind a pipe, ends nothing.
func steadfast(ctx context.Context, out program.Output) (context.Context, program.Output, func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // else the first line that nobody reads would kill it
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	return ctx, program.Output{Stdout: unheard{out.Stdout}, Stderr: unheard{out.Stderr}}, func() {
		stop()
		signal.Stop(broken)
	}
}

// unheard is a writer that never fails.
type unheard struct{ w io.Writer }

func (u unheard) Write(p []byte) (int, error) {
	_, _ = u.w.Write(p)
	return len(p), nil
}

func removeEmpty(file *os.File) error {
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		return os.Remove(file.Name())
	}
	return nil
}

// liveTrial is a trial that may begin.
type liveTrial struct {
	l        *live
	c        *Config
	out      io.Writer
	provider *vast.Provider
	recorder *transcript.Recorder
	identity fleet.Identity
	policy   fleet.Policy
	image    string
	env      map[string]string
	bargains []fleet.Bargain
}

// prepare looks for an offer that fits the money, and rents nothing.
func (l *live) prepare(ctx context.Context, c *Config, out program.Output) (t *liveTrial, err error) {
	t = &liveTrial{l: l, c: c, out: out.Stdout, recorder: &transcript.Recorder{}}
	t.identity = fleet.Identity{ID: "live-" + strings.ToLower(rand.Text()[:12]), Secret: []byte(rand.Text() + rand.Text())}
	log := program.Log(out.Stderr, "warn", c.production())
	if t.env, err = c.workerEnv(); err != nil {
		return nil, err
	}
	if t.image, err = l.digest(ctx, c); err != nil {
		return nil, err
	}
	cfg := c.vastConfig(log)
	cfg.Through, cfg.Pace = t.recorder.Through, l.times.pace
	if t.provider, err = vast.New(cfg); err != nil {
		return nil, err
	}
	if l.times.pace == 0 {
		t.provider.Beside()
	}
	t.policy = fleet.Policy{
		MaxGPUs: 1, BootTimeout: c.BootTimeout, Lease: liveLease, MaxPrice: c.maxPrice(), RequireGPU: c.requireGPU(),
		Traits: t.provider.Traits(), Budget: fleet.Budget{Job: gpu.USD(l.Live) * cent},
	}
	l.hurry(&t.policy)
	if err := t.choose(ctx); err != nil {
		t.provider.Close()
		return nil, err
	}
	return t, nil
}

// hurry puts the times of a test into a policy.
func (l *live) hurry(p *fleet.Policy) {
	if l.times.lease > 0 {
		p.Lease = l.times.lease
	}
	if l.times.boot > 0 {
		p.BootTimeout = l.times.boot
	}
	if l.times.traits != nil {
		p.Traits = *l.times.traits
	}
}

// digest is the image as it is rented: by what its registry says that it is.
func (l *live) digest(ctx context.Context, c *Config) (string, error) {
	image, err := c.vastImage(nil)
	if err != nil || image == nil {
		return c.VastWorkerImage, err
	}
	defer image.Close()
	name, _, err := image.Resolve(ctx)
	if err != nil {
		return "", fmt.Errorf("nothing was rented: the image of the workers: %w", err)
	}
	return name, nil
}

// choose searches, and leaves the offers by which a machine costs no more than
// is allowed whatever happens. Its refusal names the least that would do.
func (t *liveTrial) choose(ctx context.Context) error {
	offers, err := t.provider.Offers(ctx)
	if err != nil {
		return fmt.Errorf("nothing was rented: search offers: %w", err)
	}
	if len(offers) == 0 {
		return errors.New("nothing was rented: no offer meets the settings now: see VAST_MAX_PRICE, VAST_GPU_MODELS, VAST_COUNTRIES, VAST_MIN_RELIABILITY")
	}
	var why *fleet.OverBudget
	t.bargains, why = t.policy.Bargains(offers, trial.Ask(), time.Now())
	switch {
	case why != nil:
		least := (why.Need + cent - 1) / cent
		return fmt.Errorf("nothing was rented: in the worst case the cheapest of %d offers costs %s: --live=%d would be enough", len(offers), why.Need, least)
	case len(t.bargains) == 0:
		return fmt.Errorf("nothing was rented: none of %d offers lasts long enough", len(offers))
	}
	credit, err := t.provider.Credit(ctx)
	switch most := t.bargains[0].Most; {
	case err != nil: // the key may not read it
		show.Lines(t.out, fmt.Sprintf("The account does not tell its credit (%v).", err))
	case credit < most:
		return fmt.Errorf("nothing was rented: the account has a credit of %s, and it may cost %s", credit, most)
	}
	show.Lines(t.out, fmt.Sprintf("%d offers, %d of them within %d cents.", len(offers), len(t.bargains), t.l.Live))
	return nil
}

// config is the trial.
func (t *liveTrial) config(ctx context.Context) trial.Config {
	overtime, bills := liveOvertime, liveBills
	if t.l.times.overtime > 0 {
		overtime, bills = t.l.times.overtime, t.l.times.bills
	}
	return trial.Config{
		Market: t.provider, Policy: t.policy, Identity: t.identity, Bargains: t.bargains, Image: t.image, Env: t.env,
		Say:      func(format string, args ...any) { show.Lines(t.out, fmt.Sprintf(format, args...)) },
		Overtime: overtime, Bills: bills, Now: time.Now,
		Sweep: func(clean context.Context) error {
			if ctx.Err() != nil {
				show.Lines(t.out, "A second Ctrl-C would end this program at once, and leave that to you: "+t.sweepCommand())
			}
			return t.sweep(clean)
		},
	}
}

func (t *liveTrial) sweepCommand() string {
	return fleet.SweepCommand(t.provider.Name(), t.identity.ID)
}

// sweep is orchestrator sweep --fleet= of the trial's own fleet.
func (t *liveTrial) sweep(ctx context.Context) error {
	traits := t.policy.Traits
	s := &sweeper{
		cmd:     &sweepCmd{Fleet: []string{t.identity.ID}, Settle: traits.ListingLag, Timeout: 15 * time.Minute},
		account: t.provider, out: t.out, now: time.Now, gap: traits.AbsenceGap, round: 3 * time.Second,
		// It was rented, whether a listing had it or not.
		asked: map[string]time.Time{}, seen: map[string]bool{t.identity.ID: true},
	}
	if t.l.times.round > 0 {
		s.round = t.l.times.round
	}
	return s.run(ctx)
}

// write writes the transcript.
func (t *liveTrial) write(file *os.File, report trial.Report) error {
	head, calls := t.recorder.Redacted(transcript.Redaction{
		Secrets: t.secrets(report.Label), Ours: func(label string) bool { return fleet.Ours(t.identity.ID, label) },
	})
	head.Version = apigpu.Version()
	if err := file.Truncate(0); err != nil {
		return err
	}
	if err := transcript.Write(file, head, calls); err != nil {
		return err
	}
	where := file.Name()
	if absolute, err := filepath.Abs(where); err == nil {
		where = absolute
	}
	show.Lines(t.out, fmt.Sprintf("What was said to the marketplace, without secrets: %s (compare: vastsim --compare %s)", where, file.Name()))
	return nil
}

// secrets are the texts that no transcript may have, beside what its own rules
// find.
func (t *liveTrial) secrets(label string) []string {
	c := t.c
	all := []string{c.VastAPIKey, c.VastImageLogin, c.GPUAPIKey, string(t.identity.Secret), t.identity.ID}
	all = append(all, strings.Fields(c.VastImageLogin)...)
	all = append(all, strings.FieldsFunc(c.APIKey, func(r rune) bool { return r == ',' || r == ':' })...)
	all = append(all, c.EgressIPs...)
	// Whose image it is, and where: its name, in whole and in parts.
	name, _, _ := strings.Cut(c.VastWorkerImage, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	host, path, _ := strings.Cut(name, "/")
	all = append(all, t.image, c.VastWorkerImage, name, path, host)
	if creds, err := link.Derive(t.identity.Secret, label); err == nil {
		all = append(all, creds.Key, creds.Token)
	}
	if seed, err := link.Seed(t.identity.Secret, label); err == nil {
		all = append(all, seed)
	}
	return all
}

// keep keeps the proof that a machine has ended itself.
func (t *liveTrial) keep(ctx context.Context, d *db.DB, r trial.Report) error {
	if !r.EndedItself() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	detail := fmt.Sprintf("%s was gone at most %s after its lease of %s", r.Label, (r.Absent - r.Renewed - r.Lease).Round(time.Second/10), r.Lease)
	if err := fleet.KeepProof(ctx, d, t.c.VastAPIURL, r.At, detail); err != nil {
		return fmt.Errorf("the proof could not be kept: %w", err)
	}
	show.Lines(t.out, "Kept in the database: a machine of this marketplace was seen to end itself.")
	return nil
}
