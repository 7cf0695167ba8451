package fleet

import (
	"fmt"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

const (
	// backlogMost bounds the queued jobs that are looked at one by one. Those
	// behind them wait longer.
	backlogMost = 500
	// leastGain is by how much sooner, as a part of MaxWait, a further machine
	// must start a job that waits too long: less is not worth its boot.
	leastGain = 8
	// unusedFor is how long an idle machine is kept for jobs that wait and are
	// not given to it: longer than anything that holds one up for a while.
	unusedFor = 5 * time.Minute
	// unusedPause is for how long nothing is rented after that, doubled with
	// each more, up to unusedMost: the next would stand idle too.
	unusedPause = time.Minute
	unusedMost  = 15 * time.Minute
)

// unused is why a machine ended that no waiting job was given to.
const unused = "idle while jobs wait, and none was given to it"

// verdict is whether another machine is rented, and why.
type verdict struct {
	actions []Action
	due     time.Time // when that may change by itself; zero where it does not
	why     string    // for the operator
}

// grow decides whether another machine is rented: at most one at a time.
// staying are the instances that this round does not end.
func grow(p Policy, w World, staying []Instance, now time.Time) verdict {
	switch {
	case w.NoRoom:
		return verdict{why: "the storage is full: no result could be kept"}
	case w.Waiting == 0:
		return verdict{why: "no job waits"}
	case p.Traits.Permanent:
		return verdict{why: "the workers are those that are configured"}
	}
	want := wanted(p, w, staying, now)
	if want.job == nil {
		return verdict{why: want.why}
	}
	if why, due := full(p, w, now); why != "" {
		return verdict{why: want.why + ", but " + why, due: due}
	}
	if w.OffersAt.IsZero() || now.Sub(w.OffersAt) > offersFresh {
		return verdict{actions: []Action{{Kind: Search, Reason: want.why}}, why: want.why + ": offers are looked for"}
	}
	m := choose(w, *want.job, now)
	if len(m.Ranked) == 0 {
		why := fmt.Sprintf("%s, but nothing will do of %s%s", want.why, counted(m.Found, "offer", "offers"), m.without())
		return verdict{why: why, due: w.OffersAt.Add(offersFresh)}
	}
	var refusal *OverBudget
	if m.Ranked, refusal = affordable(p, w, m.Ranked, now); refusal != nil {
		return verdict{why: want.why + ", but " + refusal.Error(), due: refusal.Until}
	}
	return verdict{
		actions: []Action{{Kind: Rent, Offers: m.Ranked, Reason: want.why}},
		why:     want.why + ": " + m.Ranked[0].Why,
	}
}

// full says what forbids another machine that is wanted, and when that may
// change; nothing where it is allowed.
func full(p Policy, w World, now time.Time) (why string, due time.Time) {
	if p.NoRent != "" {
		return p.NoRent, due
	}
	if n := len(w.Instances) + w.Extra; n >= p.MaxGPUs {
		return fmt.Sprintf("MAX_GPUS is %d and %d exist%s", p.MaxGPUs, n, whichEnd(w)), due
	}
	if ok, why, due := mayCreate(p, w, now); !ok {
		return why, due
	}
	if due := w.UnusedAt.Add(pauseUnused(w.Unused)); now.Before(due) {
		return "the last machines stood idle while jobs waited", due
	}
	return "", due
}

// whichEnd says how many of the instances are on their way out, strays included.
// They count until they are proven gone: a provider that accepts an end and does
// not bring it about is still paid, and MAX_GPUS bounds what is paid.
func whichEnd(w World) string {
	ending := w.Extra
	for _, in := range w.Instances {
		if in.State == gpu.Destroying {
			ending++
		}
	}
	if ending == 0 {
		return ""
	}
	return ", of which " + counted(ending, "ends and counts", "end and count") + " until proven gone"
}

// want is the job that another machine would be for, or nil; and why.
type want struct {
	job *Work
	why string
}

// wanted decides whether the jobs that wait justify another machine. The first
// does so at once. A further one does for a job that would wait longer than
// MaxWait in all, if it starts that job sooner; and there are never more slots
// than jobs.
func wanted(p Policy, w World, staying []Instance, now time.Time) want {
	jobs, backlog := w.Waiting, w.backlog()
	if len(staying) == 0 {
		return want{&backlog[0], waits(jobs)}
	}
	if p.MaxWait <= 0 || p.Traits.Free { // free ones share one machine, which another makes no faster
		return want{why: waits(jobs) + " for a machine that is there"}
	}
	slots := w.slots(staying, now)
	for _, in := range staying {
		jobs += w.Busy[in.Label]
	}
	before := projectedWait(slots, backlog)
	last := before[len(before)-1]
	if len(slots) >= jobs {
		return want{why: fmt.Sprintf("%s; each has a place, the last in %s: no further machine", waits(w.Waiting), about(last))}
	}
	after := projectedWait(append(slots, w.Hosts.Boot(gpu.Offer{})), backlog)
	late := 0
	for n, job := range backlog {
		if waited(job, now)+before[n] <= p.MaxWait {
			continue
		}
		late++
		if gain := before[n] - after[n]; gain >= p.MaxWait/leastGain {
			return want{&backlog[n], fmt.Sprintf("%s; one would have waited %s when it starts (MAX_WAIT %s), and starts %s sooner with another machine",
				waits(w.Waiting), about(waited(job, now)+before[n]), p.MaxWait, about(gain))}
		}
	}
	why := fmt.Sprintf("%s; the last is expected to start in %s (MAX_WAIT %s): no further machine", waits(w.Waiting), about(last), p.MaxWait)
	if late > 0 {
		why += fmt.Sprintf(", though %d wait longer, which another would change too little", late)
	}
	return want{why: why}
}

// backlog is what the queued jobs take. Of a job that is not looked at, what
// is assumed of any.
func (w World) backlog() []Work {
	out := w.Backlog
	for n := min(w.Waiting, backlogMost); len(out) < n; {
		out = append(slices.Clip(out), estimate(queue.Need{}, w.Speeds))
	}
	return out
}

// waited is how long a job has waited until now.
func waited(job Work, now time.Time) time.Duration {
	if job.Since.IsZero() {
		return 0
	}
	return max(0, now.Sub(job.Since))
}

// slots says in how long each slot of these instances is free.
func (w World) slots(instances []Instance, now time.Time) (free []time.Duration) {
	for _, in := range instances {
		if in.State != gpu.Ready {
			for range max(1, in.Slots) {
				free = append(free, w.boots(in, now))
			}
			continue
		}
		left := w.Left[in.Label]
		for n := range max(1, in.Slots) {
			switch {
			case n < len(left):
				free = append(free, left[n])
			case n < w.Busy[in.Label]:
				free = append(free, estimate(queue.Need{}, w.Speeds).For)
			default:
				free = append(free, 0)
			}
		}
	}
	return free
}

// boots is how much longer an instance is expected to boot. One that takes
// longer than expected is expected to take half as long again, and no longer
// than it may.
func (w World) boots(in Instance, now time.Time) time.Duration {
	since, expected := max(0, now.Sub(in.CreatedAt)), w.Hosts.Boot(in.Terms.offer())
	if since < expected {
		return expected - since
	}
	return max(0, min(since/2, in.Deadline.Sub(now)))
}

// offer is what the terms were taken from, as far as the memory of hosts goes.
func (t Terms) offer() gpu.Offer {
	return gpu.Offer{ID: t.OfferID, GPU: t.GPU, NVENC: t.NVENC, HostID: t.HostID, MachineID: t.MachineID, Country: t.Country}
}

// projectedWait says in how long each job starts if they are taken in their
// order by whichever slot is free first. Another slot makes none start later.
func projectedWait(free []time.Duration, jobs []Work) []time.Duration {
	free = slices.Clone(free)
	starts := make([]time.Duration, len(jobs))
	for n, job := range jobs {
		first := 0
		for s := range free {
			if free[s] < free[first] {
				first = s
			}
		}
		starts[n] = free[first]
		free[first] += max(0, job.For)
	}
	return starts
}

func waits(n int) string {
	if n == 1 {
		return "a job waits"
	}
	return fmt.Sprintf("%d jobs wait", n)
}

// about rounds a time to what can be known of it.
func about(d time.Duration) time.Duration {
	if d > 10*time.Minute {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}

// pauseUnused is the pause after n machines in a row that no waiting job was
// given to.
func pauseUnused(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(unusedMost, unusedPause<<min(n-1, 6))
}
