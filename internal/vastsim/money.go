package vastsim

import (
	"math"
	"math/bits"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// hoursAMonth is how Vast turns $/GB/month into $/GB/hour, as far as known.
const hoursAMonth = 720

// usd reads dollars as the API writes them.
func usd(dollars float64) gpu.USD { return gpu.USD(math.Round(dollars * float64(gpu.Dollar))) }

// dollars writes money as the API does.
func dollars(u gpu.USD) float64 { return float64(u) / float64(gpu.Dollar) }

// share is price x part / whole, rounded down, with no overflow between.
// Negative values count as zero.
func share(price gpu.USD, part, whole int64) gpu.USD {
	if price <= 0 || part <= 0 || whole <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(price), uint64(part))
	if hi >= uint64(whole) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(hi, lo, uint64(whole))
	return gpu.USD(min(quotient, math.MaxInt64))
}

// meter counts the time for which something is paid.
type meter struct {
	hourly gpu.USD
	spans  []span
}

// span is a time from which something was on. It is open while to is zero.
type span struct{ from, to time.Time }

func (m *meter) on() bool { return len(m.spans) > 0 && m.spans[len(m.spans)-1].to.IsZero() }

func (m *meter) start(t time.Time) {
	if !m.on() {
		m.spans = append(m.spans, span{from: t})
	}
}

func (m *meter) stop(t time.Time) {
	if m.on() {
		m.spans[len(m.spans)-1].to = t
	}
}

// elapsed is the time on until t.
func (m *meter) elapsed(t time.Time) (sum time.Duration) {
	for _, s := range m.spans {
		end := s.to
		if end.IsZero() || end.After(t) {
			end = t
		}
		sum += max(0, end.Sub(s.from))
	}
	return sum
}

// cost is what it cost until t. The cost of a day is the difference of two of
// these, so that days sum up to the whole exactly.
func (m *meter) cost(t time.Time) gpu.USD {
	return share(m.hourly, int64(m.elapsed(t)), int64(time.Hour))
}

// transfer is traffic that was reported at a time, in bytes.
type transfer struct {
	at       time.Time
	down, up int64
}

// bill is the cost of an instance, by parts.
type bill struct {
	GPU  gpu.USD `json:"gpu"`
	Disk gpu.USD `json:"disk"`
	Down gpu.USD `json:"bwd"`
	Up   gpu.USD `json:"bwu"`
}

func (b bill) total() gpu.USD { return b.GPU + b.Disk + b.Down + b.Up }

func (b bill) minus(o bill) bill {
	return bill{b.GPU - o.GPU, b.Disk - o.Disk, b.Down - o.Down, b.Up - o.Up}
}

// bill is what the instance cost until t.
func (i *instance) bill(t time.Time) bill {
	var down, up int64
	for _, tr := range i.traffic {
		if !tr.at.After(t) {
			down, up = down+tr.down, up+tr.up
		}
	}
	const gb = 1e9
	return bill{
		GPU: i.gpu.cost(t), Disk: i.disk.cost(t),
		Down: share(usd(i.offer.InetDownCost), down, gb), Up: share(usd(i.offer.InetUpCost), up, gb),
	}
}

// spent is what all instances together cost until t.
func (s *Sim) spent(t time.Time) (sum gpu.USD) {
	for _, i := range s.instances {
		sum += i.bill(t).total()
	}
	return sum
}

func (s *Sim) credit(t time.Time) gpu.USD { return s.paid - s.spent(t) }
