package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// data is where the database is, and the results.
func (s *server) data() string { return filepath.Join(s.dir, "data") }

// TestVastOlder puts a database back that is older than the world: what was
// rented since is found by its label and ended, and no job is lost that the
// database knows.
func TestVastOlder(t *testing.T) {
	need.Soak(t)
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

// loses kills the orchestrator while a job runs on a rented machine, and its
// database is lost with it. It returns the fleet that was.
func (r *rental) loses(base string) (id string) {
	r.t.Helper()
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(job.ID, "it renders", renders)
	id = r.gpus().Fleet
	r.kill()
	if err := os.RemoveAll(r.data()); err != nil {
		r.t.Fatal(err)
	}
	r.run()
	return id
}

// TestVastLostDatabase: with FLEET set, a server whose database is lost knows
// by their labels what it rented, ends it, and works on.
func TestVastLostDatabase(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 20)
	r := rent(t, quickBoot)
	r.loses(base)
	r.over(2*time.Minute, vastsim.TooOften)
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.done(r.final(job.ID, 2*time.Minute))
	r.over(time.Minute, vastsim.TooOften)
	r.createdOnce()
}

// TestVastLostFleet: without FLEET, it has another name from then on. What was
// rented is shown with the command that ends it, and is not touched before
// somebody runs that.
func TestVastLostFleet(t *testing.T) {
	need.Soak(t)
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
