// Package providertest holds the conformance suite that every gpu.Provider
// passes, and Fake, a provider in memory whose failures are scripted.
package providertest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Options tell the suite how to live with one provider.
type Options struct {
	// Pass lets time of the provider pass. For virtual time it advances the
	// clock; when nil, the suite waits in real time.
	Pass func(d time.Duration)
	// Step is how much time passes between two looks; 10 ms when zero.
	Step time.Duration
	// Settle bounds each wait for something that must come true, beyond the
	// provider's own lag; 10 s when zero.
	Settle time.Duration
	// Env is the environment of each worker that the suite creates.
	Env map[string]string
	// Reopen returns a second value over the same state, as a restarted
	// orchestrator would make it. When nil, restarts are not tried.
	Reopen func(t *testing.T, p gpu.Provider) gpu.Provider
	// UnknownID is an id, well formed for this provider, of nothing;
	// "999999999" when empty. It serves for offers too.
	UnknownID string
}

// parallel is how many instances the suite has at once, at most.
const parallel = 4

// callTimeout bounds each call, in real time. Providers must answer promptly
// when it is over.
const callTimeout = 30 * time.Second

// Run checks p against the contract in the comments of gpu.Provider. Each
// subtest takes a fresh provider, from which at least four instances can be
// had at once. A permanent provider must have at least one instance.
func Run(t *testing.T, newProvider func(t *testing.T) gpu.Provider, opts Options) {
	t.Helper()
	opts = opts.withDefaults()
	open := func(t *testing.T) *bench {
		b := &bench{T: t, p: newProvider(t), opts: opts}
		t.Cleanup(b.cleanUp)
		return b
	}
	subtests := map[string]func(*bench){
		"Words":           words,
		"Life":            life,
		"DestroyTwice":    destroyTwice,
		"DestroyUnknown":  destroyUnknown,
		"UnknownOffer":    unknownOffer,
		"ContextEnded":    contextEnded,
		"OthersUntouched": othersUntouched,
		"Concurrent":      concurrent,
		"Restart":         restart,
	}
	if newProvider(t).Traits().Permanent {
		subtests = map[string]func(*bench){"Words": words, "Permanent": permanent}
	}
	for name, test := range subtests {
		t.Run(name, func(t *testing.T) { test(open(t)) })
	}
}

func (o Options) withDefaults() Options {
	if o.Step == 0 {
		o.Step = 10 * time.Millisecond
	}
	if o.Settle == 0 {
		o.Settle = 10 * time.Second
	}
	if o.UnknownID == "" {
		o.UnknownID = "999999999"
	}
	if o.Pass == nil {
		o.Pass = func(d time.Duration) { <-time.After(d) }
	}
	return o
}

// bench is one subtest: a provider, and the labels that were used on it.
type bench struct {
	*testing.T
	p      gpu.Provider
	opts   Options
	labels []string
	asked  map[string]bool // offers that were taken for a request
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	b.Cleanup(cancel)
	return ctx
}

// cleanUp ends what the subtest made, also after it failed: on a real
// marketplace a forgotten instance costs money.
func (b *bench) cleanUp() {
	if b.p.Traits().Permanent || len(b.labels) == 0 {
		return
	}
	ended := b.eventually(func() bool {
		left := false
		for _, i := range b.list(b.p).Instances {
			if slices.Contains(b.labels, i.Label) {
				left = true
				b.destroy(b.p, i.ID)
			}
		}
		return !left
	})
	if !ended {
		b.Errorf("instances are left under some of the labels %q: end them by hand", b.labels)
	}
}

// eventually looks until the condition holds, for lag and Settle at most.
func (b *bench) eventually(holds func() bool) bool {
	traits := b.p.Traits()
	bound := traits.ListingLag + traits.AbsenceGap + b.opts.Settle
	for passed := time.Duration(0); ; passed += b.opts.Step {
		if holds() {
			return true
		}
		if passed >= bound {
			return false
		}
		b.opts.Pass(b.opts.Step)
	}
}

// list returns a snapshot and fails the test without one.
func (b *bench) list(p gpu.Provider) gpu.Snapshot {
	b.Helper()
	snapshot, err := p.Instances(b.ctx())
	if err != nil {
		b.Fatalf("Instances: %v", err)
	}
	if snapshot.Began.IsZero() {
		b.Fatal("Instances: Began is not set")
	}
	return snapshot
}

// request asks for an instance under a label of its own, of the first offer
// that no other request asks for: on a marketplace each can be taken once.
func (b *bench) request() gpu.Request {
	b.Helper()
	offers, err := b.p.Offers(b.ctx())
	if err != nil {
		b.Fatalf("Offers: %v", err)
	}
	if len(offers) == 0 {
		b.Fatal("Offers is empty: the suite needs one that takes four instances")
	}
	offer := offers[0]
	if n := slices.IndexFunc(offers, func(o gpu.Offer) bool { return !b.asked[o.ID] }); n >= 0 {
		offer = offers[n]
	}
	if b.asked == nil {
		b.asked = map[string]bool{}
	}
	b.asked[offer.ID] = true
	// Random, so that runs against one account do not meet.
	label := "conformance." + rand.Text()
	b.labels = append(b.labels, label)
	return gpu.Request{Label: label, Offer: offer, Env: b.opts.Env}
}

// create makes an instance and returns its id.
func (b *bench) create(req gpu.Request) string {
	b.Helper()
	id, err := b.p.Create(b.ctx(), req)
	if err != nil {
		b.Fatalf("Create: %v", err)
	}
	if id == "" {
		b.Fatal("Create: success without an id")
	}
	return id
}

func (b *bench) destroy(p gpu.Provider, id string) {
	b.Helper()
	if err := p.Destroy(b.ctx(), id); err != nil {
		b.Errorf("Destroy(%q): %v", id, err)
	}
}

// under returns the instances of a listing that carry the label.
func under(s gpu.Snapshot, label string) []gpu.Instance {
	var found []gpu.Instance
	for _, i := range s.Instances {
		if i.Label == label {
			found = append(found, i)
		}
	}
	return found
}

// ready waits until the label is listed once, running, with an address.
func (b *bench) ready(p gpu.Provider, label string) gpu.Instance {
	b.Helper()
	var found []gpu.Instance
	ok := b.eventually(func() bool {
		found = under(b.list(p), label)
		return len(found) == 1 && found[0].Running && found[0].Address != ""
	})
	if !ok {
		b.Fatalf("label %q is not listed once, running, with an address; listed is %+v", label, found)
	}
	u, err := url.Parse(found[0].Address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		b.Errorf("address %q is not an http(s) base URL", found[0].Address)
	}
	if p.Traits().Pinned && u.Scheme != "https" {
		b.Errorf("address %q is not https, though the link is pinned", found[0].Address)
	}
	return found[0]
}

// gone waits until two complete listings, AbsenceGap apart, lack the label:
// what the fleet takes for the proof.
func (b *bench) gone(p gpu.Provider, label string) {
	b.Helper()
	absent := func() bool {
		s := b.list(p)
		return s.Complete && len(under(s, label)) == 0
	}
	if !b.eventually(absent) {
		b.Fatalf("label %q is still listed", label)
	}
	b.opts.Pass(p.Traits().AbsenceGap)
	if !b.eventually(absent) {
		b.Fatalf("label %q is listed again", label)
	}
}

// definite reports whether err says for certain that nothing was created.
func definite(err error) bool { return err != nil && !gpu.IsAmbiguous(err) }

// isContextEnd reports whether err says that the context ended.
func isContextEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
