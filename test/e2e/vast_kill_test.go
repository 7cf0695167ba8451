package e2e

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// death is a moment at which the orchestrator is killed.
type death struct {
	name string
	// scenario makes the moment last long enough to be hit.
	scenario string
	// at is the point of the program where it dies; where it is empty it is
	// killed when the moment has come.
	at   string
	come func(r *rental, job string) bool
	// switches is whether the worker that is left has a switch: then it ends
	// without anybody's help.
	switches bool
}

// deaths are those of the life of a rental.
var deaths = []death{
	{name: "search", scenario: `,"faults":[{"kind":"slow","call":"search","delay":"2s"}]`,
		come: func(r *rental, _ string) bool { return len(r.market.calls("search")) > 0 }},
	{name: "before the create call", at: "fleet.create"},
	{name: "create", scenario: `,"faults":[{"kind":"slow","call":"create","delay":"3s"}]`, switches: true,
		come: func(r *rental, _ string) bool { return len(r.market.calls("create")) > 0 }},
	{name: "after the create call", at: "fleet.created", switches: true},
	{name: "boot", switches: true,
		come: func(r *rental, _ string) bool {
			ours := r.market.ours()
			return len(ours) == 1 && (ours[0].State == "loading" || ours[0].State == "running")
		}},
	{name: "first contact", at: "fleet.contact", switches: true},
	{name: "assign", at: "dispatch.assigned", switches: true},
	{name: "run", switches: true,
		come: func(r *rental, job string) bool {
			j, err := r.client().Job(r.t.Context(), job, 0)
			return err == nil && renders(j)
		}},
	{name: "download", at: "dispatch.chunk", switches: true},
	{name: "stored", at: "dispatch.stored", switches: true},
	{name: "before the destroy call", at: "fleet.destroy", switches: true},
	{name: "destroy", scenario: `,"faults":[{"kind":"slow","call":"destroy","delay":"3s"}]`,
		come: func(r *rental, _ string) bool { return len(r.market.calls("destroy")) > 0 }},
	{name: "after the destroy call", at: "fleet.destroyed"},
}

// dies submits a job and kills the orchestrator at a moment of its rental. It
// returns when it is dead.
func (d death) dies(t *testing.T, env ...string) (r *rental, job string) {
	t.Helper()
	dir, err := crashBin()
	if err != nil {
		t.Fatal(err)
	}
	base := clip(t, 20)
	points := t.TempDir()
	r = newRental(t, quickBoot+d.scenario, "", append(env, "CRASH_DIR="+points)...)
	r.begin(dir)
	eventually(t, 20*time.Second, "the orchestrator answers", r.answers)
	if d.at != "" {
		write(t, points, "at", d.at+"#1")
	}
	job = r.submit(base+"/v.mp4", base+"/s.srt").ID
	if d.at != "" {
		if err := r.cmd.Wait(); err == nil || !diedOfKill(r.cmd.ProcessState) {
			t.Fatalf("the orchestrator ended by itself: %v", err)
		}
		r.cmd = nil
		return r, job
	}
	eventually(t, time.Minute, d.name, func() bool { return d.come(r, job) })
	r.kill()
	return r, job
}

// TestVastKill kills the orchestrator at each moment of a rental and starts it
// again: the job succeeds, and nothing is left but what a job lives on.
func TestVastKill(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for _, d := range deaths {
		if !slices.Contains(often, d.name) && os.Getenv("CRASH_ALL") != "1" {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r, job := d.dies(t)
			r.run()
			// What is alive beside the instance of the live job goes within 2
			// minutes, and 3 s for each.
			eventually(t, 2*time.Minute+3*time.Second, "at most one is alive", func() bool { return len(r.market.alive()) <= 1 })
			r.done(r.final(job, 3*time.Minute))
			r.over(2*time.Minute + 3*time.Second)
			if n := len(r.market.ours()); n > 2 {
				t.Errorf("%d instances were rented for one job", n)
			}
			r.createdOnce()
		})
	}
}

// createdOnce checks that no label was used for two creates.
func (r *rental) createdOnce() {
	r.t.Helper()
	seen := map[string]bool{}
	for _, c := range r.market.calls("create") {
		if seen[c.Label] {
			r.t.Errorf("%q was created twice", c.Label)
		}
		seen[c.Label] = true
	}
}

// often are the deaths that make test tries: one in each part of a rental.
// CRASH_ALL=1 (make soak) tries all.
var often = []string{"search", "create", "boot", "run", "download", "destroy"}

// never are the deaths after which nobody comes back, but for CRASH_ALL=1: from
// before its worker was spoken to, and from after that.
var never = []string{"create", "run"}

// TestVastNeverBack kills the orchestrator for good: what it rented ends
// itself, by the market's API and with the key of its own, within its lease
// and some retries. Before the first word from the orchestrator the time to
// boot is allowed beside.
func TestVastNeverBack(t *testing.T) {
	need.Long(t)
	t.Parallel()
	const lease, boot = time.Minute, 20 * time.Second
	for _, d := range deaths {
		if !d.switches || !slices.Contains(never, d.name) && os.Getenv("CRASH_ALL") != "1" {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			d.scenario += `,"boots":[{"pull":"2s"}]`
			r, _ := d.dies(t, "LEASE="+lease.String(), "BOOT_TIMEOUT="+boot.String())
			died := time.Now()
			// The first try to end itself fails here: it goes on.
			r.market.apply(`"faults":[{"kind":"status","call":"destroy","status":502,"html":true}]`)
			r.over(lease + boot + need.Slack*10*time.Second)
			t.Logf("ended %.0f s after the death", time.Since(died).Seconds())
			ends := r.market.calls("destroy")
			if len(ends) == 0 || slices.ContainsFunc(ends, func(c vastsim.Call) bool { return !c.Own }) {
				t.Errorf("destroyed by %+v, want by itself", ends)
			}
		})
	}
}
