package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
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
	cleanEnv(t)
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
	if d, err := c.idleTimeout(); err != nil || d != freeIdle {
		t.Errorf("%s, %v", d, err)
	}
}

func TestCheck(t *testing.T) {
	cleanEnv(t)
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
		{"--provider=moon", "PROVIDER=moon"},
		{"--public-url=video.example.com", "PUBLIC_URL"},
		{"--public-url=https://video.example.com/api", ""},
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

// A local worker reads strangers' files: it inherits no secret.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	got := withoutSecrets([]string{
		"PATH=/bin", "X_API_KEY=s", "GPU_API_KEY=s", "WORKER_TOKEN=s", "DATABASE_URL=postgres://u:s@h/d", "AWS_SECRET_ACCESS_KEY=s",
		"mysql_password=s", "WEBHOOK_SECRET=s", "CONTAINER_ID=31", "CONTAINER_API_KEY=s", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_DRIVER_CAPABILITIES=video", "LANG=C",
	})
	if want := []string{"PATH=/bin", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_DRIVER_CAPABILITIES=video", "LANG=C"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
