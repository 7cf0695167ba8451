package fleet

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
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
	// MaxBoots is how many machines may boot at once; 0 is as many as MaxGPUs.
	MaxBoots int
	// MaxPrice is the most that an hour of a machine may cost, and 0 is no
	// bound: one that turns out dearer is not kept.
	MaxPrice gpu.USD
	// RequireGPU: a rented machine whose worker cannot encode on a GPU is not
	// fit.
	RequireGPU bool
	// NoRent says why nothing is rented, whatever waits; empty for no reason.
	NoRent string
	Budget Budget
	// MaxUpload bounds the video of a job, in bytes; 0 is 2 GiB.
	MaxUpload int64
	// ProofOf is the marketplace of which it must have been shown that its
	// machines end themselves before one is kept idle for longer than a minute:
	// see Proof. Empty where that is not asked for.
	ProofOf string
	// Silence is how long a ready worker may give no authenticated answer.
	Silence time.Duration
	// Traits are those of the provider.
	Traits gpu.Traits
}

// Waits between tries, and the age of offers that may still be taken.
const (
	retryDestroy = 3 * time.Second
	// retryUnlisted bounds how much longer it takes where the provider no longer
	// lists it. The calls have a least time between them, and each keeps waiting
	// what else must end, and the next machine.
	retryUnlisted = 30 * time.Second
	offersFresh   = 30 * time.Second
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
	// Speeds is how fast the latest jobs were rendered.
	Speeds Speeds
	// Unused counts the latest instances that ended idle while jobs waited;
	// UnusedAt is when the last of them did.
	Unused   int
	UnusedAt time.Time
	// Hosts is what is remembered of machines and their owners.
	Hosts Hosts
	// Stops are reasons to rent nothing now.
	Stops []Stop
	// Books are what all machines cost and may still cost, and Asks what the
	// oldest queued jobs may take: where there are budgets, and jobs wait.
	Books Books
	Asks  []queue.Ask
	// Passed is why the oldest queued job lets later ones go before it; nil where
	// it need not.
	Passed *OverBudget
	// Unpaid has the labels for which a budget allows no renewal or no job,
	// and why.
	Unpaid map[string]string
	// NoRoom says that no result could be kept: then waiting jobs are no
	// reason to have an instance.
	NoRoom bool
	// Busy counts the running jobs of each instance, by label.
	Busy map[string]int
	// Unread means that nobody could read which jobs wait and which run: then
	// every machine that is ready counts as one that works.
	Unread bool
	// Unproven means that what Policy.ProofOf asks for was not shown yet.
	Unproven bool
	// Exited are the labels whose machines are listed and do not work.
	Exited map[string]bool
	// Wished are the labels whose end somebody asked for, and the ledger could
	// not be told.
	Wished map[string]bool
	// Unlisted are the labels that the last listing lacked, where it was complete
	// and asked for after their end was.
	Unlisted map[string]bool
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
	// Created is when instances were asked for lately, oldest first.
	Created []time.Time
	// PausedUntil is when the provider may be asked for another instance, and
	// PausedWhy is why not before: it said so, or its API fails.
	PausedUntil time.Time
	PausedWhy   string
	// Probing is set while something that stopped renting is tried again, and
	// is not known to be over: by one instance at a time.
	Probing bool
	// Since is when this process began to act, or to act again: silence before
	// it was our own.
	Since time.Time
	// Reachable is when the provider's API began to answer, or to answer
	// again: silence before it may have been our network's.
	Reachable time.Time
	// Refused are the workers that answer and do not take us for their
	// orchestrator, by label.
	Refused map[string]Refusal
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
	Blame  Blame // on whom it is, for Destroy
	// IfIdle takes the instance only while no job runs on it: one may have
	// been claimed since Plan looked.
	IfIdle bool
	// IfBooting takes the instance only while it is not ready: its worker may
	// have answered, and been given a job, since Plan looked.
	IfBooting bool
	// Unrecorded is set where the ledger takes no writes: see destroy.
	Unrecorded bool
}

// Plan decides what to do now, and when to look again at the latest. It has no
// clock and does nothing. Whatever has lasted too long, no longer works or has
// nothing to do, goes; then, where jobs would wait for too long, one machine
// more is rented: see grow.
func Plan(p Policy, w World, now time.Time) (actions []Action, wake time.Time) {
	actions, staying, wake := shrink(p, w, now)
	v := grow(p, w, staying, now)
	return append(actions, v.actions...), soonest(now, wake, v.due)
}

// shrink decides what ends. staying are the instances that work, or will, and
// are not among them.
func shrink(p Policy, w World, now time.Time) (actions []Action, staying []Instance, wake time.Time) {
	if w.NoRoom {
		w.Waiting = 0
	}
	wake = now.Add(time.Hour)
	for _, in := range w.Instances {
		var a Action
		var due time.Time
		if !in.Permanent {
			a, due = end(p, w, in, now)
		}
		if a.Reason != "" {
			a.Kind, a.Label, a.IfBooting = Destroy, in.Label, in.State == gpu.Booting
			actions = append(actions, a)
		} else if in.capacity(now) {
			staying = append(staying, in)
		}
		wake = soonest(now, wake, due)
	}
	for _, id := range w.Strays {
		actions = append(actions, Action{Kind: Destroy, ID: id, Reason: "it carries our label and no row knows it"})
	}
	return actions, staying, wake
}

// soonest is the earlier of two times, as far as it is still to come.
func soonest(now, wake, due time.Time) time.Time {
	if due.After(now) && due.Before(wake) {
		return due
	}
	return wake
}

// end says why an instance must go now, or nothing and when that may change.
func end(p Policy, w World, in Instance, now time.Time) (a Action, due time.Time) {
	switch {
	case w.Wished[in.Label] && (in.State == gpu.Booting || in.State == gpu.Ready):
		return Action{Reason: wished}, due
	case in.State == gpu.Destroying:
		if again := in.EndAskedAt.Add(endAgain(w, in)); now.Before(again) {
			return a, again
		}
		return Action{Reason: in.Reason}, now.Add(retryDestroy)
	case in.State == gpu.Booting:
		return endBoot(p, w, in, now)
	case in.State == gpu.Ready:
		return endReady(p, w, in, now)
	}
	// Before the provider has shown it there is nothing to end: what was never
	// created goes by absence.
	return a, due
}

// endAgain is how long after an end was asked for it is asked for again. What
// complete listings lack is most likely gone, and is asked for less and less
// often until it may be called so.
func endAgain(w World, in Instance) time.Duration {
	if !w.Unlisted[in.Label] {
		return retryDestroy
	}
	return min(max(retryDestroy, in.EndAskedAt.Sub(in.StateSince)), retryUnlisted)
}

func endReady(p Policy, w World, in Instance, now time.Time) (a Action, due time.Time) {
	busy := w.Unread || w.Busy[in.Label] > 0
	if w.Exited[in.Label] {
		a.Reason = "its worker ended"
		if busy && now.Sub(in.ContactAt) < p.Lease { // else its lease ran out: it did what it must
			a.Blame = BlameMachine
		}
		return a, due
	}
	if why := w.Unpaid[in.Label]; why != "" && !busy {
		return Action{Reason: why, IfIdle: true}, due
	}
	heard := latest(in.ContactAt, latest(w.Since, w.Reachable))
	if silent := now.Sub(heard); silent >= p.Silence && !w.Blind {
		return endSilent(w, in, silent), due
	}
	switch price, forbidden := overpriced(p, in); {
	case forbidden:
		return Action{Reason: price, Blame: BlameMachine}, due
	case price != "" && !busy:
		return Action{Reason: price, Blame: BlameMachine, IfIdle: true}, due
	case in.older() && !busy:
		return Action{Reason: otherVersion(in.Worker.API), IfIdle: true}, due
	}
	if busy {
		return a, heard.Add(p.Silence)
	}
	idle := latest(in.IdleSince, in.ReadyAt)
	idleEnd, why := idle.Add(p.idleFor(w)), fmt.Sprintf("idle for %s", p.idleFor(w))
	if w.Waiting > 0 {
		// It is there for them, but not for ever: what keeps them from it may
		// last, as the end of a budget does. While we were away nobody could.
		idle = latest(idle, w.Since)
		if len(w.Backlog) > 0 && !w.Backlog[0].Since.After(now) { // else the clock was set back since
			idle = latest(idle, w.Backlog[0].Since)
		}
		idleEnd, why = latest(idleEnd, idle.Add(unusedFor)), unused
	}
	if now.Before(idleEnd) {
		return a, soonest(now, heard.Add(p.Silence), idleEnd)
	}
	return Action{Reason: why, IfIdle: true}, due
}

// endSilent is the end of a ready instance whose worker did not answer. One
// that refuses us is not silent: nothing is wrong with its machine.
func endSilent(w World, in Instance, silent time.Duration) Action {
	a := Action{Reason: fmt.Sprintf("no answer for %s", silent.Round(time.Second)), Blame: BlameMachine}
	if r, refused := w.Refused[in.Label]; refused {
		a = Action{Reason: fmt.Sprintf("its worker refuses this server for %s: %s", silent.Round(time.Second), r.Message), Blame: BlameOperator}
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
