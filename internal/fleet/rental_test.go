package fleet

import (
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
