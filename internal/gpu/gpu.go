// Package gpu holds the words of the rental: instances, offers, and the
// Provider from which they come. Standard library only.
package gpu

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// USD is money in nanodollars: 1e9 is one dollar. Integers, so that the parts
// of a sum equal the sum.
type USD int64

// Dollar is one dollar.
const Dollar USD = 1e9

// String prints dollars with six digits: enough for a thousandth of a cent.
func (u USD) String() string { return fmt.Sprintf("$%.6f", float64(u)/float64(Dollar)) }

// Exact prints dollars with as many digits as they have, and at least two.
func (u USD) Exact() string {
	sign := ""
	if u < 0 {
		sign, u = "-", -u
	}
	digits := strings.TrimRight(fmt.Sprintf("%09d", int64(u%Dollar)), "0")
	for len(digits) < 2 {
		digits += "0"
	}
	return fmt.Sprintf("%s$%d.%s", sign, int64(u/Dollar), digits)
}

// State is where an instance is in its life:
//
//	planned → creating → booting → ready → destroying → gone
//
// Any state may go to destroying. creating may be ambiguous: the create call
// ended without an answer, and only listings tell whether it took.
type State string

// The states of an instance.
const (
	Planned    State = "planned"    // a committed intent; nothing was asked of the provider yet
	Creating   State = "creating"   // the create call was sent
	Booting    State = "booting"    // it exists; its worker has not answered ready
	Ready      State = "ready"      // its worker proved that it can encode
	Destroying State = "destroying" // its end was asked for
	Gone       State = "gone"       // complete listings lack it
)

// Request asks for one instance.
type Request struct {
	// Label identifies the instance for ever: the provider must give it back
	// in every listing. It is committed to the ledger before the call.
	Label string
	Offer Offer
	// Image is the container image to run, as docker pull takes it; the one
	// that the provider was configured with where it is empty. Providers that
	// run no containers ignore it.
	Image string
	// Env is the environment of the worker.
	Env map[string]string
}

// Instance is a machine as its provider lists it.
type Instance struct {
	// ID is the provider's name for it: a cache. Label is its identity.
	ID    string
	Label string
	// Address is the base URL of its worker, empty until it is known; https
	// where Traits say Pinned.
	Address string
	// Running is false for a machine that is listed and does not work:
	// exited, crashed, stopped. It may cost money all the same.
	Running bool
	// Started tells that its container runs: from then on its GPU is paid for.
	// Not that a worker answers in it.
	Started bool
	// Status is the provider's own word for its state, for people.
	Status string
	// Fault is why it does not work, where its provider says so.
	Fault Fault
	// Message is the provider's free text about its state, one line, for
	// people: progress of the image's download, or what went wrong.
	Message   string
	HourlyUSD USD
	Slots     int
	// DownUSD and UpUSD are what a GB (1e9 bytes) of traffic into and out of
	// it costs; zero where that is not known.
	DownUSD, UpUSD USD
	// GPU, HostID, MachineID and Country are as in Offer.
	GPU, HostID, MachineID, Country string
}

// Fault is whose fault it is that an instance does not work.
type Fault string

// The faults. Without one nothing is known to be wrong.
const (
	// FaultImage: our image or the login to its registry. Every other machine
	// is likely to fail in the same way.
	FaultImage Fault = "image"
	// FaultMachine: this machine or its network. Another one may do.
	FaultMachine Fault = "machine"
)

// Snapshot is one listing of all instances.
type Snapshot struct {
	Instances []Instance
	// Complete is false when anything may be missing: a page that failed, a
	// count that disagrees. An incomplete snapshot adds knowledge and never
	// removes any.
	Complete bool
	// Began is when the listing was asked for.
	Began time.Time
}

// Traits are the facts about a provider that decisions depend on.
type Traits struct {
	// Free is true where time costs nothing: the machine is the operator's.
	Free bool
	// Permanent is true where instances are neither created nor destroyed.
	Permanent bool
	// Pinned is true where workers are reached over a network that is not the
	// operator's. Each is given TLS_SEED, its address is https, and whoever
	// answers there without the key of that seed is not spoken to. False where
	// the way is the operator's own: this machine (local), or what they put
	// before a worker of theirs (static).
	Pinned bool
	// ListingLag is how long after a create was answered its instance may
	// still be missing from a complete listing.
	ListingLag time.Duration
	// AbsenceGap is the least time between the beginnings of the two
	// complete listings that prove an instance gone.
	AbsenceGap time.Duration
}

// Provider is a place where instances come from. Implementations translate;
// they hold no rule of ours. All methods are safe for concurrent use and
// return promptly when ctx ends.
//
// Three outcomes of every call are told apart by IsAmbiguous and the errors
// below: it was done; it was definitely refused; nobody knows. Errors of all
// methods may be ErrAuth or RateLimited.
type Provider interface {
	// Name is the word for this provider in configuration, logs and tables.
	Name() string

	// Traits never change while the program runs.
	Traits() Traits

	// Offers lists what could be rented now, in no order. An empty list is
	// an answer, not an error.
	Offers(ctx context.Context) ([]Offer, error)

	// Create rents one instance under req.Label and returns its id. It is
	// absolute, not a delta, and is never called twice for one label.
	// Implementations try once: what may have been done is not done again.
	// The definite refusals below mean that nothing was created. ErrPartial
	// comes with an id: the caller must destroy it. Any other error is
	// ambiguous: the instance may exist, or come to exist, and only listings
	// tell.
	Create(ctx context.Context, req Request) (id string, err error)

	// Instances lists every instance of the account that may cost money,
	// those of other owners included: the caller knows its own labels. When
	// a part is missing the rest is returned with Complete false; an error
	// means that nothing was learned.
	Instances(ctx context.Context) (Snapshot, error)

	// Destroy asks for the end of an instance. nil means that the provider
	// accepted, or that it does not know the id. It is no proof: only
	// Instances tells that it is really gone. Asking twice is no error.
	Destroy(ctx context.Context, id string) error
}
