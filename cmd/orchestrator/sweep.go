package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/show"
)

// sweepCmd ends the instances of a fleet with nothing but the account's key:
// for when the server or its database is lost.
type sweepCmd struct {
	List      bool          `help:"Only list what is there."`
	DryRun    bool          `help:"Say what would be ended, and end nothing."`
	Fleet     []string      `sep:"," placeholder:"ID" help:"Fleets whose instances are ended; GET /gpus of a server names its own."`
	AllFleets bool          `help:"End the instances of every fleet on the account."`
	OlderThan time.Duration `placeholder:"AGE" help:"Only instances that were asked for longer ago than this, such as 2h."`
	Settle    time.Duration `default:"90s" help:"How long to look on at least: what was rented right before a server died may be listed late. 0 where that is long ago (default: ${default})."`
	Timeout   time.Duration `default:"15m" help:"How long to go on until nothing is left (default: ${default})."`

	Key string `name:"vast-api-key" env:"VAST_API_KEY" help:"The account's key. Other users of this machine can see flags: prefer the variable."`
	URL string `name:"vast-api-url" env:"VAST_API_URL" help:"Address of the API."`
}

// Run lists or sweeps. Its error, and so the exit code 1, means that something
// of what was selected is left, or may be: as where a fleet that was named has
// nothing and others have, since its name may be wrong.
func (c *sweepCmd) Run(ctx context.Context, out program.Output) error {
	if c.AllFleets && len(c.Fleet) > 0 {
		return errors.New("--fleet and --all-fleets exclude each other")
	}
	for _, id := range c.Fleet {
		if _, _, ok := fleet.SplitLabel(fleet.Label(id, "x")); !ok {
			return fmt.Errorf("--fleet=%s is no name of a fleet", id)
		}
	}
	account, err := vast.NewAccount(vast.AccountConfig{URL: c.URL, Key: c.Key, Log: program.Log(out.Stderr, "warn", false)})
	if err != nil {
		return err
	}
	defer account.Close()
	s := &sweeper{
		cmd: c, account: account, out: out.Stdout, now: time.Now,
		gap: account.Traits().AbsenceGap, round: 3 * time.Second, asked: map[string]time.Time{}, seen: map[string]bool{},
	}
	return s.run(ctx)
}

// account is what a sweep needs of one.
type account interface {
	Instances(ctx context.Context) (gpu.Snapshot, error)
	Destroy(ctx context.Context, id string) error
}

// sweeper lists and ends until nothing is left.
type sweeper struct {
	cmd     *sweepCmd
	account account
	out     io.Writer
	now     func() time.Time
	gap     time.Duration // between the two listings that prove an instance gone
	round   time.Duration // between two rounds while something is there
	asked   map[string]time.Time
	seen    map[string]bool // fleets that any listing had
}

func (s *sweeper) say(format string, args ...any) { show.Lines(s.out, fmt.Sprintf(format, args...)) }

func (s *sweeper) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cmd.Timeout)
	defer cancel()
	snapshot, err := s.look(ctx)
	if err != nil {
		return err
	}
	began := s.now()
	targets := s.targets(snapshot, began)
	if err := s.tell(snapshot); err != nil {
		return err
	}
	named := s.cmd.AllFleets || len(s.cmd.Fleet) > 0
	switch {
	case s.cmd.List, !named:
		return s.listed(snapshot, targets, named)
	case s.cmd.DryRun:
		for _, in := range targets {
			s.say("Would end %s (%s, %s).", in.ID, in.Label, hourly(in.HourlyUSD))
		}
		return cmp.Or(left(len(targets), snapshot.Complete), s.unseen())
	}
	if err := s.unseen(); err != nil {
		s.say("Until now %s.", err)
	}
	return s.sweep(ctx, began)
}

// listed ends a run that only lists.
func (s *sweeper) listed(snapshot gpu.Snapshot, targets []gpu.Instance, named bool) error {
	err := left(len(targets), snapshot.Complete)
	if err != nil && !named && !s.cmd.List {
		return fmt.Errorf("nothing was ended: say which with --fleet or --all-fleets (%w)", err)
	}
	return err
}

// left is the error of n instances that are left, or of a listing that does
// not tell whether there are any.
func left(n int, complete bool) error {
	switch {
	case n == 1:
		return errors.New("1 instance is left")
	case n > 1:
		return fmt.Errorf("%d instances are left", n)
	case !complete:
		return errors.New("nobody can say what is left: the account's listing is incomplete")
	}
	return nil
}

// unseen is the error of fleets that were named and have nothing, while others
// have: nil where nothing of any is there. What is to be old is looked for from
// time to time, and as a rule there is nothing.
func (s *sweeper) unseen() error {
	if len(s.seen) == 0 || s.cmd.OlderThan > 0 {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(s.cmd.Fleet), func(id string) bool { return s.seen[id] })
	if len(named) == 0 {
		return nil
	}
	return fmt.Errorf("no instance of fleet %s was seen; there are those of %s", strings.Join(named, ", "), strings.Join(slices.Sorted(maps.Keys(s.seen)), ", "))
}

// lookTries bounds how often a listing is asked for that does not come whole.
const lookTries = 5

// look lists, again where it was not told all. What it got last is returned.
func (s *sweeper) look(ctx context.Context) (snapshot gpu.Snapshot, err error) {
	for tries := 1; ; tries++ {
		snapshot, err = s.list(ctx)
		if err == nil && snapshot.Complete || errors.Is(err, gpu.ErrAuth) || tries == lookTries || !pause.For(ctx, s.round) {
			break
		}
	}
	if err != nil {
		return snapshot, fmt.Errorf("list the instances of the account: %w", err)
	}
	return snapshot, nil
}

// list lists, and again as long as the account is asked too often: by a server
// that runs beside us with the same key. It asks at a pace, and one of our own
// could meet it every time, so ours is by chance.
func (s *sweeper) list(ctx context.Context) (gpu.Snapshot, error) {
	for tries := 0; ; tries++ {
		snapshot, err := s.account.Instances(ctx)
		limited, often := errors.AsType[gpu.RateLimited](err)
		if often && tries == 1 {
			s.say("Somebody else, such as a running server, asks with the same key: waiting for a turn.")
		}
		if !often || !pause.For(ctx, limited.After+rand.N(limited.After+1)) {
			for _, in := range snapshot.Instances {
				if of, _, ok := fleet.SplitLabel(in.Label); ok {
					s.seen[of] = true
				}
			}
			return snapshot, err
		}
	}
}

// targets are the instances that are to end: those of the fleets that were
// named, or of all, and old enough. Whatever has another label is none.
func (s *sweeper) targets(snapshot gpu.Snapshot, began time.Time) (out []gpu.Instance) {
	for _, in := range snapshot.Instances {
		of, _, ok := fleet.SplitLabel(in.Label)
		if !ok || len(s.cmd.Fleet) > 0 && !slices.Contains(s.cmd.Fleet, of) {
			continue
		}
		born := fleet.Born(in.Label)
		if s.cmd.OlderThan > 0 && (born.IsZero() || began.Sub(born) <= s.cmd.OlderThan) {
			continue
		}
		out = append(out, in)
	}
	return out
}

// tell lists what is there, fleet by fleet.
func (s *sweeper) tell(snapshot gpu.Snapshot) error {
	fleets := map[string][]gpu.Instance{}
	others := 0
	for _, in := range snapshot.Instances {
		if of, _, ok := fleet.SplitLabel(in.Label); ok {
			fleets[of] = append(fleets[of], in)
		} else {
			others++
		}
	}
	if len(fleets) == 0 {
		s.say("No instance of any fleet is on this account.")
	}
	for _, of := range slices.Sorted(maps.Keys(fleets)) {
		rows := [][]string{{"ID", "LABEL", "AGE", "STATUS", "GPU", "PRICE"}}
		var sum gpu.USD
		for _, in := range fleets[of] {
			sum += in.HourlyUSD
			rows = append(rows, []string{in.ID, in.Label, s.age(in), in.Status, in.GPU, hourly(in.HourlyUSD)})
		}
		s.say("Fleet %s, %s in all; to end it: orchestrator sweep --fleet=%s", of, hourly(sum), of)
		if err := show.Table(s.out, rows); err != nil {
			return err
		}
	}
	if others > 0 {
		s.say("Others, that no fleet made and that are never touched: %d.", others)
	}
	if !snapshot.Complete {
		s.say("The account did not tell all: there may be more.")
	}
	return nil
}

func hourly(u gpu.USD) string { return show.Hourly(apigpu.Nanodollars(int64(u))) }

// age is how long ago an instance was asked for, by its label.
func (s *sweeper) age(in gpu.Instance) string {
	born := fleet.Born(in.Label)
	if born.IsZero() {
		return "not known"
	}
	return show.Age(s.now().Sub(born))
}

// sweep ends what is selected until two complete listings, a gap apart, lack
// it. What fails is tried again, until ctx ends.
func (s *sweeper) sweep(ctx context.Context, began time.Time) error {
	var absent time.Time // since when complete listings have none
	last := left(0, false)
	for {
		snapshot, err := s.list(ctx)
		switch {
		case errors.Is(err, gpu.ErrAuth):
			return fmt.Errorf("list the instances of the account: %w", err)
		case err != nil: // which says nothing: neither that something is there
			s.say("The account does not tell what is there (%v); trying again.", err)
		default:
			targets := s.targets(snapshot, began)
			last = left(len(targets), snapshot.Complete)
			s.end(ctx, targets)
			switch {
			case last != nil:
				absent = time.Time{}
			case absent.IsZero():
				absent = snapshot.Began
				s.lookOn(began)
			case snapshot.Began.Sub(absent) >= s.gap && s.now().Sub(began) >= s.settle():
				if err := s.unseen(); err != nil {
					return err
				}
				if age := s.cmd.OlderThan; age > 0 {
					s.say("Nothing older than %s is left.", age)
					return nil
				}
				s.say("Nothing is left. If the server of a fleet still runs, it rents again when a job comes.")
				return nil
			}
		}
		wait := s.round
		if !absent.IsZero() {
			wait = s.gap
		}
		if !pause.For(ctx, wait) {
			if last == nil {
				last = left(0, false)
			}
			return fmt.Errorf("not done: %w", last)
		}
	}
}

// settle is how long to look on. What is to be old need not be waited for.
func (s *sweeper) settle() time.Duration { return max(0, s.cmd.Settle-s.cmd.OlderThan) }

// lookOn says why it goes on though nothing is listed.
func (s *sweeper) lookOn(began time.Time) {
	if more := s.settle() - s.now().Sub(began); more > 0 {
		s.say("Nothing of it is listed; looking on for %s, since what was rented just before may be listed late.", show.Age(more))
	}
}

// end asks for the end of instances, of each again after a while. They are
// asked for at once: the account's own intervals keep them apart, and one call
// that hangs holds up no other.
func (s *sweeper) end(ctx context.Context, targets []gpu.Instance) {
	targets = slices.DeleteFunc(slices.Clone(targets), func(in gpu.Instance) bool {
		at, ok := s.asked[in.ID]
		return ok && s.now().Sub(at) < s.gap
	})
	faults := make([]error, len(targets))
	var all sync.WaitGroup
	for i, in := range targets {
		all.Go(func() { faults[i] = s.account.Destroy(ctx, in.ID) })
	}
	all.Wait()
	for i, in := range targets {
		if faults[i] != nil {
			s.say("%s (%s) was not ended: %v; trying again.", in.ID, in.Label, faults[i])
			continue
		}
		s.asked[in.ID] = s.now()
		s.say("Ending %s (%s, %s).", in.ID, in.Label, hourly(in.HourlyUSD))
	}
}
