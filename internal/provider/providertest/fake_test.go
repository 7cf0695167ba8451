package providertest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	offer = gpu.Offer{ID: "7", HourlyUSD: gpu.Dollar / 4, GPU: "RTX 3060", Slots: 2}
)

// newFake is a marketplace as slow to tell as the real one: 90 s and 10 s are
// the figures that package vast states.
func newFake() (*providertest.Fake, *providertest.Clock) {
	clock := providertest.NewClock(noon)
	return providertest.NewFake(providertest.FakeConfig{
		Now:    clock.Now,
		Traits: gpu.Traits{ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second, Pinned: true},
		Lag:    80 * time.Second,
		Linger: 20 * time.Second,
		Boot:   time.Minute,
		Offers: []gpu.Offer{offer},
	}), clock
}

func TestFakeConformance(t *testing.T) {
	t.Parallel()
	var clock *providertest.Clock
	providertest.Run(t, func(*testing.T) gpu.Provider {
		var f *providertest.Fake
		f, clock = newFake()
		return f
	}, providertest.Options{
		Pass:   func(d time.Duration) { clock.Advance(d) },
		Step:   time.Second,
		Settle: time.Minute,
		Reopen: func(_ *testing.T, p gpu.Provider) gpu.Provider { return p },
	})
}

func TestFakeCreateScript(t *testing.T) {
	t.Parallel()
	lost := errors.New("connection reset")
	tests := map[string]struct {
		step      providertest.CreateStep
		ambiguous bool
		exist     int // at once
		later     int // after two minutes
	}{
		"done":                {providertest.CreateStep{}, false, 1, 1},
		"refused":             {providertest.CreateStep{Err: gpu.ErrOfferGone}, false, 0, 0},
		"request lost":        {providertest.CreateStep{Err: lost}, true, 0, 0},
		"answer lost":         {providertest.CreateStep{Err: lost, Took: true}, true, 1, 1},
		"answer lost, late":   {providertest.CreateStep{Err: lost, Took: true, Delay: time.Minute}, true, 0, 1},
		"sent twice":          {providertest.CreateStep{Copies: 1}, false, 2, 2},
		"partial":             {providertest.CreateStep{Err: gpu.ErrPartial, Took: true, Dead: true}, true, 1, 1},
		"hangs, request lost": {providertest.CreateStep{Hang: true}, true, 0, 0},
		"hangs, answer lost":  {providertest.CreateStep{Hang: true, Took: true}, true, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, clock := newFake()
			f.ScriptCreate(tt.step)
			ctx, cancel := context.WithCancel(t.Context())
			f.OnCall(func(providertest.Call) { cancel() }) // what ends the wait of Hang
			id, err := f.Create(ctx, gpu.Request{Label: "a", Offer: offer})
			if gpu.IsAmbiguous(err) != tt.ambiguous || (err == nil || errors.Is(err, gpu.ErrPartial)) != (id != "") {
				t.Errorf("Create returned %q, %v; want ambiguous %t", id, err, tt.ambiguous)
			}
			if n := f.Exist(); n != tt.exist {
				t.Errorf("%d exist at once, want %d", n, tt.exist)
			}
			clock.Advance(2 * time.Minute)
			if n := f.Exist(); n != tt.later {
				t.Errorf("%d exist later, want %d", n, tt.later)
			}
		})
	}
}

func TestFakeListScript(t *testing.T) {
	t.Parallel()
	f, clock := newFake()
	f.Add(gpu.Instance{Label: "a", Running: true})
	f.Add(gpu.Instance{Label: "foreign", Running: true})
	labels := func() (found []string, complete bool) {
		t.Helper()
		s, err := f.Instances(t.Context())
		if err != nil {
			t.Fatalf("Instances: %v", err)
		}
		for _, i := range s.Instances {
			found = append(found, i.Label)
		}
		return found, s.Complete
	}
	down := errors.New("502 Bad Gateway")
	f.ScriptList(
		providertest.ListStep{Err: down},
		providertest.ListStep{Incomplete: true, Hide: []string{"a"}},
	)
	if _, err := f.Instances(t.Context()); !errors.Is(err, down) {
		t.Errorf("Instances: %v, want %v", err, down)
	}
	if got, complete := labels(); complete || !slices.Equal(got, []string{"foreign"}) {
		t.Errorf("listed %q, complete %t", got, complete)
	}
	if got, complete := labels(); !complete || !slices.Equal(got, []string{"a", "foreign"}) {
		t.Errorf("after the script listed %q, complete %t", got, complete)
	}
	f.Vanish("a")
	if got, _ := labels(); len(got) != 2 || f.Exist() != 1 {
		t.Errorf("an instance that ended no longer lingers: %q, %d exist", got, f.Exist())
	}
	clock.Advance(20 * time.Second)
	if got, _ := labels(); len(got) != 1 {
		t.Errorf("an instance that ended lingers too long: %q", got)
	}
}

func TestFakeDestroyScript(t *testing.T) {
	t.Parallel()
	lost := errors.New("timeout")
	tests := map[string]struct {
		step  providertest.DestroyStep
		err   error
		exist int // at once
		later int // after a minute
	}{
		"done":         {providertest.DestroyStep{}, nil, 0, 0},
		"ignored":      {providertest.DestroyStep{Ignored: true}, nil, 1, 1},
		"slow":         {providertest.DestroyStep{Delay: time.Minute}, nil, 1, 0},
		"request lost": {providertest.DestroyStep{Err: lost}, lost, 1, 1},
		"answer lost":  {providertest.DestroyStep{Err: lost, Took: true}, lost, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, clock := newFake()
			id := f.Add(gpu.Instance{Label: "a", Running: true})
			f.ScriptDestroy(tt.step)
			if err := f.Destroy(t.Context(), id); !errors.Is(err, tt.err) {
				t.Errorf("Destroy: %v, want %v", err, tt.err)
			}
			if n := f.Exist(); n != tt.exist {
				t.Errorf("%d exist at once, want %d", n, tt.exist)
			}
			clock.Advance(time.Minute)
			if n := f.Exist(); n != tt.later {
				t.Errorf("%d exist later, want %d", n, tt.later)
			}
		})
	}
}

func TestFakeCapacityAndOutage(t *testing.T) {
	t.Parallel()
	f := providertest.NewFake(providertest.FakeConfig{Capacity: 1, Offers: []gpu.Offer{offer}})
	if _, err := f.Create(t.Context(), gpu.Request{Label: "a", Offer: offer}); err != nil {
		t.Fatal(err)
	}
	if offers, err := f.Offers(t.Context()); err != nil || len(offers) != 0 {
		t.Errorf("Offers at capacity: %v, %v", offers, err)
	}
	if _, err := f.Create(t.Context(), gpu.Request{Label: "b", Offer: offer}); !errors.Is(err, gpu.ErrNoCapacity) {
		t.Errorf("Create at capacity: %v", err)
	}
	down := errors.New("maintenance")
	f.SetOutage(down)
	if err := f.Destroy(t.Context(), f.Records()[0].ID); !errors.Is(err, down) || f.Exist() != 1 {
		t.Errorf("Destroy in an outage: %v, %d exist", err, f.Exist())
	}
	f.SetOutage(nil)
	if got := len(f.Calls(providertest.Create)); got != 2 {
		t.Errorf("%d creates are noted, want 2", got)
	}
}

func TestFakeCost(t *testing.T) {
	t.Parallel()
	f, clock := newFake()
	req := gpu.Request{Label: "a", Offer: offer, Env: map[string]string{"K": "v"}}
	id, err := f.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	f.Stop("a") // a machine that stopped working goes on costing
	clock.Advance(30 * time.Minute)
	if err := f.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	if got, want := f.Cost(), gpu.Dollar/8; got != want {
		t.Errorf("half an hour at a quarter of a dollar cost %v, want %v", got, want)
	}
	r := f.Records()[0]
	if r.Running || r.Request.Env["K"] != "v" || !r.Ended.Equal(noon.Add(30*time.Minute)) {
		t.Errorf("the record is %+v", r)
	}
}

// What listings say of an instance beyond its being there can be scripted.
func TestFakeSays(t *testing.T) {
	t.Parallel()
	f, clock := newFake()
	f.ScriptCreate(
		providertest.CreateStep{HourlyUSD: gpu.Dollar, Message: "Pulling fs layer"},
		providertest.CreateStep{Fault: gpu.FaultImage, Message: "manifest unknown"})
	for _, label := range []string{"dear", "broken"} {
		if _, err := f.Create(t.Context(), gpu.Request{Label: label, Offer: offer}); err != nil {
			t.Fatal(err)
		}
	}
	f.Say("dear", "Pull complete")
	clock.Advance(2 * time.Minute)
	s, err := f.Instances(t.Context())
	if err != nil || len(s.Instances) != 2 {
		t.Fatal(s, err)
	}
	one, two := s.Instances[0], s.Instances[1]
	if one.HourlyUSD != gpu.Dollar || one.Message != "Pull complete" || !one.Running || one.GPU != offer.GPU {
		t.Errorf("the first is %+v", one)
	}
	if two.Fault != gpu.FaultImage || two.Message != "manifest unknown" || two.Running || two.Address != "" || two.HourlyUSD != offer.HourlyUSD {
		t.Errorf("the second is %+v", two)
	}
	f.Price("broken", 2*gpu.Dollar)
	if s, err = f.Instances(t.Context()); err != nil || s.Instances[1].HourlyUSD != 2*gpu.Dollar {
		t.Errorf("%+v, %v", s, err)
	}
}
