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
	Terms      Terms
	Message    string    // the provider's last word about it
	Fault      gpu.Fault // whose fault it is that it does not work
	Blame      Blame     // on whom it is that it ended
	ListedUSD  gpu.USD   // what an hour costs as its provider lists it; 0 until it says

	CreatedAt   time.Time
	StateSince  time.Time
	Deadline    time.Time // when this state has lasted too long
	AskedAt     time.Time // the create call was sent; later, answered
	EndAskedAt  time.Time // the last destroy call was sent
	ReadyAt     time.Time // first proof that it can encode
	ContactAt   time.Time // last authenticated answer of its worker
	IdleSince   time.Time // zero while a job runs on it
	AbsentSince time.Time // begin of the first complete listing that lacks it
	StartedAt   time.Time // its container began to run, as far as listings tell
	MessageAt   time.Time // when Message last changed
	AddressAt   time.Time // when Address last changed
	HeardAt     time.Time // first authenticated answer of its worker in this state
	// LeaseUntil is until when its worker lives unless it is renewed: noted
	// before the renewal that grants it is sent.
	LeaseUntil time.Time
	EndedAt    time.Time // when it ended, as far as is known

	// ReservedUntil is until when its time is reserved, and ReservedDown and
	// ReservedUp are the bytes of traffic that are.
	ReservedUntil            time.Time
	ReservedDown, ReservedUp int64
	CostUSD                  gpu.USD
	CostState                CostState
}

// Terms are what an instance was rented by. Zero or empty is not known.
type Terms struct {
	OfferID       string  `json:"offer_id,omitempty"`
	GPU           string  `json:"gpu,omitempty"`
	NVENC         int     `json:"nvenc,omitempty"`
	HostID        string  `json:"host_id,omitempty"`
	MachineID     string  `json:"machine_id,omitempty"`
	Country       string  `json:"country,omitempty"`
	GPUHourlyUSD  gpu.USD `json:"gpu_hourly_usd,omitempty"`
	DiskHourlyUSD gpu.USD `json:"disk_hourly_usd,omitempty"`
	// DownUSD and UpUSD are what a GB of traffic into and out of it costs.
	DownUSD  gpu.USD `json:"down_usd,omitempty"`
	UpUSD    gpu.USD `json:"up_usd,omitempty"`
	DownMbps float64 `json:"down_mbps,omitempty"`
	UpMbps   float64 `json:"up_mbps,omitempty"`
	Image    string  `json:"image,omitempty"`
	Settings string  `json:"settings,omitempty"` // see Config
	// PullBytes is what it is charged for the download of the image: as the
	// bills of others had it, and once its own is there as that has it.
	PullBytes int64 `json:"pull_bytes,omitempty"`
	// Why says what it was rented for, and why by this offer.
	Why string `json:"why,omitempty"`
}

// TermsOf are the terms of an offer.
func TermsOf(o gpu.Offer) Terms {
	return Terms{
		OfferID: o.ID, GPU: o.GPU, NVENC: o.NVENC, HostID: o.HostID, MachineID: o.MachineID, Country: o.Country,
		GPUHourlyUSD: o.GPUHourlyUSD, DiskHourlyUSD: o.DiskHourlyUSD, DownUSD: o.DownUSD, UpUSD: o.UpUSD, DownMbps: o.DownMbps, UpMbps: o.UpMbps,
	}
}

// CostState tells how sure a cost is.
type CostState string

// The states of a cost; empty before there is one.
const (
	Estimated CostState = "estimated" // by our own measure
	Final     CostState = "final"     // what the provider charged
)

// capacity reports whether the instance works, or will as far as anyone knows.
// One whose creation nobody can tell of past its deadline is none: it must not
// keep jobs waiting for ever.
func (in Instance) capacity(now time.Time) bool {
	switch in.State {
	case gpu.Planned, gpu.Creating:
		return now.Before(in.Deadline)
	case gpu.Booting, gpu.Ready:
		return !in.older()
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
