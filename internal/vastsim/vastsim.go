// Package vastsim is a marketplace on loopback that speaks the API of Vast.ai,
// for development and tests. It is written from the documented API, not from
// our own adapter, so that each can find the other's mistakes.
//
// What a test needs beside the API is under /sim/: faults to come, what was
// called, and the truth about what lives and what it cost. Behaviour of
// Vast.ai that nobody has documented is chosen to be unkind: where a client
// could guess, the guess is wrong. Nothing here was compared with the live
// service.
//
// # Time
//
// The state is a function of the time. Each call first brings it to now, and
// so does Step; Run steps by itself. Advance moves the simulated time ahead
// of the clock, so that a test need not wait for an outage of 20 minutes.
package vastsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Config says what the market is like. The zero value is one with the offers
// of DefaultOffers, machines that are but rows, and no credit.
type Config struct {
	// Key is the account's API key.
	Key string
	// Machines runs what is rented; a Scripted when nil.
	Machines Machines
	// Address is what instances call their public address; that of the
	// offer when empty.
	Address string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Seed makes the keys of instances; each value makes others.
	Seed uint64
	// Log takes what happens; discarded when nil.
	Log *slog.Logger
	// Scenario is applied at the start.
	Scenario Scenario
}

// Timing is how long things take. Zero fields of a Scenario's Timing leave
// what was set before; 1ns is as good as none.
type Timing struct {
	// Provision, Create and Pull are how long an instance has no status, is
	// created, and is loading. Defaults: 1 s, 500 ms, 2 s.
	Provision Duration `json:"provision"`
	Create    Duration `json:"create"`
	Pull      Duration `json:"pull"`
	// ListLag is how long a new instance is missing from lists, and
	// DestroyLag how long a destroyed one stays in them. Default: 2 s each.
	ListLag    Duration `json:"list_lag"`
	DestroyLag Duration `json:"destroy_lag"`
	// ChargeLag is how late charges appear. Default: 2 minutes.
	ChargeLag Duration `json:"charge_lag"`
	// LogLag is how long a host takes to upload its logs. Default: 1 s.
	LogLag Duration `json:"log_lag"`
}

func defaultTiming() Timing {
	return Timing{
		Provision: Duration(time.Second), Create: Duration(500 * time.Millisecond), Pull: Duration(2 * time.Second),
		ListLag: Duration(2 * time.Second), DestroyLag: Duration(2 * time.Second),
		ChargeLag: Duration(2 * time.Minute), LogLag: Duration(time.Second),
	}
}

// Sim is the simulated marketplace: an http.Handler. It is safe for
// concurrent use.
type Sim struct {
	cfg     Config
	api     *http.ServeMux
	control *http.ServeMux
	closed  chan struct{}

	mu         sync.Mutex
	isClosed   bool
	random     *rand.Rand
	url        string
	ahead      time.Duration // of the clock
	now        time.Time     // to which everything was brought
	timing     Timing
	paid       gpu.USD // all credit there ever was
	spendLimit gpu.USD // $/h; 0 for none
	oldAccount bool    // made before lists moved to v1
	intervals  float64 // factor on the least time between calls
	limitBody  string
	goneForm   string
	imageBytes int64
	unfaithful []string // search columns that are not applied

	nextID    int64
	offers    []*Offer
	instances []*instance // all there ever were, by id
	late      []lateCreate
	logs      map[string]logUpload
	faults    []*Fault
	boots     []*BootRule
	events    []Event
	last      map[string]time.Time // call and identity → when it was let through
	refusals  int                  // calls that came too soon
	labels    map[string]bool      // of creates that took effect, or will
	calls     []Call
	broken    []Breach
}

// New returns a market. Close ends what it runs.
func New(cfg Config) (*Sim, error) {
	if cfg.Key == "" {
		return nil, errors.New("vastsim: no key")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Machines == nil {
		cfg.Machines = &Scripted{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sim{
		cfg: cfg, closed: make(chan struct{}),
		random: rand.New(rand.NewPCG(cfg.Seed, 0)), now: cfg.Now(), timing: defaultTiming(), intervals: 1,
		nextID: 31_000_000, logs: map[string]logUpload{}, last: map[string]time.Time{}, labels: map[string]bool{},
	}
	s.routeAPI()
	s.routeControl()
	if cfg.Scenario.Offers == nil {
		cfg.Scenario.Offers = DefaultOffers()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.apply(cfg.Scenario); err != nil {
		return nil, fmt.Errorf("vastsim: %w", err)
	}
	return s, nil
}

// SetURL tells at which base URL the market is reached: for the environment
// of workers and the links to logs.
func (s *Sim) SetURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
}

// Now is the simulated time.
func (s *Sim) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.time()
}

// Advance moves the simulated time ahead.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += max(0, d)
	s.step()
}

// Step brings everything to now.
func (s *Sim) Step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step()
}

// stepEvery is how late Run notices that something happened.
const stepEvery = 100 * time.Millisecond

// Run steps until ctx ends, so that machines boot while nobody calls.
func (s *Sim) Run(ctx context.Context) {
	ticker := time.NewTicker(stepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.Step()
		}
	}
}

// Close ends all machines and waits until nothing of them is left. Held
// requests are let go.
func (s *Sim) Close() {
	s.mu.Lock()
	if !s.isClosed {
		close(s.closed)
	}
	s.isClosed = true
	all := slices.Clone(s.instances)
	for _, i := range all {
		i.kill()
	}
	s.mu.Unlock()
	for _, i := range all {
		for _, m := range i.past {
			<-m.Ended()
		}
		if i.machine != nil {
			<-i.machine.Ended()
		}
	}
}

func (s *Sim) time() time.Time { return s.cfg.Now().Add(s.ahead) }

// secret makes a key that looks like one of theirs.
func (s *Sim) secret() string { return fmt.Sprintf("%016x%016x", s.random.Uint64(), s.random.Uint64()) }

func (s *Sim) id() int64 {
	s.nextID++
	return s.nextID
}

func (s *Sim) find(id int64) *instance {
	for _, i := range s.instances {
		if i.id == id && i.destroyed.IsZero() {
			return i
		}
	}
	return nil
}
