package fleet

import (
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// trialPolicy is that of one machine with a short lease.
func trialPolicy(most gpu.USD) Policy {
	return Policy{
		MaxGPUs: 1, BootTimeout: 10 * time.Minute, Lease: time.Minute, Budget: Budget{Job: most},
		Traits: gpu.Traits{Pinned: true, ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second},
	}
}

// What a trial may cost is the worst case of the fleet: what fits is had, and
// the refusal names what would.
func TestBargains(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	offers := []gpu.Offer{
		{ID: "dear", HourlyUSD: gpu.Dollar, GPUHourlyUSD: gpu.Dollar, DownUSD: gpu.Dollar / 100, UpUSD: gpu.Dollar / 100, Lasts: 48 * time.Hour},
		{ID: "cheap", HourlyUSD: gpu.Dollar / 10, GPUHourlyUSD: gpu.Dollar / 10, DownUSD: gpu.Dollar / 100, UpUSD: gpu.Dollar / 100, Lasts: 48 * time.Hour},
	}
	ask := queue.Ask{Run: 2 * time.Minute, Size: 30_000, Room: 1 << 20}
	all, why := trialPolicy(gpu.Dollar).Bargains(offers, ask, now)
	if why != nil || len(all) != 2 || all[0].ID != "cheap" || all[0].Run != ask.Run {
		t.Fatalf("%+v, %v", all, why)
	}
	// 2 boots, a lease, overtime and the run at $0.10/h; 1 GiB and the clip in, 64 MiB out, at $0.01/GB.
	hours := (2*10*time.Minute + time.Minute + overtime + 2*time.Minute).Hours()
	want := hours*0.1 + float64(mostPull+30_000+leastResult)*0.01/1e9
	if got := float64(all[0].Most) / float64(gpu.Dollar); got < want || got > want+1e-8 {
		t.Errorf("at most %s, want %.9f", all[0].Most, want)
	}
	_, why = trialPolicy(gpu.Dollar/100).Bargains(offers, ask, now)
	if why == nil || why.Need <= gpu.Dollar/100 {
		t.Fatalf("a cent is enough: %+v", why)
	}
	if all, _ := trialPolicy(why.Need-1).Bargains(offers, ask, now); len(all) != 0 {
		t.Errorf("less than the least is enough: %+v", all)
	}
	all, _ = trialPolicy(why.Need).Bargains(offers, ask, now)
	if len(all) != 1 || all[0].ID != "cheap" || all[0].Most > why.Need || all[0].Run < leastRun {
		t.Errorf("the least is not enough: %+v", all)
	}
}

// A trial is seen through by the ledger's rules: ready by an answer, gone by
// two complete listings far enough from its create call and from each other.
func TestTrialRow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tr := NewTrial(trialPolicy(gpu.Dollar), Identity{ID: "live-x", Secret: []byte("secret")}, gpu.Offer{ID: "1", HourlyUSD: gpu.Dollar / 10}, now)
	req, err := tr.Request(gpu.Offer{ID: "1"}, "image", map[string]string{"MORE": "x"})
	if err != nil || req.Label != tr.Row.Label || !Ours("live-x", req.Label) || req.Env["MORE"] != "x" {
		t.Fatalf("%+v %v", req, err)
	}
	for _, name := range []string{"SESSION_TOKEN", "X_API_KEY", "TLS_SEED", "LEASE", "END_BY"} {
		if req.Env[name] == "" {
			t.Errorf("%s is not told", name)
		}
	}
	tr.Created("7", nil, now)
	listing := func(after time.Duration, all ...gpu.Instance) {
		t.Helper()
		at := now.Add(after)
		tr.Seen(gpu.Snapshot{Instances: all, Complete: true, Began: at}, at)
	}
	in := gpu.Instance{ID: "7", Label: req.Label, Running: true, Address: "https://192.0.2.1:1"}
	listing(10*time.Second, in)
	if tr.Row.Address == "" || tr.GivenUp(now.Add(time.Minute)) != "" {
		t.Errorf("%+v, given up: %q", tr.Row, tr.GivenUp(now.Add(time.Minute)))
	}
	if tr.GivenUp(now.Add(11*time.Minute)) == "" {
		t.Error("it is never given up")
	}
	strays := tr.Seen(gpu.Snapshot{Instances: []gpu.Instance{in, {ID: "8", Label: req.Label}}, Complete: true, Began: now.Add(11 * time.Second)}, now.Add(11*time.Second))
	if strays["8"] != req.Label {
		t.Errorf("its twin is not seen: %v", strays)
	}
	for _, after := range []time.Duration{20, 60, 91, 95} {
		if listing(after * time.Second); tr.Row.State == gpu.Gone {
			t.Errorf("gone %d s after its create call", after)
		}
	}
	if listing(102 * time.Second); tr.Row.State != gpu.Gone {
		t.Errorf("not gone: %+v", tr.Row)
	}
	tr.Row.Address = "http://192.0.2.1:1"
	if _, err := tr.Client(); err == nil {
		t.Error("its worker is spoken to in the clear")
	}
}
