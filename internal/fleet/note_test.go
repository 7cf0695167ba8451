package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestWaitingFor(t *testing.T) {
	t.Parallel()
	p := policy
	local, static := p, p
	local.Traits.Free, static.Traits.Permanent = true, true
	settled := func(do func(*Policy)) Policy { p := policy; do(&p); return p }
	rented := func(label string, state gpu.State) Instance {
		return with(booting(label), func(i *Instance) {
			i.State, i.HourlyUSD, i.Terms.GPU, i.CreatedAt = state, dollars(0.2), "RTX 3060", ago(time.Minute)
		})
	}
	works := func(label string) Instance {
		return with(ready(label), func(i *Instance) { i.IdleSince, i.Slots = time.Time{}, 1 })
	}
	proud := func(permanent bool) Instance {
		return with(booting("proud"), func(i *Instance) { i.Permanent = permanent })
	}
	ask := func(do func(*World)) World { w := World{Waiting: 1}; do(&w); return w }
	for _, c := range []struct {
		policy Policy
		world  World
		want   string
	}{
		{p, World{Waiting: 1, NoRoom: true}, "the storage of the server is full"},
		{p, World{Waiting: 1}, "a worker is being looked for"},
		{p, World{Waiting: 1, Instances: []Instance{{State: gpu.Destroying, EndAskedAt: noon}}}, "a worker is being looked for"},
		{p, World{Waiting: 1, Extra: 2}, "earlier workers are ending, and no further one is allowed beside them until they are proven gone"},
		{p, World{Waiting: 1, Instances: []Instance{{State: gpu.Creating}, {State: gpu.Creating}, {State: gpu.Creating}}}, "no further worker is allowed beside those that are there"},
		{p, World{Waiting: 1, OffersAt: noon}, "no worker is on offer; looking again"},
		{p, World{Waiting: 1, OffersAt: ago(time.Hour)}, "no worker is on offer; looking again"},
		{p, World{Waiting: 1, OffersAt: noon, Offers: []gpu.Offer{{Lasts: 1}}}, "nothing will do of the 1 worker on offer; looking again"},
		{p, World{Waiting: 1, OffersAt: noon, Offers: []gpu.Offer{cheap}}, "a worker is being looked for"},
		{p, World{Waiting: 1, FailedBoots: 2}, "the last 2 workers did not start; trying again"},
		{p, World{Waiting: 1, FailedBoots: 2, LastFailure: noon}, "the last 2 workers did not start; trying again"},
		{p, World{Waiting: 1, FailedBoots: 1, LastFailure: noon}, "the last worker did not start; trying again"},
		{p, World{Waiting: 1, FailedBoots: 7, LastFailure: noon}, "the last 7 workers did not start, tried again at 12:08 UTC"},
		{p, World{Waiting: 1, Unused: 9, UnusedAt: noon}, "no worker is rented: the last machines stood idle while jobs waited, tried again at 12:15 UTC"},
		{p, World{Waiting: 1, Blind: true}, "no worker is rented: the provider does not tell what is rented"},
		{settled(func(p *Policy) { p.NoRent = "this server rents nothing" }), World{Waiting: 1}, "this server rents nothing"},
		{p, World{Waiting: 1, Stops: []Stop{{Reason: "the account has no credit"}}}, "no worker is rented: the account has no credit"},
		{p, World{Waiting: 1, FailedBoots: 2, Stops: []Stop{{Reason: "today's budget is spent", Until: in(12 * time.Hour)}}},
			"no worker is rented: today's budget is spent, tried again at 00:00 UTC"},
		{p, World{Waiting: 1, Stops: []Stop{{Reason: "x", Until: noon}}}, "a worker is being looked for"},

		{p, World{Waiting: 1, Instances: []Instance{rented("a", gpu.Creating)}}, "a worker is being rented: RTX 3060 at $0.20 an hour, expected at 12:01 UTC"},
		{p, World{Waiting: 1, Instances: []Instance{rented("a", gpu.Booting)}}, "a worker is starting: RTX 3060 at $0.20 an hour, rented at 11:59 UTC, expected at 12:01 UTC"},
		{local, World{Waiting: 1, FailedBoots: 2, Instances: []Instance{rented("a", gpu.Booting)}}, "a worker is starting"},
		{static, World{Waiting: 1, Instances: []Instance{with(booting("a"), func(i *Instance) { i.Permanent = true })}}, "no worker answers yet"},
		{static, World{Waiting: 1, Instances: []Instance{proud(true)}}, "a worker refuses this server: its operator finds the reason at /health and in the log"},
		{local, World{Waiting: 1, Instances: []Instance{proud(false), rented("a", gpu.Booting)}}, "a worker is starting"},

		{static, ask(func(w *World) { w.Instances, w.Busy = []Instance{works("a")}, map[string]int{"a": 1} }), "a worker is busy with an earlier job"},
		{p, ask(func(w *World) {
			w.Instances, w.Busy, w.Left = []Instance{works("a")}, map[string]int{"a": 1}, map[string][]time.Duration{"a": {2 * time.Minute}}
		}), "a worker is busy with an earlier job, the next is expected to start at 12:02 UTC"},
		{p, ask(func(w *World) {
			w.Instances, w.Busy = []Instance{works("a"), works("b")}, map[string]int{"a": 1, "b": 1}
			w.Left = map[string][]time.Duration{"a": {2 * time.Minute}, "b": {time.Minute}}
		}), "all 2 workers are busy with earlier jobs, the next is expected to start at 12:01 UTC"},
		{p, ask(func(w *World) { w.Instances = []Instance{ready("a")} }), "a worker is about to take the next job"},
		{p, ask(func(w *World) {
			w.Instances, w.Stops = []Instance{ready("a")}, []Stop{{Reason: "today's budget is spent"}}
		}), "no worker is rented: today's budget is spent"},
	} {
		refused := map[string]*apigpu.Error{"proud": apigpu.E(apigpu.InvalidSession, nil, "no")}
		if got := waitingFor(c.policy, c.world, refused, noon); got.String() != c.want {
			t.Errorf("%+v:\n%q, want\n%q", c.world, got, c.want)
		}
	}
}

// A note that says the same is not written again, to thousands of jobs, with
// every tick.
func TestNotesAreSteady(t *testing.T) {
	t.Parallel()
	one := told{note{"a worker boots", ": so far", noon, "expected at"}, noon}
	for _, c := range []struct {
		name string
		next note
		now  time.Time
		same bool
	}{
		{"the same", one.note, in(time.Hour), true},
		{"about the same time", note{one.why, one.more, in(time.Minute), one.lead}, noon, true},
		{"earlier by a little", note{one.why, one.more, ago(time.Minute), one.lead}, noon, true},
		{"another time", note{one.why, one.more, in(2 * time.Minute), one.lead}, noon, false},
		{"no time", note{why: one.why, more: one.more, lead: one.lead}, noon, false},
		{"another reason", note{"it is busy", one.more, noon, one.lead}, noon, false},
		{"more, soon", note{one.why, ": so much more", noon, one.lead}, in(time.Minute), true},
		{"more, later", note{one.why, ": so much more", noon, one.lead}, in(2 * time.Minute), false},
	} {
		if got := one.next(c.next, c.now) == one; got != c.same {
			t.Errorf("%s: kept %v", c.name, got)
		}
	}
}
