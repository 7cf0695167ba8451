package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
)

// parse reads settings as the program does, without its environment.
func parse(t *testing.T, args ...string) *serveCmd {
	t.Helper()
	var c serveCmd
	parser, err := kong.New(&c, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	c.defaults()
	return &c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t)
	if err := c.check(); err != nil {
		t.Fatalf("without any setting it does not start: %v", err)
	}
	if c.Host != "127.0.0.1" || c.Provider != "local" || c.MaxUpload != 2<<30 || c.DiskFreeMin != 1<<30 || c.SyncWait != 90*time.Second || c.Lease != 10*time.Minute {
		t.Errorf("%+v", c.Config)
	}
	if c := parse(t, "--x-api-key=k"); c.Host != "" {
		t.Errorf("with a key it listens on %q only", c.Host)
	}
	if c := parse(t, "--worker-url=http://a,http://b"); c.Provider != "static" || len(c.WorkerURL) != 2 {
		t.Errorf("%q %q", c.Provider, c.WorkerURL)
	}
	if d, err := c.idleTimeout(); err != nil || d != freeIdle || c.requireGPU() || c.budget() != (fleet.Budget{}) {
		t.Errorf("%s, %v; %+v", d, err, c.budget())
	}
}

// The settings of the issue: a key and an image are enough to rent.
func TestVastDefaults(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"--app-env=development", "--app-env=production"} {
		c := parse(t, "--vast-api-key=k", "--vast-worker-image=ghcr.io/you/worker:1", more)
		if err := c.check(); err != nil {
			t.Fatalf("%s: %v", more, err)
		}
		idle, err := c.idleTimeout()
		if c.Provider != "vast" || !c.requireGPU() || err != nil || idle != paidIdle || c.budget() != (fleet.Budget{Day: 5 * gpu.Dollar}) {
			t.Errorf("%s: %q %v %s %v %+v", more, c.Provider, c.requireGPU(), idle, err, c.budget())
		}
		if !c.VastVerified || c.VastDatacenter || gpu.USD(c.VastMaxPrice) != gpu.Dollar || c.VastMinVRAM != 4 || c.VastMinReliability != 0.95 ||
			c.MaxWait != 4*time.Minute || c.WorkerJobs != 1 || c.VastAPIURL != vast.DefaultURL {
			t.Errorf("%s: %+v", more, c.Config)
		}
	}
	c := parse(t, "--vast-api-key=k", "--vast-worker-image=you/worker", "--no-require-gpu", "--budget-day-usd=off", "--budget-job-usd=0.1",
		"--budget-month-usd=$30", "--idle-timeout=1m", "--vast-max-price=0.35", "--vast-verified=false", "--vast-gpu-models=RTX 3060,rtx_4090",
		"--vast-countries=de,NL", "--egress-ips=203.0.113.7, 198.51.100.0/24,2001:db8::1")
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	idle, _ := c.idleTimeout()
	allowed, err := c.allowedIPs()
	if c.requireGPU() || idle != time.Minute || c.VastVerified || gpu.USD(c.VastMaxPrice) != 350_000_000 ||
		c.budget() != (fleet.Budget{Job: 100_000_000, Month: 30 * gpu.Dollar}) || err != nil || allowed != "203.0.113.7,198.51.100.0/24,2001:db8::1" {
		t.Errorf("%+v; budget %+v, idle %s, allowed %q, %v", c.Config, c.budget(), idle, allowed, err)
	}
	if c.maxPrice() != 350_000_000 {
		t.Errorf("an hour may cost %s", c.maxPrice())
	}
	// Another provider that is named goes before the key.
	if c := parse(t, "--vast-api-key=k", "--provider=local"); c.Provider != "local" || c.requireGPU() || c.maxPrice() != 0 {
		t.Errorf("%q", c.Provider)
	}
}

// Settings come from the environment as panels write them.
func TestRequireGPUFromEnvironment(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "1": true, "false": false, "0": false} {
		t.Setenv("REQUIRE_GPU", value)
		for _, provider := range []string{"vast", "local"} {
			if c := parse(t, "--provider="+provider); c.requireGPU() != want {
				t.Errorf("REQUIRE_GPU=%s with %s: %v", value, provider, c.requireGPU())
			}
		}
	}
}

// What a worker is told of our settings: a rented one neither secrets nor the
// names of private hosts.
func TestWorkerEnv(t *testing.T) {
	t.Parallel()
	common := []string{"--vast-api-key=s3cret-account-key", "--vast-image-login=-u me -p s3cret-pull-token ghcr.io", "--vast-worker-image=ghcr.io/you/worker",
		"--x-api-key=s3cret-client-key", "--webhook-secret=s3cret", "--gpu-api-key=s3cret-root", "--allow-private-hosts=minio.internal",
		"--max-worker-jobs=2", "--max-upload=1GiB", "--log-level=debug"}
	for args, want := range map[string]map[string]string{
		"--provider=vast":                          {"LOG_LEVEL": "debug", "MAX_UPLOAD": "1073741824", "MAX_WORKER_JOBS": "2"},
		"--provider=vast --egress-ips=203.0.113.7": {"LOG_LEVEL": "debug", "MAX_UPLOAD": "1073741824", "MAX_WORKER_JOBS": "2", "ALLOWED_IPS": "203.0.113.7"},
		"--provider=local --egress-ips=203.0.113.7": {"LOG_LEVEL": "debug", "MAX_UPLOAD": "1073741824", "MAX_WORKER_JOBS": "2",
			"ALLOW_PRIVATE_HOSTS": "minio.internal"},
	} {
		got, err := parse(t, append(common, strings.Fields(args)...)...).workerEnv()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", args, err, diff)
		}
	}
}

// A simulated marketplace has no registry: it is asked only where one is there
// too, or where somebody says so.
func TestVastImage(t *testing.T) {
	t.Parallel()
	const simulated = "--vast-api-url=http://127.0.0.1:3399 "
	for args, want := range map[string]bool{
		"--vast-worker-image=you/worker":                                     true,
		"--vast-worker-image=you/worker --vast-image-check=false":            false,
		simulated + "--vast-worker-image=you/worker":                         false,
		simulated + "--vast-worker-image=you/worker --vast-image-check=true": true,
		simulated + "--vast-worker-image=localhost:5000/worker":              true,
		"--vast-worker-image=you/worker --provider=local":                    false,
	} {
		image, err := parse(t, append(strings.Fields(args), "--vast-api-key=k")...).openImage(nil)
		if err != nil || (image != nil) != want {
			t.Errorf("%s: %v, %v", args, image, err)
		}
		if image != nil {
			image.Close()
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want string // in the error; empty for none
	}{
		{"--host=localhost", ""},
		{"--host=::1", ""},
		{"--host=0.0.0.0", "X_API_KEY"},
		{"--host=0.0.0.0 --x-api-key=k", ""},
		{"--app-env=production --x-api-key=k", "PROVIDER must be said"},
		{"--app-env=production --x-api-key=k --provider=local", ""},
		{"--provider=static", "WORKER_URL"},
		{"--provider=vast", "VAST_API_KEY is empty"},
		{"--provider=vast", "VAST_WORKER_IMAGE must name"},
		{"--vast-api-key=k --vast-worker-image=you/UPPER", "VAST_WORKER_IMAGE"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-image-login=me:secret", "VAST_IMAGE_LOGIN"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-api-url=ftp://x", "VAST_API_URL"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-gpu-models=A100_PCIE", "VAST_GPU_MODELS"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-countries=Germany", "VAST_COUNTRIES"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-max-price=0", "VAST_MAX_PRICE"},
		{"--vast-api-key=k --vast-worker-image=you/w --vast-min-reliability=95", "VAST_MIN_RELIABILITY"},
		{"--vast-api-key=k --vast-worker-image=you/w --egress-ips=vps.example.com", "EGRESS_IPS"},
		{"--max-worker-jobs=0", "MAX_WORKER_JOBS"},
		{"--max-wait=0s", "MAX_WAIT"},
		{"--provider=moon", "PROVIDER=moon"},
		{"--public-url=video.example.com", "PUBLIC_URL"},
		{"--public-url=https://video.example.com/api", ""},
		{"--public-url=https://video.example.com:8443/", ""},
		{"--public-url=https://", "PUBLIC_URL"},
		{"--public-url=https://$(PRIMARY_DOMAIN)", "PUBLIC_URL"},
		{"--public-url=https://video.example.com/?a=b", "PUBLIC_URL"},
		{"--public-url=https://video.example.com#a", "PUBLIC_URL"},
		{"--public-url=https://video.example.com:99999", "PUBLIC_URL"},
		{"--public-url=https://me:secret@video.example.com", "PUBLIC_URL=https://video.example.com is not"},
		{"--x-api-key=a:,b:c", "X_API_KEY: the key named \"a\" is empty"},
		{"--x-api-key=, --host=127.0.0.1", ""}, // nobody but this machine reaches it
		{"--x-api-key=, --host=0.0.0.0", "X_API_KEY holds no key"},
		{"--trusted-proxies=traefik", "TRUSTED_PROXIES"},
		{"--webhook-secret=abc", "WEBHOOK_SECRET"},
		{"--metrics-addr=9090", "METRICS_ADDR"},
		{"--metrics-addr=:99999", "METRICS_ADDR"},
		{"--metrics-addr=:9090", ""},
		{"--port=70000", "PORT=70000"},
		{"--fleet=a.b", "FLEET: must be"},
		{"--storage-url=s3://bucket", "STORAGE_URL"},
		{"--storage-url=file:", "STORAGE_URL"},
		{"--database-url=postgres://u:p@h/d", "SHARED_FILES is not set, and several orchestrators may share PostgreSQL, but not STORAGE_URL=file:data/files and PROVIDER=local: set SHARED_FILES=1"},
		{"--database-url=postgresql://u:p@h/d --provider=static --worker-url=http://w", "but not STORAGE_URL=file:data/files: set"},
		{"--database-url=postgres://u:p@h/d --shared-files", ""},
		{"--lease=59s", "LEASE=59s is too short"},
		{"--lease=0s", "LEASE must be above 0"},
		{"--queue-ttl=0s", "QUEUE_TTL"},
		{"--result-ttl=-1s", "RESULT_TTL"},
		{"--job-timeout=-1s", "JOB_TIMEOUT"},
		{"--sync-wait=601s", "SYNC_WAIT"},
		{"--sync-wait=0s", ""},
		{"--max-gpus=0", "MAX_GPUS"},
		{"--max-upload=0", "MAX_UPLOAD"},
		{"--rate-limit=-1", "RATE_LIMIT"},
		{"--max-jobs-per-key=-1", "MAX_JOBS_PER_KEY"},
		{"--rate-limit=0 --max-jobs-per-key=0", ""},
		{"--idle-timeout=soon", "IDLE_TIMEOUT"},
		{"--idle-timeout=-1s", "IDLE_TIMEOUT"},
		{"--idle-timeout=30s", ""},
	} {
		err := parse(t, strings.Fields(c.args)...).check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	// All faults at once, a line each.
	err := parse(t, "--lease=1s", "--max-gpus=0", "--provider=moon").check()
	if n := strings.Count(err.Error(), "\n"); n != 2 {
		t.Errorf("%d lines: %v", n+1, err)
	}
}

// What a panel or a hand leaves around an address is no part of it.
func TestPublicURLIsTrimmed(t *testing.T) {
	t.Parallel()
	if c := parse(t, "--public-url= https://video.example.com\n"); c.PublicURL != "https://video.example.com" || c.check() != nil {
		t.Errorf("%q: %v", c.PublicURL, c.check())
	}
}

// Settings that invite strangers are told to the operator, and no secret with
// them.
func TestWeaknesses(t *testing.T) {
	t.Parallel()
	const long = "0123456789abcdef"
	for args, want := range map[string]string{
		"--x-api-key=secret-key": "",
		"--app-env=production --x-api-key=" + long + " --public-url=https://video.example.com": "",
		"--app-env=production --x-api-key=" + long + " --public-url=http://10.0.0.7:3000":      "",
		"--app-env=production --x-api-key=" + long + " --public-url=http://orchestrator:3000":  "",
		"--app-env=production --x-api-key=" + long + " --public-url=http://video.example.com":  "PUBLIC_URL begins with http://",
		"--app-env=production --x-api-key=secret-key":                                          `X_API_KEY: the key named "admin" is shorter`,
		"--app-env=production --x-api-key=shop:" + long + ",n8n:x" + long:                      "no key is named admin",
		"--app-env=production --x-api-key=" + long + " --gpu-api-key=secret-key":               "GPU_API_KEY is short",
	} {
		got := strings.Join(parse(t, strings.Fields(args)...).weaknesses(), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "secret-key") {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

// A local worker reads strangers' files: it inherits no secret.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	got := withoutSecrets([]string{
		"PATH=/bin", "X_API_KEY=s", "GPU_API_KEY=s", "WORKER_TOKEN=s", "DATABASE_URL=postgres://u:s@h/d", "AWS_SECRET_ACCESS_KEY=s",
		"mysql_password=s", "VAST_API_KEY=s", "VAST_IMAGE_LOGIN=-u u -p s", "WEBHOOK_SECRET=s", "CONTAINER_ID=31", "CONTAINER_API_KEY=s", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_DRIVER_CAPABILITIES=video", "LANG=C",
	})
	if want := []string{"PATH=/bin", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_DRIVER_CAPABILITIES=video", "LANG=C"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
