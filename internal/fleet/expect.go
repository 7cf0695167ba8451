package fleet

import (
	"context"
	"fmt"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
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

// Expected is what a job with a video of this length, and so many bytes where
// they are known, is expected to take now, on a machine of its own: by the
// offers of the last minutes, or asked for now, and by the speeds of the latest
// jobs. Where nothing is rented it has no cost.
func (f *Fleet) Expected(ctx context.Context, video time.Duration, bytes int64) (apigpu.Estimate, error) {
	speeds, err := f.speeds(ctx)
	if err != nil {
		return apigpu.Estimate{}, err
	}
	need := queue.Need{Video: video, Size: bytes}
	if !f.cfg.Policy.paid() {
		return expectedOn(need, speeds), nil
	}
	offers, err := f.pricesNow(ctx)
	if err != nil || len(offers) == 0 {
		return expectedWithin(need, speeds, f.cfg.Policy.MaxPrice), nil //nolint:nilerr // the estimate says that it knows no offer
	}
	return expectedAmong(need, speeds, offers, f.cfg.Now()), nil
}

// expectedOn is for machines that cost nothing.
func expectedOn(n queue.Need, s Speeds) apigpu.Estimate {
	return apigpu.Estimate{Seconds: tenths(estimate(n, s).For), Basis: "the speed of the latest jobs on these workers, or what is assumed of a processor"}
}

// expectedWithin is for a marketplace of which no offer is known.
func expectedWithin(n queue.Need, s Speeds, most gpu.USD) apigpu.Estimate {
	o := gpu.Offer{HourlyUSD: most}
	work := estimate(n, s)
	boot, run := Hosts{}.Boot(o), work.on(o, s)
	return apigpu.Estimate{
		Seconds: tenths(boot + run), CostUSD: apigpu.Nanodollars(int64(priced(o, work, boot, run, 0).Cost)),
		Basis: fmt.Sprintf("no offer is known: at the highest price that is allowed, %s an hour", most.Exact()),
	}
}

// expectedAmong is by the offer that would be chosen.
func expectedAmong(n queue.Need, s Speeds, offers []gpu.Offer, now time.Time) apigpu.Estimate {
	work := estimate(n, s)
	m := choose(World{Offers: offers, Speeds: s, Hosts: Hosts{}}, work, now)
	if len(m.Ranked) == 0 {
		return apigpu.Estimate{Seconds: tenths(priorBoot + work.For), Basis: "no offer suits at the moment: what is assumed of a machine"}
	}
	best := m.Ranked[0]
	return apigpu.Estimate{
		Seconds: tenths(Hosts{}.Boot(best.Offer) + work.on(best.Offer, s)), CostUSD: apigpu.Nanodollars(int64(best.Cost)),
		Basis: fmt.Sprintf("the cheapest of %d offers for this job, with the boot of a machine of its own", m.Found),
	}
}

// tenths is a time in seconds, to a tenth.
func tenths(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }
