package fleet

import (
	"fmt"
	"math"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// HostKey names a physical machine, or the owner of several.
type HostKey struct {
	Kind HostKind
	ID   string
}

// HostKind is what a HostKey names.
type HostKind string

// The kinds of hosts.
const (
	Machine HostKind = "machine"
	Owner   HostKind = "host" // who owns machines: Offer.HostID
)

// Host is what is remembered of one. Failures and Boots fade: each halves in
// halfLife, so that a machine which was mended is tried again.
type Host struct {
	Failures float64 // as of NotedAt
	Boots    float64 // that came to a worker that was ready, as of NotedAt
	// InARow counts failures since the last instance that ended well. Of an
	// owner it counts machines, not failures.
	InARow       int
	MeanBoot     time.Duration // of Boots, from the create call to a worker that is ready
	Reason       string        // of the last failure
	FailedAt     time.Time     // the last one
	BlockedUntil time.Time
	NotedAt      time.Time
}

// Hosts is what is remembered of all of them.
type Hosts map[HostKey]Host

// What is made of the memory of hosts.
const (
	// halfLife is facts of a week ago counting half: hosts change drivers,
	// networks and tenants, and their machines stay.
	halfLife = 7 * 24 * time.Hour
	// shunFor is how long a machine that just failed stands behind all others.
	shunFor = 15 * time.Minute
	// shunned is the chance of failure of such a machine: it must be cheaper
	// than the next by 20 times, or be the only one.
	shunned = 0.95
	// A machine is blocked after so many failures in a row, an owner after
	// machines that failed in a row; first for blockFirst, doubling.
	machineRow = 2
	ownerRow   = 3
	blockFirst = time.Hour
	blockMost  = 24 * time.Hour

	// priorFails is the chance that a machine of which nothing is known does
	// not come to a worker: of marketplace hosts 5 to 30 % are bad.
	priorFails = 0.1
	// failsWeight is how many boots the word of the wider circle is worth: of
	// all machines for an owner, of the owner for a machine.
	failsWeight = 4.0
	// priorBoot is the time of a first boot: the marketplace speaks of 1 to 5
	// minutes, most of it the download of the image, and ours is small.
	priorBoot = 2 * time.Minute
	// bootWeight is as failsWeight. Boot times scatter less than luck does.
	bootWeight = 2.0
)

// Fails is the chance, from 0 to 1, that an instance of this offer comes to
// nothing: what the machine did, drawn to what its owner's machines did, drawn
// to what is usual.
func (h Hosts) Fails(o gpu.Offer, now time.Time) float64 {
	p := priorFails
	for _, key := range keysOf(o.HostID, o.MachineID) {
		failures, boots := h[key].faded(now)
		p = (p*failsWeight + failures) / (failsWeight + failures + boots)
	}
	m := h[HostKey{Machine, o.MachineID}]
	if since := now.Sub(m.FailedAt); o.MachineID != "" && m.InARow > 0 && since < shunFor {
		p = max(p, shunned)
	}
	return p
}

// Blocked says until when an offer is not to be taken, and why; zero where it
// may be.
func (h Hosts) Blocked(o gpu.Offer, now time.Time) (until time.Time, why string) {
	for _, key := range keysOf(o.HostID, o.MachineID) {
		host := h[key]
		if !host.BlockedUntil.After(now) || !host.BlockedUntil.After(until) {
			continue
		}
		until, why = host.BlockedUntil, fmt.Sprintf("machine %s failed %d times in a row, lastly: %s", key.ID, host.InARow, host.Reason)
		if key.Kind == Owner {
			why = fmt.Sprintf("%d machines of host %s failed in a row, lastly: %s", host.InARow, key.ID, host.Reason)
		}
	}
	return until, why
}

// Boot is how long an instance of this offer is expected to take from the
// create call to a worker that is ready.
func (h Hosts) Boot(o gpu.Offer) time.Duration {
	expected := float64(priorBoot)
	mean, weight := h.overall()
	expected = toward(expected, mean, weight)
	for _, key := range keysOf(o.HostID, o.MachineID) {
		expected = toward(expected, h[key].MeanBoot, h[key].Boots)
	}
	return time.Duration(expected).Round(time.Millisecond)
}

// toward moves an expectation toward a mean that so many boots tell of.
func toward(expected float64, mean time.Duration, boots float64) float64 {
	return (expected*bootWeight + float64(mean)*boots) / (bootWeight + boots)
}

// overall is the mean boot time of all machines, and how many boots tell of
// it. Owners are left out: theirs are the same boots.
func (h Hosts) overall() (mean time.Duration, boots float64) {
	sum := 0.0
	for key, host := range h {
		if key.Kind == Machine {
			sum += float64(host.MeanBoot) * host.Boots
			boots += host.Boots
		}
	}
	if boots == 0 {
		return 0, 0
	}
	return time.Duration(sum / boots), boots
}

// faded are the failures and boots as they count at a time.
func (h Host) faded(now time.Time) (failures, boots float64) {
	keep := math.Exp2(-max(0, float64(now.Sub(h.NotedAt))/float64(halfLife)))
	return h.Failures * keep, h.Boots * keep
}

// keysOf are the hosts of an offer or an instance that are known, the wider
// one first.
func keysOf(owner, machine string) (keys []HostKey) {
	if owner != "" {
		keys = append(keys, HostKey{Owner, owner})
	}
	if machine != "" {
		keys = append(keys, HostKey{Machine, machine})
	}
	return keys
}
