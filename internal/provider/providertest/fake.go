package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// FakeConfig is the character of a Fake: what holds for every call. What goes
// wrong in one call is scripted, see CreateStep, ListStep and DestroyStep.
type FakeConfig struct {
	// Name is the provider's name; "fake" when empty.
	Name string
	// Now is the time of the provider. Take Clock.Now for a virtual one;
	// time.Now when nil. Nothing in a Fake sleeps or starts a goroutine.
	Now func() time.Time
	// Traits are stated to the caller as they are.
	Traits gpu.Traits
	// Lag is how long a new instance is missing from listings that claim to
	// be complete. An honest provider keeps it within Traits.ListingLag; a
	// test may set it longer, to see what a lie costs.
	Lag time.Duration
	// Linger is how long an instance that ended is still listed, not running.
	Linger time.Duration
	// Boot is the time from the start of an instance to its address.
	Boot time.Duration
	// Offers are what can be rented. SetOffers changes them.
	Offers []gpu.Offer
	// Capacity is how many instances may exist at once; 0 for any number.
	// At the limit Offers is empty and Create answers gpu.ErrNoCapacity.
	Capacity int
	// Address makes the base URL of the worker under a label. Point it at an
	// httptest.Server; when nil it is a name that never resolves.
	Address func(label string) string
}

// CreateStep scripts one call of Create. The zero step succeeds.
type CreateStep struct {
	// Err is what the caller is told, in place of an id; gpu.ErrPartial comes
	// with the id. Set Took and Dead with it.
	Err error
	// Took says that the instance comes to exist although Err is set. With an
	// error that gpu.IsAmbiguous recognises, this is the answer lost on its
	// way; without Took it is the request that was lost.
	Took bool
	// Delay is how much later than the call the instance comes to exist.
	Delay time.Duration
	// Copies is how many more instances appear under the same label: a
	// request that something in between sent twice.
	Copies int
	// Boot replaces FakeConfig.Boot where it is not zero. A year is a machine
	// that never boots.
	Boot time.Duration
	// Dead makes an instance that is listed, costs money and never runs.
	Dead bool
	// HourlyUSD replaces the price of the offer where it is not zero.
	HourlyUSD gpu.USD
	// Fault and Message are what listings say of the instance. One with a fault
	// never runs.
	Fault   gpu.Fault
	Message string
	// Hang keeps the caller waiting until its context ends. The effect comes
	// before the wait, and only with Took: the caller cannot know.
	Hang bool
}

// ListStep scripts one call of Instances. The zero step is a true, complete
// listing.
type ListStep struct {
	// Err is returned in place of a snapshot: nothing was learned.
	Err error
	// Incomplete clears Snapshot.Complete.
	Incomplete bool
	// Hide leaves the instances under these labels out. It is a missing page
	// together with Incomplete, and a lie without.
	Hide []string
	// Hang keeps the caller waiting until its context ends.
	Hang bool
}

// DestroyStep scripts one call of Destroy. The zero step ends the instance at
// once.
type DestroyStep struct {
	// Err is what the caller is told.
	Err error
	// Took says that the end comes although Err is set.
	Took bool
	// Ignored accepts the call (unless Err is set) and does nothing.
	Ignored bool
	// Delay is how much later than the call the instance ends.
	Delay time.Duration
	// Hang keeps the caller waiting until its context ends. The effect comes
	// before the wait, and only with Took.
	Hang bool
}

// Verb names a method of gpu.Provider.
type Verb string

// The verbs of a Provider.
const (
	Offers    Verb = "offers"
	Create    Verb = "create"
	Instances Verb = "instances"
	Destroy   Verb = "destroy"
)

// Call is one call that a Fake received.
type Call struct {
	Verb  Verb
	At    time.Time
	Label string // of Create
	ID    string // of Destroy, and of a Create that made something
	Err   error  // what the caller is told
}

// Record is the truth about one instance, whatever the listings say.
type Record struct {
	gpu.Instance
	// Request is what Create was asked; zero for an instance that was added.
	Request gpu.Request
	// Created is when the instance came, or comes, to exist and to cost money.
	Created time.Time
	// Ended is when it ended, or ends; zero when nothing has ended it.
	Ended time.Time
}

// Exists reports whether the instance exists, and costs money, at a time.
func (r Record) Exists(at time.Time) bool {
	return !at.Before(r.Created) && (r.Ended.IsZero() || at.Before(r.Ended))
}

// Cost is what the instance cost until a time, to the millisecond.
func (r Record) Cost(until time.Time) gpu.USD {
	if !r.Ended.IsZero() && r.Ended.Before(until) {
		until = r.Ended
	}
	ms := max(until.Sub(r.Created).Milliseconds(), 0)
	return r.HourlyUSD * gpu.USD(ms) / gpu.USD(time.Hour.Milliseconds())
}

// row is a record, and what a listing makes of it.
type row struct {
	Record
	boot time.Duration
	lag  time.Duration
}

// Fake is a provider in memory that does what its script says, in virtual
// time. It is the provider's side of the world: a caller that restarts keeps
// the same Fake. All methods are safe for concurrent use.
type Fake struct {
	cfg FakeConfig

	mu       sync.Mutex
	offers   []gpu.Offer
	rows     []*row
	calls    []Call
	creates  []CreateStep
	lists    []ListStep
	destroys []DestroyStep
	outage   error
	onCall   func(Call)
}

var _ gpu.Provider = (*Fake)(nil)

// NewFake returns a provider without instances.
func NewFake(cfg FakeConfig) *Fake {
	if cfg.Name == "" {
		cfg.Name = "fake"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Address == nil {
		scheme := "http://"
		if cfg.Traits.Pinned {
			scheme = "https://"
		}
		cfg.Address = func(label string) string { return scheme + label + ".invalid:3334" }
	}
	return &Fake{cfg: cfg, offers: slices.Clone(cfg.Offers)}
}

// Name implements gpu.Provider.
func (f *Fake) Name() string { return f.cfg.Name }

// Traits implements gpu.Provider.
func (f *Fake) Traits() gpu.Traits { return f.cfg.Traits }

// Offers implements gpu.Provider.
func (f *Fake) Offers(ctx context.Context) ([]gpu.Offer, error) {
	offers, call := f.offersNow(ctx)
	return offers, f.answer(ctx, call, false)
}

func (f *Fake) offersNow(ctx context.Context) (_ []gpu.Offer, call Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.record(call, false) }()
	call = Call{Verb: Offers, At: f.cfg.Now(), Err: f.down(ctx)}
	if call.Err != nil || f.full(call.At) {
		return nil, call
	}
	return slices.Clone(f.offers), call
}

// Create implements gpu.Provider.
func (f *Fake) Create(ctx context.Context, req gpu.Request) (string, error) {
	call, hang := f.create(ctx, req)
	switch err := f.answer(ctx, call, hang); {
	case errors.Is(err, gpu.ErrPartial):
		return call.ID, err
	case err != nil:
		return "", err
	}
	return call.ID, nil
}

func (f *Fake) create(ctx context.Context, req gpu.Request) (call Call, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.record(call, hang) }()
	call = Call{Verb: Create, At: f.cfg.Now(), Label: req.Label, Err: f.down(ctx)}
	if call.Err != nil {
		return call, false
	}
	step, scripted := next(&f.creates)
	if !scripted {
		step.Err = f.refusal(req, call.At)
	}
	call.Err = step.Err
	if step.Took || (step.Err == nil && !step.Hang) {
		for range 1 + step.Copies {
			id := f.add(f.born(req, step, call.At))
			if call.ID == "" {
				call.ID = id
			}
		}
	}
	return call, step.Hang
}

// refusal is what an unscripted Create answers by the rules of the contract.
// A scripted one answers what its step says.
func (f *Fake) refusal(req gpu.Request, now time.Time) error {
	known := func(o gpu.Offer) bool { return o.ID == req.Offer.ID }
	switch {
	case req.Label == "":
		return fmt.Errorf("create without a label: %w", gpu.ErrRefused)
	case f.full(now) || len(f.offers) == 0:
		return gpu.ErrNoCapacity
	case !slices.ContainsFunc(f.offers, known):
		return gpu.ErrOfferGone
	}
	return nil
}

func (f *Fake) born(req gpu.Request, step CreateStep, now time.Time) *row {
	r := &row{boot: f.cfg.Boot, lag: f.cfg.Lag}
	if step.Boot != 0 {
		r.boot = step.Boot
	}
	r.Request, r.Created = req, now.Add(step.Delay)
	r.Instance = gpu.Instance{
		Label: req.Label, Address: f.cfg.Address(req.Label), Running: !step.Dead,
		HourlyUSD: req.Offer.HourlyUSD, Slots: req.Offer.Slots, DownUSD: req.Offer.DownUSD, UpUSD: req.Offer.UpUSD,
		GPU: req.Offer.GPU, HostID: req.Offer.HostID, MachineID: req.Offer.MachineID, Country: req.Offer.Country,
	}
	if step.HourlyUSD != 0 {
		r.HourlyUSD = step.HourlyUSD
	}
	r.Fault, r.Message = step.Fault, step.Message
	if step.Fault != "" {
		r.Running = false
	}
	return r
}

// add gives the row an id and keeps it.
func (f *Fake) add(r *row) string {
	if r.ID == "" {
		r.ID = fmt.Sprintf("%d", 1000+len(f.rows))
	}
	f.rows = append(f.rows, r)
	return r.ID
}

// Instances implements gpu.Provider.
func (f *Fake) Instances(ctx context.Context) (gpu.Snapshot, error) {
	snapshot, call, hang := f.list(ctx)
	if err := f.answer(ctx, call, hang); err != nil {
		return gpu.Snapshot{}, err
	}
	return snapshot, nil
}

func (f *Fake) list(ctx context.Context) (snapshot gpu.Snapshot, call Call, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.record(call, hang) }()
	call = Call{Verb: Instances, At: f.cfg.Now(), Err: f.down(ctx)}
	if call.Err != nil {
		return snapshot, call, false
	}
	step, _ := next(&f.lists)
	call.Err = step.Err
	snapshot = gpu.Snapshot{Began: call.At, Complete: !step.Incomplete}
	for _, r := range f.rows {
		if r.listed(call.At, f.cfg.Linger) && !slices.Contains(step.Hide, r.Label) {
			snapshot.Instances = append(snapshot.Instances, r.seen(call.At))
		}
	}
	return snapshot, call, step.Hang
}

// listed tells whether an honest listing at this time has the row.
func (r *row) listed(now time.Time, linger time.Duration) bool {
	if now.Before(r.Created.Add(r.lag)) {
		return false
	}
	return r.Ended.IsZero() || now.Before(r.Ended.Add(linger))
}

// seen is the row as a listing at this time shows it.
func (r *row) seen(now time.Time) gpu.Instance {
	i := r.Instance
	booted := !now.Before(r.Created.Add(r.boot))
	if !r.Exists(now) {
		i.Running = false
	}
	switch {
	case !i.Running:
		i.Address, i.Status = "", "exited"
	case booted:
		i.Status, i.Started = "running", true
	default:
		i.Address, i.Status = "", "loading"
	}
	return i
}

// Destroy implements gpu.Provider.
func (f *Fake) Destroy(ctx context.Context, id string) error {
	call, hang := f.destroy(ctx, id)
	return f.answer(ctx, call, hang)
}

func (f *Fake) destroy(ctx context.Context, id string) (call Call, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.record(call, hang) }()
	call = Call{Verb: Destroy, At: f.cfg.Now(), ID: id, Err: f.down(ctx)}
	if call.Err != nil {
		return call, false
	}
	step, _ := next(&f.destroys)
	call.Err = step.Err
	if step.Ignored || (!step.Took && (step.Err != nil || step.Hang)) {
		return call, step.Hang
	}
	for _, r := range f.rows {
		if r.ID == id {
			r.end(call.At.Add(step.Delay))
		}
	}
	return call, step.Hang
}

// end sets when the instance ends, unless it ends sooner already.
func (r *row) end(at time.Time) {
	if r.Ended.IsZero() || at.Before(r.Ended) {
		r.Ended = at
	}
}

// down is why no call gets through now, if none does.
func (f *Fake) down(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.outage
}

func (f *Fake) full(now time.Time) bool {
	return f.cfg.Capacity > 0 && f.count(now) >= f.cfg.Capacity
}

func (f *Fake) count(now time.Time) (n int) {
	for _, r := range f.rows {
		if r.Exists(now) {
			n++
		}
	}
	return n
}

// record notes a call in the same critical section as its effect, so that
// the order of the notes is that of the effects.
func (f *Fake) record(call Call, hang bool) {
	if hang {
		call.Err = errHung
	}
	f.calls = append(f.calls, call)
}

// answer lets the test act between effect and answer, waits if the script
// says so, and returns what the caller is told.
func (f *Fake) answer(ctx context.Context, call Call, hang bool) error {
	f.mu.Lock()
	onCall := f.onCall
	f.mu.Unlock()
	if onCall != nil {
		onCall(call)
	}
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return call.Err
}

// errHung stands in the log of calls for one that was never answered.
var errHung = errors.New("no answer")

// next takes the first step of a script; without one, the zero step.
func next[S any](script *[]S) (step S, ok bool) {
	if len(*script) == 0 {
		return step, false
	}
	step = (*script)[0]
	*script = (*script)[1:]
	return step, true
}
