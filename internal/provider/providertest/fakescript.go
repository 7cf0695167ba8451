package providertest

import (
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// ScriptCreate appends steps for the next calls of Create, one each. When
// they are used up the calls succeed again, or are refused as the contract
// says. A call during an outage uses up no step.
func (f *Fake) ScriptCreate(steps ...CreateStep) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.creates = append(f.creates, steps...)
}

// ScriptList appends steps for the next calls of Instances, one each.
func (f *Fake) ScriptList(steps ...ListStep) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, steps...)
}

// ScriptDestroy appends steps for the next calls of Destroy, one each.
func (f *Fake) ScriptDestroy(steps ...DestroyStep) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.destroys = append(f.destroys, steps...)
}

// SetOffers replaces what can be rented. Without any, Create answers
// gpu.ErrNoCapacity.
func (f *Fake) SetOffers(offers ...gpu.Offer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers = slices.Clone(offers)
}

// SetOutage makes every call fail with err and do nothing, until it is set to
// nil. From Create, an err that is no definite refusal is ambiguous.
func (f *Fake) SetOutage(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outage = err
}

// OnCall sets a function that runs in each call after its effect and before
// its answer: the moment at which a crash of the caller hurts most. It may
// call the Fake, end the caller's context, or advance the clock.
func (f *Fake) OnCall(hook func(Call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onCall = hook
}

// Add puts an instance there that nobody asked this Fake for: another
// fleet's, or one that a lost database forgot. It returns its id, which is
// made up where i.ID is empty.
func (f *Fake) Add(i gpu.Instance) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(&row{Record: Record{Instance: i, Created: f.cfg.Now()}})
}

// Stop makes the instances under a label stop working. They stay listed and
// go on costing money.
func (f *Fake) Stop(label string) {
	f.each(label, func(r *row, _ time.Time) { r.Running = false })
}

// Say sets what listings say of the instances under a label.
func (f *Fake) Say(label, message string) {
	f.each(label, func(r *row, _ time.Time) { r.Message = message })
}

// Price changes what the instances under a label cost from the beginning.
func (f *Fake) Price(label string, hourly gpu.USD) {
	f.each(label, func(r *row, _ time.Time) { r.HourlyUSD = hourly })
}

// Vanish ends the instances under a label without being asked to: the host
// took them away, or they ended themselves.
func (f *Fake) Vanish(label string) {
	f.each(label, func(r *row, now time.Time) { r.end(now) })
}

func (f *Fake) each(label string, do func(*row, time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Now()
	for _, r := range f.rows {
		if r.Label == label {
			do(r, now)
		}
	}
}

// Records returns the truth about every instance there ever was, or is to
// come, in the order of their creation.
func (f *Fake) Records() []Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Record
	for _, r := range f.rows {
		all = append(all, r.Record)
	}
	return all
}

// Exist returns how many instances exist now, listed or not.
func (f *Fake) Exist() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count(f.cfg.Now())
}

// Cost is what all instances together cost until now.
func (f *Fake) Cost() gpu.USD {
	var sum gpu.USD
	now := f.cfg.Now()
	for _, r := range f.Records() {
		sum += r.Cost(now)
	}
	return sum
}

// Calls returns the calls so far, in the order of their effects. Without a
// verb it returns all of them.
func (f *Fake) Calls(verbs ...Verb) []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var some []Call
	for _, c := range f.calls {
		if len(verbs) == 0 || slices.Contains(verbs, c.Verb) {
			some = append(some, c)
		}
	}
	return some
}

// Clock is virtual time: it stands still but for Advance. It is safe for
// concurrent use.
type Clock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

// NewClock returns a clock that shows the given time.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance lets d pass.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// Set sets the clock by d: it shows another time, and none has passed.
func (c *Clock) Set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Elapsed returns the time that has passed.
func (c *Clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}
