package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/test/need"
)

// asProgram in the environment makes this program the worker itself: for tests
// that want a process of their own.
const asProgram = "API_GPU_TEST_AS_WORKER"

// asRole is what this program is in place of the tests.
func asRole(role string) {
	if role == crashing {
		runCrashing()
		return
	}
	main()
}

func TestMain(m *testing.M) {
	ffmpeg.Launch() // this program is its own launcher
	if role := os.Getenv(asProgram); role != "" {
		asRole(role)
		return
	}
	need.Parallel(6) // a port that is taken is waited for
	cleanEnv()
	goleak.VerifyTestMain(m)
}

// cleanEnv makes the tests see no setting of the machine they run on: once for
// all, since a test that changes the environment runs beside no other.
func cleanEnv() {
	for _, name := range []string{"PORT", "HOST", "SESSION_TOKEN", "ALLOWED_IPS", "X_API_KEY", "LEASE", "BOOT_TIMEOUT", "END_BY", "MAX_WORKER_JOBS", "MAX_UPLOAD",
		"ALLOW_PRIVATE_HOSTS", "WORK_DIR", "PORT_FILE", "LOG_LEVEL", "APP_ENV", "NODE_ENV", "TLS_SEED", "CONTAINER_ID", "CONTAINER_API_KEY", "VAST_API_URL"} {
		_ = os.Unsetenv(name)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cmd  serveCmd
		host string
		want string // in the error; empty for none
	}{
		{"development", serveCmd{MaxUpload: 1, MaxWorkerJobs: 1}, "127.0.0.1", ""},
		{"on another loopback address", serveCmd{Host: "::1", MaxUpload: 1, MaxWorkerJobs: 1}, "::1", ""},
		{"with both", serveCmd{SessionToken: "t", APIKey: "k", MaxUpload: 1, MaxWorkerJobs: 1}, "", ""},
		{"open to all", serveCmd{Host: "0.0.0.0", MaxUpload: 1, MaxWorkerJobs: 1}, "0.0.0.0", "SESSION_TOKEN and X_API_KEY"},
		{"with a key alone", serveCmd{Host: "0.0.0.0", APIKey: "k", MaxUpload: 1, MaxWorkerJobs: 1}, "0.0.0.0", "SESSION_TOKEN and X_API_KEY"},
		{"production without", serveCmd{AppEnv: "production", MaxUpload: 1, MaxWorkerJobs: 1}, "127.0.0.1", "SESSION_TOKEN and X_API_KEY"},
		{"no job at once", serveCmd{MaxUpload: 1}, "127.0.0.1", "MAX_WORKER_JOBS"},
		{"no video at all", serveCmd{MaxWorkerJobs: 1}, "127.0.0.1", "MAX_UPLOAD"},
		{"a negative lease", serveCmd{MaxUpload: 1, MaxWorkerJobs: 1, Lease: -1}, "127.0.0.1", "LEASE"},
	} {
		err := c.cmd.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || c.cmd.Host != c.host {
			t.Errorf("%s: host %q, %v", c.name, c.cmd.Host, err)
		}
	}
}

// portOf waits for the file in which a worker tells its port.
func portOf(t *testing.T, path string) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		if port, err := os.ReadFile(path); err == nil {
			return string(port)
		}
		<-tick.C
	}
	t.Fatal("no port was told")
	return ""
}

// A clock that is wrong makes no machine live longer than it would without one,
// nor end before its orchestrator could speak to it.
func TestFirstLease(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct{ endIn, want time.Duration }{
		"started at once": {15 * time.Minute, 15 * time.Minute}, "started late": {7 * time.Minute, 7 * time.Minute},
		"started after its time": {-time.Hour, 5 * time.Minute}, "just": {5 * time.Minute, 5 * time.Minute},
		"its clock is slow": {24 * time.Hour, 15 * time.Minute}, "its clock is years fast": {-200_000 * time.Hour, 5 * time.Minute},
	} {
		w := serveCmd{Lease: 5 * time.Minute, BootTimeout: 10 * time.Minute, EndBy: now.Add(c.endIn).Unix()}
		if got := w.first(now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := (&serveCmd{Lease: 5 * time.Minute, BootTimeout: 10 * time.Minute}).first(now); got != 15*time.Minute {
		t.Errorf("without END_BY: %s", got)
	}
}

func TestServeStartsAndStops(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	dir := t.TempDir()
	portFile, work := filepath.Join(dir, "port"), filepath.Join(dir, "work")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--port=0", "--port-file=" + portFile, "--work-dir=" + work}, io.Discard, io.Discard)
	}()
	address := "127.0.0.1:" + portOf(t, portFile)
	resp, err := http.Get("http://" + address + "/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 && resp.StatusCode != 503 { // 503 while it proves itself
		t.Error(resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
	left, err := os.ReadDir(work)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// With a seed the worker speaks TLS to who knows its key, and plain HTTP to
// nobody.
func TestServeTLS(t *testing.T) {
	need.FFmpeg(t)
	seed, err := link.Seed([]byte("root"), "one")
	if err != nil {
		t.Fatal(err)
	}
	portFile := filepath.Join(t.TempDir(), "port")
	t.Setenv("TLS_SEED", seed)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--port=0", "--port-file=" + portFile, "--session-token=token", "--x-api-key=key", "--host=127.0.0.1"}, io.Discard, io.Discard)
	}()
	address := "127.0.0.1:" + portOf(t, portFile)
	resp, err := http.Get("http://" + address + "/health")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %s", resp.Status)
	}
	resp.Body.Close()
	ask := func(label, token string) error {
		seed, err := link.Seed([]byte("root"), label)
		if err != nil {
			t.Fatal(err)
		}
		secure, err := link.ClientConfig(seed)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New("https://"+address, client.Options{TLS: secure, Token: token, Key: "key"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 1, TTLSeconds: 60})
		return err
	}
	if err := ask("one", "token"); err != nil {
		t.Error(err)
	}
	if err := ask("one", "another"); apigpu.CodeOf(err) != apigpu.InvalidSession {
		t.Errorf("with another token: %v", err)
	}
	if err := ask("two", "token"); !errors.Is(err, link.ErrPeer) {
		t.Errorf("who takes it for another worker: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestLeaseEndsTheProgram(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	err := run(t.Context(), []string{"--port=0", "--lease=1ms", "--boot-timeout=0s"}, io.Discard, io.Discard)
	if !errors.Is(err, errLeaseOver) {
		t.Errorf("error %v", err)
	}
}

func TestServeDoesNotStart(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ flag, want string }{
		"a port that is taken":       {"--port=" + port, "PORT: "},
		"a bad address":              {"--allowed-ips=nobody", "ALLOWED_IPS: "},
		"a bad key":                  {"--x-api-key=a:", "X_API_KEY: "},
		"a bad seed":                 {"--tls-seed=1234", "TLS_SEED: "},
		"a folder that is a file":    {"--work-dir=" + file, "work folder"},
		"a port file it cannot make": {"--port-file=" + filepath.Join(file, "port"), "write port"},
	} {
		err := run(t.Context(), []string{"--port=0", c.flag}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSelftest(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"selftest"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var info apigpu.WorkerInfo
	if err := json.Unmarshal(out.Bytes(), &info); err != nil || info.Encoder == "" || info.Font == "" || info.API != apigpu.APIVersion {
		t.Errorf("%+v, %v", info, err)
	}
}
