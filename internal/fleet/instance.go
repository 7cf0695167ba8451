package fleet

import (
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Instance is a row of the ledger. Zero times mean never.
type Instance struct {
	Label      string // its identity
	Provider   string
	ProviderID string // a cache of the provider's own name for it
	State      gpu.State
	Reason     string // why it is in this state, for people
	Ambiguous  bool   // the create call ended without an answer
	Permanent  bool   // never created or destroyed by us
	Address    string // base URL of its worker; empty until known
	Slots      int
	HourlyUSD  gpu.USD
	Worker     apigpu.WorkerInfo

	CreatedAt   time.Time
	StateSince  time.Time
	Deadline    time.Time // when this state has lasted too long
	AskedAt     time.Time // the create call was sent; later, answered
	EndAskedAt  time.Time // the last destroy call was sent
	ReadyAt     time.Time // first proof that it can encode
	ContactAt   time.Time // last authenticated answer of its worker
	IdleSince   time.Time // zero while a job runs on it
	AbsentSince time.Time // begin of the first complete listing that lacks it
}

// capacity reports whether the instance works, or will as far as anyone knows.
// One whose creation nobody can tell of past its deadline is none: it must not
// keep jobs waiting for ever.
func (in Instance) capacity(now time.Time) bool {
	switch in.State {
	case gpu.Planned, gpu.Creating:
		return now.Before(in.Deadline)
	case gpu.Booting, gpu.Ready:
		return true
	}
	return false
}

// labelPrefix begins every label; the number rises if its shape changes.
const labelPrefix = "ag1."

// Label returns the label of an instance: the fleet it belongs to, and a name
// that is never used again.
func Label(fleetID, name string) string { return labelPrefix + fleetID + "." + name }

// Ours reports whether a label belongs to this fleet. A name holds no dot: the
// labels of a fleet called a.b are not those of a.
func Ours(fleetID, label string) bool {
	name, ok := strings.CutPrefix(label, Label(fleetID, ""))
	return ok && name != "" && !strings.Contains(name, ".")
}
