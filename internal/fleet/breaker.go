package fleet

import (
	"fmt"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Stop is a reason to rent nothing for a while.
type Stop struct {
	// Code is stable: egress_ip_mismatch, image, funds, auth, api_version, ledger,
	// budget.
	Code string
	// Reason is for everybody, those who wait for a job too.
	Reason string
	// Detail is for the operator: what was seen, and what to do.
	Detail string
	// Until is when it is tried again; zero where only the operator can help.
	Until time.Time
}

// Told is all that there is to say, for the operator.
func (s Stop) Told() string {
	if s.Detail == "" {
		return s.Reason
	}
	return s.Reason + "; " + s.Detail
}

// Bounds of what is asked of the provider.
const (
	// createSpan and createsMost: no more instances are asked for in a span,
	// whatever fails and how. Offers that somebody else took count: a
	// marketplace on which ten are gone in a minute is left alone for a while.
	createSpan  = time.Minute
	createsMost = 10
	// bootsInARow is how many boots may come to nothing before it is taken for
	// more than bad luck with machines. With one machine of ten being bad that
	// happens once in a thousand.
	bootsInARow = 3
	breakFirst  = 30 * time.Second
	breakMost   = 10 * time.Minute
)

// mayCreate says whether another instance may be asked for now, and if not why
// and when that may change; a zero time is with the next news. It is to be
// asked before a search too. What is wanted, and what it costs, others decide.
func mayCreate(p Policy, w World, now time.Time) (ok bool, why string, when time.Time) {
	for _, s := range w.Stops {
		if s.Until.IsZero() || s.Until.After(now) {
			return false, s.Reason, s.Until
		}
	}
	boots := 0
	for _, in := range w.Instances {
		if in.State != gpu.Ready && !in.Permanent && in.capacity(now) {
			boots++
		}
	}
	most := p.MaxBoots
	if most <= 0 || most > p.MaxGPUs {
		most = p.MaxGPUs
	}
	switch {
	case w.Blind:
		return false, "the provider does not tell what is rented", when
	case w.PausedUntil.After(now):
		return false, w.PausedWhy, w.PausedUntil
	case w.Probing && boots > 0:
		return false, "one machine is tried first, after what stopped renting", when
	case boots >= most:
		return false, counted(boots, "machine is", "machines are") + " starting already", when
	}
	if next := w.LastFailure.Add(backoff(w.FailedBoots)); next.After(now) {
		return false, lastOnes(w.FailedBoots, "machine") + " did not start", next
	}
	if n := len(w.Created); n >= createsMost {
		if next := w.Created[n-createsMost].Add(createSpan); next.After(now) {
			return false, fmt.Sprintf("%d machines were asked for within a minute", createsMost), next
		}
	}
	return true, "", when
}

// counted says how many there are of something.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lastOnes names the last n of something.
func lastOnes(n int, noun string) string {
	if n == 1 {
		return "the last " + noun
	}
	return fmt.Sprintf("the last %d %ss", n, noun)
}

// backoff is the pause after n boots in a row that came to nothing: almost
// none while it may be the machines, then growing.
func backoff(n int) time.Duration {
	switch {
	case n <= 0:
		return 0
	case n < bootsInARow:
		return time.Duration(n) * time.Second
	}
	return min(breakMost, breakFirst<<min(n-bootsInARow, 10))
}
