package e2e

import (
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// passing are troubles of the market that pass by themselves, for the time
// between two kills.
var passing = []string{
	``,
	`{"kind":"status","call":"*","for":"3s",` + page502 + `}`,
	`{"kind":"hang","call":"*","for":"2s","delay":"3s"}`,
	`{"kind":"reset","call":"create","after":true}`,
	`{"kind":"create_late","delay":"3s"}`,
	`{"kind":"create_twice"}`,
	`{"kind":"create_stopped"}`,
	`{"kind":"create_vanished"}`,
	`{"kind":"list_cut","times":3},{"kind":"list_missing","times":3}`,
	`{"kind":"list_empty","times":2}`,
	`{"kind":"list_no_key","times":3}`,
	`{"kind":"reset","call":"destroy","after":true}`,
	`{"kind":"destroy_ignored"}`,
	`{"kind":"destroy_refused"}`,
	`{"kind":"destroy_unknown"}`,
	`{"kind":"limited","call":"list","times":2}`,
}

// TestVastKillLoop kills the orchestrator again and again at random moments,
// on a market that has its own troubles meanwhile. Every job succeeds, and
// nothing is left.
func TestVastKillLoop(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 8)
	r := rent(t, quickBoot+`,"instances":[{"label":"somebody else's"}]`, "MAX_GPUS=2", "IDLE_TIMEOUT=1s")
	var jobs []string
	times := kills(t)
	for n := range times {
		if n%3 == 2 { // else one machine would live through it all
			r.done(r.final(jobs[n-1], 5*time.Minute))
			eventually(t, 5*time.Minute, "nothing is rented", func() bool { return len(r.market.alive()) == 0 })
		}
		if trouble := passing[rand.N(len(passing))]; trouble != "" {
			r.market.apply(`"faults":[` + trouble + `]`)
			t.Logf("kill %d, with %s", n+1, trouble)
		}
		jobs = append(jobs, r.submit(base+"/v.mp4", base+"/s.srt").ID)
		time.Sleep(rand.N(6 * time.Second)) // the moment itself is what is tested
		r.kill()
		r.run()
		if n%5 != 4 {
			r.age()
		}
	}
	for _, id := range jobs {
		r.done(r.final(id, 5*time.Minute))
	}
	// A process that starts knows nothing of the calls of the one before.
	r.over(4*time.Minute, vastsim.TooOften)
	r.createdOnce()
	if i := r.market.truth().Instances[0]; !i.Alive {
		t.Errorf("the instance %q was touched", i.Label)
	}
	t.Logf("%d kills, %d jobs, %d instances", times, len(jobs), len(r.market.ours()))
}

// age lets the leases of the one that died run out: nothing but time is saved
// by that.
func (r *rental) age() {
	r.t.Helper()
	d, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, "data", "api-gpu.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Exec(`UPDATE fleet SET lease_until = 0`); err != nil {
		r.t.Fatal(err)
	}
}
