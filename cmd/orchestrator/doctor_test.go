package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/doctor"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// examined runs orchestrator doctor --json, and returns its checks by name.
func examined(t *testing.T, settings []string) (checks map[string]apigpu.Check, text string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	err = run(t.Context(), append([]string{"doctor", "--json"}, settings...), &out, &log)
	return checksOf(t, out.Bytes()), out.String() + log.String(), err
}

func checksOf(t *testing.T, text []byte) map[string]apigpu.Check {
	t.Helper()
	var d apigpu.Diagnosis
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	checks := map[string]apigpu.Check{}
	var names []string
	for _, c := range d.Checks {
		checks[c.Name] = c
		names = append(names, c.Name)
	}
	if !slices.Equal(names, doctor.Names()) || d.Version == "" || d.Time.IsZero() {
		t.Errorf("%+v", d)
	}
	return checks
}

// wantChecks compares the status of checks, and what is in their words.
func wantChecks(t *testing.T, moment string, checks map[string]apigpu.Check, want map[string]string) {
	t.Helper()
	for name, w := range want {
		status, words, _ := strings.Cut(w, " ")
		if c := checks[name]; string(c.Status) != status || !strings.Contains(c.Message+" "+c.Hint, words) {
			t.Errorf("%s: %s is %s: %s (%s); want %s", moment, name, c.Status, c.Message, c.Hint, w)
		}
	}
}

// The doctor looks before anything ran, beside a server, and as the server
// itself; it rents nothing, and tells no secret.
func TestDoctor(t *testing.T) {
	t.Parallel()
	sim, url := market(t, instances(aged("them", time.Hour), "notebook"))
	dir := t.TempDir()
	image := registryOf(t, http.StatusOK)
	host, _, _ := strings.Cut(image, "/")
	settings := args(dir, "--provider=vast", "--vast-api-key=account-key", "--vast-api-url="+url, "--vast-worker-image="+image+":1.0",
		"--vast-image-login=-u robot -p "+pullToken+" "+host, "--x-api-key=admin:"+clientsKey, "--host=127.0.0.1", "--shutdown=keep", "--idle-timeout=10m", "--max-upload=1MiB")
	checks, text, err := examined(t, settings)
	if err != nil {
		t.Errorf("%v in %s", err, text)
	}
	wantChecks(t, "before it ran", checks, map[string]string{
		"account": "ok accepts the key", "credit": "ok The account has $", "offers": "ok Offers that fit", "image": "ok sha256:aaaa", "database": "ok no database yet",
		"storage": "ok no folder", "disk": "ok free", "clock": "ok agrees", "public_url": "skipped", "workers": "skipped doctor --live",
		"foreign": "warning orchestrator sweep --fleet=them",
	})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}

	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, settings, io.Discard, log) }()
	address := log.find(t, `listening address=(\S+)`)
	log.find(t, `(fleet lease held)`)
	public := append(settings, "--public-url=http://"+address)
	checks, text, err = examined(t, public)
	if err != nil {
		t.Errorf("%v in %s", err, text)
	}
	beside := map[string]string{
		"settings": "warning IDLE_TIMEOUT=10m0s", "account": "ok", "credit": "ok", "offers": "ok", "image": "ok", "database": "ok schema", "storage": "ok of", "foreign": "warning them (1)",
	}
	wantChecks(t, "beside a server", checks, beside)
	wantChecks(t, "beside a server", checks, map[string]string{"public_url": "ok leads to this server"})
	checks, _, _ = examined(t, append(public, "--database-url=sqlite:"+filepath.Join(dir, "other"), "--gpu-api-key=another-secret"))
	wantChecks(t, "of another server", checks, map[string]string{"public_url": "failed another api-gpu"})

	c, err := client.New("http://"+address, client.Options{Key: clientsKey})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := c.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := json.Marshal(served)
	if err != nil {
		t.Fatal(err)
	}
	wantChecks(t, "the server itself", checksOf(t, answer), beside)
	for _, secret := range []string{"account-key", pullToken, clientsKey} {
		if strings.Contains(text+string(answer)+log.text(), secret) {
			t.Errorf("%s is told", secret)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if truth := sim.Truth(); len(truth.Broken) != 0 || len(truth.Instances) != 2 {
		t.Errorf("it rented, or broke a rule: %+v", truth)
	}
}

// Each way in which a server can be unwell is told, and all the rest beside it.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	need.Long(t) // each look at a marketplace waits for its turn
	_, url := market(t, `{"credit_usd": 0}`)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	noImage := registryOf(t, http.StatusNotFound)
	rented := func(more ...string) func(string) []string {
		return func(dir string) []string {
			host, _, _ := strings.Cut(noImage, "/")
			return args(dir, append([]string{"--provider=vast", "--vast-api-key=account-key", "--vast-api-url=" + url, "--vast-worker-image=" + noImage + ":1.0",
				"--vast-image-login=-u robot -p " + pullToken + " " + host}, more...)...)
		}
	}
	for name, c := range map[string]struct {
		settings func(dir string) []string
		want     map[string]string
	}{
		"no credit, no image": {rented("--public-url=" + elsewhere.URL), map[string]string{
			"settings": "ok", "credit": "failed no credit", "image": "failed not there", "public_url": "failed answers 404", "foreign": "ok"}},
		"a wrong key":    {rented("--vast-api-key=wrong-account-key"), map[string]string{"account": "failed does not accept", "credit": "warning", "offers": "failed", "foreign": "skipped", "clock": "ok"}},
		"an odd setting": {rented("--vast-max-price=0"), map[string]string{"settings": "failed VAST_MAX_PRICE", "account": "skipped", "database": "ok", "storage": "ok"}},
		"offline": {rented("--vast-api-url="+gone.URL, "--public-url="+gone.URL), map[string]string{
			"account": "failed refused", "credit": "failed", "offers": "failed", "clock": "skipped", "foreign": "skipped", "public_url": "warning refused", "database": "ok"}},
		"unreadable": {func(dir string) []string { return args(dir, "--port=many") }, map[string]string{"settings": "failed port", "database": "skipped cannot be read"}},
		"a folder that is a file": {func(dir string) []string {
			if err := os.WriteFile(filepath.Join(dir, "files"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return args(dir)
		}, map[string]string{"storage": "failed STORAGE_URL", "disk": "skipped"}},
		"a database that is none": {func(dir string) []string {
			if err := os.WriteFile(filepath.Join(dir, "db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return args(dir)
		}, map[string]string{"database": "failed not a database"}},
		"no worker answers": {func(dir string) []string { return args(dir) }, map[string]string{"workers": "failed http://127.0.0.1:1 does not answer", "account": "skipped rents nothing"}},
		"no worker program": {func(dir string) []string {
			return args(dir, "--provider=local", "--worker-bin="+filepath.Join(dir, "none"))
		}, map[string]string{"workers": "failed WORKER_BIN"}},
	} {
		t.Run(name, func(t *testing.T) {
			checks, text, err := examined(t, c.settings(t.TempDir()))
			if err == nil || !strings.Contains(err.Error(), "failed") {
				t.Errorf("%v in %s", err, text)
			}
			wantChecks(t, name, checks, c.want)
			for _, secret := range []string{"account-key", pullToken} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is told in %s", secret, text)
				}
			}
		})
	}
}

// A broken .env is told, and nothing that is in it.
func TestDoctorOfABrokenDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("X_API_KEY s3cret-of-the-clients\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checks, text, _ := examined(t, args(t.TempDir()))
	wantChecks(t, "a broken .env", checks, map[string]string{"settings": "failed .env cannot be read", "database": "ok"})
	if strings.Contains(text, clientsKey) {
		t.Errorf("it is told: %s", text)
	}
}

// A flag that is not known is told as everywhere.
func TestDoctorOfABadFlag(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"doctor", "--bogus"}, &out, io.Discard); err == nil || !strings.Contains(err.Error(), "unknown flag") || out.Len() != 0 {
		t.Errorf("%v, %s", err, &out)
	}
}

// What stopped renting is told beside the server that it stopped, after its end,
// and no more once the settings were mended.
func TestDoctorTellsWhatStopped(t *testing.T) {
	need.Long(t) // each look at a marketplace waits for its turn
	t.Chdir(t.TempDir())
	_, url := market(t, "{}")
	dir := t.TempDir()
	settings := func(key string) []string {
		return args(dir, "--provider=vast", "--vast-api-key="+key, "--vast-api-url="+url, "--vast-worker-image=localhost/worker:1", "--vast-image-check=false", "--shutdown=keep")
	}
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, settings("wrong-account-key"), io.Discard, log) }()
	log.find(t, `(renting stops)`)
	stopped := map[string]string{"workers": "warning Nothing is rented now: the provider does not accept the key of this server; "}
	checks, _, _ := examined(t, settings("wrong-account-key"))
	wantChecks(t, "beside the server", checks, stopped)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	checks, _, _ = examined(t, settings("wrong-account-key"))
	wantChecks(t, "after its end", checks, stopped)
	checks, _, _ = examined(t, settings("account-key"))
	wantChecks(t, "with another key", checks, map[string]string{"account": "ok", "workers": "skipped"})
}

// Who holds the database keeps the doctor from nothing else.
func TestDoctorOfALockedDatabase(t *testing.T) {
	t.Parallel()
	need.Long(t) // it is waited for
	dir := t.TempDir()
	d, err := db.Open(t.Context(), "sqlite:"+filepath.Join(dir, "db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	held, let := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Tx(t.Context(), func(*sql.Tx) error { close(held); <-let; return errors.New("undone") })
	}()
	<-held
	checks, _, _ := examined(t, args(dir))
	wantChecks(t, "locked", checks, map[string]string{"database": "failed another program may hold it", "storage": "ok", "workers": "failed"})
	close(let)
	<-done
}

// A worker that runs elsewhere is asked with our key.
func TestDoctorAsksWorkers(t *testing.T) {
	t.Parallel()
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"status": "healthy", "service": "api-gpu worker"}
		if r.URL.Path == "/health" && r.Header.Get("X-API-Key") == "k" && r.Header.Get("X-Session-Token") == "t" {
			answer["worker"] = apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", GPU: "RTX 4090"}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer worker.Close()
	settings := func(key string) []string {
		dir := t.TempDir()
		return []string{"--database-url=sqlite:" + filepath.Join(dir, "db"), "--storage-url=file:" + filepath.Join(dir, "files"), "--disk-free-min=0", "--worker-url=" + worker.URL, "--worker-token=t", "--worker-key=" + key}
	}
	checks, text, err := examined(t, settings("k"))
	if err != nil {
		t.Errorf("%v in %s", err, text)
	}
	wantChecks(t, "ours", checks, map[string]string{"workers": "ok h264_nvenc"})
	checks, _, _ = examined(t, settings("other"))
	wantChecks(t, "of another key", checks, map[string]string{"workers": "failed WORKER_TOKEN"})
}

// For people it is a line each, with a mark.
func TestDoctorForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"doctor"}, args(t.TempDir())...), &out, io.Discard)
	if err == nil || err.Error() != "1 check failed" {
		t.Error(err)
	}
	wantLines(t, out.String(), `✓ settings    The settings fit together`, `- credit      PROVIDER=static rents nothing\.`, `✗ workers     The worker http://127\.0\.0\.1:1 does not answer`, `              Start it`)
}

// What must not be repeated is known in every form in which it may come.
func TestSecretsOfSettings(t *testing.T) {
	t.Parallel()
	c := Config{
		APIKey: "admin:first-key,second-key", WebhookSecret: "whsec_new+/=,whsec_old", DatabaseURL: "postgres://me:pass-word@host/db", GPUAPIKey: "root-secret",
		WorkerToken: "a-token", WorkerKey: "a-key",
		VastConfig: VastConfig{VastAPIKey: "account-key", VastImageLogin: "-u robot -p pull-token ghcr.io"},
	}
	all := c.secrets()
	for _, secret := range []string{"first-key", "second-key", "whsec_new+/=", "whsec_old", "pass-word", "root-secret", "a-token", "a-key", "account-key", "pull-token"} {
		if !slices.Contains(all, secret) {
			t.Errorf("%s is not among them", secret)
		}
	}
	for url, want := range map[string]bool{"postgres://host/db?user=me&password=pass-word": true, "postgres://me@host/db": false, "sqlite:pass-word": false} {
		if got := slices.Contains((&Config{DatabaseURL: url}).secrets(), "pass-word"); got != want {
			t.Errorf("of %s: %v", url, got)
		}
	}
}

// Beside a server that asks the same account, at the pace that the API demands,
// the doctor waits for its turn, and keeps the server from nothing.
func TestDoctorBesideAServer(t *testing.T) {
	t.Parallel()
	need.Long(t)
	image := registryOf(t, http.StatusOK)
	url, sim, _ := marketplace(t)
	settings := args(t.TempDir(), renting(url, image, "--x-api-key=admin:"+clientsKey, "--host=127.0.0.1", "--shutdown=keep")...)
	ctx, stop := context.WithCancel(t.Context())
	log := newLogLines()
	done := make(chan error, 1)
	go func() { done <- run(ctx, settings, io.Discard, log) }()
	log.find(t, `(fleet lease held)`)
	for range 3 {
		checks, text, err := examined(t, settings)
		if err != nil {
			t.Errorf("%v in %s", err, text)
		}
		wantChecks(t, "beside a server", checks, map[string]string{"account": "ok", "credit": "ok", "offers": "ok", "clock": "ok", "foreign": "ok"})
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, b := range sim.Truth().Broken {
		if b.Rule != vastsim.TooOften { // which nobody can avoid who does not know when the other asks
			t.Errorf("%+v", b)
		}
	}
}
