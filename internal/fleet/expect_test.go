package fleet

import (
	"testing"
	"time"

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
