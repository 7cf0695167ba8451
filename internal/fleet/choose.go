package fleet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Choice is an offer, and why it stands where it stands.
type Choice struct {
	gpu.Offer
	// Cost is what the job is expected to cost there.
	Cost gpu.USD
	Why  string
	// Reserve is the job that the budgets allow to be run there; see
	// affordable.
	Reserve queue.Ask
}

// imageBytes is what a machine downloads of our image before it starts: about
// the compressed size of the worker's. One that has it already downloads less.
const imageBytes = 250e6

// surest bounds how unlikely a host's success may be thought: what nobody else
// offers is still tried.
const surest = 0.95

// market is a list of offers, ranked for one job.
type market struct {
	Ranked []Choice // the best first
	Found  int
	// Blocked and Short count those left out: machines that failed, and offers
	// that end before the job would.
	Blocked, Short int
}

// choose ranks offers by the least dollars that the job is expected to cost
// there: the boot and the work by the hour, the traffic of the video, the
// result and our image, and what failed boots of such machines add. Offers of
// machines that are blocked, and such as end too soon, are left out.
//
// Whether a card can encode is the provider's to know, who offers none that
// cannot; the worker then proves it.
func choose(w World, job Work, now time.Time) market {
	m := market{Found: len(w.Offers)}
	for _, o := range w.Offers {
		boot, work := w.Hosts.Boot(o), job.on(o, w.Speeds)
		// Twice the work: estimates are no better.
		if o.Lasts > 0 && o.Lasts < boot+2*work {
			m.Short++
			continue
		}
		if _, why := w.Hosts.Blocked(o, now); why != "" {
			m.Blocked++
			continue
		}
		m.Ranked = append(m.Ranked, priced(o, job, boot, work, w.Hosts.Fails(o, now)))
	}
	slices.SortStableFunc(m.Ranked, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(b.Reliability, a.Reliability), cmp.Compare(a.HourlyUSD, b.HourlyUSD), cmp.Compare(a.ID, b.ID))
	})
	for n := range m.Ranked {
		m.Ranked[n].Why += m.place(n)
	}
	return m
}

// priced says what the job is expected to cost by an offer. The boot is taken
// as paid in full, though some providers charge no GPU while an image loads.
func priced(o gpu.Offer, job Work, boot, work time.Duration, fails float64) Choice {
	fails = min(max(fails, 0), surest)
	parts := []gpu.USD{
		o.Cost(gpu.Work{Paid: boot}), o.Cost(gpu.Work{Paid: work}),
		o.Cost(gpu.Work{Down: job.Down + imageBytes, Up: job.Up}),
	}
	whole := o.Cost(gpu.Work{Paid: boot + work, Down: job.Down + imageBytes, Up: job.Up})
	cost := whole
	if fails > 0 {
		cost = gpu.USD(min(float64(whole)/(1-fails), math.MaxInt64/2))
	}
	why := fmt.Sprintf("%s: %s for this job (boot %s, work %s, traffic %s", nameOf(o), cents(cost), cents(parts[0]), cents(parts[1]), cents(parts[2]))
	if fails >= 0.005 {
		why += fmt.Sprintf(", %.0f %% of such fail", 100*fails)
	}
	return Choice{Offer: o, Cost: cost, Why: why + ")"}
}

// place says how an offer stands among the others.
func (m market) place(n int) string {
	s := fmt.Sprintf(", best of %d", len(m.Ranked))
	if n > 0 {
		s = fmt.Sprintf(", number %d of %d", n+1, len(m.Ranked))
	}
	return s + m.without()
}

// without tells of the offers that were left out.
func (m market) without() string {
	var out []string
	if m.Blocked > 0 {
		out = append(out, fmt.Sprintf("%d blocked", m.Blocked))
	}
	if m.Short > 0 {
		out = append(out, fmt.Sprintf("%d too short", m.Short))
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d left out: %s", m.Blocked+m.Short, strings.Join(out, ", "))
}

// nameOf is a machine in words: its model and where it stands.
func nameOf(o gpu.Offer) string {
	name := o.GPU
	if name == "" {
		name = "offer " + o.ID
	}
	if o.Country != "" {
		name += ", " + o.Country
	}
	return name
}

// cents prints dollars to a hundredth of a cent.
func cents(u gpu.USD) string { return fmt.Sprintf("$%.4f", float64(u)/float64(gpu.Dollar)) }
