package show

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestGPUs(t *testing.T) {
	t.Parallel()
	at := noon.Add(time.Hour)
	var out bytes.Buffer
	err := GPUs(&out, apigpu.GPUs{
		Fleet: "us", Role: "standby", At: noon,
		Data: []apigpu.GPU{
			{ID: "ag1.us.a", State: "ready", Since: noon.Add(-3 * time.Minute), GPU: "RTX 4090", Country: "DE", Jobs: []string{"job_1"}, HourlyUSD: 0.37, CostUSD: 0.0185, WorstUSD: 0.05, Reason: "its worker proved h264_nvenc", Why: "a job waits: it costs least"},
			{ID: "ag1.us.b", State: "creating", Ambiguous: true, Since: noon, HourlyUSD: 0.1, WorstUSD: 0.025, Unprotected: true, Sweep: "sweep it", Reason: "a job waits\x1b[2J"},
			{ID: "http://gpu:3334", State: "booting", Permanent: true, Since: noon.Add(-50 * time.Hour), Reason: "it is configured"},
		},
		Summary: apigpu.GPUTotals{HourlyUSD: 0.47, TodayUSD: 1.5, ReservedUSD: 0.1, WorstUSD: 0.075, Unprotected: 1},
		Stops:   []apigpu.GPUStop{{Code: "budget", Reason: "the day's budget is spent.", Until: &at}, {Code: "auth", Reason: "the key is not accepted", Detail: "401: make another"}},
		Strays:  []apigpu.ForeignGPU{{ProviderID: "30", Label: "ag1.us.z"}},
		Foreign: []apigpu.ForeignGPU{{ProviderID: "31", Label: "ag1.them.c", Fleet: "them", HourlyUSD: 0.25, Sweep: "sweep them"}, {ProviderID: "32", Label: "ag1.odd.d"}},
	})
	want := `ID               STATE                       SINCE      GPU            JOBS  PRICE      COST       AT MOST    REASON
ag1.us.a         ready                       3 min 0 s  RTX 4090 (DE)  1     $0.3700/h  $0.018500  $0.050000  its worker proved h264_nvenc
ag1.us.b         creating (nobody answered)  0 s        -              0     $0.1000/h  $0.000000  $0.025000  a job waits [2J
http://gpu:3334  booting (configured)        2 d 2 h    -              0     $0.0000/h  $0.000000  $0.000000  it is configured

Fleet us: $0.4700/h now, $1.500000 today, $0.100000 reserved. If its server dies now: $0.075000 at most, for all of them.
ag1.us.a was rented because a job waits: it costs least.
This was answered by a process that does not lead: it knows the ledger and what stops renting, and not what else is on the account.
Not protected, since no worker has answered there yet: ag1.us.b. If the server dies now, end it with: sweep it
Nothing is rented (budget): the day's budget is spent. Tried again at 2026-11-25 13:00:00 UTC.
Nothing is rented (auth): the key is not accepted. 401: make another.
Not in the ledger, and therefore ended: 30 (ag1.us.z).
Not of this fleet, and not touched: 31 (ag1.them.c, $0.2500/h). To end its fleet: sweep them
Not of this fleet, and not touched: 32 (ag1.odd.d, $0.0000/h).
`
	if diff := cmp.Diff(want, out.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	at := noon.Add(5 * time.Second)
	var out bytes.Buffer
	err := Plan(&out, apigpu.GPUPlan{
		Actions: []apigpu.GPUAction{
			{Kind: "destroy", ID: "ag1.us.a", Reason: "idle for 5s"},
			{Kind: "rent", Reason: "a job waits", Offers: []apigpu.GPUOffer{
				{ID: "7", GPU: "RTX 4090", Country: "DE", HourlyUSD: 0.37, JobUSD: 0.0061, Why: "least for the job"}, {ID: "8", GPU: "RTX 3060", HourlyUSD: 0.05},
			}},
		},
		Kept: []apigpu.GPUKept{{ID: "ag1.us.b", Reason: "it runs job_1"}, {ID: "ag1.us.c", Reason: "it is idle", Until: &at}},
	})
	want := `The next round would:
  destroy ag1.us.a, because idle for 5s
  rent, because a job waits
    offer 7  RTX 4090 (DE)  $0.3700/h  $0.006100 for the job  least for the job
    offer 8  RTX 3060       $0.0500/h
  keep ag1.us.b, because it runs job_1
  keep ag1.us.c, because it is idle (until 2026-11-25 12:00:05 UTC, if nothing changes)
`
	if diff := cmp.Diff(want, out.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	out.Reset()
	if err := Plan(&out, apigpu.GPUPlan{Nothing: "no job waits"}); err != nil || out.String() != "The next round would:\n  rent nothing, because no job waits\n" {
		t.Errorf("%q, %v", &out, err)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 59 * time.Second: "59 s", 59600 * time.Millisecond: "1 min 0 s", 90 * time.Minute: "1 h 30 min", 49 * time.Hour: "2 d 1 h",
	} {
		if got := Age(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
