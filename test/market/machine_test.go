package market

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// seen is what the adapter makes of a machine.
type seen struct {
	running bool // it works, or may come to
	address bool
	fault   gpu.Fault
	status  string
}

// machineCases are the ways in which a machine fails, and what can happen to
// one that works: what is seen a minute later.
var machineCases = map[string]seen{
	vastsim.Never:       {true, false, "", "scheduling"},
	vastsim.Stuck:       {true, false, "", "loading"},
	vastsim.DockerFails: {false, false, gpu.FaultMachine, "created"},
	vastsim.NoImage:     {false, false, gpu.FaultImage, "loading"},
	vastsim.Denied:      {false, false, gpu.FaultImage, "loading"},
	vastsim.TooMany:     {false, false, gpu.FaultMachine, "loading"},
	vastsim.NoDNS:       {false, false, gpu.FaultMachine, "loading"},
	vastsim.NoAddress:   {true, false, "", "running"},
	vastsim.NoPorts:     {true, false, "", "running"},
	vastsim.WrongPort:   {true, true, "", "running"},
	vastsim.Unreachable: {true, true, "", "running"},
	vastsim.ExitsAtOnce: {false, false, "", "exited"},

	vastsim.DoExit:    {false, false, "", "exited"},
	vastsim.DoOffline: {false, false, "", "offline"},
	vastsim.DoUnknown: {true, false, "", "unknown"},
	vastsim.DoReturn:  {true, true, "", "running"},
	vastsim.DoOutbid:  {false, false, "", "stopped"},
	vastsim.DoReclaim: {false, false, "", "stopped"},
	vastsim.DoFreeze:  {false, false, "", "frozen"},
	vastsim.DoVanish:  {}, // it is not there any more
	vastsim.DoTraffic: {true, true, "", "running"},
	vastsim.DoPrice:   {true, false, "", "scheduling"},
	vastsim.DoCut:     {true, true, "", "running"},
}

func TestMachines(t *testing.T) {
	t.Parallel()
	for _, word := range vastsim.Failures() {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, `{"boots":[{"fails":"`+word+`"}]}`)
			r.boot("a")
			compare(t, r.sees("a"), machineCases[word])
		})
	}
	for _, word := range vastsim.Deeds() {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			r.create("a")
			before := r.sees("a")
			if word != vastsim.DoPrice { // which changes before it runs
				r.Advance(time.Minute)
			}
			if word == vastsim.DoReturn {
				r.must(vastsim.Deed{Do: vastsim.DoUnknown})
			}
			r.must(vastsim.Deed{Do: word, Down: 1e6, Up: 1e6, PriceUSD: 0.5})
			switch word {
			case vastsim.DoVanish:
				if s := r.list(); !s.Complete || len(s.Instances) != 0 {
					t.Errorf("listed is %+v", s)
				}
				return
			case vastsim.DoPrice:
				if after := r.sees("a"); after.HourlyUSD < gpu.Dollar/2 || before.HourlyUSD >= gpu.Dollar/2 {
					t.Errorf("the price went from %s to %s", before.HourlyUSD, after.HourlyUSD)
				}
			}
			compare(t, r.sees("a"), machineCases[word])
		})
	}
}

func compare(t *testing.T, i gpu.Instance, want seen) {
	t.Helper()
	if got := (seen{i.Running, i.Address != "", i.Fault, i.Status}); got != want {
		t.Errorf("seen is %+v of %+v; want %+v", got, i, want)
	}
}

// must does something to the only instance.
func (r *rig) must(d vastsim.Deed) {
	r.Helper()
	if err := r.Do(r.Truth().Instances[0].ID, d); err != nil {
		r.Fatal(err)
	}
}

// The price at which a machine is rented may differ from that of its offer: it
// is seen as soon as it is listed.
func TestPriceAfterCreate(t *testing.T) {
	t.Parallel()
	r := newRig(t, `{"boots":[{"price_factor":2}]}`)
	req := r.request("a")
	if _, err := r.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if i := r.sees("a"); i.HourlyUSD != 2*req.Offer.GPUHourlyUSD+req.Offer.DiskHourlyUSD {
		t.Errorf("the offer said %s, listed is %s", req.Offer.HourlyUSD, i.HourlyUSD)
	}
}

// When the credit is used up all machines stop, their disks cost on, and the
// adapter sees both.
func TestCreditEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, `{"credit_usd":0.05}`)
	r.boot("a")
	if left, err := r.Credit(t.Context()); err != nil || left <= 0 || left > gpu.Dollar/20 {
		t.Errorf("credit %s, %v", left, err)
	}
	r.Advance(3 * time.Hour)
	if i := r.sees("a"); i.Running || i.Status != "stopped" {
		t.Errorf("seen is %+v", i)
	}
	if left, err := r.Credit(t.Context()); err != nil || left > 0 {
		t.Errorf("credit %s, %v", left, err)
	}
}

// The bill as the adapter reads it is the market's, to the nanodollar.
func TestBill(t *testing.T) {
	t.Parallel()
	r := newRig(t, `{"image_bytes":1500000000}`)
	id := r.boot("a")
	r.must(vastsim.Deed{Do: vastsim.DoTraffic, Down: 123_456_789, Up: 987_654_321})
	r.Advance(7 * time.Minute)
	if err := r.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Minute)
	truth := r.Truth().Instances[0]
	charges, err := r.Charges(t.Context(), truth.Created, r.Now())
	if err != nil || len(charges) != 1 {
		t.Fatalf("Charges: %+v, %v", charges, err)
	}
	if late := charges[0].Until.Sub(truth.Destroyed); late.Abs() > time.Millisecond {
		t.Errorf("charged until %s, destroyed at %s", charges[0].Until, truth.Destroyed)
	}
	want := gpu.Charge{InstanceID: id, Until: charges[0].Until, Label: "a",
		GPU: truth.Cost.GPU, Disk: truth.Cost.Disk, Down: truth.Cost.Down, Up: truth.Cost.Up}
	if charges[0] != want {
		t.Errorf("charged is %+v, want %+v", charges[0], want)
	}
}
