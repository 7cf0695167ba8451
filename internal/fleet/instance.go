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
	AskedAt     time.Time // the create call was sent or answered; later, the last destroy call
	ReadyAt     time.Time // first proof that it can encode
	ContactAt   time.Time // last authenticated answer of its worker
	IdleSince   time.Time // zero while a job runs on it
	AbsentSince time.Time // begin of the first complete listing that lacks it
}

// capacity reports whether the instance works, or will as far as anyone knows.
func (in Instance) capacity() bool {
	switch in.State {
	case gpu.Planned, gpu.Creating, gpu.Booting, gpu.Ready:
		return true
	}
	return false
}

// labelPrefix begins every label; the number rises if its shape changes.
const labelPrefix = "ag1."

// Label returns the label of an instance: the fleet it belongs to, and a name
// that is never used again.
func Label(fleetID, name string) string { return labelPrefix + fleetID + "." + name }

// Ours reports whether a label belongs to this fleet.
func Ours(fleetID, label string) bool { return strings.HasPrefix(label, Label(fleetID, "")) }
