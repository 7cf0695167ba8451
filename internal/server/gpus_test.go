package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// theirs is an instance of another fleet, and its time.
const theirs = "ag1.them.01kaqk3m00000000000000000z"

// garage is a fleet on a marketplace that does as its script says, and the API
// before it.
type garage struct {
	*bench
	fake  *providertest.Fake
	fleet *fleet.Fleet
	api   *httpapi.API
	other string // id of an instance that is nobody's of ours
}

func newGarage(t *testing.T, change ...func(*fleet.Config)) *garage {
	t.Helper()
	g := &garage{bench: newBench(t)}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(apigpu.LeaseReply{Ready: true, Worker: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", GPU: "RTX 4090", Slots: 1}})
	}))
	t.Cleanup(worker.Close)
	g.fake = providertest.NewFake(providertest.FakeConfig{
		Name: "vast", Now: g.now, Boot: time.Minute, Address: func(string) string { return worker.URL },
		Offers: []gpu.Offer{offer("dear", 80), offer("cheap", 36)},
	})
	g.other = g.fake.Add(gpu.Instance{Label: "render-farm", Running: true, HourlyUSD: gpu.Dollar})
	g.fake.Add(gpu.Instance{Label: theirs, Running: true, HourlyUSD: gpu.Dollar / 4})
	g.fleet, g.api = g.process(t, change...)
	return g
}

// process is another one on the same database.
func (g *garage) process(t *testing.T, change ...func(*fleet.Config)) (*fleet.Fleet, *httpapi.API) {
	t.Helper()
	identity, err := fleet.LoadIdentity(t.Context(), g.db, "us", "a root secret")
	if err != nil {
		t.Fatal(err)
	}
	cfg := fleet.Config{
		DB: g.db, Queue: queue.New(g.db, g.now), Provider: g.fake, Identity: identity, Log: g.Log, Now: g.now,
		Policy: fleet.Policy{
			MaxGPUs: 2, IdleTimeout: time.Minute, BootTimeout: 10 * time.Minute, Lease: 5 * time.Minute, Silence: time.Hour,
			MaxWait: time.Hour, MaxBoots: 2, Traits: g.fake.Traits(),
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	f := fleet.New(cfg)
	keys, err := httpapi.ParseKeys("admin:a,shop:s")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{
		Jobs: g.Jobs, Guard: keys.Require, LinkSecret: []byte("links"), MaxUpload: 1 << 20, Title: "test", Version: "1", Log: g.Log, Now: g.now,
	})
	t.Cleanup(api.Stop)
	(&GPUs{Fleet: f}).Register(api, keys.RequireAdmin)
	return f, api
}

func offer(id string, cents gpu.USD) gpu.Offer {
	price := gpu.Dollar * cents / 100
	return gpu.Offer{
		ID: id, GPUHourlyUSD: price, DiskHourlyUSD: gpu.Dollar / 100, HourlyUSD: price + gpu.Dollar/100, DownUSD: gpu.Dollar / 100, UpUSD: gpu.Dollar / 100,
		DownMbps: 1000, UpMbps: 1000, GPU: "RTX 4090", NVENC: 8, Slots: 1, HostID: "h-" + id, MachineID: "m-" + id, Country: "DE", Lasts: 24 * time.Hour, Reliability: 1,
	}
}

// tick is one round of a process. What fails is tried again by the next.
func (g *garage) tick(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	if err := f.Tick(t.Context()); err != nil {
		t.Logf("tick: %v", err)
	}
}

// until ticks until a machine is in this state.
func (g *garage) until(t *testing.T, state gpu.State) fleet.Instance {
	t.Helper()
	for range 1000 {
		rows, err := g.fleet.Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(rows, func(in fleet.Instance) bool { return in.State == state }); i >= 0 {
			return rows[i]
		}
		g.tick(t, g.fleet)
		time.Sleep(5 * time.Millisecond) // a worker answers in its own time
		g.shift.Add(int64(time.Second))
	}
	t.Fatalf("no machine ever was %s", state)
	return fleet.Instance{}
}

// ask sends a request with a key and decodes the answer.
func ask[T any](t *testing.T, api http.Handler, key, method, path string, status int) (body T) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("X-API-Key", key)
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	if rec.Code != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, rec.Code, status, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
	}
	return body
}

func TestGPUsAreTheAdmins(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	for _, c := range []struct{ method, path string }{{"GET", "/gpus"}, {"GET", "/gpus?plan=1"}, {"DELETE", "/gpus"}, {"DELETE", "/gpus/x"}} {
		if p := ask[apigpu.Problem](t, g.api, "s", c.method, c.path, 403); p.Code != apigpu.Forbidden {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
		ask[apigpu.Problem](t, g.api, "", c.method, c.path, 401)
	}
	if p := ask[apigpu.Problem](t, g.api, "a", "GET", "/gpus?plan=perhaps", 400); p.Field != "plan" {
		t.Errorf("a plan that is neither: %+v", p)
	}
	document := ask[struct {
		Paths map[string]map[string]any
	}](t, g.api, "", "GET", "/openapi.json", 200)
	if len(document.Paths["/gpus"]) != 2 || len(document.Paths["/gpus/{id}"]) != 1 {
		t.Errorf("described: %v", document.Paths)
	}
}

// What is rented is shown with why, with what it costs and what it costs at
// most; before its worker answers it is not protected, and the command is named
// that would end it.
func TestGPUsTellWhatIsRented(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	empty := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus", 200)
	if empty.Data == nil || len(empty.Data) != 0 || empty.Stops == nil || empty.Foreign == nil || empty.Role != "standby" || empty.Fleet != "us" {
		t.Errorf("before the first round: %+v", empty)
	}
	j := g.submit(t, ann())
	booting := g.until(t, gpu.Booting)
	seen := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus", 200)
	if len(seen.Data) != 1 || seen.Role != "leader" || seen.Summary.WaitingJobs != 1 || seen.Summary.Unprotected != 1 {
		t.Fatalf("booting: %+v", seen)
	}
	one := seen.Data[0]
	const sweep = "VAST_API_KEY=... orchestrator sweep --fleet="
	if one.ID != booting.Label || one.State != "booting" || one.Reason == "" || one.HourlyUSD != 0.37 || one.GPU != "RTX 4090" || one.Country != "DE" ||
		!one.Unprotected || one.Sweep != sweep+"us" || one.Deadline == nil || len(one.Jobs) != 0 {
		t.Errorf("booting: %+v", one)
	}
	if !strings.Contains(one.Why, "a job waits: RTX 4090") {
		t.Errorf("it was rented because %q", one.Why)
	}
	// 15 minutes at 37 cents, if it starts now.
	if one.WorstUSD < 0.0925 || one.EndsBy == nil || one.EndsBy.Before(seen.At.Add(14*time.Minute)) {
		t.Errorf("at most %v until %v", one.WorstUSD, one.EndsBy)
	}
	if want := []apigpu.ForeignGPU{{Label: theirs, Fleet: "them", HourlyUSD: 0.25, Sweep: sweep + "them"}}; len(seen.Foreign) != 1 ||
		seen.Foreign[0].Label != want[0].Label || seen.Foreign[0].Fleet != want[0].Fleet || seen.Foreign[0].HourlyUSD != want[0].HourlyUSD ||
		seen.Foreign[0].Sweep != want[0].Sweep || seen.Foreign[0].CreatedAt == nil {
		t.Errorf("foreign: %+v", seen.Foreign)
	}
	ready := g.until(t, gpu.Ready)
	if _, err := g.Queue.Claim(t.Context(), j.ID, ready.Label, 0); err != nil {
		t.Fatal(err)
	}
	seen = ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus", 200)
	one = seen.Data[0]
	if one.Unprotected || one.Sweep != "" || one.ReadyAt == nil || one.Deadline != nil || !slices.Equal(one.Jobs, []string{j.ID}) || seen.Summary.Unprotected != 0 {
		t.Errorf("ready: %+v", one)
	}
	if one.CostUSD <= 0 || one.WorstUSD <= one.CostUSD || seen.Summary.WorstUSD != one.WorstUSD || seen.Summary.HourlyUSD != 0.37 || seen.Summary.TodayUSD <= 0 {
		t.Errorf("cost %v, at most %v; sums %+v", one.CostUSD, one.WorstUSD, seen.Summary)
	}
}

// A plan is told and not done, and that nothing is done is told with why.
func TestGPUsPlan(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	plan := func() apigpu.GPUPlan {
		t.Helper()
		body := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus?plan=1", 200)
		if body.Plan == nil {
			t.Fatalf("no plan in %+v", body)
		}
		return *body.Plan
	}
	if p := plan(); len(p.Actions) != 0 || p.Actions == nil || p.Nothing != "no job waits" {
		t.Errorf("with nothing to do: %+v", p)
	}
	g.submit(t, ann())
	p := plan()
	if len(p.Actions) != 1 || p.Actions[0].Kind != "rent" || p.Actions[0].Reason == "" || len(p.Actions[0].Offers) != 2 || p.Actions[0].Offers[0].ID != "cheap" || p.Nothing != "" {
		t.Errorf("with a job that waits: %+v", p)
	}
	rows, err := g.fleet.Instances(t.Context())
	if err != nil || len(rows) != 0 || len(g.fake.Calls(providertest.Create)) != 0 {
		t.Errorf("it was done: %+v, %v", rows, err)
	}
	g.until(t, gpu.Booting)
	if p := plan(); len(p.Actions) != 0 || len(p.Kept) != 1 || p.Kept[0].Reason == "" || p.Kept[0].Until == nil || p.Nothing == "" {
		t.Errorf("while one boots: %+v", p)
	}
	g.fake.SetOutage(errors.New("down"))
	f, _ := g.process(t) // one that leads has listed already
	if _, err := f.Preview(t.Context()); apigpu.CodeOf(err) != apigpu.Unavailable {
		t.Errorf("while the provider is away: %v", err)
	}
}

// What carries our label and is in no row is told of, and ended.
func TestGPUsTellOfStrays(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	id := g.fake.Add(gpu.Instance{Label: "ag1.us.forgotten", Running: true})
	body := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus?plan=1", 200)
	if len(body.Strays) != 1 || body.Strays[0].ProviderID != id || len(body.Plan.Actions) != 1 || body.Plan.Actions[0].Kind != "destroy" || body.Plan.Actions[0].ID != id {
		t.Errorf("who looks on: %+v", body)
	}
	g.tick(t, g.fleet)
	if body := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus", 200); len(body.Strays) != 1 || body.Strays[0].Label != "ag1.us.forgotten" {
		t.Errorf("after a listing: %+v", body.Strays)
	}
	for range 4 {
		g.shift.Add(int64(2 * time.Second))
		g.tick(t, g.fleet)
	}
	if body := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus", 200); len(body.Strays) != 0 || body.Strays == nil {
		t.Errorf("when it is gone: %+v", body.Strays)
	}
	g.onlyTheirsAreLeft(t, 0)
}

// What stops renting is said, whatever waits.
func TestGPUsTellWhatStops(t *testing.T) {
	t.Parallel()
	g := newGarage(t, func(c *fleet.Config) { c.Policy.NoRent = "no volume holds the state" })
	g.submit(t, ann())
	g.tick(t, g.fleet)
	body := ask[apigpu.GPUs](t, g.api, "a", "GET", "/gpus?plan=1", 200)
	if len(body.Stops) != 1 || body.Stops[0].Reason != "no volume holds the state" || !strings.Contains(body.Plan.Nothing, body.Stops[0].Reason) || len(body.Data) != 0 {
		t.Errorf("%+v", body)
	}
}

// A machine is ended by its label or its provider's id; asked again, it is
// answered as long as it is there, then 404. What is not ours stays.
func TestEndGPU(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	g.submit(t, ann())
	in := g.until(t, gpu.Ready)
	if p := ask[apigpu.Problem](t, g.api, "a", "DELETE", "/gpus/"+g.other, 404); p.Code != apigpu.GPUNotFound {
		t.Errorf("a stranger's: %+v", p)
	}
	ended := ask[apigpu.GPUsEnded](t, g.api, "a", "DELETE", "/gpus/"+in.ProviderID, 200)
	if len(ended.Data) != 1 || ended.Data[0].ID != in.Label || ended.Data[0].State != "destroying" || !strings.Contains(ended.Message, "1 job, so that another is rented") {
		t.Errorf("%+v", ended)
	}
	if again := ask[apigpu.GPUsEnded](t, g.api, "a", "DELETE", "/gpus/"+in.Label, 200); len(again.Data) != 1 {
		t.Errorf("again: %+v", again)
	}
	if calls := g.fake.Calls(providertest.Destroy); len(calls) != 1 || calls[0].ID != in.ProviderID {
		t.Errorf("the provider was asked %+v", calls)
	}
	for range 10 { // two listings, a second apart
		g.shift.Add(int64(2 * time.Second))
		g.tick(t, g.fleet)
	}
	if p := ask[apigpu.Problem](t, g.api, "a", "DELETE", "/gpus/"+in.Label, 404); p.Code != apigpu.GPUNotFound {
		t.Errorf("when it is gone: %+v", p)
	}
	g.onlyTheirsAreLeft(t, 1) // the job got another
}

// onlyTheirsAreLeft checks that foreign instances live, and how many of ours.
func (g *garage) onlyTheirsAreLeft(t *testing.T, ours int) {
	t.Helper()
	for _, r := range g.fake.Records() {
		switch alive := r.Ended.IsZero(); {
		case strings.HasPrefix(r.Label, "ag1.us.") && alive:
			ours--
		case !strings.HasPrefix(r.Label, "ag1.us.") && !alive:
			t.Errorf("%s was ended", r.Label)
		}
	}
	if ours != 0 {
		t.Errorf("%d more of ours should be there", ours)
	}
}

// All end at once, with the job that runs on one of them.
func TestEndAllGPUs(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	if ended := ask[apigpu.GPUsEnded](t, g.api, "a", "DELETE", "/gpus", 200); len(ended.Data) != 0 || ended.Data == nil || ended.Message != "There is nothing to end." {
		t.Errorf("none: %+v", ended)
	}
	j := g.submit(t, ann())
	in := g.until(t, gpu.Ready)
	if _, err := g.Queue.Claim(t.Context(), j.ID, in.Label, 0); err != nil {
		t.Fatal(err)
	}
	g.fake.ScriptDestroy(providertest.DestroyStep{Err: errors.New("503")})
	ended := ask[apigpu.GPUsEnded](t, g.api, "a", "DELETE", "/gpus", 200)
	if len(ended.Data) != 1 || !strings.Contains(ended.Message, "not blamed: 1 job.") || !slices.Equal(ended.Data[0].Jobs, []string{j.ID}) {
		t.Errorf("%+v", ended)
	}
	g.onlyTheirsAreLeft(t, 1) // the call failed
	g.shift.Add(int64(4 * time.Second))
	g.tick(t, g.fleet)
	g.onlyTheirsAreLeft(t, 0) // and is made again
}

// A process that stands by leaves the wish to the one that leads.
func TestEndGPUFromAStandby(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	g.submit(t, ann())
	in := g.until(t, gpu.Ready)
	standby, api := g.process(t)
	g.tick(t, standby)
	if body := ask[apigpu.GPUs](t, api, "a", "GET", "/gpus?plan=1", 200); body.Role != "standby" || len(body.Data) != 1 || len(body.Foreign) != 1 || body.Plan.Kept[0].ID != in.Label {
		t.Errorf("%+v", body)
	}
	ended := ask[apigpu.GPUsEnded](t, api, "a", "DELETE", "/gpus/"+in.Label, 200)
	if len(ended.Data) != 1 || ended.Data[0].State != "destroying" || len(g.fake.Calls(providertest.Destroy)) != 0 {
		t.Errorf("%+v", ended)
	}
	g.tick(t, g.fleet)
	if calls := g.fake.Calls(providertest.Destroy); len(calls) != 1 || calls[0].ID != in.ProviderID {
		t.Errorf("who leads asked %+v", calls)
	}
}

// A worker that is configured is shown, and is not ended from here.
func TestConfiguredWorkersAreNotEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, _ := newStatus(t, b)
	if err := s.Fleet.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := &GPUs{Fleet: s.Fleet}
	all, err := g.list(t.Context(), true)
	if err != nil || len(all.Data) != 1 || !all.Data[0].Permanent || all.Data[0].Unprotected || all.Data[0].WorstUSD != 0 || len(all.Plan.Kept) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	if _, err := g.end(t.Context(), all.Data[0].ID); apigpu.CodeOf(err) != apigpu.Conflict {
		t.Errorf("ended: %v", err)
	}
	if ended, err := g.end(t.Context(), ""); err != nil || len(ended.Data) != 0 {
		t.Errorf("all: %+v, %v", ended, err)
	}
}
