//go:build soak

package e2e

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestVastBudgetJob: a job that no machine runs within BUDGET_JOB_USD is
// refused, with the value that would do. With that value it begins, and ends
// when it has cost that much; its machine goes.
func TestVastBudgetJob(t *testing.T) {
	t.Parallel()
	base := clip(t, 150)
	tools := pacer(t)
	write(t, tools, "slow", "")
	r := newRental(t, dear, tools, "BOOT_TIMEOUT=20s", "LEASE=1m", "MAX_UPLOAD=50MiB", "BUDGET_JOB_USD=0.0001")
	r.run()
	r.leads()
	least := r.refused(base)
	r.with("BUDGET_JOB_USD=" + dollars(least))
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(job.ID, "it renders", renders)
	done := r.final(job.ID, 3*time.Minute)
	if done.Error == nil || done.Error.Code != apigpu.BudgetExceeded {
		t.Fatalf("the job is %s: %v", done.Status, done.Error)
	}
	eventually(t, need.Slack*2*time.Second, "no FFmpeg runs", func() bool { return r.encoders() == 0 })
	r.over(time.Minute, vastsim.TooOften)
	job, err := r.client().Job(t.Context(), job.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if cost := float64(job.Stats.CostUSD); cost <= 0 || cost > least {
		t.Errorf("it cost $%s of $%s", dollars(cost), dollars(least))
	}
	if !strings.Contains(done.Error.Hint, "BUDGET_JOB_USD") {
		t.Errorf("hint %q", done.Error.Hint)
	}
}

// TestVastOlder puts a database back that is older than the world: what was
// rented since is found by its label and ended, and no job is lost that the
// database knows.
func TestVastOlder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scenario string
		// then is when the copy is taken.
		then func(r *rental, job string)
		// since is what happens between the copy and the end of the world.
		since func(r *rental, base, job string)
	}{
		"of before the rental": {
			scenario: `,"faults":[{"kind":"slow","call":"search","delay":"3s"}]`,
			then: func(r *rental, _ string) {
				eventually(r.t, time.Minute, "offers are looked for", func() bool { return len(r.market.calls("search")) > 0 })
			},
			since: func(r *rental, _, job string) { r.until(job, "it renders", renders) },
		},
		"of an earlier machine": {
			then: func(r *rental, job string) { r.until(job, "it renders", renders) },
			since: func(r *rental, base, job string) {
				r.done(r.final(job, time.Minute))
				eventually(r.t, time.Minute, "nothing is rented", func() bool { return len(r.market.alive()) == 0 })
				r.until(r.submit(base+"/v.mp4", base+"/s.srt").ID, "another renders", renders)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := clip(t, 20)
			r := rent(t, quickBoot+c.scenario+`,"instances":[{"label":"somebody else's"}]`)
			r.leads()
			job := r.submit(base+"/v.mp4", base+"/s.srt")
			c.then(r, job.ID)
			r.kill()
			backup := t.TempDir()
			copyDatabase(t, r.data(), backup)
			r.run()
			c.since(r, base, job.ID)
			r.kill()
			stray := r.market.alive()
			copyDatabase(t, backup, r.data())
			r.run()
			eventually(t, 2*time.Minute, "what no row knows is ended", func() bool {
				for _, i := range r.market.alive() {
					if i.ID == stray[0].ID {
						return false
					}
				}
				return true
			})
			r.done(r.final(job.ID, 5*time.Minute))
			r.over(time.Minute, vastsim.TooOften) // by the restarts, of which it knows nothing
			r.createdOnce()
			if i := r.market.truth().Instances[0]; !i.Alive {
				t.Errorf("the instance %q was touched", i.Label)
			}
		})
	}
}

// TestVastLostFleet: without FLEET, it has another name from then on. What was
// rented is shown with the command that ends it, and is not touched before
// somebody runs that.
func TestVastLostFleet(t *testing.T) {
	t.Parallel()
	base := clip(t, 20)
	r := newRental(t, quickBoot, "", "FLEET=")
	r.run()
	r.market.fleet = r.gpus().Fleet
	was := r.loses(base)
	if was != r.market.fleet || was == r.gpus().Fleet {
		t.Fatalf("the fleet was %q, and is %q", was, r.gpus().Fleet)
	}
	var sweep string
	eventually(t, time.Minute, "GET /gpus shows it", func() bool {
		foreign := r.gpus().Foreign
		if len(foreign) != 1 || foreign[0].Fleet != was {
			return false
		}
		sweep = foreign[0].Sweep
		return true
	})
	if n := len(r.market.calls("destroy")); n != 0 {
		t.Errorf("%d ends were asked for", n)
	}
	job := r.submit(base+"/v.mp4", base+"/s.srt") // beside which all else works on
	r.done(r.final(job.ID, 2*time.Minute))
	if alive := r.market.alive(); len(alive) != 1 {
		t.Errorf("alive of the fleet that was are %+v", alive)
	}
	r.sweeps(sweep)
	r.over(time.Second, vastsim.TooOften) // two programs, of which none knows the other's calls
	eventually(t, time.Minute, "GET /gpus shows it no more", func() bool {
		g := r.gpus()
		return g.Object != "" && len(g.Foreign) == 0
	})
}

// ledger opens the database of an orchestrator that may run.
func (s *server) ledger() *sql.DB {
	s.t.Helper()
	d, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "api-gpu.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { d.Close() })
	return d
}

// open counts the jobs that have not ended; as one where nobody tells.
func (s *server) open() int {
	resp, err := http.Get(s.url + "/health")
	if err != nil {
		return 1
	}
	defer resp.Body.Close()
	h := struct{ Jobs struct{ Queued, Running int } }{}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&h) != nil {
		return 1
	}
	return h.Jobs.Queued + h.Jobs.Running
}

// sweeps runs the command that GET /gpus names, on another machine.
func (r *rental) sweeps(command string) {
	r.t.Helper()
	args, ok := strings.CutPrefix(command, "VAST_API_KEY=... orchestrator ")
	if !ok {
		r.t.Fatalf("the command is %q", command)
	}
	cmd := exec.Command(filepath.Join(bin, "orchestrator"), append(strings.Fields(args), "--settle=0")...)
	cmd.Dir = r.t.TempDir()
	cmd.Env = append(os.Environ(), "VAST_API_KEY="+accountKey, "VAST_API_URL="+r.market.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s: %v\n%s", command, err, out)
	}
}
