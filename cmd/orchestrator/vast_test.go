package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// What must not leave this machine. The login of the image must, for the host
// to pull it, but not into the worker.
const (
	accountKey = "s3cret-of-the-account"
	pullToken  = "s3cret-of-the-registry"
	clientsKey = "s3cret-of-the-clients"
	rootSecret = "s3cret-of-the-root"
)

// started is a program of a simulated machine.
type started struct {
	image string
	env   map[string]string
}

// machines tell what they run.
type machines struct {
	vastsim.Scripted
	started chan started
}

func (m *machines) Start(p vastsim.Program) (vastsim.Machine, error) {
	machine, err := m.Scripted.Start(p)
	m.started <- started{p.Image, m.Env(p.ID)}
	return machine, err
}

// marketplace is a simulated one, whose machines boot at once.
func marketplace(t *testing.T) (url string, sim *vastsim.Sim, m *machines) {
	t.Helper()
	m = &machines{started: make(chan started, 10)}
	credit, soon := 10.0, vastsim.Duration(1)
	var err error
	sim, err = vastsim.New(vastsim.Config{Key: accountKey, Machines: m, Address: "127.0.0.1", Scenario: vastsim.Scenario{
		CreditUSD: &credit, Timing: vastsim.Timing{Provision: soon, Create: soon, Pull: soon},
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	sim.SetURL(server.URL)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sim.Run(ctx)
	}()
	t.Cleanup(func() {
		sim.Close()
		stop()
		<-done
		server.Close()
	})
	return server.URL, sim, m
}

// registryOf answers every question about an image with this status.
func registryOf(t *testing.T, status int) (image string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != pullToken {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64))
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://") + "/you/worker"
}

// renting are the settings of an orchestrator that rents.
func renting(url, image string, more ...string) []string {
	host, _, _ := strings.Cut(image, "/")
	return append([]string{
		"--provider=vast", "--vast-api-url=" + url, "--vast-api-key=" + accountKey, "--vast-worker-image=" + image + ":1.0",
		"--vast-image-login=-u robot -p " + pullToken + " " + host, "--gpu-api-key=" + rootSecret, "--log-level=debug",
	}, more...)
}

// A rented machine is told what it needs, and no secret of ours; the log is
// told none either. Its image is asked for by digest.
func TestRentedMachineHoldsNoSecret(t *testing.T) {
	t.Parallel()
	image := registryOf(t, http.StatusOK)
	url, sim, m := marketplace(t)
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	settings := renting(url, image, "--x-api-key="+clientsKey, "--host=127.0.0.1", "--allow-private-hosts=minio.internal", "--egress-ips=127.0.0.1")
	go func() { done <- run(ctx, args(t.TempDir(), settings...), io.Discard, log) }()
	base := "http://" + log.find(t, `listening address=(\S+)`)
	submit(t, base)
	var got started
	select {
	case got = <-m.started:
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing was rented:\n%s", log.text())
	}
	if want := image + "@sha256:" + strings.Repeat("a", 64); got.image != want {
		t.Errorf("it runs %s, want %s", got.image, want)
	}
	want := []string{
		"ALLOWED_IPS", "BOOT_TIMEOUT", "CONTAINER_API_KEY", "CONTAINER_ID", "DATA_DIRECTORY", "END_BY", "GPU_COUNT", "LEASE", "LOG_LEVEL", "MAX_UPLOAD",
		"MAX_WORKER_JOBS", "NVIDIA_DRIVER_CAPABILITIES", "PUBLIC_IPADDR", "SESSION_TOKEN", "TLS_SEED", "VAST_API_URL", "VAST_CONTAINERLABEL",
		"VAST_TCP_PORT_3334", "X_API_KEY",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got.env))); diff != "" {
		t.Errorf("what it is told (-want +got):\n%s", diff)
	}
	if got.env["VAST_API_URL"] != url || got.env["CONTAINER_API_KEY"] == accountKey || got.env["ALLOWED_IPS"] != "127.0.0.1" {
		t.Errorf("it cannot end itself, or could end others: %q", got.env)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	told := fmt.Sprint(got.env, sim.Calls(), log.text())
	for _, secret := range []string{accountKey, pullToken, clientsKey, rootSecret, "minio.internal"} {
		if strings.Contains(told, secret) {
			t.Errorf("%s is told", secret)
		}
	}
	for _, secret := range []string{"SESSION_TOKEN", "X_API_KEY", "TLS_SEED", "CONTAINER_API_KEY"} {
		if strings.Contains(log.text(), got.env[secret]) {
			t.Errorf("the machine's %s is in the log", secret)
		}
	}
	if broken := sim.Truth().Broken; len(broken) > 0 {
		t.Errorf("rules of the API were broken: %+v", broken)
	}
}

// submit sends a job whose video nobody can reach.
func submit(t *testing.T, base string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/video/caption", strings.NewReader(`{"url_video": "http://video.invalid/v.mp4", `+inlineSRT+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Prefer", "respond-async")
	req.Header.Set("X-API-Key", clientsKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status)
	}
}

// An image that is not there, and a registry that cannot be reached, are told
// at /health, and keep nobody from starting.
func TestImageIsToldAtHealth(t *testing.T) {
	t.Parallel()
	url, _, _ := marketplace(t)
	for image, want := range map[string]string{
		registryOf(t, http.StatusNotFound):   "is not there, or that its login may not pull it",
		registryOf(t, http.StatusBadGateway): "by its tag, not by its digest",
	} {
		log := newLogLines()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, args(t.TempDir(), renting(url, image)...), io.Discard, log) }()
		base := "http://" + log.find(t, `listening address=(\S+)`)
		log.find(t, `msg="the image of the workers" (error)=`)
		resp, err := http.Get(base + "/health")
		if err != nil {
			t.Fatal(err)
		}
		var health struct{ Warnings []string }
		if err := json.NewDecoder(resp.Body).Decode(&health); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		if len(health.Warnings) != 1 || !strings.Contains(health.Warnings[0], want) {
			t.Errorf("warnings %q, want one with %q", health.Warnings, want)
		}
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Whoever mends a setting is tried again at once; a plain restart is none.
func TestRentalSettings(t *testing.T) {
	t.Parallel()
	of := func(change func(*Config)) string {
		c := &Config{VastConfig: VastConfig{VastAPIKey: accountKey, VastWorkerImage: "worker:1", EgressIPs: []string{"192.0.2.1"}}}
		change(c)
		text, err := c.rentalSettings(fleet.Identity{ID: "us", Secret: []byte(rootSecret)})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	seen := map[string]bool{of(func(*Config) {}): true}
	if !seen[of(func(c *Config) { c.MaxGPUs = 9 })] {
		t.Error("what is no reason for a stop counts")
	}
	for name, change := range map[string]func(*Config){
		"the key": func(c *Config) { c.VastAPIKey = "another" }, "the image": func(c *Config) { c.VastWorkerImage = "worker:2" },
		"its login": func(c *Config) { c.VastImageLogin = "-u a -p b c" }, "our address": func(c *Config) { c.EgressIPs = nil },
	} {
		text := of(change)
		if seen[text] || strings.Contains(text, "another") || len(text) != 16 {
			t.Errorf("%s: %q", name, text)
		}
		seen[text] = true
	}
}

// A release rents what was published with it, and so does what was linked with
// an image of its own. Nothing else does.
func TestOwnImage(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v0.1.0": published + ":v0.1.0", "v12.0.34": published + ":v12.0.34", "v0.2.0-rc.1": published + ":v0.2.0-rc.1",
		"v0.2.0-rc2": published + ":v0.2.0-rc2", "v0.1.0-3-g2fc6950": "", "v0.1.0-dirty": "", "v0.1.0-3-g2fc6950-dirty": "",
		"2fc6950": "", "devel": "", "devel-2fc6950a1b2c": "", "v0.1.1-0.20261126030405-2fc6950a1b2c": "", "0.1.0": "",
		"v0.1.0+dirty": "", "": "",
	} {
		if got := ownImage("", version); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
		const own = "ghcr.io/fork/api-gpu-worker:2fc6950"
		if got := ownImage(own, version); got != own {
			t.Errorf("%s: %q, want %q", version, got, own)
		}
	}
}
