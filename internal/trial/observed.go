// Package trial rents one machine to see whether a marketplace does what we
// rely on: that a machine boots, that its worker answers over the pinned link
// and can encode, and above all that it ends itself when nobody renews its
// lease any more.
//
// Judge decides, from what was observed; Run acts. The rules of renting are
// those of package fleet, called and not repeated.
package trial

import (
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Observed is what was seen of one machine. Times are since its create call
// was sent; 0 is never.
type Observed struct {
	Created  Outcome
	Answered time.Duration // the create call ended
	Listed   time.Duration // the first listing that has it began
	Running  time.Duration // the first that has its container running
	Address  time.Duration // the first with its address
	Heard    time.Duration // the first answer of its worker, over the pinned link
	Ready    time.Duration // its worker has proven an encoder
	Done     time.Duration // the result of the job was here, and was right
	Renewed  time.Duration // the last renewal of its lease was sent
	Lease    time.Duration // how long that was for
	Absent   time.Duration // the first complete listing that no longer had it
	Gone     time.Duration // the absence was proven

	// Complete and Incomplete count the listings that came whole, and not;
	// Unanswered those that did not come. Flickers counts complete ones that
	// lacked it though a later one had it.
	Complete, Incomplete, Unanswered, Flickers int
	// Statuses are the provider's words for its state, in their order; After
	// those from the end of its lease on.
	Statuses, After []string

	Encoder, GPU string
	// RequireGPU: an encoder that is not a GPU's is not what was paid for.
	RequireGPU bool
	// Unfit is why its worker took no job, GivenUp why its boot was given up,
	// JobFault why the job failed, Dearer how it cost more than was offered.
	Unfit, GivenUp, JobFault, Dearer string

	// Destroyed: its end was asked for with the account's key, and Refused is
	// the error of that.
	Destroyed bool
	Refused   string
	// Lag is what we rely on for how late a new instance may be listed.
	Lag time.Duration

	Estimate gpu.USD
	// Charge is what the account was charged; nil where that was not there.
	Charge *gpu.Charge
	// ChargeFault is why not, where the account did not say.
	ChargeFault string
	// Pulled is how many bytes the bill has beyond the job's: the image's.
	Pulled int64
}

// Outcome is how the create call ended.
type Outcome string

// The outcomes of a create call.
const (
	NotCreated Outcome = ""          // nothing was rented
	Accepted   Outcome = "accepted"  // with an id
	Ambiguous  Outcome = "ambiguous" // nobody knows
	Stopped    Outcome = "stopped"   // it exists and does not run
)

// EndedItself reports whether the machine ended by its own hand: it was there
// until its lease ran out, nobody else asked for its end, and it is gone.
func (o Observed) EndedItself() bool {
	return o.Gone > 0 && !o.Destroyed && o.Renewed > 0 && o.Absent >= o.Renewed+o.Lease
}
