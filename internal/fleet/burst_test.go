package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// town is a rig with a dispatcher: jobs are claimed for free slots, take their
// time, and end.
type town struct {
	*rig
	takes map[string]time.Duration // job id → its time on a machine
	runs  map[string]run
	waits map[string]time.Duration // job id → how long it waited
	most  int                      // instances that ever existed at once
}

type run struct {
	job queue.Job
	end time.Time
}

func newTown(t *testing.T, change ...func(*Config, *providertest.FakeConfig)) *town {
	t.Helper()
	slo := func(c *Config, _ *providertest.FakeConfig) {
		c.Policy.MaxGPUs, c.Policy.MaxWait, c.Policy.IdleTimeout = 4, 4*time.Minute, 5*time.Second
	}
	return &town{newRig(t, append([]func(*Config, *providertest.FakeConfig){slo}, change...)...),
		map[string]time.Duration{}, map[string]run{}, map[string]time.Duration{}, 0}
}

// job submits one that takes so long on a machine, and whose video tells so.
func (w *town) job(takes time.Duration) {
	w.Helper()
	video := time.Duration(max(0, takes-jobStart).Seconds() / (1/priorGPU + 2*8*videoRate/1e6/typicalMbps) * float64(time.Second))
	j, err := w.queue.Submit(w.Context(), queue.Draft{
		Subtitle: []byte("1"), Video: video, WaitFor: 24 * time.Hour, RunFor: time.Hour, KeepFor: time.Hour,
	})
	w.ok(err)
	w.takes[j.ID] = takes
}

// live lets time pass until no job is left and nothing exists.
func (w *town) live() {
	w.Helper()
	for range 3600 {
		w.tick()
		w.work()
		w.most = max(w.most, w.fake.Exist())
		if len(w.waits) == len(w.takes) && len(w.runs) == 0 && w.fake.Exist() == 0 {
			return
		}
		w.clock.Advance(2 * time.Second)
	}
	w.Fatalf("%d of %d jobs ran, %d instances exist", len(w.waits), len(w.takes), w.fake.Exist())
}

// work is a round of the dispatcher.
func (w *town) work() {
	w.Helper()
	now := w.clock.Now()
	for id, r := range w.runs {
		if !r.end.After(now) {
			w.ok(w.queue.Fail(w.Context(), r.job.Lease(), apigpu.E(apigpu.Internal, nil, "x")))
			delete(w.runs, id)
		} else {
			w.ok(w.queue.Heartbeat(w.Context(), r.job.Lease()))
		}
	}
	free, err := w.Slots(w.Context())
	w.ok(err)
	next, err := w.queue.Next(w.Context(), len(free))
	w.ok(err)
	for _, a := range Assign(next, free, now) {
		j, err := w.queue.Claim(w.Context(), a.JobID, a.Slot.Instance, a.Slot.Number)
		w.ok(err)
		w.runs[j.ID] = run{j, now.Add(w.takes[j.ID])}
		w.waits[j.ID] = now.Sub(j.CreatedAt)
	}
}

func (w *town) longest() (d time.Duration) {
	for _, wait := range w.waits {
		d = max(d, wait)
	}
	return d
}

// A burst of short jobs is done by one machine, within MAX_WAIT; one of long
// jobs by as many as are allowed, and none more. All of them end.
func TestBurst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		jobs    int
		takes   time.Duration
		creates int
		longest time.Duration
	}{
		{1, time.Minute, 1, time.Minute},
		{20, 4 * time.Second, 1, 4 * time.Minute},
		{20, 12 * time.Second, 2, 4 * time.Minute},
		{20, 2 * time.Minute, 4, 15 * time.Minute},
		{2, 5 * time.Minute, 2, 4 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%d of %s", c.jobs, c.takes), func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			for range c.jobs {
				w.job(c.takes)
			}
			w.live()
			if got := len(w.fake.Calls(providertest.Create)); got != c.creates || w.most > c.creates {
				t.Errorf("%d creates, %d at once; want %d", got, w.most, c.creates)
			}
			if got := w.longest(); got > c.longest {
				t.Errorf("one waited %s, want at most %s", got, c.longest)
			}
		})
	}
}

// Jobs that come one by one while a machine works join it, where it is soon
// free, rather than have each its own.
func TestStreamSharesAMachine(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for range 30 {
		w.job(8 * time.Second)
		for range 10 {
			w.tick()
			w.work()
			w.clock.Advance(time.Second)
		}
	}
	w.live()
	if got := len(w.fake.Calls(providertest.Create)); got != 1 {
		t.Errorf("%d creates", got)
	}
}

// Whatever creates and boots come to, one job never has two machines at once,
// and what is asked for is bounded: no failure makes a storm.
func TestOneJobNeverRunsAway(t *testing.T) {
	t.Parallel()
	never := providertest.CreateStep{Boot: 1000 * time.Hour}
	for name, step := range map[string]providertest.CreateStep{
		"taken by others":  {Err: gpu.ErrOfferGone},
		"no capacity":      {Err: gpu.ErrNoCapacity},
		"answers lost":     {Err: errors.New("reset"), Took: true, Boot: 1000 * time.Hour},
		"requests lost":    {Err: errors.New("reset")},
		"never boots":      never,
		"dead":             {Dead: true},
		"half":             {Err: gpu.ErrPartial, Took: true, Dead: true},
		"limited":          {Err: gpu.RateLimited{After: time.Second}},
		"late and unknown": {Err: errors.New("reset"), Took: true, Delay: time.Minute, Boot: 1000 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			for range 200 {
				w.fake.ScriptCreate(step)
			}
			w.job(time.Minute)
			most := 0
			for range 120 {
				w.tick()
				most = max(most, w.fake.Exist())
				w.clock.Advance(5 * time.Second)
			}
			// Ten minutes; ten a minute is what the breaker allows.
			if got := len(w.fake.Calls(providertest.Create)); got > 100 {
				t.Errorf("%d creates", got)
			}
			if most > 2 { // one that ends may be there still
				t.Errorf("%d exist at once", most)
			}
		})
	}
}

// A machine that no waiting job is given to goes, and its like is not rented
// again and again.
func TestUnusedMachines(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.job(time.Minute)
	w.pass(time.Hour, 10*time.Second) // and nobody claims
	if got := len(w.fake.Calls(providertest.Create)); got < 3 || got > 7 {
		t.Errorf("%d creates in an hour", got)
	}
}
