package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// market is a simulated Vast.ai with these instances on the account.
func market(t *testing.T, scenario string) (*vastsim.Sim, string) {
	t.Helper()
	sc, err := vastsim.ReadScenario([]byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	sc.Intervals = new(float64)
	sim, err := vastsim.New(vastsim.Config{Key: "account-key", Scenario: sc})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(func() { sim.Close(); server.Close() })
	return sim, server.URL
}

// aged is a label of a fleet, made so long ago.
func aged(of string, ago time.Duration) string {
	return fleet.Label(of, strings.ToLower(ulid.MustNew(ulid.Timestamp(time.Now().Add(-ago)), nil).String()))
}

// instances is the scenario of these labels. Those of the fleet us are the
// account's own; to end another breaks a rule.
func instances(labels ...string) string {
	type existing struct {
		Label string `json:"label"`
		Mine  bool   `json:"mine"`
	}
	var all []existing
	for _, l := range labels {
		all = append(all, existing{l, strings.HasPrefix(l, "ag1.us.")})
	}
	text, err := json.Marshal(map[string]any{"instances": all, "timing": map[string]string{"list_lag": "1ns", "destroy_lag": "1ms"}, "credit_usd": 10})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// swept runs a sweep in a hurry.
func swept(ctx context.Context, t *testing.T, url string, c sweepCmd) (string, error) {
	t.Helper()
	account, err := vast.NewAccount(vast.AccountConfig{URL: url, Key: "account-key", Pace: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	var out bytes.Buffer
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	s := &sweeper{cmd: &c, account: account, out: &out, now: time.Now, gap: 50 * time.Millisecond, round: 5 * time.Millisecond, asked: map[string]time.Time{}, seen: map[string]bool{}}
	err = s.run(ctx)
	return out.String(), err
}

func wantLines(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !regexp.MustCompile(l).MatchString(out) {
			t.Errorf("no %q in\n%s", l, out)
		}
	}
}

// A sweep ends one fleet, and nothing else on the account: no other fleet, no
// other label, however much it looks like ours.
func TestSweepEndsOneFleet(t *testing.T) {
	t.Parallel()
	ours := []string{aged("us", time.Hour), aged("us", 3*time.Hour), "ag1.us.no-time-in-it"}
	others := []string{aged("them", time.Hour), aged("us2", time.Hour), "", "us", "ag1.us", "ag1.us.", "ag1.us.a.b", "ag2.us.x", " ag1.us.x", "AG1.us.x"}
	sim, url := market(t, instances(append(ours, others...)...))

	out, err := swept(t.Context(), t, url, sweepCmd{List: true, Fleet: []string{"us"}})
	wantLines(t, out, `Fleet them, \$\S+/h in all; to end it: orchestrator sweep --fleet=them`, `Fleet us, `, `ag1\.us\.no-time-in-it +not known`, `1 h 0 min`, `are never touched: 8\.`)
	if err == nil || err.Error() != "3 instances are left" {
		t.Errorf("listed: %v", err)
	}
	if out, err := swept(t.Context(), t, url, sweepCmd{}); err == nil || !strings.Contains(err.Error(), "say which with --fleet") {
		t.Errorf("without a fleet: %v\n%s", err, out)
	}
	out, err = swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}, DryRun: true})
	if err == nil || strings.Count(out, "Would end ") != 3 {
		t.Errorf("dry: %v\n%s", err, out)
	}
	if n := len(sim.Truth().Alive("")); n != len(ours)+len(others) {
		t.Fatalf("%d are alive before anything was to end", n)
	}
	out, err = swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}, OlderThan: 2 * time.Hour})
	if err != nil || strings.Count(out, "Ending ") != 1 || len(sim.Truth().Alive(ours[1])) != 0 {
		t.Errorf("older: %v\n%s", err, out)
	}
	wantLines(t, out, "Nothing older than 2h0m0s is left.")
	out, err = swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}})
	if err != nil || strings.Count(out, "Ending ") != 2 {
		t.Errorf("all of it: %v\n%s", err, out)
	}
	wantLines(t, out, "Nothing is left")
	for _, l := range ours {
		if len(sim.Truth().Alive(l)) != 0 {
			t.Errorf("%s is alive", l)
		}
	}
	truth := sim.Truth()
	if n := len(truth.Alive("")); n != len(others) {
		t.Errorf("%d of %d others are alive", n, len(others))
	}
	for _, b := range truth.Broken {
		t.Errorf("broken: %+v", b)
	}
	if out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}, OlderThan: time.Hour}); err != nil {
		t.Errorf("once more, as from a cron job: %v\n%s", err, out)
	}
}

// A fleet that nobody has seen, while others are there, may be a slip of the
// pen: what was meant is left then.
func TestSweepOfAFleetThatNobodyHasSeen(t *testing.T) {
	t.Parallel()
	sim, url := market(t, instances(aged("us", time.Hour), aged("them", time.Hour)))
	for _, dry := range []bool{true, false} {
		out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"usa"}, DryRun: dry})
		if err == nil || err.Error() != "no instance of fleet usa was seen; there are those of them, us" || strings.Contains(out, "Nothing is left") {
			t.Errorf("dry %t: %v\n%s", dry, err, out)
		}
	}
	out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"usa", "us"}})
	if err == nil || len(sim.Truth().Alive("")) != 1 {
		t.Errorf("one of two: %v\n%s", err, out)
	}
	wantLines(t, out, `Until now no instance of fleet usa was seen`, `Ending .*ag1\.us\.`)
	if out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"usa"}, List: true}); err != nil {
		t.Errorf("listed: %v\n%s", err, out)
	}
	_, empty := market(t, instances("notebook"))
	if out, err := swept(t.Context(), t, empty, sweepCmd{Fleet: []string{"usa"}}); err != nil {
		t.Errorf("nothing of any fleet is there: %v\n%s", err, out)
	}
}

// What was rented right before its server died, and is listed late, is waited
// for.
func TestSweepWaitsForWhatIsListedLate(t *testing.T) {
	t.Parallel()
	label := aged("us", 0)
	sim, url := market(t, strings.Replace(instances(label), `"list_lag":"1ns"`, `"list_lag":"400ms"`, 1))
	out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}, Settle: time.Second})
	if err != nil || len(sim.Truth().Alive(label)) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
	wantLines(t, out, "^No instance of any fleet", "looking on for ", "Ending ", "Nothing is left")
	began := time.Now()
	if out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}, Settle: time.Hour, OlderThan: time.Hour}); err != nil || time.Since(began) > 30*time.Minute {
		t.Errorf("what is young is not waited for: %v\n%s", err, out)
	}
}

// All fleets are ended when that is asked for, and what belongs to none stays.
func TestSweepAllFleets(t *testing.T) {
	t.Parallel()
	sim, url := market(t, instances(aged("us", time.Hour), "notebook"))
	if out, err := swept(t.Context(), t, url, sweepCmd{AllFleets: true}); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if truth := sim.Truth(); len(truth.Alive("")) != 1 || len(truth.Alive("notebook")) != 1 || len(truth.Broken) != 0 {
		t.Errorf("%+v", truth)
	}
}

// sweepFaults are an unkind day of the API.
const sweepFaults = `{"faults": [
	{"kind": "status", "call": "list", "html": true},
	{"kind": "list_missing", "times": 2},
	{"kind": "list_no_key"},
	{"kind": "list_empty"},
	{"kind": "destroy_ignored"},
	{"kind": "destroy_refused"},
	{"kind": "destroy_unknown"},
	{"kind": "status", "call": "destroy", "status": 500},
	{"kind": "limited", "call": "destroy"}
]}`

// What an unkind API does is borne: answers that fail, a listing with holes, an
// end that is accepted and does not come.
func TestSweepGoesOn(t *testing.T) {
	t.Parallel()
	label := aged("us", time.Hour)
	sim, url := market(t, instances(label))
	sc, err := vastsim.ReadScenario([]byte(sweepFaults))
	if err == nil {
		err = sim.Apply(sc)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := swept(t.Context(), t, url, sweepCmd{Fleet: []string{"us"}})
	if err != nil || len(sim.Truth().Alive(label)) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, b := range sim.Truth().Broken {
		t.Errorf("broken: %+v", b)
	}
}

// What cannot be ended in time is said, with the exit code of a failure.
func TestSweepGivesUp(t *testing.T) {
	t.Parallel()
	label := aged("us", time.Hour)
	_, url := market(t, instances(label))
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, url+r.URL.String(), http.StatusTemporaryRedirect)
	}))
	t.Cleanup(broken.Close)
	if out, err := swept(t.Context(), t, broken.URL, sweepCmd{Fleet: []string{"us"}, Timeout: 200 * time.Millisecond}); err == nil {
		t.Errorf("an API that leads elsewhere:\n%s", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := swept(ctx, t, url, sweepCmd{Fleet: []string{"us"}}); err == nil {
		t.Errorf("interrupted:\n%s", out)
	}
}

// The command line names what is wrong, and never repeats the key.
func TestSweepCommandLine(t *testing.T) {
	t.Parallel()
	_, url := market(t, instances())
	for name, c := range map[string]struct{ args, want string }{
		"no key":       {"sweep", "VAST_API_KEY is empty"},
		"two answers":  {"sweep --vast-api-key=account-key --fleet=us --all-fleets", "exclude each other"},
		"no such name": {"sweep --vast-api-key=account-key --fleet=a.b", "--fleet=a.b"},
		"a wrong key":  {"sweep --vast-api-key=wrong-key-of-somebody --vast-api-url=" + url, "list the instances of the account"},
	} {
		err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "wrong-key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Both settings may come from the environment.
func TestSweepReadsTheEnvironment(t *testing.T) {
	_, url := market(t, instances())
	t.Setenv("VAST_API_KEY", "account-key")
	t.Setenv("VAST_API_URL", url)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"sweep"}, &out, io.Discard); err != nil || out.String() != "No instance of any fleet is on this account.\n" {
		t.Errorf("%q, %v", &out, err)
	}
}

// busy is an account that is asked too often by somebody else: but for every
// tenth time.
type busy struct {
	account
	asked int
}

func (b *busy) Instances(ctx context.Context) (gpu.Snapshot, error) {
	if b.asked++; b.asked%10 != 0 {
		return gpu.Snapshot{}, gpu.RateLimited{After: time.Millisecond}
	}
	return b.account.Instances(ctx)
}

// A server that runs beside a sweep lists as often as the account allows: it is
// in the way, and no more.
func TestSweepBesideAServer(t *testing.T) {
	t.Parallel()
	sim, url := market(t, instances(aged("us", time.Hour), aged("lost", time.Hour)))
	account, err := vast.NewAccount(vast.AccountConfig{URL: url, Key: "account-key", Pace: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	for _, c := range []sweepCmd{{List: true, Fleet: []string{"none"}}, {Fleet: []string{"us"}}} {
		var out bytes.Buffer
		c.Timeout = time.Minute
		s := &sweeper{
			cmd: &c, account: &busy{account: account}, out: &out, now: time.Now, gap: 50 * time.Millisecond, round: time.Millisecond,
			asked: map[string]time.Time{}, seen: map[string]bool{},
		}
		if err := s.run(t.Context()); err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
		wantLines(t, out.String(), "waiting for a turn", "Fleet lost, ")
	}
	if truth := sim.Truth(); len(truth.Broken) > 0 {
		t.Errorf("broken: %+v", truth.Broken)
	}
}
