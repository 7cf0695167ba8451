package fleet

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// dollars is a price.
func dollars(d float64) gpu.USD { return gpu.USD(d * float64(gpu.Dollar)) }

func TestChoose(t *testing.T) {
	t.Parallel()
	base := gpu.Offer{ID: "a", GPU: "RTX 3060", Country: "BG", HourlyUSD: dollars(0.2), HostID: "h1", MachineID: "m1", Reliability: 0.99, Lasts: 24 * time.Hour}
	offer := func(id string, change func(*gpu.Offer)) gpu.Offer {
		o := base
		o.ID, o.HostID, o.MachineID = id, "of "+id, "machine "+id
		change(&o)
		return o
	}
	short, long := queue.Need{Video: 10 * time.Second}, queue.Need{Video: 2 * time.Hour, Size: 10e9}
	history := []queue.Speed{{GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60},
		{GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60}, {GPU: "RTX 4090", Factor: 60},
		{GPU: "RTX 3060", Factor: 5}, {GPU: "RTX 3060", Factor: 5}, {GPU: "RTX 3060", Factor: 5}, {GPU: "RTX 3060", Factor: 5}}
	blocked := HostKey{Machine, "machine b"}
	for _, c := range []struct {
		name   string
		need   queue.Need
		offers []gpu.Offer
		world  World
		want   string // ids, the best first
		why    string // of the first
	}{
		{"none", short, nil, World{}, "", ""},
		{"the cheaper hour", short, []gpu.Offer{offer("b", func(o *gpu.Offer) { o.HourlyUSD = dollars(0.3) }), base}, World{}, "a b", "best of 2"},
		{"traffic counts", long, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.HourlyUSD, o.UpUSD = dollars(0.1), dollars(0.02) }), base,
		}, World{}, "a b", "traffic $0.0000"},
		{"a slow network counts", long, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.HourlyUSD, o.DownMbps, o.UpMbps = dollars(0.1), 20, 20 }), base,
		}, World{}, "a b", ""},
		{"a fast card is worth its price for much work", queue.Need{Video: 4 * time.Hour, Size: 1e9}, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.GPU, o.HourlyUSD = "RTX 4090", dollars(0.4) }), base,
		}, World{Speeds: speedsOf(history, nil, false)}, "b a", "RTX 4090"},
		{"and not for little", short, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.GPU, o.HourlyUSD = "RTX 4090", dollars(0.4) }), base,
		}, World{Speeds: speedsOf(history, nil, false)}, "a b", "RTX 3060, BG: $"},
		{"one that failed is worth less", short, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.HourlyUSD = dollars(0.19) }), base,
		}, World{Hosts: Hosts{blocked: {Failures: 5, NotedAt: noon}}}, "a b", ""},
		{"one that is blocked is none", short, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.HourlyUSD = dollars(0.01) }), base,
		}, World{Hosts: Hosts{blocked: {Failures: 1, InARow: 2, BlockedUntil: in(time.Hour), NotedAt: noon}}}, "a", "best of 1; 1 left out: 1 blocked"},
		{"one that ends too soon is none", long, []gpu.Offer{
			offer("b", func(o *gpu.Offer) { o.HourlyUSD, o.Lasts = dollars(0.01), time.Hour }), base,
		}, World{}, "a", "1 left out: 1 too short"},
		{"how long is not known", long, []gpu.Offer{offer("b", func(o *gpu.Offer) { o.Lasts = 0 })}, World{}, "b", ""},
		{"equal: the more reliable", short, []gpu.Offer{
			offer("c", func(o *gpu.Offer) { o.Reliability = 0.97 }), offer("d", func(*gpu.Offer) {}), base,
		}, World{}, "a d c", ""},
		{"too dear for any number", short, []gpu.Offer{offer("b", func(o *gpu.Offer) { o.HourlyUSD = math.MaxInt64 }), base}, World{}, "a b", ""},
		{"free", short, []gpu.Offer{{ID: "here"}}, World{Speeds: Speeds{Free: true}}, "here", "offer here: $0.0000"},
	} {
		c.world.Offers = c.offers
		m := choose(c.world, estimate(c.need, c.world.Speeds), noon)
		var ids []string
		for _, r := range m.Ranked {
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: ranked %q, want %q\n%+v", c.name, got, c.want, m.Ranked)
		}
		if len(m.Ranked) > 0 && !strings.Contains(m.Ranked[0].Why, c.why) {
			t.Errorf("%s: because %q, want %q", c.name, m.Ranked[0].Why, c.why)
		}
	}
}

// The example of the plan: 20 s of boot and a minute of work at $0.20 an hour.
func TestChooseSaysWhatItCosts(t *testing.T) {
	t.Parallel()
	m := HostKey{Machine, "m"}
	w := World{
		Offers: []gpu.Offer{{ID: "1", GPU: "RTX 3060", HourlyUSD: dollars(0.2), MachineID: "m", DownUSD: dollars(0.002), UpUSD: dollars(0.004)}},
		Hosts:  Hosts{m: {Boots: 1e6, MeanBoot: 20 * time.Second, NotedAt: noon}},
	}
	got := choose(w, Work{For: time.Minute, Down: 100e6, Up: 100e6}, noon).Ranked[0]
	want := "RTX 3060: $0.0055 for this job (boot $0.0011, work $0.0033, traffic $0.0011), best of 1"
	if got.Why != want || got.Cost < dollars(0.0055) || got.Cost > dollars(0.0056) {
		t.Errorf("%s: %q, want %q", got.Cost, got.Why, want)
	}
}

// However offers come, the order is the same, nothing is lost, and none that
// is better in every way stands behind one that is worse.
func TestChooseIsOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		price := rapid.Int64Range(0, 2e9)
		offers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) gpu.Offer {
			return gpu.Offer{
				ID: rapid.StringMatching(`[a-z]{6}`).Draw(t, "id"), HourlyUSD: gpu.USD(price.Draw(t, "hour")), UpUSD: gpu.USD(price.Draw(t, "up")),
				DownUSD: gpu.USD(price.Draw(t, "down")), UpMbps: 100, DownMbps: 100,
			}
		}), 1, 8).Draw(t, "offers")
		work := estimate(queue.Need{Video: time.Duration(rapid.Int64Range(0, 1e13).Draw(t, "video"))}, Speeds{})
		one := choose(World{Offers: offers}, work, noon)
		shuffled := rapid.Permutation(offers).Draw(t, "shuffled")
		two := choose(World{Offers: shuffled}, work, noon)
		id := func(c Choice) string { return c.ID + c.HourlyUSD.String() }
		if len(one.Ranked) != len(offers) || !slices.EqualFunc(one.Ranked, two.Ranked, func(a, b Choice) bool { return id(a) == id(b) || a.Cost == b.Cost }) {
			t.Fatalf("%+v and %+v", one.Ranked, two.Ranked)
		}
		for n := 1; n < len(one.Ranked); n++ {
			a, b := one.Ranked[n-1], one.Ranked[n]
			if b.HourlyUSD < a.HourlyUSD && b.UpUSD < a.UpUSD && b.DownUSD < a.DownUSD {
				t.Fatalf("%+v before %+v", a, b)
			}
		}
	})
}
