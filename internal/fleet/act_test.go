package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// holds keeps what the fleet begins beside its loop: it runs when the test says
// so, as if it hung until then.
func (r *rig) holds() *[]func() {
	var held []func()
	r.spawn = func(call func()) { held = append(held, call) }
	return &held
}

// twin is another machine that is ready and idle, as the ledger and the
// marketplace have it.
func (r *rig) twin(of Instance) Instance {
	r.Helper()
	of.Label += "twin"
	id, err := r.fake.Create(r.Context(), gpu.Request{Label: of.Label, Offer: cheap})
	r.ok(err)
	of.ProviderID = id
	r.ok(r.save(r.Context(), of))
	return of
}

func runAll(calls []func()) {
	for _, call := range calls {
		call()
	}
}

// The end of a machine that hangs holds up that of no other, and is not asked
// for a second time meanwhile.
func TestHangingEndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, one := r.rented()
	two := r.twin(one)
	r.cancel(j)
	r.tick()
	r.clock.Advance(policy.IdleTimeout + time.Second)
	held := r.holds()
	r.ok(r.Tick(t.Context()))
	r.calls(providertest.Destroy, 0)
	for _, in := range []Instance{one, two} {
		if got := r.row(in.Label); got.State != gpu.Destroying {
			t.Fatalf("%s is %s", in.Label, got.State)
		}
	}
	calls := *held
	hangs := calls[len(calls)-2]
	runAll(calls[len(calls)-1:])
	r.exist(1)
	for range 3 {
		r.clock.Advance(retryDestroy)
		*held = nil
		r.ok(r.Tick(t.Context()))
		runAll(*held)
	}
	r.exist(1)
	hangs()
	r.exist(0)
	asked := map[string]int{}
	for _, c := range r.fake.Calls(providertest.Destroy) {
		asked[c.ID]++
	}
	if min(asked[one.ProviderID], asked[two.ProviderID]) != 1 {
		t.Errorf("ends were asked for so often: %v", asked)
	}
}

// A create that hangs holds up no end, and there is no other meanwhile.
func TestHangingCreateHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, one := r.rented()
	r.cancel(j)
	r.tick()
	r.clock.Advance(policy.IdleTimeout + time.Second)
	r.tick()
	r.until("gone", func() bool { return r.row(one.Label).State == gpu.Gone })
	creates := len(r.fake.Calls(providertest.Create))
	j = r.submit()
	held := r.holds()
	r.ok(r.Tick(t.Context()))
	runAll(*held) // the search
	*held = nil
	r.ok(r.Tick(t.Context()))
	if len(*held) != 1 {
		t.Fatalf("%d calls, want one create", len(*held))
	}
	create := (*held)[0]
	r.cancel(j)
	one.IdleSince, one.ContactAt = r.clock.Now().Add(-policy.IdleTimeout), r.clock.Now()
	two := r.twin(one)
	*held = nil
	r.ok(r.Tick(t.Context()))
	runAll(*held)
	if got := r.row(two.Label); got.State != gpu.Destroying {
		t.Errorf("the idle machine is %s", got.State)
	}
	r.exist(0)
	r.submit()
	*held = nil
	r.ok(r.Tick(t.Context()))
	runAll(*held)
	r.calls(providertest.Create, creates+1) // the twin's, by the test
	create()
	r.calls(providertest.Create, creates+2)
}

// A create call that lasts as long as absence is believed in: the row stays
// until its answer.
func TestLongCreateIsNoAbsence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit()
	held := r.holds()
	r.ok(r.Tick(t.Context()))
	runAll(*held)
	*held = nil
	r.ok(r.Tick(t.Context()))
	create, ticks := *held, 0
	r.fake.OnCall(func(c providertest.Call) {
		if c.Verb != providertest.Create {
			return
		}
		for ; ticks < 12; ticks++ { // two minutes
			r.clock.Advance(createTimeout / 12)
			r.fake.ScriptList(providertest.ListStep{Hide: []string{c.Label}})
			if err := r.Tick(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	runAll(create)
	if got := r.rows()[0]; ticks != 12 || got.State != gpu.Booting || got.Reason != "the provider accepted" {
		t.Errorf("after %d rounds: %+v", ticks, got)
	}
}

// While a listing hangs what is idle goes all the same.
func TestHangingListingHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	r := realRig(t, func(c *Config, _ *providertest.FakeConfig) { c.Policy.IdleTimeout = 10 * time.Millisecond })
	end := r.runs()
	j := r.submit()
	quiet(t, "ready", r.has(gpu.Ready))
	r.fake.ScriptList(providertest.ListStep{Hang: true})
	quiet(t, "hanging", func() bool { calls := r.fake.Calls(providertest.Instances); return calls[len(calls)-1].Err != nil })
	r.cancel(j)
	quiet(t, "gone", func() bool { return r.fake.Exist() == 0 })
	if calls := r.fake.Calls(providertest.Instances); calls[len(calls)-1].Err == nil {
		t.Error("the listing did not hang")
	}
	r.ok(end())
}
