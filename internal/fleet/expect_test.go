package fleet

import (
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// What the documents say that a job costs is what the choice of an offer
// reckons with.
func TestExpect(t *testing.T) {
	t.Parallel()
	o := gpu.Offer{ID: "1", MachineID: "m", HostID: "h", HourlyUSD: gpu.Dollar / 5, DownUSD: gpu.Dollar / 100, UpUSD: gpu.Dollar / 50}
	e := Expect(o, time.Minute, 0)
	w := World{Offers: []gpu.Offer{o}, Hosts: Hosts{}}
	m := choose(w, estimate(queue.Need{Video: time.Minute}, w.Speeds), noon)
	if len(m.Ranked) != 1 || m.Ranked[0].Cost != e.Alone {
		t.Errorf("%s, and the choice says %+v", e.Alone, m.Ranked)
	}
	if e.Boot != priorBoot || e.Work < time.Minute/priorGPU || e.Work > time.Minute {
		t.Errorf("boot %s, work %s", e.Boot, e.Work)
	}
	if idle := Expect(o, time.Minute, time.Hour).Alone - e.Alone; idle != o.HourlyUSD {
		t.Errorf("an idle hour costs %s", idle)
	}
	if longer := Expect(o, time.Hour, 0); e.Among >= e.Alone || longer.Among <= e.Among || longer.Boot != e.Boot {
		t.Errorf("%+v, and for an hour %+v", e, longer)
	}
}

// What a user is told beforehand is what the choice among the offers reckons
// with; without offers, the highest price that is allowed; without rent, time
// alone.
func TestExpected(t *testing.T) {
	t.Parallel()
	need := queue.Need{Video: time.Minute, Size: 10e6}
	offer := func(id string, hourly gpu.USD) gpu.Offer {
		return gpu.Offer{ID: id, MachineID: id, HostID: "h", HourlyUSD: hourly}
	}
	offers := []gpu.Offer{offer("dear", gpu.Dollar), offer("cheap", gpu.Dollar/5)}
	among := expectedAmong(need, Speeds{}, offers, noon)
	w := World{Offers: offers, Hosts: Hosts{}}
	best := choose(w, estimate(need, w.Speeds), noon).Ranked[0]
	if best.ID != "cheap" || among.CostUSD != apigpu.Nanodollars(int64(best.Cost)) || among.Seconds <= priorBoot.Seconds() {
		t.Errorf("%+v, and the choice says %+v", among, best)
	}
	within := expectedWithin(need, Speeds{}, gpu.Dollar)
	if within.CostUSD <= among.CostUSD || within.Seconds != among.Seconds {
		t.Errorf("without an offer %+v, with offers %+v", within, among)
	}
	if gone := expectedAmong(need, Speeds{}, []gpu.Offer{{ID: "short", HourlyUSD: 1, Lasts: time.Second}}, noon); gone.CostUSD != 0 || gone.Seconds <= 0 {
		t.Errorf("without an offer that suits %+v", gone)
	}
	if free := expectedOn(need, Speeds{Free: true}); free.CostUSD != 0 || free.Seconds <= 0 || free.Seconds > within.Seconds+600 {
		t.Errorf("without rent %+v", free)
	}
}
