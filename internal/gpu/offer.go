package gpu

import (
	"math"
	"math/bits"
	"time"
)

// Offer is something that a provider would rent out now. What is not known is
// zero or empty, but for prices: an offer whose price is not known is none.
type Offer struct {
	ID string
	// HourlyUSD is the whole price of an hour, GPU and disk:
	// GPUHourlyUSD + DiskHourlyUSD where the provider tells them apart.
	HourlyUSD                   USD
	GPUHourlyUSD, DiskHourlyUSD USD
	// DownUSD and UpUSD are what a GB (1e9 bytes) of traffic into and out of
	// the machine costs, in any state of the instance.
	DownUSD, UpUSD USD
	// DownMbps and UpMbps are what its network is said to do, in 1e6 bits a
	// second.
	DownMbps, UpMbps float64
	// GPU is the model, empty for a machine without one.
	GPU string
	// NVENC is the generation of its encoder as NVIDIA counts them: 7 is
	// Turing and Ampere, 8 Ada, 9 Blackwell. 0 where it is not known.
	NVENC int
	// VRAM is the memory of one GPU in MB, as the provider counts it.
	VRAM int
	// Slots is how many jobs a machine of this offer runs at once.
	Slots int
	// HostID is its owner and MachineID the physical machine: what failed
	// once may be avoided. Offers come and go, machines stay.
	HostID, MachineID string
	// Country is where it stands: two letters (ISO 3166-1).
	Country string
	// Reliability is the provider's estimate of its uptime, 0 to 1.
	Reliability float64
	// Lasts is how long it can be rented at most.
	Lasts time.Duration
}

// Work is what something takes from a rented machine.
type Work struct {
	// Paid is for how long the machine is paid for it.
	Paid time.Duration
	// Down and Up are the bytes into and out of the machine.
	Down, Up int64
}

// Cost is what the work costs on a machine of this offer. Each part is rounded
// up to a nanodollar; what does not fit is the largest USD, so that no
// overflow ever looks cheap. Negative amounts of work cost nothing.
func (o Offer) Cost(w Work) USD {
	sum := Portion(o.HourlyUSD, int64(w.Paid), int64(time.Hour))
	for _, more := range []USD{Portion(o.DownUSD, w.Down, 1e9), Portion(o.UpUSD, w.Up, 1e9)} {
		if sum > math.MaxInt64-more {
			return math.MaxInt64
		}
		sum += more
	}
	return sum
}

// Portion is price * amount / unit, rounded up: what an amount costs at the price
// of a unit of it. A negative price or amount costs nothing, and what does not fit
// is the largest USD.
func Portion(price USD, amount, unit int64) USD {
	if price <= 0 || amount <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(price), uint64(amount))
	if hi >= uint64(unit) {
		return math.MaxInt64
	}
	quo, rem := bits.Div64(hi, lo, uint64(unit))
	if rem > 0 {
		quo++
	}
	return USD(min(quo, math.MaxInt64))
}
