package vastsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Scenario is what a market is like, and what is to go wrong. It is the JSON
// of a scenario file and of POST /sim/scenario, where it changes what it
// names and leaves the rest.
type Scenario struct {
	// CreditUSD is what the account has from now on, in dollars.
	CreditUSD *float64 `json:"credit_usd"`
	// SpendLimitUSD is the most that the account may spend an hour; 0 lifts it.
	SpendLimitUSD *float64 `json:"spend_limit_usd"`
	// OldAccount lets the deprecated list work.
	OldAccount *bool `json:"old_account"`
	// Intervals multiplies the least times between calls; 0 lifts them.
	Intervals *float64 `json:"intervals"`
	// LimitBody is the form of the answers 429: text, detail or json. Empty
	// lets them take turns.
	LimitBody *string `json:"limit_body"`
	// GoneForm is how a create tells that an offer is gone: 404, 400 or
	// invalid_args.
	GoneForm *string `json:"gone_form"`
	// ImageBytes is what a host downloads for the image, and charges.
	ImageBytes *int64 `json:"image_bytes"`
	// Unfaithful are columns by which search does not filter.
	Unfaithful []string `json:"unfaithful"`
	Timing     Timing   `json:"timing"`
	// Offers take the place of those that nobody rents.
	Offers []Offer `json:"offers"`
	// Instances are there without having been created by a call.
	Instances []Existing `json:"instances"`
	Faults    []Fault    `json:"faults"`
	Boots     []BootRule `json:"boots"`
	Events    []Event    `json:"events"`
}

// BootRule says how instances that are created from now on behave.
type BootRule struct {
	// Label and MachineID restrict it.
	Label     string `json:"label"`
	MachineID int64  `json:"machine_id"`
	// Times is how many it is for; 0 is one, negative is all.
	Times int `json:"times"`
	Behaviour
}

// Existing is an instance that is there already, and runs.
type Existing struct {
	Label string `json:"label"`
	// Mine is false for another owner's: to end it breaks a rule.
	Mine  bool   `json:"mine"`
	Offer *Offer `json:"offer"`
}

// Event is something that will happen by itself.
type Event struct {
	// After is the time from when the scenario is applied.
	After Duration `json:"after"`
	// Label names the instances that it happens to; all where empty.
	Label string `json:"label"`
	Deed

	at time.Time
}

// Deed is something that happens to an instance.
type Deed struct {
	// Do is one of the words below.
	Do string `json:"do"`
	// Down and Up are the bytes of a deed "traffic".
	Down int64 `json:"down"`
	Up   int64 `json:"up"`
	// PriceUSD is the new price of a deed "price", $/h.
	PriceUSD float64 `json:"price_usd"`
}

// What can happen to an instance.
const (
	DoExit    = "exit"    // its program ends
	DoOffline = "offline" // the host is lost, with what runs on it
	DoUnknown = "unknown" // no heartbeat for a while
	DoReturn  = "return"  // the host, or the GPU that was taken, is back
	DoOutbid  = "outbid"  // stopped, as by a higher bid; the GPU is taken
	DoReclaim = "reclaim" // the same, as by the host
	DoFreeze  = "freeze"  // paused, and paid
	DoVanish  = "vanish"  // the contract ends
	DoTraffic = "traffic" // bytes went in and out
	DoPrice   = "price"   // the GPU costs another price from now on
	DoCut     = "cut"     // nobody reaches its ports, until it returns
)

var deeds = []string{DoExit, DoOffline, DoUnknown, DoReturn, DoOutbid, DoReclaim, DoFreeze, DoVanish, DoTraffic, DoPrice, DoCut}

// Deeds are all that can happen to an instance.
func Deeds() []string { return slices.Clone(deeds) }

// ReadScenario reads a scenario file.
func ReadScenario(text []byte) (sc Scenario, err error) {
	err = readStrict(text, &sc)
	return sc, err
}

// readStrict reads one JSON value, with no field that is not known.
func readStrict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read JSON: something follows its end")
	}
	return nil
}

// Apply changes the market. It does all of it, or fails and does nothing.
func (s *Sim) Apply(sc Scenario) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	return s.apply(sc)
}

func (s *Sim) apply(sc Scenario) error {
	if s.isClosed {
		return errors.New("the market is closed")
	}
	if err := sc.check(); err != nil {
		return err
	}
	set(&s.oldAccount, sc.OldAccount)
	set(&s.intervals, sc.Intervals)
	set(&s.limitBody, sc.LimitBody)
	set(&s.goneForm, sc.GoneForm)
	set(&s.imageBytes, sc.ImageBytes)
	if sc.CreditUSD != nil {
		s.paid = s.spent(s.now) + usd(*sc.CreditUSD)
	}
	if sc.SpendLimitUSD != nil {
		s.spendLimit = usd(*sc.SpendLimitUSD)
	}
	if sc.Unfaithful != nil {
		s.unfaithful = sc.Unfaithful
	}
	s.timing.change(sc.Timing)
	if sc.Offers != nil {
		s.offers = slices.DeleteFunc(s.offers, func(o *Offer) bool { return !o.rented })
	}
	for _, o := range sc.Offers {
		s.addOffer(o)
	}
	for _, e := range sc.Instances {
		s.exist(e)
	}
	for _, f := range sc.Faults {
		if f.For > 0 {
			f.until = s.now.Add(time.Duration(f.For))
		}
		s.faults = append(s.faults, &f)
	}
	for _, b := range sc.Boots {
		if b.Times == 0 {
			b.Times = 1
		}
		s.boots = append(s.boots, &b)
	}
	for _, e := range sc.Events {
		e.at = s.now.Add(time.Duration(e.After))
		s.events = append(s.events, e)
	}
	return nil
}

// check refuses what cannot be; it fills what follows from the rest.
func (sc *Scenario) check() error {
	for n := range sc.Faults {
		if err := sc.Faults[n].check(); err != nil {
			return err
		}
	}
	for _, b := range sc.Boots {
		if err := b.check(); err != nil {
			return err
		}
	}
	for _, e := range sc.Events {
		if !slices.Contains(deeds, e.Do) {
			return fmt.Errorf("deed %q is not known", e.Do)
		}
	}
	for _, o := range sc.Offers {
		if o.GPUName == "" || o.NumGPUs < 1 || o.DPHBase < 0 || o.StorageCost < 0 {
			return fmt.Errorf("offer of machine %d: no GPU, or a negative price", o.MachineID)
		}
	}
	if sc.LimitBody != nil && !slices.Contains([]string{"", "text", "detail", "json"}, *sc.LimitBody) {
		return fmt.Errorf("limit_body %q is not known", *sc.LimitBody)
	}
	if sc.GoneForm != nil && !slices.Contains([]string{"", "404", "400", "invalid_args"}, *sc.GoneForm) {
		return fmt.Errorf("gone_form %q is not known", *sc.GoneForm)
	}
	return nil
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

func (t *Timing) change(to Timing) {
	for _, c := range []struct{ have, want *Duration }{
		{&t.Provision, &to.Provision}, {&t.Create, &to.Create}, {&t.Pull, &to.Pull}, {&t.ListLag, &to.ListLag},
		{&t.DestroyLag, &to.DestroyLag}, {&t.ChargeLag, &to.ChargeLag}, {&t.LogLag, &to.LogLag},
	} {
		if *c.want != 0 {
			*c.have = *c.want
		}
	}
}

// exist puts an instance there that no call created.
func (s *Sim) exist(e Existing) {
	offer := typicalOffer()
	if e.Offer != nil {
		offer = *e.Offer
	}
	offer.rented = true
	o := s.addOffer(offer)
	disk := float64(minDisk)
	i := s.rent(order{Image: "example.com/image:1", Label: e.Label, Disk: &disk, Runtype: "args"}, *o, s.now)
	i.foreign = !e.Mine
	s.boot(i, s.now)
}

// clearFaults forgets all faults that have not happened.
func (s *Sim) clearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Do makes something happen to an instance, as Deed says.
func (s *Sim) Do(id int64, d Deed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
	for _, i := range s.instances {
		if i.id == id {
			return s.do(i, d, s.now)
		}
	}
	return fmt.Errorf("there is no instance %d", id)
}

// happen does an event to the instances that it is for.
func (s *Sim) happen(e Event, t time.Time) {
	for _, i := range s.instances {
		if (e.Label == "" || e.Label == i.label) && i.destroyed.IsZero() {
			_ = s.do(i, e.Deed, t) // checked when it was planned
		}
	}
}

func (s *Sim) do(i *instance, d Deed, t time.Time) error {
	if !i.destroyed.IsZero() && d.Do != DoReturn {
		return fmt.Errorf("instance %d is destroyed", i.id)
	}
	switch d.Do {
	case DoExit:
		i.exit(t)
	case DoOffline:
		i.away = offline
		i.gpu.stop(t)
		i.disk.stop(t)
		i.reach(false)
	case DoUnknown:
		i.away = unknown
	case DoReturn:
		s.comeBack(i, t)
	case DoOutbid, DoReclaim:
		i.taken = true
		i.halt(t, stopped)
	case DoFreeze:
		i.intended = frozen
		i.turn(t, frozen, "")
		i.reach(false)
	case DoVanish:
		s.end(i, t)
	case DoTraffic:
		i.traffic = append(i.traffic, transfer{at: t, down: max(0, d.Down), up: max(0, d.Up)})
	case DoCut:
		i.reach(false)
	case DoPrice:
		return i.reprice(usd(d.PriceUSD))
	default:
		return fmt.Errorf("deed %q is not known", d.Do)
	}
	return nil
}

// comeBack ends what took the host, or the GPU, away. A program of a
// contract that was destroyed meanwhile ends only now.
func (s *Sim) comeBack(i *instance, t time.Time) {
	i.away, i.taken = "", false
	i.reach(true)
	if !i.destroyed.IsZero() {
		i.kill()
		return
	}
	i.disk.start(t)
	if i.actual == frozen {
		i.intended = running
		i.turn(t, running, "")
	}
	if i.actual == running {
		i.gpu.start(t)
	}
}

func (i *instance) reach(on bool) {
	if i.machine != nil {
		i.machine.Reach(on)
	}
}

// reprice changes the price of an instance whose GPU has cost nothing so far:
// what was paid stays paid at one price.
func (i *instance) reprice(hourly gpu.USD) error {
	if len(i.gpu.spans) > 0 {
		return fmt.Errorf("instance %d has run: its price changes before it does", i.id)
	}
	i.gpu.hourly = hourly
	return nil
}
