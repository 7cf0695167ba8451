package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// Three machines of two owners, the cheapest first.
var (
	one   = gpu.Offer{ID: "one", HourlyUSD: gpu.Dollar / 10, Slots: 1, HostID: "red", MachineID: "m1"}
	two   = gpu.Offer{ID: "two", HourlyUSD: gpu.Dollar / 8, Slots: 1, HostID: "red", MachineID: "m2"}
	three = gpu.Offer{ID: "three", HourlyUSD: gpu.Dollar / 4, Slots: 1, HostID: "blue", MachineID: "m3"}
)

// rental is a rig on a marketplace with these machines.
func rental(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	return newRig(t, func(c *Config, f *providertest.FakeConfig) {
		f.Offers = []gpu.Offer{one, two, three}
		for _, do := range change {
			do(c)
		}
	})
}

// stopped are the codes of the stops that there are.
func (r *rig) stopped() (codes []string) {
	for _, s := range r.Stops() {
		codes = append(codes, s.Code)
	}
	return codes
}

func (r *rig) wantStops(codes ...string) {
	r.Helper()
	if got := r.Fleet.Stops(); !slices.Equal(r.stopped(), codes) {
		r.Errorf("stops are %+v, want %v", got, codes)
	}
}

// hosts is what is remembered.
func (r *rig) hosts() Hosts {
	r.Helper()
	h, err := readHosts(r.Context(), r.db.Read(), "fake")
	r.ok(err)
	return h
}

// wantFailed checks which machines and owners are remembered to have failed in
// a row, and how often: nothing else.
func (r *rig) wantFailed(want map[string]int) {
	r.Helper()
	got := map[string]int{}
	for key, h := range r.hosts() {
		if h.InARow > 0 {
			got[key.ID] = h.InARow
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("failed in a row: %v, want %v", got, want)
	}
}

// offersTaken are the offers that were rented, in their order.
func (r *rig) offersTaken() (ids []string) {
	for _, rec := range r.fake.Records() {
		ids = append(ids, rec.Request.Offer.ID)
	}
	return ids
}

func (r *rig) wantTaken(ids ...string) {
	r.Helper()
	if got := r.offersTaken(); !slices.Equal(got, ids) {
		r.Errorf("rented %v, want %v", got, ids)
	}
}

// A machine that shows that it will not work is ended at once, remembered, and
// another one is rented.
func TestBadMachines(t *testing.T) {
	t.Parallel()
	cpu := func(r *rig) {
		r.workers.info = func(label string) apigpu.WorkerInfo {
			info := apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: gpuEncoder, Slots: 1}
			if r.fake.Records()[0].Label == label {
				info.Encoder = "libx264"
			}
			return info
		}
	}
	for _, c := range []struct {
		name   string
		step   providertest.CreateStep
		before func(*rig)
		reason string
		within time.Duration
	}{
		{"dearer than its offer", providertest.CreateStep{HourlyUSD: 2 * one.HourlyUSD}, nil, "it costs $0.200000 an hour", lag + 2*time.Second},
		{"a fatal message", providertest.CreateStep{Fault: gpu.FaultMachine, Message: "OCI runtime create failed"}, nil,
			"its machine cannot start it: OCI runtime create failed", lag + 2*time.Second},
		{"created and stopped", providertest.CreateStep{Err: gpu.ErrPartial, Took: true, Dead: true}, nil, "created, but it does not run", time.Second},
		{"it exits", providertest.CreateStep{Dead: true}, nil, "its worker ended", lag + 2*time.Second},
		{"only a CPU", providertest.CreateStep{}, cpu, "its worker proved libx264 only", boot + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rental(t, func(c *Config) { c.Policy.RequireGPU = true })
			r.fake.ScriptCreate(c.step)
			if c.before != nil {
				c.before(r)
			}
			r.submit()
			began := r.clock.Now()
			r.until("ended", func() bool { rows := r.rows(); return len(rows) > 0 && rows[0].Blame != "" })
			first := r.rows()[0]
			if !strings.HasPrefix(first.Reason, c.reason) || first.Blame != BlameMachine || !first.ReadyAt.IsZero() {
				t.Errorf("ended as %+v", first)
			}
			if took := first.StateSince.Sub(began); took > c.within+6*time.Second {
				t.Errorf("ended after %s", took)
			}
			r.wantFailed(map[string]int{"m1": 1, "red": 1})
			r.until("ready", r.has(gpu.Ready))
			r.wantTaken("one", "two")
			if r.until("gone", r.has(gpu.Gone)); r.row(first.Label).Blame != BlameMachine {
				t.Error("the end forgot on whom it was")
			}
			r.wantFailed(map[string]int{"m1": 1, "red": 1})
			r.wantStops()
		})
	}
}

// A machine that does its work is remembered for its boot, and its end for its
// not having failed: also by the process that comes after.
func TestGoodMachineIsRemembered(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.exec(`INSERT INTO hosts (provider, kind, id, failures, in_a_row, failed_at, noted_at) VALUES ('fake', 'machine', 'm1', 1, 1, $1, $1), ('other', 'machine', 'm1', 1, 1, $1, $1)`,
		millis(ago(time.Hour)))
	j, row := r.rented()
	m := r.hosts()[HostKey{Machine, row.Terms.MachineID}]
	if took := row.ReadyAt.Sub(row.CreatedAt); m.MeanBoot != took || m.Boots != 1 || m.InARow != 1 {
		t.Errorf("after a boot of %s: %+v", took, m)
	}
	r.restart()
	r.tick()
	r.cancel(j)
	r.until("ended", func() bool { return r.row(row.Label).State == gpu.Gone })
	h := r.hosts()
	if m, owner := h[HostKey{Machine, "m1"}], h[HostKey{Owner, "red"}]; m.InARow != 0 || m.Boots < 0.9 || owner.Boots < 0.9 || m.Failures < 0.9 || len(h) != 2 {
		t.Errorf("remembered %+v", h)
	}
}

// A boot while this process was away, or began, is no measure; and an instance
// that an earlier process rented goes on as it is.
func TestBootAcrossRestart(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.submit()
	r.until("rented", r.has(gpu.Booting))
	r.restart()
	r.until("ready", r.has(gpu.Ready))
	r.calls(providertest.Create, 1)
	r.calls(providertest.Destroy, 0)
	if h := r.hosts(); len(h) != 0 {
		t.Errorf("remembered %+v", h)
	}
}

// A machine that ends at work is to blame; one that was ended by us is not.
func TestMachineDiesAtWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  func(*rig, string)
		failed map[string]int
	}{
		"it exits":    {func(r *rig, label string) { r.fake.Stop(label) }, map[string]int{"m1": 1, "red": 1}},
		"it vanishes": {func(r *rig, label string) { r.fake.Vanish(label) }, map[string]int{"m1": 1, "red": 1}},
		"silence":     {func(r *rig, label string) { r.workers.set(label, true, "") }, map[string]int{"m1": 1, "red": 1}},
		"our own end": {func(r *rig, label string) { r.ok(r.destroy(r.Context(), Action{Label: label, Reason: "budget"})) }, map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rental(t)
			j, row := r.rented()
			_, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
			r.ok(err)
			r.pass(2*r.fake.Traits().ListingLag, 15*time.Second)
			c.fault(r, row.Label)
			r.until("ended", func() bool { s := r.row(row.Label).State; return s == gpu.Gone })
			r.wantFailed(c.failed)
		})
	}
}

// A worker that refuses our address is our operator's to mend: its machine
// ends, nothing more is rented, and nobody is blamed. Later it is tried again.
func TestEgressMismatch(t *testing.T) {
	t.Parallel()
	r := rental(t, func(c *Config) { c.Env = map[string]string{"ALLOWED_IPS": "198.51.100.7"} })
	refuse := func(err error) { r.workers.change(func(w *workers) { w.refusal = err }) }
	refuse(apigpu.E(apigpu.AddressNotAllowed, nil, "This worker does not answer 192.0.2.1."))
	j := r.submit()
	r.until("refused", func() bool { return len(r.Stops()) > 0 })
	s := r.Stops()[0]
	for _, want := range []string{"192.0.2.1", "198.51.100.7", "EGRESS_IPS"} {
		if !strings.Contains(s.Detail, want) || strings.Contains(s.Reason, want) {
			t.Errorf("the stop says %+v; want %s for the operator only", s, want)
		}
	}
	r.pass(refusedFor+5*time.Second, 5*time.Second)
	r.exist(0)
	r.pass(stopHold-refusedFor-20*time.Second, 20*time.Second)
	r.calls(providertest.Create, 1)
	r.wantStops(stopEgress)
	got, err := r.queue.Job(t.Context(), j.ID)
	r.ok(err)
	if !strings.Contains(got.PhaseNote, "this server") || strings.Contains(got.PhaseNote, "192.0.2.1") {
		t.Errorf("the job is told %q", got.PhaseNote)
	}
	r.wantFailed(map[string]int{})
	r.until("tried again", func() bool { return len(r.fake.Calls(providertest.Create)) == 2 })
	r.until("refused again", func() bool { return r.Stops()[0].Until.After(r.clock.Now()) })
	if again := r.Stops()[0].Until.Sub(r.clock.Now()); again < stopHold+time.Minute {
		t.Errorf("tried again in %s, and it was in vain before", again)
	}
	refuse(nil)
	r.restart() // with other settings
	r.wantStops()
	r.until("ready", r.has(gpu.Ready))
	r.calls(providertest.Create, 2) // the second, which has not ended yet
}

// A worker that refuses our address and was rented before this process began
// may be right: the settings were others. It ends, and renting goes on.
func TestEgressOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.submit()
	r.until("rented", r.has(gpu.Booting))
	r.workers.change(func(w *workers) { w.refusal = apigpu.E(apigpu.AddressNotAllowed, nil, "No.") })
	r.restart()
	r.until("refused", func() bool { return len(r.Refusals()) > 0 })
	r.wantStops()
	r.workers.change(func(w *workers) { w.refusal = nil })
	r.until("ready", r.has(gpu.Ready))
}

// An image of another version is the operator's to mend too.
func TestImageOfAnotherVersion(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.workers.info = func(string) apigpu.WorkerInfo {
		return apigpu.WorkerInfo{API: apigpu.APIVersion + 1, Encoder: gpuEncoder}
	}
	r.submit()
	r.until("ended", func() bool { return len(r.rows()) > 0 && r.rows()[0].Blame != "" })
	if row := r.rows()[0]; row.Blame != BlameOperator || !row.ReadyAt.IsZero() || row.Reason != otherVersion(apigpu.APIVersion+1) {
		t.Errorf("ended as %+v", row)
	}
	r.pass(5*time.Minute, 10*time.Second)
	r.calls(providertest.Create, 1)
	r.wantStops(stopVersion)
	r.wantFailed(map[string]int{})
}

// The image is rented by the name that is resolved, and noted with the terms;
// where there surely is none, nothing is rented until there is.
func TestImageIsResolved(t *testing.T) {
	t.Parallel()
	missing := fmt.Errorf("worker:1: %w", gpu.ErrNoImage)
	r := rental(t, func(c *Config) {
		c.Image = func(context.Context) (string, bool, error) {
			if missing != nil {
				return "", false, missing
			}
			return "worker@sha256:1", true, nil
		}
	})
	r.submit()
	r.pass(2*time.Minute, 5*time.Second)
	r.calls(providertest.Create, 0)
	r.wantStops(stopImage)
	if n := len(r.fake.Calls(providertest.Offers)); n > 4 {
		t.Errorf("%d searches for nothing", n)
	}
	missing = nil
	r.until("ready", r.has(gpu.Ready))
	r.wantStops()
	if req := r.fake.Records()[0].Request; req.Image != "worker@sha256:1" || r.rows()[0].Terms.Image != req.Image {
		t.Errorf("rented %q, noted %q", req.Image, r.rows()[0].Terms.Image)
	}
}

// One machine that cannot pull the image is one bad machine; so are two of one
// owner. Where another owner's cannot either, or our own check of the registry
// says so, it is the image: then nothing is rented.
func TestImageErrors(t *testing.T) {
	t.Parallel()
	step := providertest.CreateStep{Fault: gpu.FaultImage, Message: "manifest unknown"}
	ended := func(r *rig, n int) func() bool {
		return func() bool {
			rows := r.rows()
			return len(rows) >= n && rows[n-1].Blame != ""
		}
	}
	t.Run("machines of one owner", func(t *testing.T) {
		t.Parallel()
		r := rental(t)
		r.fake.ScriptCreate(step, step)
		r.submit()
		r.until("ready", r.has(gpu.Ready))
		r.wantTaken("one", "two", "three")
		r.wantFailed(map[string]int{"m1": 1, "m2": 1, "red": 2})
		r.wantStops()
	})
	t.Run("machines of two owners", func(t *testing.T) {
		t.Parallel()
		r := rental(t)
		r.fake.SetOffers(one, three)
		r.fake.ScriptCreate(step, step)
		r.submit()
		r.until("both ended", ended(r, 2))
		r.wantStops(stopImage)
		r.pass(stopHold/2, 10*time.Second)
		r.wantTaken("one", "three")
		r.wantFailed(map[string]int{"m1": 1, "red": 1}) // the second is believed
		r.until("ready", r.has(gpu.Ready))
		r.wantStops()
	})
	t.Run("our own check", func(t *testing.T) {
		t.Parallel()
		var missing error
		r := rental(t, func(c *Config) {
			c.Image = func(context.Context) (string, bool, error) { return "worker:1", false, nil }
			c.CheckImage = func(context.Context) (string, bool, error) { return "", false, missing }
		})
		missing = errors.Join(gpu.ErrNoImage)
		r.fake.ScriptCreate(step)
		r.submit()
		r.until("ended", ended(r, 1))
		if r.wantStops(stopImage); r.rows()[0].Blame != BlameImage {
			t.Errorf("ended as %+v", r.rows()[0])
		}
		r.wantFailed(map[string]int{})
	})
	t.Run("our own check finds it", func(t *testing.T) {
		t.Parallel()
		r := rental(t, func(c *Config) {
			c.Image = func(context.Context) (string, bool, error) { return "worker:1", false, nil }
		})
		r.fake.ScriptCreate(step)
		r.submit()
		r.until("ready", r.has(gpu.Ready))
		r.wantTaken("one", "two")
	})
}

// What the provider refuses for want of money, or because of our key, stops
// renting until somebody has mended it, and is told.
func TestProviderRefusesUs(t *testing.T) {
	t.Parallel()
	for code, refusal := range map[string]error{stopFunds: gpu.ErrFunds, stopAuth: gpu.ErrAuth} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			r := rental(t)
			refused := providertest.CreateStep{Err: fmt.Errorf("vast: create: %w", refusal)}
			r.fake.ScriptCreate(refused, refused, refused)
			r.submit()
			for tries := range 3 { // which cost nothing, and come no later for being in vain
				r.until("tried", func() bool { return len(r.fake.Calls(providertest.Create)) == tries+1 })
				r.pass(fundsHold-20*time.Second, 10*time.Second)
				r.calls(providertest.Create, tries+1)
				r.wantStops(code)
			}
			r.until("ready", r.has(gpu.Ready))
			r.wantStops()
			r.wantFailed(map[string]int{})
		})
	}
}

// A key that no listing accepts is told of before anything is rented, and no
// longer when it is accepted.
func TestListingIsRefused(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.SetOutage(gpu.ErrAuth)
	r.tick()
	r.wantStops(stopAuth)
	r.fake.SetOutage(nil)
	r.clock.Advance(time.Second)
	r.tick()
	r.wantStops()
}

// A provider that wants to be asked less often is; nothing is made of it.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: gpu.RateLimited{After: 7 * time.Second}})
	r.submit()
	r.until("ready", r.has(gpu.Ready))
	calls := r.fake.Calls(providertest.Create)
	if gap := calls[1].At.Sub(calls[0].At); len(calls) != 2 || gap < 7*time.Second || gap > 10*time.Second {
		t.Errorf("%d creates, the second after %s", len(calls), gap)
	}
	if n, _, err := r.failedBoots(t.Context()); n != 0 || err != nil {
		t.Errorf("%d failed boots; %v", n, err)
	}
	r.wantFailed(map[string]int{})
	r.wantStops()
}

// Offers that cannot be had are no reason to wait: the next is tried.
func TestNoCapacity(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: gpu.ErrNoCapacity}, providertest.CreateStep{Err: gpu.ErrOfferGone})
	r.submit()
	r.tick()
	r.tick()
	r.calls(providertest.Create, 3)
	r.wantTaken("three")
}

// Whatever the provider answers, one job leads to a bounded number of creates,
// and ends are asked for all the same.
func TestNoRunaway(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]providertest.CreateStep{
		"every offer is gone": {Err: gpu.ErrOfferGone}, "no capacity": {Err: gpu.ErrNoCapacity}, "refused": {Err: gpu.ErrRefused},
		"asked too often": {Err: gpu.RateLimited{}}, "nothing is sent": {Err: gpu.ErrNotSent}, "no answer": {Err: errors.New("EOF")},
		"created and stopped": {Err: gpu.ErrPartial, Took: true, Dead: true}, "none runs": {Dead: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rental(t)
			for range 100 {
				r.fake.ScriptCreate(step)
			}
			r.submit()
			r.pass(3*time.Minute, 500*time.Millisecond)
			if n := len(r.fake.Calls(providertest.Create)); n < 2 || n > 3*(createsMost+maxCreates) {
				t.Errorf("%d creates in 3 minutes", n)
			}
			if n := r.fake.Exist(); n > 1 {
				t.Errorf("%d instances exist", n)
			}
		})
	}
}

// After some boots that came to nothing on different machines the pauses grow:
// it may not be the machines.
func TestFailedBootsInARow(t *testing.T) {
	t.Parallel()
	r := rental(t)
	for range 5 {
		r.fake.ScriptCreate(providertest.CreateStep{Dead: true})
	}
	j := r.submit()
	r.until("three failed", func() bool { n, _, _ := r.failedBoots(t.Context()); return n == 3 })
	r.wantTaken("one", "two", "three")
	began := r.clock.Now()
	r.until("a fourth", func() bool { return len(r.offersTaken()) == 4 })
	if pause := r.clock.Now().Sub(began); pause < breakFirst-2*time.Second {
		t.Errorf("a pause of %s", pause)
	}
	if got, err := r.queue.Job(t.Context(), j.ID); err != nil || got.Status != apigpu.Queued {
		t.Errorf("the job is %s, %v", got.Status, err)
	}
	r.until("ready", r.has(gpu.Ready))
}

// An ambiguous create is capacity: no second one for the same job meanwhile.
// One that never took is nobody's fault.
func TestAmbiguousIsCapacity(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: errors.New("EOF")})
	r.submit()
	r.pass(r.fake.Traits().ListingLag-10*time.Second, 5*time.Second)
	r.calls(providertest.Create, 1)
	r.until("ready", r.has(gpu.Ready))
	r.calls(providertest.Create, 2)
	r.wantFailed(map[string]int{})
}

// A long download that goes on is waited for, until BOOT_TIMEOUT.
func TestLongDownload(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.ScriptCreate(providertest.CreateStep{Boot: time.Hour})
	r.submit()
	r.until("rented", r.has(gpu.Booting))
	row, n := r.rows()[0], 0
	r.until("given up", func() bool {
		n++
		r.fake.Say(row.Label, fmt.Sprintf("Downloading %d MB", n))
		return r.row(row.Label).State != gpu.Booting
	})
	if got := r.row(row.Label); got.Reason != "not ready within 5m0s" || !strings.HasPrefix(got.Message, "Downloading") {
		t.Errorf("ended because %s, after %s", got.Reason, got.Message)
	}
}

// A machine whose price rises while it works finishes its job.
func TestPriceRisesAtWork(t *testing.T) {
	t.Parallel()
	r := rental(t)
	j, row := r.rented()
	run, err := r.queue.Claim(t.Context(), j.ID, row.Label, 0)
	r.ok(err)
	r.fake.Price(row.Label, 2*one.HourlyUSD)
	r.pass(time.Minute, 5*time.Second)
	r.want(gpu.Ready, "")
	r.ok(r.queue.Cancelled(t.Context(), run.Lease()))
	r.until("ended", r.has(gpu.Destroying))
	r.want(gpu.Destroying, "it costs $0.200000 an hour: it was offered for $0.100000")
}

// When the clock is set, what is blocked or stopped stays so for as long.
func TestClockIsSetWhileStopped(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.exec(`INSERT INTO hosts (provider, kind, id, blocked_until, failed_at, noted_at) VALUES ('fake', 'machine', 'm1', $1, $2, $2)`,
		millis(in(time.Hour)), millis(noon))
	r.fake.ScriptCreate(providertest.CreateStep{Err: gpu.ErrFunds})
	r.submit()
	r.until("stopped", func() bool { return len(r.Stops()) == 1 })
	until := r.Stops()[0].Until
	r.clock.Set(2 * time.Hour)
	r.pass(time.Minute, 5*time.Second)
	if got := r.hosts()[HostKey{Machine, "m1"}]; !got.BlockedUntil.Equal(in(3*time.Hour)) || !got.FailedAt.Equal(in(2*time.Hour)) {
		t.Errorf("blocked until %s, failed at %s", got.BlockedUntil, got.FailedAt)
	}
	if got := r.Stops()[0].Until; !got.Equal(until.Add(2 * time.Hour)) {
		t.Errorf("stopped until %s, before until %s", got, until)
	}
	r.calls(providertest.Create, 1)
}
