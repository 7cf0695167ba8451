// Package market holds the adapter of Vast.ai against the simulated market,
// over real HTTP. Each was written from the documentation of the API and not
// from the other, so that here their mistakes meet.
package market

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const accountKey = "account-key-0123456789"

// rig is a market behind HTTP, and the adapter that talks to it.
type rig struct {
	testing.TB
	*vastsim.Sim
	*vast.Provider
	url string
}

// newRig is a market in which machines boot at once, whose simulated time
// passes by Advance. A scenario, in the form of its file, changes it.
func newRig(t testing.TB, scenario string, change ...func(*vast.Config)) *rig {
	t.Helper()
	// The clock hardly moves, so that nothing but Advance boots a machine.
	began, ticks := time.Now(), new(atomic.Int64)
	now := func() time.Time { return began.Add(time.Duration(ticks.Add(1)) * time.Microsecond) }
	return rigAt(t, now, `{"credit_usd":10,"intervals":0,
		"timing":{"provision":"1s","create":"1s","pull":"1s","list_lag":"1ns","destroy_lag":"1ns","charge_lag":"1ns"}}`, scenario, change...)
}

// rigAt is a rig with a clock of its own and two scenarios, one upon the other.
func rigAt(t testing.TB, now func() time.Time, base, more string, change ...func(*vast.Config)) *rig {
	t.Helper()
	first, err := vastsim.ReadScenario([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t}
	if r.Sim, err = vastsim.New(vastsim.Config{Key: accountKey, Now: now, Address: "127.0.0.1", Scenario: first}); err != nil {
		t.Fatal(err)
	}
	if more != "" {
		r.apply(more)
	}
	server := httptest.NewServer(r.Sim)
	r.url = server.URL
	r.SetURL(r.url)
	t.Cleanup(func() {
		r.Sim.Close() // first: it lets held requests go
		server.Close()
	})
	r.Provider = r.open(change...)
	return r
}

// open makes one more adapter of the market.
func (r *rig) open(change ...func(*vast.Config)) *vast.Provider {
	r.Helper()
	cfg := vast.Config{
		URL: r.url, Key: accountKey, Image: "ghcr.io/api-gpu/worker@sha256:" + strings.Repeat("ab", 32), Slots: 1,
		MaxPrice: gpu.Dollar, MinVRAM: 4, Verified: true, MinReliability: 0.95, Pace: 1e-4,
	}
	for _, c := range change {
		c(&cfg)
	}
	p, err := vast.New(cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(p.Close)
	return p
}

// Close is ambiguous between the two: the clean-up closes both.
func (r *rig) Close() {}

// apply changes the market by JSON, as a scenario file does.
func (r *rig) apply(scenario string) {
	r.Helper()
	sc, err := vastsim.ReadScenario([]byte(scenario))
	if err == nil {
		err = r.Apply(sc)
	}
	if err != nil {
		r.Fatalf("%s: %v", scenario, err)
	}
}

// request asks for an instance of the cheapest offer.
func (r *rig) request(label string) gpu.Request {
	r.Helper()
	offers, err := r.Offers(r.Context())
	if err != nil || len(offers) == 0 {
		r.Fatalf("Offers: %v, %v", offers, err)
	}
	return gpu.Request{Label: label, Offer: offers[0], Env: map[string]string{"SESSION_TOKEN": "a-session-token", "X_API_KEY": "a-worker-key"}}
}

// create rents one.
func (r *rig) create(label string) (id string) {
	r.Helper()
	id, err := r.Create(r.Context(), r.request(label))
	if err != nil {
		r.Fatalf("Create: %v", err)
	}
	return id
}

// boot rents one and lets it boot.
func (r *rig) boot(label string) (id string) {
	r.Helper()
	id = r.create(label)
	r.Advance(time.Minute)
	return id
}

// list returns what the adapter sees.
func (r *rig) list() gpu.Snapshot {
	r.Helper()
	s, err := r.Instances(r.Context())
	if err != nil {
		r.Fatalf("Instances: %v", err)
	}
	return s
}

// sees returns the one instance under a label.
func (r *rig) sees(label string) gpu.Instance {
	r.Helper()
	var found []gpu.Instance
	for _, i := range r.list().Instances {
		if i.Label == label {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		r.Fatalf("%d instances under %q", len(found), label)
	}
	return found[0]
}

// unbroken fails the test if the adapter broke a rule of the API.
func (r *rig) unbroken() {
	r.Helper()
	for _, b := range r.Truth().Broken {
		r.Errorf("rule %s was broken by %s: %s", b.Rule, b.Call, b.Detail)
	}
}
