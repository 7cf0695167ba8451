package fleet

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// costly is an instance that costs ten microdollars a second for its GPU, a
// tenth of that for its disk, and a dollar a GB each way.
func costly(change func(*Instance)) Instance {
	const perMS = gpu.USD(3600 * 1000)
	i := Instance{
		Label: "a", ProviderID: "1", State: gpu.Ready, CreatedAt: noon, StartedAt: in(10 * time.Second), ReadyAt: in(20 * time.Second),
		HourlyUSD: 11 * perMS, Terms: Terms{GPUHourlyUSD: 10 * perMS, DiskHourlyUSD: perMS, DownUSD: gpu.Dollar, UpUSD: 2 * gpu.Dollar},
	}
	change(&i)
	return i
}

func ran(job string, from, to time.Duration) queue.Attempt {
	a := queue.Attempt{JobID: job, Number: 1, Instance: "a", StartedAt: in(from)}
	if to > 0 {
		a.EndedAt = in(to)
	}
	return a
}

func TestCost(t *testing.T) {
	t.Parallel()
	alive := func(*Instance) {}
	const ms = 1000
	for _, c := range []struct {
		name     string
		instance Instance
		attempts []queue.Attempt
		whole    gpu.USD
		parts    []Charge
	}{
		{"its GPU is paid from its start, its disk from its creation", costly(alive), nil,
			90*10*ms + 100*ms, []Charge{{"", 0, BootCharge, 10*10*ms + 20*ms}, {"", 0, IdleCharge, 80 * 11 * ms}}},
		{"a job bears the boot and the idle time", costly(alive), []queue.Attempt{ran("j", 30*time.Second, 70*time.Second)},
			1000 * ms, []Charge{{"j", 1, WorkCharge, 40 * 11 * ms}, {"j", 1, BootCharge, 120 * ms}, {"j", 1, IdleCharge, 40 * 11 * ms}}},
		{"two bear it as much as they worked", costly(alive), []queue.Attempt{ran("j", 20*time.Second, 50*time.Second), ran("k", 50*time.Second, 60*time.Second)},
			1000 * ms, []Charge{
				{"j", 1, WorkCharge, 330 * ms}, {"j", 1, BootCharge, 90 * ms}, {"j", 1, IdleCharge, 330 * ms},
				{"k", 1, WorkCharge, 110 * ms}, {"k", 1, BootCharge, 30 * ms}, {"k", 1, IdleCharge, 110 * ms}}},
		{"at once, each moment in equal parts", costly(alive), []queue.Attempt{ran("j", 20*time.Second, 0), ran("k", 60*time.Second, 0)},
			1000 * ms, []Charge{{"j", 1, WorkCharge, 660 * ms}, {"j", 1, BootCharge, 90 * ms}, {"k", 1, WorkCharge, 220 * ms}, {"k", 1, BootCharge, 30 * ms}}},
		{"traffic", costly(alive), []queue.Attempt{{JobID: "j", Number: 2, StartedAt: in(20 * time.Second), Down: 1e6, Up: 1e3}},
			1000*ms + 1e6 + 2e3, []Charge{{"j", 2, WorkCharge, 880*ms + 1e6 + 2e3}, {"j", 2, BootCharge, 120 * ms}}},
		{"it ends where it ended", costly(func(i *Instance) { i.State, i.EndedAt = gpu.Gone, in(20*time.Second) }), []queue.Attempt{ran("j", 30*time.Second, 0)},
			120 * ms, []Charge{{"j", 1, BootCharge, 120 * ms}}},
		{"it never started", costly(func(i *Instance) { i.StartedAt, i.ReadyAt = time.Time{}, time.Time{} }), nil, 100 * ms, []Charge{{"", 0, BootCharge, 100 * ms}}},
		{"no listing saw it start", costly(func(i *Instance) { i.StartedAt = time.Time{} }), nil,
			(800 + 100) * ms, []Charge{{"", 0, BootCharge, 20 * ms}, {"", 0, IdleCharge, 880 * ms}}},
		{"prices that nobody told apart", costly(func(i *Instance) { i.Terms = Terms{} }), nil, 1100 * ms, []Charge{{"", 0, BootCharge, 220 * ms}, {"", 0, IdleCharge, 880 * ms}}},
		{"a price that rose", costly(func(i *Instance) { i.ListedUSD = 12 * 3600 * 1000 }), nil,
			90*11*ms + 100*ms, []Charge{{"", 0, BootCharge, 10*11*ms + 20*ms}, {"", 0, IdleCharge, 80 * 12 * ms}}},
		{"its image", costly(func(i *Instance) { i.Terms.PullBytes = 1e6 }), nil,
			90*10*ms + 100*ms + 1e6, []Charge{{"", 0, BootCharge, 10*10*ms + 20*ms + 1e6}, {"", 0, IdleCharge, 80 * 11 * ms}}},
		{"its image, and it never started", costly(func(i *Instance) { i.StartedAt, i.ReadyAt, i.Terms.PullBytes = time.Time{}, time.Time{}, 1e6 }), nil,
			100 * ms, []Charge{{"", 0, BootCharge, 100 * ms}}},
		{"it was never there", costly(func(i *Instance) { i.ProviderID = "" }), nil, 0, nil},
		{"it is somebody's own", costly(func(i *Instance) { i.Permanent = true }), nil, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			whole, parts := Cost(c.instance, c.attempts, in(100*time.Second))
			if diff := cmp.Diff(c.parts, parts, cmpopts.EquateEmpty()); whole != c.whole || diff != "" {
				t.Errorf("cost is %d, want %d (-want +got):\n%s", whole, c.whole, diff)
			}
		})
	}
}

// Whatever ran, and whatever the provider charges: the parts sum to the whole,
// and none is negative.
func TestPartsEqualTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Custom(func(t *rapid.T) time.Time {
			return in(time.Duration(rapid.Int64Range(-1000, 100_000_000).Draw(t, "ms")) * time.Millisecond)
		})
		maybe := rapid.OneOf(rapid.Just(time.Time{}), moment)
		price := rapid.Int64Range(0, 3e9)
		i := Instance{
			ProviderID: "1", CreatedAt: moment.Draw(t, "created"), StartedAt: maybe.Draw(t, "started"), ReadyAt: maybe.Draw(t, "ready"),
			EndedAt: maybe.Draw(t, "ended"), HourlyUSD: gpu.USD(price.Draw(t, "hourly")), Slots: 2,
			Terms: Terms{GPUHourlyUSD: gpu.USD(price.Draw(t, "gpu")), DiskHourlyUSD: gpu.USD(price.Draw(t, "disk")),
				DownUSD: gpu.USD(price.Draw(t, "down")), UpUSD: gpu.USD(price.Draw(t, "up"))},
		}
		var attempts []queue.Attempt
		for n := range rapid.IntRange(0, 7).Draw(t, "attempts") {
			attempts = append(attempts, queue.Attempt{
				JobID: fmt.Sprintf("job%d", n%3), Number: n, StartedAt: moment.Draw(t, "from"), EndedAt: maybe.Draw(t, "to"),
				Down: rapid.Int64Range(0, 1e11).Draw(t, "in"), Up: rapid.Int64Range(0, 1e11).Draw(t, "out"),
			})
		}
		whole, parts := Cost(i, attempts, moment.Draw(t, "now"))
		check := func(whole gpu.USD, parts []Charge, sign gpu.USD) {
			var sum gpu.USD
			for _, c := range parts {
				sum += c.USD
				if c.USD*sign < 0 {
					t.Fatalf("a part is negative: %+v", parts)
				}
			}
			if sum != whole {
				t.Fatalf("the parts %+v sum to %d, the whole is %d", parts, sum, whole)
			}
		}
		check(whole, parts, 1)
		billed := gpu.USD(rapid.Int64Range(-1e9, 1e12).Draw(t, "billed"))
		sign := gpu.USD(1)
		if billed < 0 {
			sign = -1
		}
		check(billed, rescale(parts, billed), sign)
	})
}

// What the price has risen by since the offer is spent and reserved, too.
func TestRisenPriceCounts(t *testing.T) {
	t.Parallel()
	row := Instance{ProviderID: "1", State: gpu.Ready, HourlyUSD: 100, ListedUSD: 300, Terms: Terms{GPUHourlyUSD: 80, DiskHourlyUSD: 20},
		CreatedAt: ago(time.Hour), StartedAt: ago(time.Hour), ReadyAt: ago(time.Hour), ReservedUntil: in(time.Hour)}
	if perGPU, disk := row.rates(); perGPU != 280 || disk != 20 {
		t.Errorf("the GPU costs %d an hour, the disk %d", perGPU, disk)
	}
	if whole, _ := Cost(row, nil, noon); whole != 300 || row.account(noon).spread != 600 {
		t.Errorf("spent %d, taken %d", whole, row.account(noon).spread)
	}
}

// What a bill may yet bring beyond the estimate is not spent on something else.
func TestReserveStandsUntilTheBill(t *testing.T) {
	t.Parallel()
	row := Instance{
		ProviderID: "1", State: gpu.Gone, Terms: Terms{GPUHourlyUSD: 80, DiskHourlyUSD: 20, DownUSD: 7}, CostUSD: 60, CostState: Estimated,
		CreatedAt: ago(2 * time.Hour), StartedAt: ago(90 * time.Minute), EndedAt: ago(time.Hour), StateSince: ago(time.Hour), ReservedDown: 2e9,
	}
	final := row
	final.CostState = Final
	for _, c := range []struct {
		row  Instance
		now  time.Time
		want gpu.USD
	}{{row, noon, 100 + 14}, {final, noon, 60}, {row, in(billDue), 60}} {
		if a := c.row.account(c.now); a.spread+a.traffic != c.want {
			t.Errorf("%s at %s takes %d, want %d", c.row.CostState, c.now, a.spread+a.traffic, c.want)
		}
	}
}

// What does not fit does not wrap around to something cheap, nor does a sum of it.
func TestCostsTooHighToCount(t *testing.T) {
	t.Parallel()
	const years = 200 * 365 * 24 * time.Hour
	for name, got := range map[string]gpu.USD{
		"time":    ceil(perHour(math.MaxInt64, years)) + ceil(perHour(1e6*gpu.Dollar, years)),
		"traffic": ceil(traffic(Terms{DownUSD: math.MaxInt64, UpUSD: math.MaxInt64}, math.MaxInt64, math.MaxInt64)),
	} {
		if got < mostUSD {
			t.Errorf("%s: %s", name, got)
		}
	}
}
