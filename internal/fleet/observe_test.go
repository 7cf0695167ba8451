package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func creating(label string) Instance {
	return Instance{Label: label, State: gpu.Creating, Ambiguous: true, CreatedAt: ago(time.Minute), StateSince: ago(time.Minute),
		AskedAt: ago(time.Minute), Deadline: in(time.Minute), Slots: 1}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	const a, b = "ag1.us.a", "ag1.us.b"
	type change = func(*Instance)
	listed := func(id, label string, running bool) gpu.Instance {
		return gpu.Instance{ID: id, Label: label, Running: running, Address: "http://" + id, Slots: 2}
	}
	complete := func(list ...gpu.Instance) gpu.Snapshot {
		return gpu.Snapshot{Instances: list, Complete: true, Began: noon}
	}
	partial := func(list ...gpu.Instance) gpu.Snapshot { return gpu.Snapshot{Instances: list, Began: noon} }
	old := func(i *Instance) { i.AskedAt, i.CreatedAt = ago(time.Hour), ago(time.Hour) }
	gone := func(reason string) change {
		return func(i *Instance) { i.State, i.Reason, i.StateSince, i.Ambiguous = gpu.Gone, reason, noon, false }
	}
	known := with(booting(a), func(i *Instance) { i.ProviderID, i.Address, i.Slots = "1", "http://1", 2; old(i) })
	ending := with(known, func(i *Instance) { i.State, i.Reason = gpu.Destroying, "idle" })
	for _, c := range []struct {
		name   string
		row    Instance
		seen   gpu.Snapshot
		want   change // of the row; nil: it stays
		exited bool
		strays map[string]string
	}{
		{"its twin takes its place, to which nobody spoke", with(known, func(i *Instance) { i.HeardAt, i.LeaseUntil = ago(time.Minute), in(time.Minute) }), complete(listed("2", a, true)), func(i *Instance) {
			i.ProviderID, i.Address, i.AddressAt, i.HeardAt = "2", "http://2", noon, time.Time{}
			i.LeaseUntil = latest(in(time.Minute), i.CreatedAt.Add(policy.BootTimeout+policy.firstLease()))
			i.ReservedUntil = i.leaseEnd()
		}, false, nil},
		{"nothing new", known, complete(listed("1", a, true)), nil, false, nil},
		{"an ambiguous create took", creating(a), complete(listed("1", a, true)), func(i *Instance) {
			i.State, i.Reason, i.StateSince, i.Ambiguous = gpu.Booting, "it is listed", noon, false
			i.ProviderID, i.Address, i.AddressAt, i.Slots, i.Deadline = "1", "http://1", noon, 2, i.CreatedAt.Add(policy.BootTimeout)
		}, false, nil},
		{"found by an incomplete listing too", with(creating(a), func(i *Instance) { i.Slots = 2 }), partial(listed("1", a, true)), func(i *Instance) {
			i.State, i.Reason, i.StateSince, i.Ambiguous = gpu.Booting, "it is listed", noon, false
			i.ProviderID, i.Address, i.AddressAt, i.Deadline = "1", "http://1", noon, i.CreatedAt.Add(policy.BootTimeout)
		}, false, nil},
		{"not listed within the lag", creating(a), complete(), nil, false, nil},
		{"not listed after the lag, for the first time", with(creating(a), old), complete(), func(i *Instance) { i.AbsentSince = noon }, false, nil},
		{"the second time too soon", with(creating(a), func(i *Instance) { old(i); i.AbsentSince = ago(9 * time.Second) }), complete(), nil, false, nil},
		{"the second time", with(creating(a), func(i *Instance) { old(i); i.AbsentSince = ago(10 * time.Second) }), complete(),
			gone("the provider no longer lists it"), false, nil},
		{"an incomplete listing proves nothing", with(creating(a), func(i *Instance) { old(i); i.AbsentSince = ago(time.Hour) }), partial(), nil, false, nil},
		{"answered lately: the lag begins there", with(known, func(i *Instance) { i.AskedAt = ago(89 * time.Second) }), complete(), nil, false, nil},
		{"ended right after a long create", with(ending, func(i *Instance) { i.AskedAt = ago(89 * time.Second) }), complete(), nil, false, nil},
		{"an end is proven, and its reason kept", with(ending, func(i *Instance) { i.AbsentSince, i.EndedAt = ago(time.Minute), ago(time.Hour) }),
			complete(), gone("idle"), false, nil},
		{"an end that nobody saw is as late as it can be", with(ending, func(i *Instance) { i.AbsentSince = ago(time.Minute) }), complete(), func(i *Instance) {
			gone("idle")(i)
			i.EndedAt = ago(time.Minute)
		}, false, nil},
		{"an end that was accepted and did not come", with(ending, func(i *Instance) { i.EndedAt = ago(time.Minute) }), partial(listed("1", a, true)),
			func(i *Instance) { i.EndedAt = time.Time{} }, false, nil},
		{"one that came, and is listed for a while", with(ending, func(i *Instance) { i.EndedAt = ago(time.Minute) }), partial(gpu.Instance{ID: "1", Label: a}), nil, true, nil},
		{"its container starts", known, partial(gpu.Instance{ID: "1", Label: a, Running: true, Started: true}), func(i *Instance) { i.StartedAt = ago(listGap / 2) }, false, nil},
		{"it started before", with(known, func(i *Instance) { i.StartedAt = ago(time.Minute) }),
			partial(gpu.Instance{ID: "1", Label: a, Running: true, Started: true}), nil, false, nil},
		{"back again", with(ending, func(i *Instance) { i.AbsentSince = ago(time.Minute) }), complete(listed("1", a, true)),
			func(i *Instance) { i.AbsentSince = time.Time{} }, false, nil},
		{"exited", known, complete(gpu.Instance{ID: "1", Label: a}), nil, true, nil},
		{"planned and never asked for", Instance{Label: a, State: gpu.Planned, StateSince: ago(31 * time.Second)}, partial(), gone("it was never asked for"), false, nil},
		{"planned just now", Instance{Label: a, State: gpu.Planned, StateSince: ago(29 * time.Second)}, complete(), nil, false, nil},
		{"a stray", known, complete(listed("1", a, true), listed("2", b, true)), nil, false, map[string]string{"2": b}},
		{"foreign labels are none of ours", known, complete(listed("1", a, true), listed("2", "ag1.other.b", true), listed("3", "", true),
			listed("4", "ag1.us.more.b", true), listed("5", "ag1.us", true), listed("6", "ag1.us.", true)), nil, false, nil},
		{"without its label yet, by its id", known, complete(listed("1", "", true), listed("3", "", true)), nil, false, nil},
		{"with another label it is no longer ours", with(known, func(i *Instance) { i.AbsentSince = ago(10 * time.Second) }), complete(listed("1", "mine", true)),
			func(i *Instance) { gone("the provider no longer lists it")(i); i.EndedAt = ago(10 * time.Second) }, false, nil},
		{"a twin is a stray", known, complete(listed("0", a, true), listed("1", a, true), listed("2", a, true)), nil, false,
			map[string]string{"0": a, "2": a}},
		{"the one that runs is ours", creating(a), complete(gpu.Instance{ID: "0", Label: a}, listed("1", a, true)), func(i *Instance) {
			i.State, i.Reason, i.StateSince, i.Ambiguous = gpu.Booting, "it is listed", noon, false
			i.ProviderID, i.Address, i.AddressAt, i.Slots, i.Deadline = "1", "http://1", noon, 2, i.CreatedAt.Add(policy.BootTimeout)
		}, false, map[string]string{"0": a}},
		{"a missing page does not make a twin ours", known, partial(listed("2", a, true)), nil, false, map[string]string{"2": a}},
		{"a twin takes over where the first is gone", known, complete(listed("2", a, true)), func(i *Instance) {
			i.ProviderID, i.Address, i.AddressAt = "2", "http://2", noon
		}, false, nil},
		{"its worker knows its slots", with(known, func(i *Instance) { i.ContactAt, i.Slots = noon, 1 }), complete(listed("1", a, true)), nil, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Observe("us", policy.Traits, []Instance{c.row}, c.seen, policy, time.Time{}, noon)
			want := Sighting{Exited: map[string]bool{}, Strays: map[string]string{}}
			if c.want != nil {
				want.Changed = []Instance{with(c.row, c.want)}
			}
			if c.exited {
				want.Exited[a] = true
			}
			if c.strays != nil {
				want.Strays = c.strays
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sighting (-want +got):\n%s", diff)
			}
		})
	}
}

// gone needs two complete listings at least 10 s apart, both begun at least
// 90 s after the create was answered: whatever the row's state.
func TestObserveGoneOnlyByTwoListings(t *testing.T) {
	t.Parallel()
	for _, state := range []gpu.State{gpu.Creating, gpu.Booting, gpu.Ready, gpu.Destroying} {
		row := Instance{Label: "ag1.us.a", State: state, CreatedAt: ago(time.Hour), AskedAt: noon, StateSince: noon, EndAskedAt: in(time.Hour)}
		var first time.Time
		for s := range 200 {
			now := in(time.Duration(s) * time.Second)
			complete := s%3 != 0
			got := Observe("us", policy.Traits, []Instance{row}, gpu.Snapshot{Complete: complete, Began: now}, policy, time.Time{}, now)
			if len(got.Changed) == 0 {
				continue
			}
			row = got.Changed[0]
			switch {
			case !complete, now.Before(in(90 * time.Second)):
				t.Fatalf("%s: after %d s, complete %t, the row became %+v", state, s, complete, row)
			case row.State != gpu.Gone:
				first = now
				continue
			case first.IsZero(), now.Sub(first) < 10*time.Second:
				t.Fatalf("%s: gone at %s after the first at %s", state, now, first)
			}
			break
		}
		if row.State != gpu.Gone {
			t.Errorf("%s: never gone", state)
		}
	}
}

// Whoever begins to act knows only of what was listed how long ago it was asked
// for: the clock may have been set meanwhile.
func TestObserveGoneSince(t *testing.T) {
	t.Parallel()
	row := Instance{Label: "ag1.us.a", State: gpu.Booting, CreatedAt: ago(time.Hour), AskedAt: ago(time.Hour), StateSince: ago(time.Hour)}
	listed := row
	listed.Address = "https://x"
	absent := func(row Instance, since, now time.Time) bool {
		got := Observe("us", policy.Traits, []Instance{row}, gpu.Snapshot{Complete: true, Began: now}, policy, since, now)
		return len(got.Changed) > 0 && !got.Changed[0].AbsentSince.IsZero()
	}
	if absent(row, noon, in(89*time.Second)) || !absent(row, noon, in(90*time.Second)) || !absent(listed, noon, in(time.Second)) {
		t.Error("absence is believed at another time")
	}
}

func TestObservePermanent(t *testing.T) {
	t.Parallel()
	traits := gpu.Traits{Permanent: true}
	s := gpu.Snapshot{Complete: true, Began: noon, Instances: []gpu.Instance{{ID: "w", Label: "w", Address: "http://w", Running: true}}}
	got := Observe("us", traits, nil, s, policy, time.Time{}, noon)
	if len(got.Changed) != 1 || len(got.Strays) != 0 {
		t.Fatalf("saw %+v", got)
	}
	row := got.Changed[0]
	if !row.Permanent || row.State != gpu.Booting || row.Address != "http://w" || row.Slots != 1 || row.Deadline.Before(in(time.Hour)) {
		t.Errorf("row is %+v", row)
	}
	if again := Observe("us", traits, got.Changed, s, policy, time.Time{}, in(time.Second)); len(again.Changed) != 0 {
		t.Errorf("changed again: %+v", again.Changed)
	}
}
