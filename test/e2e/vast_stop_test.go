package e2e

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// TestVastCredit: the account's credit runs out while a machine works. The
// market stops the machine, which is destroyed; what is in the way is told to
// the operator and to the job, and the job waits. With new credit it runs:
// after a restart, or with CRASH_ALL=1 (make soak) by itself, some minutes
// later.
func TestVastCredit(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 20)
	r := rent(t, quickBoot)
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(job.ID, "it renders", renders)
	r.market.apply(`"credit_usd":0`)
	r.stopped("funds", job.ID, "may not spend more")
	eventually(t, time.Minute, "nothing is rented", func() bool { return len(r.market.alive()) == 0 })
	r.market.apply(`"credit_usd":10`)
	if !soaks() {
		r.terminate()
		r.run()
	}
	done := r.final(job.ID, 8*time.Minute)
	r.done(done)
	if done.Attempt != 2 {
		t.Errorf("attempt %d, want 2", done.Attempt)
	}
	r.goesOn()
	r.over(time.Minute, vastsim.TooOften) // by the restart, of which it knows nothing
	r.createdOnce()
}

// TestVastKey: the account's key is revoked while a machine works, or may do
// less than it must. The job on the machine ends well all the same; the machine
// cannot be ended, and another job waits and is told why. Once the key is good
// again, all goes on by itself.
func TestVastKey(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for name, answer := range map[string]string{
		"revoked":   `"status":401,"body":{"success":false,"error":"auth_error","msg":"Invalid user key"}`,
		"forbidden": `"status":403,"body":{"success":false,"error":"auth_error","msg":"This key is not allowed to do that."}`,
	} {
		if name != "revoked" && !soaks() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := clip(t, 20)
			r := rent(t, quickBoot, "IDLE_TIMEOUT=1s")
			first := r.submit(base+"/v.mp4", base+"/s.srt")
			r.until(first.ID, "it renders", renders)
			r.market.apply(`"faults":[{"kind":"status","call":"*","times":-1,` + answer + `}]`)
			r.done(r.final(first.ID, time.Minute))
			eventually(t, time.Minute, "the end of the idle machine is asked for", func() bool {
				g := r.gpus()
				return len(g.Data) == 1 && g.Data[0].State == "destroying"
			})
			second := r.submit(base+"/v.mp4", base+"/s.srt")
			eventually(t, time.Minute, "/health tells", func() bool { return r.warned("nothing is rented (auth)") })
			r.until(second.ID, "the job is told", func(j apigpu.Job) bool { return j.Phase == apigpu.WaitingGPU && j.PhaseNote != "" })
			if len(r.market.alive()) != 1 {
				t.Errorf("alive are %+v", r.market.alive())
			}
			r.market.forgive()
			r.done(r.final(second.ID, 2*time.Minute))
			r.goesOn()
			r.over(time.Minute)
			r.createdOnce()
		})
	}
}

// TestVastShutdown stops the orchestrator while a job runs on a rented machine
// and another waits, in each of the ways that SHUTDOWN names.
func TestVastShutdown(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for mode, look := range map[string]func(r *rental, running, waiting string){
		// The machine and its job go on, and the next start goes on with them.
		"keep": func(r *rental, running, waiting string) {
			if alive := r.market.alive(); len(alive) != 1 || !alive[0].Running {
				r.t.Errorf("alive are %+v, want the one", alive)
			}
			stopped := time.Now()
			r.run()
			if g := r.gpus(); len(g.Data) != 1 || g.Data[0].LeaseUntil == nil || g.Data[0].LeaseUntil.Sub(stopped) < 25*time.Minute {
				r.t.Errorf("the machine was not left half an hour: %+v", g.Data)
			}
			for _, id := range []string{running, waiting} {
				done := r.final(id, 2*time.Minute)
				if r.done(done); done.Attempt != 1 {
					r.t.Errorf("attempt %d, want 1", done.Attempt)
				}
			}
			if n := len(r.market.ours()); n != 1 {
				r.t.Errorf("%d instances were rented, want 1", n)
			}
		},
		// The jobs end first, and then what was rented for them.
		"drain": func(r *rental, running, waiting string) {
			if n := len(r.market.alive()); n != 0 {
				r.t.Errorf("%d instances are left", n)
			}
			if n := len(r.market.ours()); n != 1 {
				r.t.Errorf("%d instances were rented, want 1", n)
			}
			r.run()
			for _, id := range []string{running, waiting} {
				done := r.final(id, time.Second)
				if r.done(done); done.Attempt != 1 {
					r.t.Errorf("attempt %d, want 1", done.Attempt)
				}
			}
		},
		// What is rented ends at once. The jobs run after the next start.
		"destroy": func(r *rental, running, waiting string) {
			if n := len(r.market.alive()); n != 0 {
				r.t.Errorf("%d instances are left", n)
			}
			r.run()
			for _, id := range []string{running, waiting} {
				r.done(r.final(id, 2*time.Minute))
			}
		},
	} {
		if mode == "destroy" && !soaks() {
			continue
		}
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			base := clip(t, 20)
			r := rent(t, quickBoot, "SHUTDOWN="+mode)
			running := r.submit(base+"/v.mp4", base+"/s.srt")
			r.until(running.ID, "it renders", renders)
			waiting := r.submit(base+"/v.mp4", base+"/s.srt")
			began := time.Now()
			r.terminate()
			t.Logf("it stopped after %s", time.Since(began).Round(time.Millisecond))
			look(r, running.ID, waiting.ID)
			// A process that starts knows nothing of the calls of the one before.
			r.over(time.Minute, vastsim.TooOften)
			r.createdOnce()
		})
	}
}

// TestVastShutdownIdle: a stop with SHUTDOWN=keep keeps no machine that is idle.
func TestVastShutdownIdle(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 2)
	r := rent(t, quickBoot, "SHUTDOWN=keep", "IDLE_TIMEOUT=1m")
	r.done(r.final(r.submit(base+"/v.mp4", base+"/s.srt").ID, time.Minute))
	if alive := r.market.alive(); len(alive) != 1 {
		t.Fatalf("alive are %+v, want the one", alive)
	}
	r.terminate()
	eventually(t, 30*time.Second, "the idle machine goes", func() bool { return len(r.market.alive()) == 0 })
	r.run()
	r.over(time.Minute, vastsim.TooOften)
	r.createdOnce()
}
