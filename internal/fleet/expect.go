package fleet

import (
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Expectation is what a job is expected to take and to cost, where nothing is
// known yet of machines and speeds.
type Expectation struct {
	// Boot is from the rental to a worker that is ready, Work the job itself.
	Boot, Work time.Duration
	// Alone is what it costs where a machine is rented for it and given back
	// after it: boot, work, traffic of video, result and image, what failed
	// boots add, and the time that the machine then stands idle.
	Alone gpu.USD
	// Among is what it adds where a machine works anyway.
	Among gpu.USD
}

// Expect is the estimate by which offers are chosen, for a video of this length
// on this offer, with a machine that stands idle for so long before it goes.
func Expect(o gpu.Offer, video, idle time.Duration) Expectation {
	job := estimate(queue.Need{Video: video}, Speeds{})
	boot, work := Hosts{}.Boot(o), job.on(o, Speeds{})
	return Expectation{
		Boot: boot, Work: work,
		Alone: priced(o, job, boot, work, Hosts{}.Fails(o, time.Time{})).Cost + o.Cost(gpu.Work{Paid: idle}),
		Among: o.Cost(gpu.Work{Paid: work, Down: job.Down, Up: job.Up}),
	}
}
