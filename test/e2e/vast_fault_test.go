package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// trouble is what goes wrong in the life of a rental.
type trouble struct {
	name string
	// scenario is what the market is like from the start.
	scenario string
	// while does its worst once the job renders.
	while func(r *rental)
	// then happens when the job has ended.
	then func(r *rental)
	// rented is how many instances there may have been; 1 where it is 0.
	rented int
	// attempts is how many starts the job may have; 1 where it is 0.
	attempts int
}

const page502 = `"status":502,"html":true`

// troubles are those that a job survives. All of them end with nothing rented.
var troubles = []trouble{
	{name: "the answer to the create is lost", scenario: `"faults":[{"kind":"reset","call":"create","after":true}]`},
	{name: "the create answers 502 and took", scenario: `"faults":[{"kind":"status","call":"create","after":true,` + page502 + `}]`},
	{name: "the create takes late", scenario: `"faults":[{"kind":"create_late","delay":"5s"}]`},
	{name: "the create makes two", scenario: `"faults":[{"kind":"create_twice"}]`, rented: 2},
	{name: "the create makes a stopped one", scenario: `"faults":[{"kind":"create_stopped"}]`, rented: 2},
	{name: "the create fails with an id", scenario: `"faults":[{"kind":"create_error_with_id"}]`, rented: 2},
	{name: "the offer is gone", scenario: `"faults":[{"kind":"create_vanished","times":2}]`},
	{name: "too often", scenario: `"faults":[{"kind":"limited","call":"create"},{"kind":"limited","call":"search"},{"kind":"limited","call":"list"}]`},
	{name: "the search fails", scenario: `"faults":[{"kind":"status","call":"search","times":2,` + page502 + `}]`},
	{name: "the API is away at first", scenario: `"faults":[{"kind":"status","call":"*","for":"8s",` + page502 + `}]`},
	{name: "the machine cannot run it", scenario: `"boots":[{"fails":"oci"}]`, rented: 2},
	{name: "the machine is not reached", scenario: `"boots":[{"fails":"unreachable","then":"exit","after":"5s"}]`, rented: 2},
	{name: "the machine goes in mid-job", while: func(r *rental) { r.befalls(vastsim.DoOffline) }, rented: 2, attempts: 2,
		then: func(r *rental) { r.returns() }},
	{name: "the machine is taken in mid-job", while: func(r *rental) { r.befalls(vastsim.DoOutbid) }, rented: 2, attempts: 2},
	{name: "the contract vanishes in mid-job", while: func(r *rental) { r.befalls(vastsim.DoVanish) }, rented: 2, attempts: 2},

	{name: "the API answers 502 for a while", while: func(r *rental) {
		r.market.apply(`"faults":[{"kind":"status","call":"*","for":"20s",` + page502 + `}]`)
	}},
	{name: "the API hangs for a while", while: func(r *rental) {
		r.market.apply(`"faults":[{"kind":"hang","call":"*","for":"15s","delay":"10s"}]`)
	}},
	{name: "the network to the API is cut", while: func(r *rental) { r.cut(20 * time.Second) }},
	{name: "the network to the worker is cut", while: func(r *rental) {
		r.befalls(vastsim.DoCut)
		time.Sleep(15 * time.Second) // the cut itself is what is tested
		r.befalls(vastsim.DoReturn)
	}},
	{name: "listings lack the instance", while: func(r *rental) {
		r.market.apply(`"faults":[{"kind":"list_cut","times":5},{"kind":"list_empty","times":5},{"kind":"list_no_key","times":5},{"kind":"list_missing","times":5}]`)
	}},
	{name: "listings are of the old API", while: func(r *rental) {
		r.market.apply(`"faults":[{"kind":"status","call":"list","for":"20s","status":410,"body":{"success":false,"error":"deprecated_endpoint","msg":"deprecated"}}]`)
	}},
	{name: "destroys fail", scenario: `"faults":[{"kind":"status","call":"destroy",` + page502 + `},{"kind":"destroy_refused"},{"kind":"destroy_ignored"},{"kind":"destroy_unknown"},{"kind":"limited","call":"destroy"}]`},
}

// befalls does something to the one instance that is alive.
func (r *rental) befalls(deed string) {
	r.t.Helper()
	alive := r.market.alive()
	if len(alive) != 1 {
		r.t.Fatalf("alive are %+v", alive)
	}
	r.market.tell("/sim/instances/"+itoa(int(alive[0].ID)), `{"do":"`+deed+`"}`)
}

// returns lets the hosts come back whose instances are destroyed. Only then the
// market can end what still runs on them.
func (r *rental) returns() {
	r.t.Helper()
	for _, i := range r.market.alive() {
		if !i.Alive {
			r.market.tell("/sim/instances/"+itoa(int(i.ID)), `{"do":"`+vastsim.DoReturn+`"}`)
		}
	}
}

// cut keeps the orchestrator from the market for a time.
func (r *rental) cut(d time.Duration) {
	r.wire.severe(true)
	time.Sleep(d) // the cut itself is what is tested
	r.wire.severe(false)
}

// TestVastTrouble lets each job have one of the troubles: it succeeds, nothing
// is left, and no rule of the API was broken. Each takes half a minute, nearly
// all of it waiting: make test tries every third, and CRASH_ALL=1 (make soak) all.
func TestVastTrouble(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for n, c := range troubles {
		if n%3 != 0 && os.Getenv("CRASH_ALL") != "1" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := clip(t, 20)
			scenario := quickBoot
			if c.scenario != "" {
				scenario += "," + c.scenario
			}
			r := rent(t, scenario)
			job := r.submit(base+"/v.mp4", base+"/s.srt")
			if c.while != nil {
				r.until(job.ID, "it renders", renders)
				c.while(r)
			}
			done := r.final(job.ID, 4*time.Minute)
			r.done(done)
			if c.then != nil {
				c.then(r)
			}
			r.over(3 * time.Minute)
			r.createdOnce()
			if n := len(r.market.ours()); n > max(1, c.rented) {
				t.Errorf("%d instances were rented, want at most %d", n, max(1, c.rented))
			}
			if done.Attempt > max(1, c.attempts) {
				t.Errorf("attempt %d, want at most %d", done.Attempt, max(1, c.attempts))
			}
		})
	}
}

// TestVastLost: where the request for a machine is lost on its way, nobody
// knows. For as long as it could still appear no other is rented; then one is.
func TestVastLost(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 2)
	r := rent(t, quickBoot+`,"faults":[{"kind":"reset","call":"create"}]`)
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.done(r.final(job.ID, 4*time.Minute))
	creates := r.market.calls("create")
	if len(creates) != 2 || creates[0].Label == creates[1].Label {
		t.Fatalf("creates: %+v", creates)
	}
	if gap := creates[1].At.Sub(creates[0].At); gap < 90*time.Second {
		t.Errorf("the second create came %s after the one that was lost", gap)
	}
	r.over(time.Minute)
}
