package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }
func in(d time.Duration) time.Time  { return noon.Add(d) }

var policy = Policy{
	MaxGPUs: 2, IdleTimeout: time.Minute, BootTimeout: 5 * time.Minute, Lease: 10 * time.Minute, Silence: 3 * time.Minute,
	Traits: gpu.Traits{ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second},
}

var (
	cheap = gpu.Offer{ID: "cheap", HourlyUSD: gpu.Dollar / 10, Slots: 1}
	dear  = gpu.Offer{ID: "dear", HourlyUSD: gpu.Dollar, Slots: 2}
)

func booting(label string) Instance {
	return Instance{Label: label, ProviderID: label, State: gpu.Booting, CreatedAt: ago(time.Minute), AskedAt: ago(time.Minute),
		StateSince: ago(time.Minute), Deadline: in(4 * time.Minute)}
}

func ready(label string) Instance {
	i := booting(label)
	i.State, i.ReadyAt, i.ContactAt, i.IdleSince = gpu.Ready, ago(time.Hour), ago(time.Second), ago(time.Second)
	return i
}

func with(i Instance, change func(*Instance)) Instance { change(&i); return i }

func TestPlan(t *testing.T) {
	t.Parallel()
	market := World{Waiting: 1, Offers: []gpu.Offer{dear, cheap}, OffersAt: ago(time.Second)}
	rent := []Action{{Kind: Rent, Offers: choose(market, estimate(queue.Need{}, Speeds{}), noon).Ranked, Reason: "a job waits"}}
	end := func(label, reason string) []Action { return []Action{{Kind: Destroy, Label: label, Reason: reason}} }
	blamed := func(label, reason string) []Action {
		return []Action{{Kind: Destroy, Label: label, Reason: reason, Blame: BlameMachine}}
	}
	unready := func(label, reason string) []Action {
		return []Action{{Kind: Destroy, Label: label, Reason: reason, Blame: BlameMachine, IfBooting: true}}
	}
	after := func(w World, change func(*World)) World { change(&w); return w }
	hour := in(time.Hour)
	for _, c := range []struct {
		name  string
		world World
		want  []Action
		wake  time.Time
	}{
		{"nothing to do", World{}, nil, hour},
		{"a job waits: offers are looked for", World{Waiting: 1}, []Action{{Kind: Search, Reason: "a job waits"}}, hour},
		{"the cheapest offer first", market, rent, hour},
		{"old offers are looked for again", after(market, func(w *World) { w.OffersAt = ago(31 * time.Second) }),
			[]Action{{Kind: Search, Reason: "a job waits"}}, hour},
		{"nothing to rent: later", World{Waiting: 1, OffersAt: ago(time.Second)}, nil, in(29 * time.Second)},
		{"one boots already", after(market, func(w *World) { w.Instances = []Instance{booting("a")} }), nil, in(2 * time.Minute)},
		{"one is being created", after(market, func(w *World) {
			w.Instances = []Instance{{Label: "a", State: gpu.Creating, Deadline: in(time.Minute)}}
		}), nil, hour},
		{"one that was never seen keeps no job waiting for ever", after(market, func(w *World) {
			w.Instances = []Instance{{Label: "a", State: gpu.Creating, Ambiguous: true, Deadline: noon}}
		}), rent, hour},
		{"what ends still counts against the limit", after(market, func(w *World) {
			w.Instances = []Instance{
				{Label: "a", State: gpu.Destroying, EndAskedAt: ago(time.Second)},
				{Label: "b", State: gpu.Destroying, EndAskedAt: ago(2 * time.Second)},
			}
		}), nil, in(time.Second)},
		{"strays count against the limit", after(market, func(w *World) { w.Extra = 2 }), nil, hour},
		{"one more fits beside one that ends", after(market, func(w *World) {
			w.Instances = []Instance{{Label: "a", State: gpu.Destroying, EndAskedAt: noon}}
		}), rent, in(3 * time.Second)},
		{"after a failed boot there is a pause", after(market, func(w *World) { w.FailedBoots, w.LastFailure = 3, ago(time.Second) }),
			nil, in(29 * time.Second)},
		{"and then another try", after(market, func(w *World) { w.FailedBoots, w.LastFailure = 3, ago(30*time.Second) }), rent, hour},
		{"nothing is rented blindly", after(market, func(w *World) { w.Blind = true }), nil, hour},
		{"a slow boot ends", World{Instances: []Instance{with(booting("a"), func(i *Instance) { i.Deadline = noon })}},
			unready("a", "not ready within 1m0s"), hour},
		{"a slow boot is not judged right after a start", World{
			Since: ago(time.Second), Instances: []Instance{with(booting("a"), func(i *Instance) { i.Deadline = noon })},
		}, nil, in(29 * time.Second)},
		{"one that can no longer encode ends", World{Instances: []Instance{with(ready("a"), func(i *Instance) {
			i.State, i.Deadline, i.Reason = gpu.Booting, noon, "no encoder"
		})}}, unready("a", "no longer ready: no encoder"), hour},
		{"a worker that ended while booting", World{Instances: []Instance{booting("a")}, Exited: map[string]bool{"a": true}},
			unready("a", "its worker ended"), hour},
		{"a worker that ended at work", World{
			Instances: []Instance{ready("a")}, Exited: map[string]bool{"a": true}, Busy: map[string]int{"a": 1},
		}, blamed("a", "its worker ended"), hour},
		{"idle for long enough", World{Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(time.Minute) })}},
			[]Action{{Kind: Destroy, Label: "a", Reason: "idle for 1m0s", IfIdle: true}}, hour},
		{"idle, not yet", World{Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(59 * time.Second) })}},
			nil, in(time.Second)},
		{"idle while a job waits", World{Waiting: 1, Instances: []Instance{with(ready("a"), func(i *Instance) { i.ReadyAt, i.IdleSince = ago(time.Hour), ago(4*time.Minute) })}},
			nil, in(time.Minute)},
		{"idle while a job waits that came just now", World{Waiting: 1, Backlog: []Work{{Since: ago(time.Second)}}, Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(time.Hour) })}},
			nil, in(3*time.Minute - time.Second)},
		{"idle while a job waits that it is not given", World{Waiting: 1, Backlog: []Work{{Since: ago(unusedFor)}}, Unused: 1, UnusedAt: noon,
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(time.Hour) })}},
			[]Action{{Kind: Destroy, Label: "a", Reason: unused, IfIdle: true}}, in(unusedPause)},
		{"after one that stood unused there is a pause", after(market, func(w *World) { w.Unused, w.UnusedAt = 2, ago(unusedPause) }), nil, in(unusedPause)},
		{"and then another", after(market, func(w *World) { w.Unused, w.UnusedAt = 2, ago(2*unusedPause) }), rent, hour},
		{"idle while a job waits that came before the clock was set back", World{Waiting: 1, Backlog: []Work{{Since: in(time.Hour)}}, Unused: 1, UnusedAt: noon,
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(unusedFor) })}},
			[]Action{{Kind: Destroy, Label: "a", Reason: unused, IfIdle: true}}, in(unusedPause)},
		{"idle while jobs wait that no room is for", World{Waiting: 1, NoRoom: true, Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(time.Hour) })}},
			[]Action{{Kind: Destroy, Label: "a", Reason: "idle for 1m0s", IfIdle: true}}, hour},
		{"nothing is rented without room", World{Waiting: 1, NoRoom: true}, nil, hour},
		{"busy", World{Busy: map[string]int{"a": 1}, Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = time.Time{} })}},
			nil, in(3*time.Minute - time.Second)},
		{"silent", World{Busy: map[string]int{"a": 1}, Instances: []Instance{with(ready("a"), func(i *Instance) { i.ContactAt = ago(3 * time.Minute) })}},
			blamed("a", "no answer for 3m0s"), hour},
		{"silent while we were away", World{Since: ago(time.Minute), Busy: map[string]int{"a": 1},
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.ContactAt = ago(time.Hour) })}}, nil, in(2 * time.Minute)},
		{"silent while the provider was too", World{Reachable: ago(time.Minute), Busy: map[string]int{"a": 1},
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.ContactAt = ago(time.Hour) })}}, nil, in(2 * time.Minute)},
		{"silent while the provider is too", World{Blind: true, Busy: map[string]int{"a": 1},
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.ContactAt = ago(time.Hour) })}}, nil, hour},
		{"an end is asked for again", World{Instances: []Instance{{Label: "a", State: gpu.Destroying, Reason: "idle", EndAskedAt: ago(3 * time.Second)}}},
			end("a", "idle"), in(3 * time.Second)},
		{"an end of what is not listed is asked for again", World{
			Unlisted: map[string]bool{"a": true}, Instances: []Instance{{Label: "a", State: gpu.Destroying, Reason: "idle", StateSince: ago(3 * time.Second), EndAskedAt: ago(3 * time.Second)}},
		}, []Action{{Kind: Destroy, Label: "a", Reason: "idle"}}, in(3 * time.Second)},
		{"and then after ever longer", World{
			Unlisted: map[string]bool{"a": true}, Instances: []Instance{{Label: "a", State: gpu.Destroying, Reason: "idle", StateSince: ago(20 * time.Second), EndAskedAt: ago(8 * time.Second)}},
		}, nil, in(4 * time.Second)},
		{"but not for ever longer", World{
			Unlisted: map[string]bool{"a": true}, Instances: []Instance{{Label: "a", State: gpu.Destroying, Reason: "idle", StateSince: ago(time.Hour), EndAskedAt: ago(30 * time.Second)}},
		}, []Action{{Kind: Destroy, Label: "a", Reason: "idle"}}, in(3 * time.Second)},
		{"nor where it is listed again", World{
			Instances: []Instance{{Label: "a", State: gpu.Destroying, Reason: "idle", StateSince: ago(20 * time.Second), EndAskedAt: ago(8 * time.Second)}},
		}, []Action{{Kind: Destroy, Label: "a", Reason: "idle"}}, in(3 * time.Second)},
		{"an end is not asked for at once", World{Instances: []Instance{{Label: "a", State: gpu.Destroying, EndAskedAt: ago(time.Second)}}},
			nil, in(2 * time.Second)},
		{"a stray ends", World{Strays: []string{"7"}, Extra: 1},
			[]Action{{Kind: Destroy, ID: "7", Reason: "it carries our label and no row knows it"}}, hour},
		{"permanent ones are left alone", World{Exited: map[string]bool{"a": true},
			Instances: []Instance{with(ready("a"), func(i *Instance) { i.Permanent, i.ContactAt = true, time.Time{} })}}, nil, hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, wake := Plan(policy, c.world, noon)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if !wake.Equal(c.wake) {
				t.Errorf("wakes in %s, want %s", wake.Sub(noon), c.wake.Sub(noon))
			}
		})
	}
}

func TestPlanRentsNoPermanent(t *testing.T) {
	t.Parallel()
	p := policy
	p.Traits.Permanent = true
	if got, _ := Plan(p, World{Waiting: 1, Offers: []gpu.Offer{cheap}, OffersAt: noon}, noon); got != nil {
		t.Errorf("planned %+v", got)
	}
}

// every combination of what an instance may be.
func everyInstance(do func(i Instance, exited bool, busy int)) {
	times := []time.Duration{-time.Hour, 0, time.Hour}
	for _, state := range []gpu.State{gpu.Planned, gpu.Creating, gpu.Booting, gpu.Ready, gpu.Destroying} {
		for n := range 1 << 4 {
			bit := func(b int) bool { return n&(1<<b) != 0 }
			busy := 0
			if bit(1) {
				busy = 1
			}
			for _, d := range times {
				for _, heard := range times[:2] {
					do(Instance{Label: "a", State: state, Ambiguous: bit(2), Permanent: bit(3), Deadline: in(d), CreatedAt: ago(time.Hour),
						EndAskedAt: in(heard), ContactAt: in(heard), IdleSince: in(heard), ReadyAt: ago(time.Hour)}, bit(0), busy)
				}
			}
		}
	}
}

// Whatever the world looks like, Plan exceeds no limit, ends nothing that is
// permanent or works for a job and answers, and never asks to be woken in the
// past.
func TestPlanExhaustive(t *testing.T) {
	t.Parallel()
	everyInstance(func(i Instance, exited bool, busy int) {
		for n := range 1 << 5 {
			bit := func(b int) bool { return n&(1<<b) != 0 }
			w := World{Busy: map[string]int{"a": busy}, Exited: map[string]bool{"a": exited}, Blind: bit(0), Extra: n & 2 >> 1}
			if bit(2) {
				w.Waiting = 3
			}
			if bit(3) {
				w.Offers, w.OffersAt = []gpu.Offer{cheap}, noon
			}
			w.Instances = []Instance{i}
			if bit(4) {
				w.Instances = append(w.Instances, with(i, func(i *Instance) { i.Label = "b" }))
			}
			checkPlan(t, w)
		}
	})
}

func checkPlan(t *testing.T, w World) {
	t.Helper()
	actions, wake := Plan(policy, w, noon)
	rents := 0
	byLabel := map[string]Instance{}
	for _, i := range w.Instances {
		byLabel[i.Label] = i
	}
	for _, a := range actions {
		i := byLabel[a.Label]
		answers := i.State == gpu.Ready && noon.Sub(i.ContactAt) < policy.Silence && !w.Exited[i.Label]
		switch {
		case a.Reason == "":
			t.Fatalf("no reason: %+v", a)
		case a.Kind == Rent:
			rents++
		case a.Kind == Destroy && a.Label != "" && (i.Permanent || answers && w.Busy[i.Label] > 0):
			t.Fatalf("destroys %+v of %+v", i, w)
		case a.Kind == Destroy && i.State == gpu.Ready && answers && !a.IfIdle:
			t.Fatalf("destroys one that answers without looking for a job: %+v", a)
		}
	}
	if rents > 0 && (w.Waiting == 0 || w.Blind || rents+len(w.Instances)+w.Extra > policy.MaxGPUs) {
		t.Fatalf("rents %d beside %d in %+v", rents, len(w.Instances), w)
	}
	if !wake.After(noon) {
		t.Fatalf("wakes %s from now", wake.Sub(noon))
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	want := []time.Duration{0, 1, 2, 30, 60, 120, 240, 480, 600, 600}
	for n, seconds := range want {
		if got := backoff(n); got != seconds*time.Second {
			t.Errorf("after %d failures %s, want %s", n, got, seconds*time.Second)
		}
	}
	if got := backoff(1 << 40); got != breakMost {
		t.Errorf("after very many %s", got)
	}
}

func BenchmarkPlan(b *testing.B) {
	w := World{Waiting: 5, OffersAt: noon}
	for n := range 64 {
		w.Offers = append(w.Offers, gpu.Offer{ID: fmt.Sprint(n), HourlyUSD: gpu.USD(n * 7 % 64)})
	}
	for b.Loop() {
		Plan(policy, w, noon)
	}
}
