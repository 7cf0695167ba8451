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
	r.restart()
	r.tick()
	r.wantStops(stopEgress)
	if s := r.stops[stopEgress]; !s.Until.After(r.clock.Now()) || s.tries != 1 || !s.since.Before(s.Until.Add(-20*time.Minute)) {
		t.Errorf("after a restart it is %+v", s)
	}
	refuse(nil)
	r.config.Settings = "others"
	r.restart()
	r.until("ready", r.has(gpu.Ready))
	r.wantStops()
}

// However often a process crashes and starts again, what only a machine can
// show is tried no more often than by one that goes on; what costs nothing is
// tried at once, and a process that does not lead knows of it.
func TestStopsOutliveProcesses(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.workers.change(func(w *workers) { w.refusal = apigpu.E(apigpu.AddressNotAllowed, nil, "No.") })
	r.submit()
	for range 20 { // less than stopHold in all
		r.pass(5*time.Second, time.Second)
		r.restart()
	}
	r.tick()
	r.calls(providertest.Create, 1)
	other := r.start()
	_, err := other.step(t.Context())
	r.ok(err)
	if got := other.Stops(); other.Leading() || len(got) != 1 || got[0].Code != stopEgress {
		t.Errorf("who does not lead (%t) knows %+v", !other.Leading(), got)
	}
	other.forget(nil)
	kept, err := KeptStops(t.Context(), r.db, r.config.Provider.Name(), r.config.Settings)
	if got := other.Stops(); err != nil || !slices.Equal(kept, got) {
		t.Errorf("who is no fleet is told %+v, %v, want %+v", kept, err, got)
	}
	if kept, err = KeptStops(t.Context(), r.db, r.config.Provider.Name(), "others"); err != nil || len(kept) != 0 {
		t.Errorf("under other settings: %+v, %v", kept, err)
	}

	free := rental(t)
	free.fake.ScriptCreate(providertest.CreateStep{Err: gpu.ErrFunds})
	free.submit()
	free.until("refused", func() bool { return len(free.Stops()) > 0 })
	free.restart()
	free.tick()
	free.wantStops(stopFunds)
	if s := free.Stops()[0]; s.Until.After(free.clock.Now()) {
		t.Errorf("credit is looked for at %s", s.Until)
	}
	free.until("ready", free.has(gpu.Ready))
	free.wantStops()
	if kept, err := free.readStops(t.Context(), free.db.Read()); err != nil || len(kept) != 0 {
		t.Errorf("kept: %+v, %v", kept, err)
	}
}

// A stop that is met while the process is told to stop is kept all the same.
func TestStopIsKeptThoughNobodyWaits(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.tick()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.stop(ctx, stopped{Stop: Stop{Code: stopImage, Reason: "no machine can pull it"}}, stopHold)
	if kept, err := KeptStops(t.Context(), r.db, r.config.Provider.Name(), r.config.Settings); err != nil || len(kept) != 1 {
		t.Errorf("%+v, %v", kept, err)
	}
	r.unstop(ctx, stopImage)
	if kept, err := KeptStops(t.Context(), r.db, r.config.Provider.Name(), r.config.Settings); err != nil || len(kept) != 0 {
		t.Errorf("after its end: %+v, %v", kept, err)
	}
}

// A worker that refuses our address and was rented with other settings may be
// right. It ends, and renting goes on.
func TestEgressOfOtherSettings(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.submit()
	r.until("rented", r.has(gpu.Booting))
	r.workers.change(func(w *workers) { w.refusal = apigpu.E(apigpu.AddressNotAllowed, nil, "No.") })
	r.config.Settings = "others"
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

// A key that a create met as refused first, and then a listing, works again
// with the next good listing.
func TestCreateAndListingAreRefused(t *testing.T) {
	t.Parallel()
	r := rental(t)
	r.fake.ScriptCreate(providertest.CreateStep{Err: fmt.Errorf("vast: create: %w", gpu.ErrAuth)})
	r.submit()
	r.until("refused", func() bool { return len(r.fake.Calls(providertest.Create)) == 1 })
	r.wantStops(stopAuth)
	r.fake.SetOutage(gpu.ErrAuth)
	r.pass(30*time.Second, 5*time.Second)
	r.fake.SetOutage(nil)
	r.pass(30*time.Second, 5*time.Second)
	r.calls(providertest.Create, 2)
	r.wantStops()
}
