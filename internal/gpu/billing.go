package gpu

import (
	"context"
	"time"
)

// Charge is what the provider charged for one instance in one span of time.
type Charge struct {
	// InstanceID is the provider's name for the instance, Label ours; empty
	// where the provider does not repeat it.
	InstanceID, Label string
	// GPU, Disk, Down and Up are the parts; Other is what is none of them.
	// They sum to the whole.
	GPU, Disk, Down, Up, Other USD
	// Until is the end of the last time that is charged; zero where the
	// provider does not say. What comes after it may still be added.
	Until time.Time
}

// Total is the whole of a charge.
func (c Charge) Total() USD { return c.GPU + c.Disk + c.Down + c.Up + c.Other }

// Biller is what a Provider also is where its account can be asked about
// money. Both methods fail rather than answer with a part.
type Biller interface {
	// Charges returns what was charged from one time to another, one Charge an
	// instance, in the order of their ids. Providers sum up by day: the span is
	// widened to whole days (UTC), and the last day may still grow.
	Charges(ctx context.Context, from, to time.Time) ([]Charge, error)
	// Credit is what the account can still spend; negative when it owes.
	Credit(ctx context.Context) (USD, error)
}
