package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/provider/static"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func newStatus(t *testing.T, b *bench) (*Status, func(context.Context) error) {
	t.Helper()
	identity, err := fleet.LoadIdentity(t.Context(), b.db, "", "")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := static.New(static.Config{URLs: []string{"http://127.0.0.1:1"}, Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := fleet.New(fleet.Config{
		DB: b.db, Queue: b.Queue, Provider: provider, Identity: identity, Log: b.Log, Now: b.now,
		Policy: fleet.Policy{MaxGPUs: 1, Lease: time.Minute, BootTimeout: time.Minute, Silence: time.Minute, Traits: provider.Traits()},
	})
	return &Status{Queue: b.Queue, Fleet: f, Jobs: b.Jobs, Provider: "static", Version: "v1", Began: b.now(), Now: b.now, Warnings: []string{"careful"}}, f.Run
}

// What stops renting is told with what to do, and when it is tried again.
func TestNotRented(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for want, s := range map[string]fleet.Stop{
		"nothing is rented (funds): no money (more in GET /gpus and in the log); tried again at 2026-01-02T12:05:00Z": {Code: "funds", Reason: "no money", Detail: "add some", Until: now.Add(5 * time.Minute)},
		"nothing is rented (funds): no money; the next job tries it again":                                            {Code: "funds", Reason: "no money", Until: now},
		"nothing is rented (settings): no volume":                                                                     {Code: "settings", Reason: "no volume"},
	} {
		if got := notRented(s, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, run := newStatus(t, b)
	health := func() (int, Health) {
		rec := httptest.NewRecorder()
		s.Health(rec, httptest.NewRequest(http.MethodGet, "/health", nil))
		var h Health
		if err := json.Unmarshal(rec.Body.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		return rec.Code, h
	}
	if code, h := health(); code != 200 || h.Status != "standby" || h.Role != "standby" || len(h.Warnings) != 1 {
		t.Errorf("before it leads: %d %+v", code, h)
	}
	b.submit(t, ann())
	hooked, err := b.Queue.Submit(t.Context(), queue.Draft{Client: "ann", Subtitle: []byte("1"), WebhookURL: "https://n8n.example/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Queue.Cancel(t.Context(), hooked.ID); err != nil {
		t.Fatal(err)
	}
	other := prometheus.NewGauge(prometheus.GaugeOpts{Name: "api_gpu_other", Help: "Of another part."})
	other.Set(7)
	s.More = []prometheus.Collector{other}
	running := b.submit(t, ann())
	if _, err := b.Queue.Claim(t.Context(), running.ID, "instance", 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for !s.Fleet.Leading() || count(instances(t, s), "booting") == 0 {
		select {
		case <-s.Fleet.Changed():
		case <-time.After(10 * time.Millisecond):
		}
	}
	if code, h := health(); code != 200 || h.Status != "ok" || h.Role != "leader" || h.Jobs != (HealthJobs{1, 1}) || h.Workers != (HealthWorkers{0, 1}) || h.Version != "v1" {
		t.Errorf("%d %+v", code, h)
	}
	rec := httptest.NewRecorder()
	s.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`api_gpu_jobs{status="queued"} 1`, `api_gpu_jobs{status="running"} 1`, `api_gpu_instances{state="booting"} 1`,
		`api_gpu_instances{state="ready"} 0`, `api_gpu_leading 1`, "api_gpu_webhooks_pending 1", "api_gpu_other 7", "go_goroutines",
		`api_gpu_storage_bytes{kind="used"} 0`, `api_gpu_storage_bytes{kind="promised"} 0`, `api_gpu_storage_bytes{kind="free"} `,
		`api_gpu_storage_bytes{kind="limit"} 0`, `api_gpu_storage_full 0`, `api_gpu_evicted_results_total 0`,
	} {
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), line) {
			t.Errorf("status %d, no line %s", rec.Code, line)
		}
	}
	if _, h := health(); h.Storage.Free <= 0 || h.Storage.Full || len(h.Warnings) != 1 {
		t.Errorf("with room: %+v", h)
	}
	b.withRoom(t, blob.Options{MaxBytes: blob.MinRoom - 1})
	if code, h := health(); code != 200 || !h.Storage.Full || h.Storage.Limit != blob.MinRoom-1 || len(h.Warnings) != 2 {
		t.Errorf("without room: %d %+v", code, h)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	if code, h := health(); code != 503 || h.Status != "degraded" {
		t.Errorf("without a database: %d %+v", code, h)
	}
}

func instances(t *testing.T, s *Status) []fleet.Instance {
	t.Helper()
	rows, err := s.Fleet.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// What belongs to other fleets is counted, with the command that would end it.
func TestForeigners(t *testing.T) {
	t.Parallel()
	all := []fleet.Foreign{{Fleet: "them"}, {Fleet: "old"}, {Fleet: "them"}}
	want := []string{
		"1 machine of another fleet, old, on the account and not touched; to end that fleet: VAST_API_KEY=... orchestrator sweep --fleet=old",
		"2 machines of another fleet, them, on the account and not touched; to end that fleet: VAST_API_KEY=... orchestrator sweep --fleet=them",
	}
	if got := foreigners("vast", all); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := foreigners("local", all[:1]); len(got) != 1 || strings.Contains(got[0], "sweep") {
		t.Errorf("%q", got)
	}
	for n := range 9 {
		all = append(all, fleet.Foreign{Fleet: fmt.Sprint("f", n)})
	}
	got := foreigners("vast", all)
	if len(got) != fleetsTold+1 || !strings.Contains(got[fleetsTold], "6 further fleets") {
		t.Errorf("%q", got)
	}
}

// /health names what a listing has of other fleets, and that idle machines go
// sooner than was asked for.
func TestHealthOfFleet(t *testing.T) {
	t.Parallel()
	g := newGarage(t, func(c *fleet.Config) { c.Policy.IdleTimeout, c.Policy.ProofOf = time.Hour, "https://market.example" })
	g.tick(t, g.fleet)
	s := &Status{Queue: g.Queue, Fleet: g.fleet, Jobs: g.Jobs, Provider: "vast", Version: "v1", Began: g.now(), Now: g.now}
	rec := httptest.NewRecorder()
	s.Health(rec, httptest.NewRequest(http.MethodGet, "/health", nil))
	for _, want := range []string{"1 machine of another fleet, them", "orchestrator sweep --fleet=them", "IDLE_TIMEOUT=1h0m0s"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %q in %s", want, rec.Body)
		}
	}
}

// GET /doctor is the admin's.
func TestDoctorRoute(t *testing.T) {
	t.Parallel()
	g := newGarage(t)
	keys, err := httpapi.ParseKeys("admin:a,shop:s")
	if err != nil {
		t.Fatal(err)
	}
	RegisterDoctor(g.api, keys.RequireAdmin, func(context.Context) apigpu.Diagnosis {
		return apigpu.Diagnosis{Version: "v1", Checks: []apigpu.Check{{Name: "credit", Status: apigpu.CheckOK, Message: "Enough."}}}
	})
	for key, want := range map[string]int{"a": 200, "s": 403, "": 401, "x": 401} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/doctor", nil)
		r.Header.Set("X-API-Key", key)
		g.api.ServeHTTP(rec, r)
		if rec.Code != want || (want == 200) != strings.Contains(rec.Body.String(), "Enough.") {
			t.Errorf("%q: %d %s", key, rec.Code, rec.Body)
		}
	}
}

// Only who knows the secret can tell the proof, and only what looks like a
// nonce is answered.
func TestHealthProof(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, _ := newStatus(t, b)
	s.Prove = func(nonce string) string { return "proof of " + nonce }
	for query, want := range map[string]string{"": "", "?nonce=short": "", "?nonce=ABCDEFGHIJKLMNOP": "proof of ABCDEFGHIJKLMNOP", "?nonce=ABCDEFGHIJKLMN%0a": ""} {
		rec := httptest.NewRecorder()
		s.Health(rec, httptest.NewRequest(http.MethodGet, "/health"+query, nil))
		var h Health
		if err := json.Unmarshal(rec.Body.Bytes(), &h); err != nil || h.Proof != want {
			t.Errorf("%q: %q %v", query, h.Proof, err)
		}
	}
}
