package fleet

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Policy is what the operator decided.
type Policy struct {
	MaxGPUs     int           // instances that may exist at once, whatever their state
	IdleTimeout time.Duration // how long an instance without work is kept
	BootTimeout time.Duration // from the create call to a worker that is ready
	Lease       time.Duration // how long a worker lives without a renewal
	// MaxWait is how long a job may be expected to wait for a machine before
	// another is rented for it.
	MaxWait time.Duration
	// MaxBoots is how many machines may boot at once.
	MaxBoots int
	// NoRent says why nothing is rented, whatever waits; empty for no reason.
	NoRent string
	Budget Budget
	// Silence is how long a ready worker may give no authenticated answer.
	Silence time.Duration
	// Traits are those of the provider.
	Traits gpu.Traits
}

// Waits between tries, and the age of offers that may still be taken.
const (
	retryDestroy = 3 * time.Second
	offersFresh  = 30 * time.Second
	maxBackoff   = time.Minute
	// settleIn is one full round of contact: before it has passed since we
	// began to act, no boot is judged too slow.
	settleIn = 30 * time.Second
)

// World is all that Plan looks at.
type World struct {
	Instances []Instance
	// Waiting counts queued jobs.
	Waiting int
	// Backlog is what the queued jobs are expected to take, oldest first; not
	// all of them, where they are many. Left is what is left of the running
	// ones of each instance, by label.
	Backlog []Work
	Left    map[string][]time.Duration
	// Hosts is what is remembered of machines and their owners.
	Hosts Hosts
	// Stops are reasons to rent nothing now.
	Stops []Stop
	// NoRoom says that no result could be kept: then waiting jobs are no
	// reason to have an instance.
	NoRoom bool
	// Busy counts the running jobs of each instance, by label.
	Busy map[string]int
	// Exited are the labels whose machines are listed and do not work.
	Exited map[string]bool
	// Strays are provider ids of instances that carry our label and are in no
	// live row, seen in two complete listings: those whose end is to be asked
	// for now. Extra counts all of them.
	Strays []string
	Extra  int
	// Offers are the last that were found, at OffersAt.
	Offers   []gpu.Offer
	OffersAt time.Time
	// FailedBoots counts the latest instances that ended without ever being
	// ready; LastFailure is when the last of them did.
	FailedBoots int
	LastFailure time.Time
	// Since is when this process began to act, or to act again: silence before
	// it was our own.
	Since time.Time
	// Reachable is when the provider's API began to answer, or to answer
	// again: silence before it may have been our network's.
	Reachable time.Time
	// Blind means that the last listing failed: nothing is rented, and nobody
	// is called silent.
	Blind bool
}

// Kind is what an action does.
type Kind string

// The actions.
const (
	Search  Kind = "search"  // look for offers, then plan again
	Rent    Kind = "rent"    // create an instance from the first offer that holds
	Destroy Kind = "destroy" // ask for the end of Label, or of the stray ID
)

// Action is one thing to do, and why, in words for the operator.
type Action struct {
	Kind   Kind
	Label  string
	ID     string   // of a stray, which has no row
	Offers []Choice // ranked, for Rent
	Reason string
	// IfIdle takes the instance only while no job runs on it: one may have
	// been claimed since Plan looked.
	IfIdle bool
	// Unrecorded is set where the ledger takes no writes: see destroy.
	Unrecorded bool
}

// Plan decides what to do now, and when to look again at the latest. It has no
// clock and does nothing. Two rules: a job waits and nothing boots or is
// ready: get one; nothing waits and one is idle: let it go. Whatever has
// lasted too long, or no longer works, goes.
func Plan(p Policy, w World, now time.Time) (actions []Action, wake time.Time) {
	if w.NoRoom {
		w.Waiting = 0
	}
	wake = now.Add(time.Hour)
	soon := func(t time.Time) {
		if t.After(now) && t.Before(wake) {
			wake = t
		}
	}
	for _, in := range w.Instances {
		if in.Permanent {
			continue
		}
		a, due := end(p, w, in, now)
		if a.Reason != "" {
			a.Kind, a.Label = Destroy, in.Label
			actions = append(actions, a)
		}
		soon(due)
	}
	for _, id := range w.Strays {
		actions = append(actions, Action{Kind: Destroy, ID: id, Reason: "it carries our label and no row knows it"})
	}
	grow, due := scaleUp(p, w, now)
	soon(due)
	return append(actions, grow...), wake
}

// end says why an instance must go now, or nothing and when that may change.
func end(p Policy, w World, in Instance, now time.Time) (a Action, due time.Time) {
	switch in.State {
	case gpu.Destroying:
		if again := in.EndAskedAt.Add(retryDestroy); now.Before(again) {
			return a, again
		}
		return Action{Reason: in.Reason}, now.Add(retryDestroy)
	case gpu.Booting:
		return endBoot(w, in, now)
	case gpu.Ready:
		return endReady(p, w, in, now)
	}
	// Before the provider has shown it there is nothing to end: what was never
	// created goes by absence.
	return a, due
}

func endReady(p Policy, w World, in Instance, now time.Time) (a Action, due time.Time) {
	if w.Exited[in.Label] {
		return Action{Reason: "its worker ended"}, due
	}
	heard := latest(in.ContactAt, latest(w.Since, w.Reachable))
	if silent := now.Sub(heard); silent >= p.Silence && !w.Blind {
		return Action{Reason: fmt.Sprintf("no answer for %s", silent.Round(time.Second))}, due
	}
	if w.Busy[in.Label] > 0 || w.Waiting > 0 {
		return a, heard.Add(p.Silence)
	}
	idleEnd := latest(in.IdleSince, in.ReadyAt).Add(p.IdleTimeout)
	if now.Before(idleEnd) {
		return a, idleEnd
	}
	return Action{Reason: fmt.Sprintf("idle for %s", p.IdleTimeout), IfIdle: true}, due
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
