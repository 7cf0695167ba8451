package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/transcript"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// workerDir is where workerProgram has put it.
var workerDir string

// workerProgram builds the worker, once.
var workerProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "api-gpu-live-*")
	if err != nil {
		return "", err
	}
	workerDir = dir
	return filepath.Join(dir, "worker"), need.Programs(context.Background(), dir, "", "worker")
})

// removeWorkerProgram removes it, if it was built, and ends the tests.
func removeWorkerProgram(code int) {
	if workerDir != "" {
		_ = os.RemoveAll(workerDir)
	}
	os.Exit(code)
}

// liveRig is a market, and a doctor that rents there.
type liveRig struct {
	*testing.T
	sim  *vastsim.Sim
	cfg  *Config
	live *live
	out  *logLines
	url  string
}

// newLiveRig is one whose machines are real workers, or where real is not set
// but rows.
func newLiveRig(t *testing.T, scenario string, real bool) *liveRig {
	t.Helper()
	var machines vastsim.Machines = &vastsim.Scripted{}
	if real {
		need.FFmpeg(t)
		binary, err := workerProgram()
		if err != nil {
			t.Fatal(err)
		}
		machines = &vastsim.Processes{Binary: binary, Dir: t.TempDir(), Env: os.Environ()}
	}
	sc, err := vastsim.ReadScenario([]byte(`{"credit_usd":10,"intervals":0,"image_bytes":250000000,
		"timing":{"provision":"100ms","create":"100ms","pull":"200ms","list_lag":"100ms","destroy_lag":"100ms","charge_lag":"1ns"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &liveRig{T: t, out: newLogLines()}
	if r.sim, err = vastsim.New(vastsim.Config{Key: accountKey, Machines: machines, Address: "127.0.0.1", Scenario: sc}); err != nil {
		t.Fatal(err)
	}
	if scenario != "" {
		if sc, err = vastsim.ReadScenario([]byte(scenario)); err != nil {
			t.Fatal(err)
		}
		if err := r.sim.Apply(sc); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(r.sim)
	r.url = server.URL
	r.sim.SetURL(r.url)
	ctx, stop := context.WithCancel(context.Background())
	stepped := make(chan struct{})
	go func() {
		defer close(stepped)
		r.sim.Run(ctx)
	}()
	t.Cleanup(func() {
		r.sim.Close()
		stop()
		<-stepped
		server.Close()
	})
	r.cfg = r.settings()
	r.live = &live{Live: 50, LiveTranscript: filepath.Join(t.TempDir(), "transcript.jsonl"), times: liveTimes{
		pace: 0.01, lease: 4 * time.Second, boot: 2 * time.Minute, overtime: time.Minute, bills: 200 * time.Millisecond, round: 50 * time.Millisecond,
		traits: &gpu.Traits{Pinned: true, ListingLag: time.Second, AbsenceGap: 200 * time.Millisecond},
	}}
	return r
}

func (r *liveRig) settings() *Config {
	r.Helper()
	off := false
	c := &Config{
		Provider: providerVast, DatabaseURL: "sqlite:" + filepath.Join(r.TempDir(), "state.db"), RequireGPU: &off, WorkerJobs: 1, MaxUpload: 1 << 30,
		LogLevel: "info", BootTimeout: 10 * time.Minute, GPUAPIKey: rootSecret, APIKey: "admin:" + clientsKey,
		VastConfig: VastConfig{
			VastAPIKey: accountKey, VastAPIURL: r.url, VastWorkerImage: "ghcr.io/planted/worker:1.0", VastImageCheck: "auto",
			VastImageLogin: "-u robot -p " + pullToken + " ghcr.io", VastMaxPrice: price(gpu.Dollar), VastMinVRAM: 4, VastVerified: true, VastMinReliability: 0.95,
		},
	}
	return c
}

func (r *liveRig) run(ctx context.Context) error {
	return r.live.run(ctx, r.cfg, program.Output{Stdout: r.out, Stderr: r.out})
}

// nothingLeft fails where anything is rented.
func (r *liveRig) nothingLeft() {
	r.Helper()
	for _, i := range r.sim.Truth().Instances {
		if (i.Alive || i.Running) && !i.Foreign {
			r.Errorf("it is still there: %+v\n%s", i, r.out.text())
		}
	}
}

// proof is whether the database has one.
func (r *liveRig) proof() bool {
	r.Helper()
	d, err := db.Open(r.Context(), r.cfg.DatabaseURL, db.Options{})
	if err != nil {
		r.Fatal(err)
	}
	defer d.Close()
	_, ok, err := fleet.Proof(r.Context(), d, r.url)
	if err != nil {
		r.Fatal(err)
	}
	return ok
}

// said fails where the output lacks a text.
func (r *liveRig) said(texts ...string) {
	r.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out.text(), text) {
			r.Errorf("%q was not said:\n%s", text, r.out.text())
		}
	}
}

// refused fails unless the run failed, with these words.
func (r *liveRig) refused(err error, words ...string) {
	r.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			r.Errorf("it ended with %v, want %q\n%s", err, word, r.out.text())
		}
	}
}

// A machine boots, works and ends itself; the proof is kept, and the transcript
// holds no secret.
func TestLive(t *testing.T) {
	need.Long(t)
	t.Parallel()
	r := newLiveRig(t, `{"instances":[{"label":"planted-label"}]}`, true)
	if err := r.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, r.out.text())
	}
	r.nothingLeft()
	if !r.proof() {
		t.Error("no proof was kept")
	}
	r.said("orchestrator sweep --fleet=live-", "Its encoder is proven: libx264", "the result is here, and is right", "It has ended itself.",
		"it is: 250 MB more than the job moved")
	for _, c := range r.sim.Calls("destroy") {
		if !c.Own {
			t.Errorf("its end was asked for with the account's key: %+v", c)
		}
	}
	for _, b := range r.sim.Truth().Broken {
		t.Errorf("rule %s was broken by %s: %s", b.Rule, b.Call, b.Detail)
	}
	r.innocent()
	r.same()
}

// same compares the transcript with a market like that in which it was written.
func (r *liveRig) same() {
	r.Helper()
	raw, err := os.ReadFile(r.live.LiveTranscript)
	if err != nil {
		r.Fatal(err)
	}
	_, calls, err := transcript.Read(bytes.NewReader(raw))
	if err != nil {
		r.Fatal(err)
	}
	c, err := vastsim.Compare(calls)
	if err != nil || len(c.Skipped) > 0 {
		r.Errorf("%+v %v", c.Skipped, err)
	}
	for _, d := range c.Differences {
		r.Errorf("it differs from itself: %+v", d)
	}
}

// innocent looks for every secret of the run in its transcript.
func (r *liveRig) innocent() {
	r.Helper()
	raw, err := os.ReadFile(r.live.LiveTranscript)
	if err != nil {
		r.Fatal(err)
	}
	text := string(raw)
	if _, calls, err := transcript.Read(bytes.NewReader(raw)); err != nil || len(calls) < 10 {
		r.Errorf("%d calls, %v", len(calls), err)
	}
	secrets := []string{accountKey, pullToken, clientsKey, rootSecret, "planted", "127.0.0.1", "live-", "me@example.com"}
	ids := []string{"1234"} // of the account
	for _, i := range r.sim.Truth().Instances {
		secrets = append(secrets, i.Label)
		ids = append(ids, itoa(i.ID), itoa(i.MachineID))
		for name, value := range i.Env {
			if regexp.MustCompile("TOKEN|KEY|SEED").MatchString(name) {
				secrets = append(secrets, value)
			}
		}
		for _, port := range i.HostPorts {
			ids = append(ids, itoa(int64(port)))
		}
		if seed, err := link.Seed([]byte(rootSecret), i.Label); err == nil {
			secrets = append(secrets, seed)
		}
	}
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 && secret != "" {
			r.Errorf("the transcript tells %s: …%s…", secret, text[max(0, at-80):min(len(text), at+80)])
		}
	}
	for _, id := range ids { // as a number of its own
		if len(id) < 4 { // of the simulated stranger: too short to be sought
			continue
		}
		if at := regexp.MustCompile(`[^0-9.]` + id + `[^0-9.]`).FindStringIndex(text); at != nil {
			r.Errorf("the transcript tells the id %s: …%s…", id, text[max(0, at[0]-80):min(len(text), at[1]+80)])
		}
	}
}

// A machine that cannot reach the marketplace does not end itself: it is ended,
// and that is told.
func TestLiveDoesNotEndItself(t *testing.T) {
	need.Long(t)
	t.Parallel()
	r := newLiveRig(t, "", true)
	r.sim.SetURL("http://127.0.0.1:1")
	r.live.times.overtime = 2 * time.Second
	r.refused(r.run(t.Context()), "the machine did not end itself", "not as we rely on: a machine ends itself")
	r.nothingLeft()
	r.same()
	if r.proof() {
		t.Error("a proof was kept")
	}
	r.said("Ending what was rented.", "was accepted", "gone, proven")
}

// A boot that never comes is given up by the fleet's own rules.
func TestLiveBootNeverComes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ scenario, why string }{
		"stuck":    {`{"boots":[{"fails":"stuck"}]}`, "not ready within 2s"},
		"no image": {`{"boots":[{"fails":"manifest"}]}`, "it cannot start the image"},
		"exits":    {`{"boots":[{"fails":"exits"}]}`, "its worker ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLiveRig(t, c.scenario, false)
			if name == "stuck" {
				// As long as a run under load may stand still: the settling time of
				// the rules comes first.
				r.live.times.boot = 2 * time.Second
				need.Long(t)
			}
			r.refused(r.run(t.Context()), "did not become ready", c.why)
			r.nothingLeft()
			r.said("Given up: ")
		})
	}
}

// A create without an answer: whatever it made is found by its label, and ended.
func TestLiveCreateWithoutAnswer(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"after it took":       `{"kind":"reset","call":"create","after":true}`,
		"before it took":      `{"kind":"reset","call":"create"}`,
		"it takes later":      `{"kind":"create_late","delay":"300ms"}`,
		"stopped":             `{"kind":"create_stopped"}`,
		"an error with an id": `{"kind":"create_error_with_id"}`,
		"two of them":         `{"kind":"create_twice"},{"kind":"reset","call":"list","times":3}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLiveRig(t, `{"faults":[`+fault+`],"boots":[{"fails":"manifest","times":-1}]}`, false)
			if err := r.run(t.Context()); err == nil {
				t.Errorf("it passed:\n%s", r.out.text())
			}
			r.nothingLeft()
			r.said("Nothing is left.")
		})
	}
}

// What the money does not allow is refused before anything is asked for, with
// the least that would do; and that does.
func TestLiveBudget(t *testing.T) {
	t.Parallel()
	r := newLiveRig(t, `{"offers":[{"dph_base":0.8},{"dph_base":0.9}],"boots":[{"fails":"manifest","times":-1}]}`, false)
	r.live.Live = 1
	err := r.run(t.Context())
	r.refused(err, "nothing was rented", "--live=")
	if n := len(r.sim.Calls("create")); n != 0 {
		t.Fatalf("%d creates", n)
	}
	if _, err := os.Stat(r.live.LiveTranscript); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty transcript was left: %v", err)
	}
	least := regexp.MustCompile(`--live=(\d+)`).FindStringSubmatch(err.Error())
	r.live.Live = int(number(t, least[1])) - 1
	r.refused(r.run(t.Context()), "nothing was rented")
	r.live.Live++
	r.refused(r.run(t.Context()), "did not become ready")
	r.nothingLeft()
	credit := 0.001
	if err := r.sim.Apply(vastsim.Scenario{CreditUSD: &credit}); err != nil {
		t.Fatal(err)
	}
	r.refused(r.run(t.Context()), "nothing was rented", "credit")
	if n := len(r.sim.Calls("create")); n != 1 {
		t.Errorf("%d creates", n)
	}
}

// Offers that others took are followed by the next.
func TestLiveOfferGone(t *testing.T) {
	t.Parallel()
	r := newLiveRig(t, `{"faults":[{"kind":"create_vanished","times":2}],"boots":[{"fails":"manifest"}]}`, false)
	r.refused(r.run(t.Context()), "did not become ready")
	r.nothingLeft()
	labels := map[string]bool{}
	for _, c := range r.sim.Calls("create") {
		labels[c.Label] = true
	}
	if len(labels) != 3 {
		t.Errorf("created under %v", labels)
	}
}

// interrupt runs until a line was said, ends the run there, and returns its
// error.
func (r *liveRig) interrupt(at string) error {
	r.Helper()
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	for {
		select {
		case err := <-done:
			r.Errorf("it ended before %q was said: %v\n%s", at, err, r.out.text())
			return err
		case <-r.out.new:
			if strings.Contains(r.out.text(), at) {
				stop()
				return <-done
			}
		}
	}
}

// Ctrl-C in each phase leaves nothing.
func TestLiveInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   string
		real bool
	}{
		"search": {"offers, ", false}, "create": {"If this program dies", false}, "boot": {"It is listed.", false}, "runs": {"Its container runs.", false},
		"worker answers": {"Its worker answers", true}, "job": {"A job: a clip", true}, "end": {"Its lease is renewed no more", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.real {
				need.Long(t)
			}
			r := newLiveRig(t, "", c.real)
			if err := r.interrupt(c.at); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v\n%s", err, r.out.text())
			}
			r.nothingLeft()
			if c.at != "offers, " {
				r.said("Nothing is left.", "A second Ctrl-C")
			}
			if r.proof() {
				t.Error("a proof was kept")
			}
		})
	}
}

// muteAfter is a terminal that is gone after a line.
type muteAfter struct {
	*logLines
	line string
	gone func()
}

func (m *muteAfter) Write(p []byte) (int, error) {
	if strings.Contains(m.text(), m.line) {
		m.gone()
		return 0, io.ErrClosedPipe
	}
	return m.logLines.Write(p)
}

// A terminal that is gone, as a pipe whose reader the same Ctrl-C has ended,
// keeps nobody from ending what was rented.
func TestLiveUnheard(t *testing.T) {
	t.Parallel()
	r := newLiveRig(t, "", false)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &muteAfter{r.out, "It is rented", stop}
	if err := r.live.run(ctx, r.cfg, program.Output{Stdout: out, Stderr: out}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	r.nothingLeft()
}

// The command takes the settings of the server, and is refused what that would
// be.
func TestLiveIsDoctors(t *testing.T) {
	t.Parallel()
	for want, more := range map[string][]string{
		"it needs PROVIDER=vast": {"--provider=local"},
		"VAST_API_KEY is empty":  {"--provider=vast", "--vast-worker-image=you/worker:1"},
	} {
		err := run(t.Context(), append([]string{"doctor", "--live=5", "--database-url=sqlite:" + filepath.Join(t.TempDir(), "state.db")}, more...), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q ended with %v, want %q", more, err, want)
		}
	}
}

// What is no rental is refused.
func TestLiveNeedsVast(t *testing.T) {
	t.Parallel()
	r := newLiveRig(t, "", false)
	r.cfg.Provider = "local"
	r.refused(r.run(t.Context()), "PROVIDER=vast")
	r.cfg.Provider, r.live.Live = providerVast, -3
	r.refused(r.run(t.Context()), "above 0")
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
