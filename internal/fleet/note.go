package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// note is why the queued jobs wait, for whoever sent them, and until when.
type note struct {
	why string
	// more is what follows why and may change all the time, such as what is
	// spent.
	more string
	// until is when that is expected to change; zero where nobody can say.
	// It is told to the minute.
	until time.Time
	// lead is what stands before the time: "expected at".
	lead string
}

func (n note) String() string {
	s := n.why + n.more
	if !n.until.IsZero() {
		s += ", " + n.lead + " " + n.until.UTC().Format("15:04 UTC")
	}
	return s
}

// told is a note, and when it was told.
type told struct {
	note
	at time.Time
}

// Each change of a note is written to every job that waits, and there may be
// thousands: an expected time that moves by less than noteDrift is not told
// anew, and what may change all the time no more often than that.
const noteDrift = 90 * time.Second

// next is what is told after this, at a time: the same, unless it would say
// something else.
func (t told) next(n note, now time.Time) told {
	same := n.why == t.why && n.lead == t.lead && n.until.IsZero() == t.until.IsZero() && n.until.Sub(t.until).Abs() < noteDrift
	if same && (n.more == t.more || now.Sub(t.at).Abs() < noteDrift) {
		return t
	}
	return told{n, now}
}

// explain tells waiting jobs why they wait.
func (f *Fleet) explain(ctx context.Context, w World) error {
	if w.Waiting == 0 {
		return nil
	}
	now := f.cfg.Now()
	n := waitingFor(f.cfg.Policy, w, f.Refusals(), now)
	if w.Passed != nil {
		n.more += "; the oldest job is passed over: " + w.Passed.Error()
	}
	f.mu.Lock()
	f.told = f.told.next(n, now)
	n = f.told.note
	f.mu.Unlock()
	return f.cfg.Queue.Note(ctx, n.String())
}

// waitingFor says what the queued jobs wait for. refused has the labels of
// workers that do not take us for their orchestrator.
func waitingFor(p Policy, w World, refused map[string]*apigpu.Error, now time.Time) note {
	if w.NoRoom {
		return note{why: "the storage of the server is full"}
	}
	_, staying, _ := shrink(p, w, now)
	var works, starts []Instance
	trouble := ""
	for _, in := range staying {
		switch {
		case in.State == gpu.Ready:
			works = append(works, in)
		case in.State == gpu.Booting && refused[in.Label] != nil:
			trouble = "a worker refuses this server: its operator finds the reason at /health and in the log"
		case in.State == gpu.Booting && in.Permanent:
			if trouble == "" {
				trouble = "no worker answers yet"
			}
		default:
			starts = append(starts, in)
		}
	}
	switch {
	case len(works) > 0:
		return atWork(p, w, works, now)
	case len(starts) > 0:
		return startingNote(p, w, starts, now)
	case trouble != "":
		return note{why: trouble}
	}
	return nothingThere(p, w, now)
}

// atWork is the note where workers are ready.
func atWork(p Policy, w World, works []Instance, now time.Time) note {
	first := slices.Min(w.slots(works, now))
	if first == 0 {
		if stops := holding(w.Stops, now); len(stops) > 0 { // they may keep jobs from machines too
			return notRented(stops[0])
		}
		return note{why: "a worker is about to take the next job"}
	}
	n := note{why: "a worker is busy with an earlier job"}
	if len(works) > 1 {
		n.why = fmt.Sprintf("all %d workers are busy with earlier jobs", len(works))
	}
	if !p.Traits.Permanent { // of those nobody asked what their jobs take
		n.until, n.lead = now.Add(first), "the next is expected to start at"
	}
	return n
}

// startingNote is the note where no worker is ready and some start.
func startingNote(p Policy, w World, starts []Instance, now time.Time) note {
	first := slices.MinFunc(starts, func(a, b Instance) int { return cmp.Compare(w.boots(a, now), w.boots(b, now)) })
	if p.Traits.Free {
		return note{why: "a worker is starting"}
	}
	machine := first.Terms.GPU
	if machine == "" {
		machine = "machine"
	}
	machine += fmt.Sprintf(" at $%.2f an hour", float64(first.HourlyUSD)/float64(gpu.Dollar))
	n := note{why: "a worker is starting: " + machine + ", rented at " + first.CreatedAt.UTC().Format("15:04 UTC"), lead: "expected at"}
	if first.State != gpu.Booting {
		n.why = "a worker is being rented: " + machine
	}
	n.until = now.Add(w.boots(first, now))
	return n
}

// nothingThere is the note where nothing works or starts: what is in the way.
func nothingThere(p Policy, w World, now time.Time) note {
	if p.NoRent != "" {
		return note{why: p.NoRent}
	}
	if len(w.Instances)+w.Extra >= p.MaxGPUs {
		why := "no further worker is allowed beside those that are there"
		if whichEnd(w) != "" {
			why = "earlier workers are ending, and no further one is allowed beside them until they are proven gone"
		}
		return note{why: why}
	}
	why, due := full(p, w, now)
	if w.FailedBoots > 0 && len(holding(w.Stops, now)) == 0 {
		// The pauses are short at first, and the jobs are not told of each.
		n := note{why: lastOnes(w.FailedBoots, "worker") + " did not start"}
		if due.Sub(now) < time.Minute {
			n.why += "; trying again"
			return n
		}
		n.until, n.lead = due, "tried again at"
		return n
	}
	if why != "" {
		return notRented(Stop{Reason: why, Until: due})
	}
	if w.Waiting == 0 || w.OffersAt.IsZero() {
		return note{why: "a worker is being looked for"}
	}
	m := choose(w, w.backlog()[0], now)
	switch {
	case m.Found == 0:
		return note{why: "no worker is on offer; looking again"}
	case len(m.Ranked) == 0:
		return note{why: "nothing will do of the " + counted(m.Found, "worker", "workers") + " on offer; looking again"}
	}
	if _, refusal := affordable(p, w, m.Ranked, now); refusal != nil {
		return notRented(Stop{Reason: refusal.Error(), Until: refusal.Until})
	}
	return note{why: "a worker is being looked for"}
}

// holding are the stops that hold now.
func holding(stops []Stop, now time.Time) (out []Stop) {
	for _, s := range stops {
		if s.Until.IsZero() || s.Until.After(now) {
			out = append(out, s)
		}
	}
	return out
}

// notRented is the note where nothing may be rented.
func notRented(s Stop) note {
	n := note{why: "no worker is rented", more: ": " + s.Reason}
	if !s.Until.IsZero() {
		n.until, n.lead = s.Until, "tried again at"
	}
	return n
}
