package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestMayCreate(t *testing.T) {
	t.Parallel()
	often := func(n int, first time.Time) (times []time.Time) {
		for k := range n {
			times = append(times, first.Add(time.Duration(k)*time.Second))
		}
		return times
	}
	three := policy
	three.MaxGPUs = 3
	two := three
	two.MaxBoots = 2
	for _, c := range []struct {
		name   string
		policy Policy
		world  World
		why    string // empty: it may
		when   time.Time
	}{
		{"nothing is in the way", policy, World{}, "", time.Time{}},
		{"a stop", policy, World{Stops: []Stop{{Code: "funds", Reason: "no money", Detail: "402", Until: in(time.Minute)}}}, "no money", in(time.Minute)},
		{"a stop that only the operator ends", policy, World{Stops: []Stop{{Code: "x", Reason: "broken"}}}, "broken", time.Time{}},
		{"a stop that is over", policy, World{Stops: []Stop{{Code: "funds", Until: noon}}}, "", time.Time{}},
		{"the listing failed", policy, World{Blind: true}, "the provider does not tell what is rented", time.Time{}},
		{"a pause", policy, World{PausedUntil: in(time.Second), PausedWhy: "asked too often"}, "asked too often", in(time.Second)},
		{"a pause that is over", policy, World{PausedUntil: noon, PausedWhy: "asked too often"}, "", time.Time{}},
		{"the first try after a stop", policy, World{Probing: true, Instances: []Instance{ready("a")}}, "", time.Time{}},
		{"the second try after a stop", three, World{Probing: true, Instances: []Instance{booting("a")}}, "one machine is tried first, after what stopped renting", time.Time{}},
		{"many boot", two, World{Instances: []Instance{booting("a"), creating("b")}}, "2 machines are starting already", time.Time{}},
		{"as many as there may be boot", three, World{Instances: []Instance{booting("a"), creating("b"), booting("c")}}, "3 machines are starting already", time.Time{}},
		{"some boot", three, World{Instances: []Instance{booting("a"), ready("b"), with(booting("c"), func(i *Instance) { i.State = gpu.Destroying })}}, "", time.Time{}},
		{"one that nobody can tell of boots no more", two, World{Instances: []Instance{booting("a"), with(creating("b"), func(i *Instance) { i.Deadline = noon })}}, "", time.Time{}},
		{"boots failed", policy, World{FailedBoots: 4, LastFailure: ago(time.Second)}, "the last 4 machines did not start", in(59 * time.Second)},
		{"many were asked for", policy, World{Created: often(createsMost+2, ago(50*time.Second))}, "10 machines were asked for within a minute", in(12 * time.Second)},
		{"many were asked for, a minute ago", policy, World{Created: often(createsMost, ago(time.Minute))}, "", time.Time{}},
	} {
		ok, why, when := mayCreate(c.policy, c.world, noon)
		if ok != (c.why == "") || why != c.why || !when.Equal(c.when) {
			t.Errorf("%s: %t, %q, %s; want %q, %s", c.name, ok, why, when, c.why, c.when)
		}
	}
}
