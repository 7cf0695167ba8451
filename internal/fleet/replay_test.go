package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// arrival is a job of a trace.
type arrival struct {
	at    time.Time
	takes time.Duration
	guess time.Duration // what it is estimated to take
}

// replay runs Plan over a trace, with machines that boot in a fixed time and
// never fail, one slot each: what the policy costs, apart from all else.
type replay struct {
	policy Policy
	boot   time.Duration
	noise  float64 // of the estimates: the deviation of their logarithm

	now       time.Time
	rng       *rand.Rand
	queue     []arrival
	instances []Instance
	ends      map[string]time.Time // label → end of the job on it
	waits     []time.Duration
	paid      time.Duration
	busy      time.Duration
	rented    int
}

func (r *replay) run(trace []arrival) {
	r.now, r.ends, r.rng = trace[0].at, map[string]time.Time{}, rand.New(rand.NewPCG(1, 2))
	for len(trace) > 0 || len(r.queue) > 0 || len(r.instances) > 0 {
		for len(trace) > 0 && !trace[0].at.After(r.now) {
			job := trace[0]
			job.guess = time.Duration(float64(job.takes) * math.Exp(r.noise*r.rng.NormFloat64()))
			r.queue, trace = append(r.queue, job), trace[1:]
		}
		r.settle()
		next := r.act()
		if len(trace) > 0 && trace[0].at.Before(next) {
			next = trace[0].at
		}
		for _, i := range r.instances {
			if ready := i.CreatedAt.Add(r.boot); i.State == gpu.Booting && ready.Before(next) {
				next = ready
			}
			if end, runs := r.ends[i.Label]; runs && end.Before(next) {
				next = end
			}
		}
		r.now = next
	}
}

// settle ends jobs and boots that are over, and starts the jobs that have a
// machine.
func (r *replay) settle() {
	for n := range r.instances {
		i := &r.instances[n]
		if end, runs := r.ends[i.Label]; runs && !end.After(r.now) {
			delete(r.ends, i.Label)
			i.IdleSince = r.now
		}
		if i.State == gpu.Booting && !i.CreatedAt.Add(r.boot).After(r.now) {
			i.State, i.ReadyAt, i.IdleSince = gpu.Ready, r.now, r.now
		}
		i.ContactAt = r.now
		if _, runs := r.ends[i.Label]; i.State == gpu.Ready && !runs && len(r.queue) > 0 {
			job := r.queue[0]
			r.queue = r.queue[1:]
			r.ends[i.Label], i.IdleSince = r.now.Add(job.takes), time.Time{}
			r.waits, r.busy = append(r.waits, r.now.Sub(job.at)), r.busy+job.takes
		}
	}
}

// act plans until there is nothing more to do now, and returns when to look
// again.
func (r *replay) act() time.Time {
	for {
		actions, wake := Plan(r.policy, r.world(), r.now)
		if len(actions) == 0 {
			return wake
		}
		for _, a := range actions {
			if a.Kind == Rent {
				r.rented++
				r.instances = append(r.instances, Instance{Label: fmt.Sprintf("%06d", r.rented), State: gpu.Booting, Slots: 1, CreatedAt: r.now, StateSince: r.now, Deadline: r.now.Add(10 * time.Minute)})
				continue
			}
			r.instances = slices.DeleteFunc(r.instances, func(i Instance) bool {
				if i.Label == a.Label {
					r.paid += r.now.Sub(i.CreatedAt)
				}
				return i.Label == a.Label
			})
		}
	}
}

func (r *replay) world() World {
	w := World{
		Instances: r.instances, Waiting: len(r.queue), Busy: map[string]int{}, Left: map[string][]time.Duration{},
		Offers: []gpu.Offer{cheap}, OffersAt: r.now,
		// As many machines as want: what is measured is not the breaker.
		Hosts: Hosts{HostKey{Machine, "any"}: {Boots: 1000, MeanBoot: r.boot, NotedAt: r.now}},
	}
	for _, j := range r.queue {
		w.Backlog = append(w.Backlog, Work{For: j.guess, Since: j.at})
	}
	for label, end := range r.ends {
		w.Busy[label], w.Left[label] = 1, []time.Duration{end.Sub(r.now)}
	}
	return w
}

// ratio is what is paid for a second of work.
func (r *replay) ratio() float64 { return r.paid.Seconds() / r.busy.Seconds() }

func (r *replay) wait(percent int) time.Duration {
	slices.Sort(r.waits)
	return r.waits[(len(r.waits)-1)*percent/100]
}

// bursty is a day of a small service: bursts of short jobs by one user after
// another, as services of this kind see them (jobs of 23 s in the median, a
// tenth above a minute).
func bursty() (trace []arrival) {
	rng := rand.New(rand.NewPCG(3, 4))
	at := noon
	for at.Before(noon.Add(24 * time.Hour)) {
		at = at.Add(time.Duration(rng.ExpFloat64() * float64(8*time.Minute)))
		t := at
		for range 1 + int(rng.ExpFloat64()*6) {
			t = t.Add(time.Duration(rng.ExpFloat64() * float64(10*time.Second)))
			trace = append(trace, arrival{at: t, takes: time.Duration(float64(23*time.Second) * math.Exp(0.75*rng.NormFloat64()))})
		}
	}
	slices.SortFunc(trace, func(a, b arrival) int { return a.at.Compare(b.at) })
	return trace
}

// A machine for every job that waits costs twice what waiting within MAX_WAIT
// does, and one that then stays for minutes more still; estimates that are
// wrong by a factor of two change little.
func TestReplay(t *testing.T) {
	t.Parallel()
	trace := bursty()
	day := func(maxWait, idle time.Duration, noise float64) *replay {
		p := policy
		p.MaxGPUs, p.MaxWait, p.IdleTimeout = 50, maxWait, idle
		r := &replay{policy: p, boot: 2 * time.Minute, noise: noise}
		r.run(trace)
		t.Logf("MAX_WAIT %-4s idle %-5s noise %.1f: %d jobs, %d machines, paid %.2f for 1 of work, waits p50 %s p95 %s most %s",
			maxWait, idle, noise, len(r.waits), r.rented, r.ratio(), about(r.wait(50)), about(r.wait(95)), about(r.wait(100)))
		if len(r.waits) != len(trace) {
			t.Errorf("%d of %d jobs ran", len(r.waits), len(trace))
		}
		return r
	}
	const eager = 1 // nanosecond
	ours, wrong := day(4*time.Minute, 5*time.Second, 0), day(4*time.Minute, 5*time.Second, 0.7)
	each, kept := day(eager, 5*time.Second, 0), day(eager, 5*time.Minute, 0)
	if each.ratio() < 2*ours.ratio() || kept.ratio() < 4*ours.ratio() {
		t.Errorf("ours %.2f, a machine for each %.2f, kept for minutes %.2f", ours.ratio(), each.ratio(), kept.ratio())
	}
	if wrong.ratio() > 1.2*ours.ratio() {
		t.Errorf("ours %.2f, with wrong estimates %.2f", ours.ratio(), wrong.ratio())
	}
	if most := ours.wait(100); most > 4*time.Minute+time.Second {
		t.Errorf("one waited %s", most)
	}
}
