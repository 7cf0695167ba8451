// Package fleet rents machines and destroys them. It owns the ledger of
// instances: a row is committed before a machine is asked for, and kept after
// it is gone.
//
// Plan and Assign decide, as pure functions; apply.go acts; reconcile.go is
// the loop between them. One process at a time acts: the holder of the fleet
// lease.
package fleet

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Config says what the fleet works with. All fields are required unless
// their comment says otherwise.
type Config struct {
	DB       *db.DB
	Queue    *queue.Queue
	Provider gpu.Provider
	Policy   Policy
	// Identity is who we are: labels and credentials come from it.
	Identity Identity
	// Credentials overrides the derived ones: workers that were started by
	// somebody else have their own. Optional.
	Credentials *link.Credentials
	// Env is given to every instance on top of its credentials. Optional.
	Env map[string]string
	// Settings stands for all settings that may be why nothing can be rented,
	// and for the version of this program: what stopped renting under others is
	// tried again at once.
	Settings string
	// Image returns the name by which to pull the workers' image, and whether
	// that is by digest. Its error means that there is surely no such image, or
	// that nobody may pull it: then nothing is rented. It must not wait long.
	// nil leaves the image to the provider.
	Image func(ctx context.Context) (name string, pinned bool, err error)
	// CheckImage is Image, but asks the registry now: for when a machine could
	// not pull it. nil stands for Image.
	CheckImage func(ctx context.Context) (name string, pinned bool, err error)
	// HasRoom reports whether another result could be kept: while it cannot,
	// nothing is rented for the jobs that wait. Optional.
	HasRoom func() bool
	// Rest makes the provider's next calls wait as if some had just been made. It
	// is called when another process has just given the fleet lease back, which
	// may have made some. Optional: for an API that demands a least time between
	// two calls.
	Rest func()
	// DestroyAtEnd ends every instance of ours when Run ends.
	DestroyAtEnd bool
	// LeaveLease is the lease that each worker which is paid for and has a job is
	// given when Run ends, so that the job can end though the next process comes
	// late; what is idle is ended. 0 leaves all as it is.
	LeaveLease time.Duration
	Log        *slog.Logger
	// Transport carries what is said to the workers; nil is the network. A
	// pin is not looked at then. Tests have workers in memory.
	Transport http.RoundTripper
	// Clock is that of the database; nil is just that. Now is Clock.Now where
	// it is nil. Tests have others, of both.
	Clock *db.Clock
	Now   func() time.Time
}

// Fleet is the set of machines of one database.
type Fleet struct {
	cfg    Config
	holder string // this process, in the fleet lease

	changed chan struct{} // poked when an instance changed
	wake    chan struct{} // poked when the loop should look again

	mu        sync.Mutex
	epoch     int64     // of our fleet lease; 0 while we do not hold it
	since     time.Time // when this process began to hold it, or came back to it
	renewAt   time.Time
	heldUntil time.Time // the lease is good until then, unless renewed
	other     lastLease // as it was last written by whoever held it
	listing   listing
	accepted  map[string]time.Time // ends that were accepted during a stop, by label
	offers    offers
	exited    map[string]bool           // label → listed but not running
	strays    map[string]stray          // provider id → our label without a live row
	foreign   []Foreign                 // of other fleets, as listed last
	calling   map[string]bool           // label → a contact is under way
	asked     map[string]time.Time      // label → the last contact began
	refused   map[string]refused        // label → why its worker refused the last contact
	clients   map[string]*client.Client // address and label → client
	underWay  map[string]bool           // calls to the provider: see act
	creating  string                    // the label whose create call is under way
	faults    []error                   // of what ran beside the loop
	// unrecorded is what the ledger could not be told, by label.
	unrecorded map[string]unrecorded
	money      money
	speedsKept speedsKept
	told       told               // what the waiting jobs were told last
	stops      map[string]stopped // by code
	// ledgerStops are those that the last round found in the ledger.
	ledgerStops []Stop
	pause       creates // of asking for machines

	proof     proof // that machines end themselves
	clockSets int   // how often the clock was set

	clock struct { // taken before mu
		sync.Mutex
		found time.Duration // elapsed when it was found to be set; 0 where it was not
	}

	contacts sync.WaitGroup
	// spawn begins a contact, or a call to the provider, which end by
	// themselves: contacts.Go. The simulation says when.
	spawn func(contact func())

	ungated bool // for tests: no budget refuses anything
}

type offers struct {
	list []gpu.Offer
	at   time.Time
}

// listing is how the provider's listings fare.
type listing struct {
	at        time.Time // the last good one
	asked     time.Time // since when one is under way; zero while none is
	reachable time.Time // since when they are good
	failed    bool      // the last one failed
	calm      bool      // nothing is to be learned from the next but what was there
	// labels are those of the last good one; nil where it was not complete.
	labels map[string]bool
}

// stray is an instance that carries our label and is in no live row.
type stray struct {
	label    string
	listings int       // complete ones that had it
	asked    time.Time // its end, the last time
}

// New returns a fleet that does nothing before Run.
func New(cfg Config) *Fleet {
	if cfg.Clock == nil {
		cfg.Clock = cfg.DB.Clock()
	}
	if cfg.Now == nil {
		cfg.Now = cfg.Clock.Now
	}
	f := &Fleet{
		cfg: cfg, holder: newHolder(cfg.Queue.Process()), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		exited: map[string]bool{}, strays: map[string]stray{}, calling: map[string]bool{},
		asked: map[string]time.Time{}, refused: map[string]refused{}, clients: map[string]*client.Client{},
		underWay: map[string]bool{}, unrecorded: map[string]unrecorded{}, stops: map[string]stopped{}, pause: creates{failures: map[Kind]int{}},
	}
	f.spawn = f.contacts.Go
	return f
}

// Changed is poked whenever an instance changed, for the one that waits for
// slots.
func (f *Fleet) Changed() <-chan struct{} { return f.changed }

// MayDrive reports whether this process may claim jobs and drive them. On
// PostgreSQL any may; on SQLite the second process stands by.
func (f *Fleet) MayDrive() bool { return f.cfg.DB.Dialect() == db.PostgreSQL || f.Leading() }

// Leading reports whether this process may act.
func (f *Fleet) Leading() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch != 0 && !f.cfg.Now().After(f.heldUntil)
}

// actsSince is when this process began to act, or to act again.
func (f *Fleet) actsSince() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since
}

// Client returns the way to speak to the worker of an instance, as long as it
// may be running jobs. GPULost means that it no longer can.
func (f *Fleet) Client(ctx context.Context, label string) (*client.Client, error) {
	in, err := f.instance(ctx, label)
	if err != nil {
		return nil, err
	}
	if in.State != gpu.Ready || in.Provider != f.cfg.Provider.Name() {
		return nil, apigpu.E(apigpu.GPULost, nil, "The machine is gone: %s.", in.Reason)
	}
	return f.clientOf(in)
}

// clientOf keeps one client an instance, so that connections are used again.
func (f *Fleet) clientOf(in Instance) (*client.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := in.Label + " " + in.Address
	if c := f.clients[key]; c != nil {
		return c, nil
	}
	creds, err := f.credentials(in.Label)
	if err != nil {
		return nil, err
	}
	o := client.Options{Key: creds.Key, Token: creds.Token, Transport: f.cfg.Transport}
	if o.TLS, err = f.cfg.Policy.pin(f.cfg.Identity, in); err != nil {
		return nil, err
	}
	c, err := client.New(in.Address, o)
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", in.Label, err)
	}
	for old, stale := range f.clients { // its address changed
		if strings.HasPrefix(old, in.Label+" ") {
			stale.Close()
			delete(f.clients, old)
		}
	}
	f.clients[key] = c
	return c, nil
}

// pin says how the worker of an instance is recognized; nil where the way to it
// is the operator's own. A rented one is never spoken to in the clear, whatever
// address its provider gives: the first request would hand over its keys.
func (p Policy) pin(id Identity, in Instance) (*tls.Config, error) {
	if !p.Traits.Pinned {
		return nil, nil
	}
	if !strings.HasPrefix(strings.ToLower(in.Address), "https://") {
		return nil, fmt.Errorf("address of %s: it must begin with https://", in.Label)
	}
	seed, err := link.Seed(id.Secret, in.Label)
	if err != nil {
		return nil, err
	}
	return link.ClientConfig(seed)
}

// forget drops what is kept in memory about instances that are gone.
func (f *Fleet) forget(rows []Instance) {
	live := map[string]bool{}
	for _, in := range rows {
		live[in.Label] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.refused, func(label string, _ refused) bool { return !live[label] && !f.calling[label] })
	maps.DeleteFunc(f.asked, func(label string, _ time.Time) bool { return !live[label] && !f.calling[label] })
	maps.DeleteFunc(f.unrecorded, func(label string, _ unrecorded) bool { return !live[label] })
	for key, c := range f.clients {
		if label, _, _ := strings.Cut(key, " "); !live[label] {
			c.Close()
			delete(f.clients, key)
		}
	}
}

func (f *Fleet) credentials(label string) (link.Credentials, error) {
	if f.cfg.Credentials != nil {
		return *f.cfg.Credentials, nil
	}
	return link.Derive(f.cfg.Identity.Secret, label)
}

// Slots returns the free slots of all instances that are ready.
func (f *Fleet) Slots(ctx context.Context) ([]Slot, error) {
	rows, err := f.live(ctx)
	if err != nil {
		return nil, err
	}
	running, err := f.cfg.Queue.Running(ctx)
	if err != nil {
		return nil, err
	}
	return freeSlots(rows, running), nil
}

// Instances returns the ledger rows that are not gone.
func (f *Fleet) Instances(ctx context.Context) ([]Instance, error) { return f.live(ctx) }

// Refusals says which workers answer and do not take us for their
// orchestrator: nothing but another setting will help.
func (f *Fleet) Refusals() map[string]*apigpu.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]*apigpu.Error{}
	for label, r := range f.refused {
		all[label] = r.why
	}
	return all
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // awake already
	}
}
