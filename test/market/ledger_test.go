package market

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
)

// stories are what can happen to machines that are paid for. Each ends with
// nothing that waits; what is rented then goes by itself.
var stories = []struct {
	name     string
	scenario string
	slots    int
	tell     func(*ledger)
}{
	{"one job", "", 1, func(l *ledger) { l.submit(time.Minute, 20, 20) }},
	{"a short job", "", 1, func(l *ledger) { l.submit(30*time.Second, 3, 3) }},
	{"jobs with gaps", "", 1, func(l *ledger) {
		for _, takes := range []time.Duration{20 * time.Second, 45 * time.Second, 7 * time.Second} {
			l.submit(takes, 30, 25)
			l.until("idle", l.ended)
			l.pass(3) // less than it stays
		}
	}},
	{"jobs back to back", "", 1, func(l *ledger) {
		for range 4 {
			l.submit(25*time.Second, 10, 10)
		}
	}},
	{"a boot that fails", `{"boots":[{"fails":"oci"}]}`, 1, func(l *ledger) { l.submit(time.Minute, 20, 20) }},
	{"an image that is not pulled", `{"boots":[{"fails":"stuck"}]}`, 1, func(l *ledger) { l.submit(time.Minute, 20, 20) }},
	{"nobody answers", `{"boots":[{"fails":"unreachable"}]}`, 1, func(l *ledger) { l.submit(time.Minute, 20, 20) }},
	{"no job after all", "", 1, func(l *ledger) {
		r := l.submit(time.Minute, 20, 20)
		l.until("booting", l.state(gpu.Booting))
		l.pass(15)
		l.cancel(r)
	}},
	{"ended in its boot", `{"timing":{"pull":"2m"}}`, 1, func(l *ledger) {
		r := l.submit(time.Minute, 20, 20)
		l.until("booting", l.state(gpu.Booting))
		l.pass(70)
		l.cancel(r)
		_, err := l.fleet.End(l.Context(), l.rows()[0].label)
		l.ok(err)
	}},
	{"two at once", "", 2, func(l *ledger) {
		l.submit(40*time.Second, 20, 10)
		l.submit(time.Minute, 5, 40)
		l.submit(20*time.Second, 10, 10)
	}},
	{"much traffic", "", 1, func(l *ledger) { l.submit(90*time.Second, 1500, 1200) }},
	{"a crash while it boots", "", 1, func(l *ledger) {
		l.submit(time.Minute, 20, 20)
		l.until("booting", l.state(gpu.Booting))
		l.pass(5)
		l.crash()
	}},
	{"a crash while it works", "", 1, func(l *ledger) {
		r := l.submit(time.Minute, 20, 20)
		l.until("working", func() bool { return !r.until.IsZero() })
		l.pass(20)
		l.crash()
	}},
	{"a crash as it goes", "", 1, func(l *ledger) {
		l.submit(time.Minute, 20, 20)
		l.until("going", l.state(gpu.Destroying))
		l.crash()
	}},
	{"a listing that lags", `{"timing":{"list_lag":"30s"}}`, 1, func(l *ledger) { l.submit(time.Minute, 20, 20) }},
	{"an end that is listed late", `{"timing":{"destroy_lag":"8s"}}`, 1, func(l *ledger) { l.submit(30*time.Second, 20, 20) }},
	{"a price that rose", `{"offers":[{"dph_base":0.06}],"boots":[{"price_factor":1.075}]}`, 1, func(l *ledger) { l.submit(90*time.Second, 20, 20) }},
}

// TestLedger holds the accounts against the market's truth. When all is over
// the parts equal the whole; what was measured is within a twentieth of what
// the market charges; and once its bill is read it is just that.
func TestLedger(t *testing.T) {
	t.Parallel()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t, s.scenario, s.slots)
			s.tell(l)
			l.until("the jobs are over", l.ended)
			l.settled("estimated")
			l.balanced()
			if off := l.off(); math.Abs(off) > bound {
				t.Errorf("the estimate is off by %+.1f %% of the bill", 100*off)
			}
			l.charged()
			l.balanced()
			l.final()
			l.unbroken()
			if n := len(l.Truth().Alive("")); n > 0 {
				t.Errorf("%d are alive", n)
			}
		})
	}
}

// TestLedgerAnswer is the scenario of the plan: what the answer says when the job
// is over is what it came to by then, and what its machine then stood idle is
// added when that is gone.
func TestLedgerAnswer(t *testing.T) {
	t.Parallel()
	l := newLedger(t, "", 1)
	r := l.submit(time.Minute, 20, 20)
	l.until("the job is over", l.ended)
	stats := func() apigpu.Stats {
		j, err := l.queue.Job(t.Context(), r.ID)
		l.ok(err)
		return j.Stats
	}
	answer := stats()
	l.settled("estimated")
	measured := stats()
	l.charged()
	final := stats()
	t.Logf("answered $%.7f, measured $%.7f, charged $%.7f", answer.CostUSD, measured.CostUSD, final.CostUSD)
	if answer.CostState != apigpu.CostEstimated || measured.CostState != apigpu.CostEstimated || final.CostState != apigpu.CostFinal {
		t.Errorf("they are %s, %s, %s", answer.CostState, measured.CostState, final.CostState)
	}
	idle := l.cfg.Policy.IdleTimeout + 2*time.Second // until its end is accepted
	hourly := apigpu.Dollars(0.2 + 20*0.15/720)
	if rest := final.CostUSD - answer.CostUSD; rest <= 0 || rest > bound*final.CostUSD+hourly*apigpu.Dollars(idle.Hours()) {
		t.Errorf("%v came after the answer", rest)
	}
}

// What the download of the image is charged is known by the first bill that has
// it: of the next machine it is in the estimate, until bills have it no more.
func TestLedgerLearnsWhatTheImageCosts(t *testing.T) {
	t.Parallel()
	l := newLedger(t, `{"image_bytes":250000000}`, 1)
	for n, image := range []int64{250e6, 250e6, 0, 0, 0, 0} {
		l.apply(fmt.Sprintf(`{"image_bytes":%d}`, image))
		l.submit(time.Minute, 20, 20)
		l.until("the job is over", l.ended)
		l.settled("estimated")
		l.balanced()
		off := l.off()
		if known := n == 1 || n == 5; known && math.Abs(off) > bound {
			t.Errorf("machine %d: the estimate is off by %+.1f %% of the bill", n, 100*off)
		}
		l.charged()
		l.balanced()
		l.final()
	}
}
