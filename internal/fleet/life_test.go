package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A job waits: one machine is rented at once, works, falls idle, and goes.
func TestLife(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.committed()
	j := r.submit()
	r.tick() // looks for offers
	r.tick() // rents
	r.calls(providertest.Create, 1)
	r.want(gpu.Booting, "the provider accepted")
	if rows := r.rows(); r.fake.Records()[0].Request.Offer.ID != "cheap" || rows[0].HourlyUSD != cheap.HourlyUSD {
		t.Errorf("rented %+v for %s", r.fake.Records()[0].Request.Offer, rows[0].HourlyUSD)
	}
	r.pass(boot, 5*time.Second)
	r.want(gpu.Ready, "its worker proved h264_nvenc")
	label := r.rows()[0].Label
	free, err := r.Slots(t.Context())
	if err != nil || len(free) != 1 || free[0] != (Slot{label, 0}) {
		t.Fatalf("free are %v, %v", free, err)
	}
	run, err := r.queue.Claim(t.Context(), j.ID, label, 0)
	r.ok(err)
	r.pass(5*time.Minute, 10*time.Second) // longer than idleness and silence allow
	r.want(gpu.Ready, "")
	if r.workers.heard[label] < 15 || r.workers.last.TTLSeconds != policy.Lease.Seconds() || r.workers.last.Epoch == 0 {
		t.Errorf("%d renewals, the last %+v", r.workers.heard[label], r.workers.last)
	}
	r.ok(r.queue.Fail(t.Context(), run.Lease(), apigpu.E(apigpu.Internal, nil, "x")))
	r.pass(policy.IdleTimeout-5*time.Second, 5*time.Second)
	r.exist(1)
	r.pass(10*time.Second, 5*time.Second)
	r.exist(0)
	r.want(gpu.Destroying, "idle for 1m0s")
	if _, err := r.Client(t.Context(), label); apigpu.CodeOf(err) != apigpu.GPULost {
		t.Errorf("a machine that ends can be spoken to: %v", err)
	}
	r.until("gone", r.has(gpu.Gone))
	r.want(gpu.Gone, "idle for 1m0s")
	asked := len(r.fake.Calls(providertest.Destroy))
	r.pass(time.Minute, 10*time.Second)
	r.calls(providertest.Destroy, asked)
	r.calls(providertest.Create, 1)
}

// A worker that refuses us is told of, until it no longer does.
func TestRefusalIsToldOf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lock := func(locked bool) { r.workers.mu.Lock(); defer r.workers.mu.Unlock(); r.workers.locked = locked }
	lock(true)
	j := r.submit()
	r.until("refused", func() bool { return len(r.Refusals()) == 1 })
	label := r.rows()[0].Label
	if why := r.Refusals()[label]; why == nil || why.Code != apigpu.Forbidden {
		t.Errorf("refused with %v", why)
	}
	r.tick()
	if got, err := r.queue.Job(t.Context(), j.ID); err != nil || !strings.Contains(got.PhaseNote, "refuses this server") {
		t.Errorf("the job is told %q, %v", got.PhaseNote, err)
	}
	lock(false)
	r.until("ready", r.has(gpu.Ready))
	if left := r.Refusals(); len(left) != 0 {
		t.Errorf("still refused: %v", left)
	}
}

// draftThatExpires waits for a second only.
func draftThatExpires() queue.Draft {
	return queue.Draft{Subtitle: []byte("1"), WaitFor: time.Second, RunFor: time.Hour, KeepFor: time.Hour}
}

// Without work nothing is rented, whatever else happens.
func TestNothingWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	late, err := r.queue.Submit(t.Context(), draftThatExpires())
	r.ok(err)
	r.clock.Advance(time.Minute) // its waiting is over, though nobody has said so yet
	r.pass(time.Minute, 10*time.Second)
	r.calls(providertest.Offers, 0)
	r.calls(providertest.Create, 0)
	if got, err := r.queue.Job(t.Context(), late.ID); err != nil || got.Status != apigpu.Queued {
		t.Errorf("the job is %s, %v", got.Status, err)
	}
}

// What the provider definitely refuses leaves a row that is gone, and is tried
// again after a pause under another label.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.committed()
	r.fake.ScriptCreate(
		providertest.CreateStep{Err: fmt.Errorf("no sense: %w", gpu.ErrRefused)},
		providertest.CreateStep{Err: gpu.ErrNotSent},
		providertest.CreateStep{Err: gpu.ErrNoCapacity})
	r.submit()
	r.pass(time.Second, time.Second)
	r.want(gpu.Gone, "no sense")
	r.calls(providertest.Create, 1)
	var at []time.Time
	r.pass(10*time.Second, 500*time.Millisecond)
	labels := map[string]bool{}
	for _, c := range r.fake.Calls(providertest.Create) {
		at = append(at, c.At)
		labels[c.Label] = true
	}
	if len(at) != 4 || len(labels) != 4 {
		t.Fatalf("creates at %v under %v", at, labels)
	}
	if one, two := at[1].Sub(at[0]), at[2].Sub(at[1]); one < time.Second || two < 2*time.Second {
		t.Errorf("pauses of %s and %s, want 1 s and 2 s", one, two)
	}
	r.exist(1)
}

// An offer that somebody else took: the next of the list is tried at once,
// under a label of its own.
func TestOfferGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.committed()
	r.fake.ScriptCreate(providertest.CreateStep{Err: gpu.ErrOfferGone})
	r.submit()
	r.tick()
	r.tick()
	calls := r.fake.Calls(providertest.Create)
	if len(calls) != 2 || calls[0].Label == calls[1].Label {
		t.Fatalf("creates: %+v", calls)
	}
	if got := r.fake.Records()[0].Request.Offer.ID; got != "dear" {
		t.Errorf("rented %s", got)
	}
}

// A create that ended without an answer is resolved by its label. It is never
// called again, whether it took or not.
func TestAmbiguous(t *testing.T) {
	t.Parallel()
	lost := errors.New("EOF")
	for _, c := range []struct {
		name string
		step providertest.CreateStep
		took bool
	}{
		{"the answer was lost", providertest.CreateStep{Err: lost, Took: true}, true},
		{"the answer was lost, and it comes late", providertest.CreateStep{Err: lost, Took: true, Delay: time.Minute}, true},
		{"the request was lost", providertest.CreateStep{Err: lost}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.committed()
			r.fake.ScriptCreate(c.step)
			r.submit()
			r.tick()
			r.tick()
			r.want(gpu.Creating, "the create call ended without an answer")
			r.pass(60*time.Second, 5*time.Second)
			r.calls(providertest.Create, 1)
			if c.took {
				r.until("ready", r.has(gpu.Ready))
				r.calls(providertest.Create, 1)
				r.exist(1)
				return
			}
			first := r.rows()[0].Label
			r.until("gone", r.has(gpu.Gone))
			if now := r.clock.Now(); now.Before(in(100 * time.Second)) {
				t.Errorf("gone after %s: two listings cannot have shown it yet", now.Sub(noon))
			}
			r.until("another is ready", r.has(gpu.Ready))
			r.calls(providertest.Create, 2)
			for _, call := range r.fake.Calls(providertest.Create)[1:] {
				if call.Label == first {
					t.Error("create was called twice for one label")
				}
			}
		})
	}
}

// A request that was sent twice on its way: one is kept, the twin ends.
func TestTwin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.ScriptCreate(providertest.CreateStep{Copies: 1})
	_, row := r.rented()
	r.pass(time.Minute, 5*time.Second)
	r.exist(1)
	r.want(gpu.Ready, "")
	if kept := r.fake.Records()[0]; !kept.Ended.IsZero() || r.row(row.Label).ProviderID != kept.ID {
		t.Errorf("kept is not the one that was answered for: %+v", r.fake.Records())
	}
}

// A machine that is ready for longer than any may boot, and is not for a moment,
// is given the time that a younger one is given.
func TestOldMachineMayBeUnfitForAMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	_, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.pass(policy.BootTimeout+time.Minute, 5*time.Second)
	r.workers.set(row.Label, false, "it proves its encoder")
	r.until("not ready", r.has(gpu.Booting))
	r.pass(unfitFor/2, 5*time.Second)
	r.workers.set(row.Label, false, "")
	r.until("ready", r.has(gpu.Ready))
	r.exist(1)
}

func TestEnds(t *testing.T) {
	t.Parallel()
	never := providertest.CreateStep{Boot: 24 * time.Hour}
	for _, c := range []struct {
		name   string
		step   providertest.CreateStep
		ready  bool // before the fault
		fault  func(r *rig, label string)
		reason string
		within time.Duration // from the fault
	}{
		{"never boots", never, false, nil, "no news of its start for 3m0s: loading", noNews + 20*time.Second},
		{"cannot encode", providertest.CreateStep{}, false, func(r *rig, label string) { r.workers.set(label, false, "no encoder") },
			"its worker takes no job: no encoder", boot + unfitFor + 20*time.Second},
		{"never runs", providertest.CreateStep{Dead: true}, false, nil, "its worker ended", time.Minute},
		{"exits at work", providertest.CreateStep{}, true, func(r *rig, label string) { r.fake.Stop(label) }, "its worker ended", 10 * time.Second},
		{"falls silent", providertest.CreateStep{}, true, func(r *rig, label string) { r.workers.set(label, true, "") },
			"no answer for", policy.Silence + 20*time.Second},
		{"can no longer encode", providertest.CreateStep{}, true, func(r *rig, label string) { r.workers.set(label, false, "no encoder") },
			"no longer ready: no encoder", renewGap + unfitFor + 20*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.fake.ScriptCreate(c.step)
			j := r.submit()
			r.tick()
			r.tick()
			label := r.rows()[0].Label
			if c.ready {
				r.until("ready", r.has(gpu.Ready))
				_, err := r.queue.Claim(t.Context(), j.ID, label, 0)
				r.ok(err)
			}
			if c.fault != nil {
				c.fault(r, label)
			}
			began := r.clock.Now()
			for r.row(label).State != gpu.Destroying {
				if r.clock.Now().Sub(began) > c.within {
					t.Fatalf("still there after %s: %+v", c.within, r.row(label))
				}
				r.tick()
				r.clock.Advance(5 * time.Second)
			}
			if got := r.row(label).Reason; len(got) < len(c.reason) || got[:len(c.reason)] != c.reason {
				t.Errorf("it ends because %q, want %q", got, c.reason)
			}
			for _, rec := range r.fake.Records() {
				if rec.Label == label && rec.Ended.IsZero() {
					t.Error("its end was not asked for")
				}
			}
		})
	}
}

// A machine that vanishes is gone after two complete listings, and the job
// gets another.
func TestVanishes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, row := r.rented()
	r.clock.Advance(policy.Traits.ListingLag)
	r.fake.Vanish(row.Label)
	r.until("gone", func() bool { return r.row(row.Label).State == gpu.Gone })
	r.until("another", r.has(gpu.Ready))
}

// A destroy that fails is asked for again; one that is accepted and ignored
// too; and the row is not gone before the machine is.
func TestDestroyIsRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	r.fake.ScriptDestroy(
		providertest.DestroyStep{Err: errors.New("EOF")}, providertest.DestroyStep{Ignored: true}, providertest.DestroyStep{Err: errors.New("429")})
	r.cancel(j)
	r.until("destroying", r.has(gpu.Destroying))
	first := len(r.fake.Calls(providertest.Destroy))
	for r.fake.Exist() > 0 {
		if s := r.row(row.Label).State; s != gpu.Destroying {
			t.Fatalf("the row is %s while the machine exists", s)
		}
		r.tick()
		r.clock.Advance(500 * time.Millisecond)
	}
	calls := r.fake.Calls(providertest.Destroy)
	if len(calls) != 4 || first != 1 {
		t.Errorf("%d calls", len(calls))
	}
	for n := 1; n < len(calls); n++ {
		if gap := calls[n].At.Sub(calls[n-1].At); gap < retryDestroy {
			t.Errorf("asked again after %s", gap)
		}
	}
	r.until("gone", r.has(gpu.Gone))
}

// No work is ever thrown away for idleness: what was claimed after Plan had
// looked keeps its machine.
func TestIdleLosesToClaim(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.ok(r.destroy(t.Context(), Action{Label: row.Label, Reason: "idle", IfIdle: true}))
	r.want(gpu.Ready, "")
	r.calls(providertest.Destroy, 0)
	r.ok(r.queue.Cancelled(t.Context(), run.Lease()))
	r.ok(r.destroy(t.Context(), Action{Label: row.Label, Reason: "idle", IfIdle: true}))
	r.want(gpu.Destroying, "idle")
	r.exist(0)
}

// What became ready after Plan had given up its boot keeps its job: another end
// may have kept this one waiting for its turn.
func TestSlowBootLosesToReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, row := r.rented()
	r.ok(r.destroy(t.Context(), Action{Label: row.Label, Reason: "not ready within 10m0s", IfBooting: true}))
	r.want(gpu.Ready, "")
	r.calls(providertest.Destroy, 0)
	r.exec(`UPDATE instances SET state = 'booting' WHERE label = $1`, row.Label)
	r.ok(r.destroy(t.Context(), Action{Label: row.Label, Reason: "not ready within 10m0s", IfBooting: true}))
	r.want(gpu.Destroying, "not ready within 10m0s")
	r.exist(0)
}

// An answer of a worker that comes between the listing and its effect is not
// lost: here it comes while the listing is under way.
func TestObserveKeepsAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit()
	r.until("listed", func() bool { rows := r.rows(); return len(rows) == 1 && rows[0].Address != "" })
	row := r.rows()[0]
	r.exec(`UPDATE instances SET state = 'booting', contact_at = 0, ready_at = 0, address = '', absent_since = 1 WHERE label = $1`, row.Label)
	r.fake.OnCall(func(c providertest.Call) {
		if c.Verb == providertest.Instances {
			row.Address = r.workers.address(row.Label)
			r.contact(t.Context(), row)
		}
	})
	r.clock.Advance(time.Second)
	r.ok(r.observe(t.Context()))
	if got := r.row(row.Label); got.State != gpu.Ready || got.ContactAt.IsZero() || got.Address == "" {
		t.Errorf("the answer was lost: %+v", got)
	}
}

// Time that passed because the provider, or this process, was away is blamed
// on no worker.
func TestSilenceOfOurOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, row := r.rented()
	_, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.clock.Advance(time.Hour) // the process was suspended
	r.workers.set(row.Label, true, "")
	r.pass(time.Minute, 5*time.Second)
	r.want(gpu.Ready, "")
	r.fake.SetOutage(errors.New("network is unreachable"))
	r.pass(10*time.Minute, 20*time.Second)
	r.want(gpu.Ready, "")
	r.fake.SetOutage(nil)
	r.pass(time.Minute, 5*time.Second)
	r.want(gpu.Ready, "")
	r.workers.set(row.Label, false, "")
	r.pass(5*time.Minute, 20*time.Second)
	r.want(gpu.Ready, "")
	r.exist(1)
}

// A provider that fails is not rented from, and not stormed.
func TestOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.SetOutage(errors.New("503"))
	r.submit()
	r.pass(time.Minute, 5*time.Second)
	r.calls(providertest.Create, 0)
	if len(r.rows()) != 0 {
		t.Errorf("rows are %+v", r.rows())
	}
	r.fake.SetOutage(nil)
	r.until("ready", r.has(gpu.Ready))
}

// What is kept in memory about machines goes with them.
func TestForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	j, _ := r.rented()
	r.cancel(j)
	r.until("gone", r.has(gpu.Gone))
	r.tick()
	if len(r.clients)+len(r.asked)+len(r.calling)+len(r.strays) != 0 {
		t.Errorf("kept: %v %v %v %v", r.clients, r.asked, r.calling, r.strays)
	}
}

// The jobs that wait are told why.
func TestExplains(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fake.SetOffers()
	j := r.submit()
	told := func(want string) {
		t.Helper()
		got, err := r.queue.Job(t.Context(), j.ID)
		if err != nil || got.PhaseNote != want {
			t.Errorf("told %q, want %q; %v", got.PhaseNote, want, err)
		}
	}
	r.tick()
	told("a worker is being looked for")
	r.tick()
	told("no worker is on offer; looking again")
	r.fake.SetOffers(cheap)
	r.pass(offersFresh+15*time.Second, 5*time.Second)
	told("a worker is starting: machine at $0.10 an hour, rented at 12:00 UTC, expected at 12:02 UTC")
}
