package market

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// many is a market with this many instances, more than a page holds.
func many(t testing.TB, n int) *rig {
	t.Helper()
	instances := strings.TrimSuffix(strings.Repeat(`{"label":"one of many","mine":true},`, n), ",")
	return newRig(t, `{"instances":[`+instances+`]}`)
}

// What goes wrong with a listing of 27 instances on two pages.
var listCases = []struct {
	name, fault string
	rows        int // -1: an error, nothing was learned
	complete    bool
	want        error // where rows is -1
}{
	{"nothing", `{"kind":"status","call":"destroy"}`, 27, true, nil},
	{"slow", `{"kind":"slow","call":"list","delay":"1ms"}`, 27, true, nil},
	{"a page of HTML", `{"kind":"status","call":"list","status":502,"html":true}`, -1, false, errAmbiguous},
	{"200 of somebody else", `{"kind":"status","call":"list","status":200,"html":true}`, -1, false, errAmbiguous},
	{"200 and no success", `{"kind":"status","call":"list","status":200,"body":{"success":false,"error":"server_error","msg":"no"}}`, -1, false, errAmbiguous},
	{"gone, as for v0", `{"kind":"status","call":"list","status":410,"body":{"success":false,"error":"deprecated_endpoint","msg":"/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."}}`, -1, false, gpu.ErrRefused},
	{"empty body", `{"kind":"status","call":"list","status":200,"body":{}}`, -1, false, errAmbiguous},
	{"null", `{"kind":"status","call":"list","status":200,"body":{"success":true,"instances":null}}`, -1, false, errAmbiguous},
	{"no list", `{"kind":"list_no_key"}`, -1, false, errAmbiguous},
	{"cut", `{"kind":"reset","call":"list","times":-1}`, -1, false, errAmbiguous},
	{"a gateway's timeout", `{"kind":"hang","call":"list","delay":"1ms"}`, -1, false, errAmbiguous},
	{"too often", `{"kind":"limited","call":"list"}`, -1, false, gpu.RateLimited{}},
	{"key not known", `{"kind":"status","call":"list","status":404,"body":{"success":false,"error":"auth_error","msg":"Invalid user key"}}`, -1, false, gpu.ErrAuth},

	{"the second page is HTML", `{"kind":"status","call":"list","skip":1,"status":502,"html":true}`, 25, false, nil},
	{"the second page is too often", `{"kind":"limited","call":"list","skip":1}`, 27, true, nil}, // asked for once more
	{"the second page is too often twice", `{"kind":"limited","call":"list","skip":1,"times":2}`, 25, false, nil},
	{"the second page has no list", `{"kind":"list_no_key","skip":1}`, 25, false, nil},
	{"the second page is cut", `{"kind":"reset","call":"list","skip":1,"times":-1}`, 25, false, nil},
	{"the second page is lost", `{"kind":"list_cut"}`, 25, false, nil},
	{"rows are missing", `{"kind":"list_missing"}`, 14, false, nil},
	{"rows are missing on the second page", `{"kind":"list_missing","skip":1}`, 25, false, nil},
	{"a row comes twice", `{"kind":"list_duplicate"}`, 27, false, nil},
	{"a row comes twice on the second page", `{"kind":"list_duplicate","skip":1}`, 27, false, nil},
	{"the second page denies all", `{"kind":"list_empty","skip":1}`, 25, false, nil},
	// A lie that looks whole. It takes two, 90 s after the create, to be believed.
	{"all denied", `{"kind":"list_empty"}`, 0, true, nil},
}

func TestInstances(t *testing.T) {
	t.Parallel()
	for _, c := range listCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := many(t, 27)
			r.apply(`{"faults":[` + c.fault + `]}`)
			s, err := r.Instances(t.Context())
			if c.rows < 0 {
				if outcome(err) != c.want || s.Complete || len(s.Instances) > 0 {
					t.Errorf("Instances returned %d rows, complete %v, %v; want %v", len(s.Instances), s.Complete, err, c.want)
				}
				return
			}
			if err != nil || s.Complete != c.complete || len(s.Instances) != c.rows {
				t.Errorf("Instances returned %d rows, complete %v, %v; want %d, %v", len(s.Instances), s.Complete, err, c.rows, c.complete)
			}
			ids := map[string]bool{}
			for _, i := range s.Instances {
				if ids[i.ID] || i.Label != "one of many" {
					t.Errorf("row %+v", i)
				}
				ids[i.ID] = true
			}
		})
	}
}

// Pages of 25 of any number of instances come together.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 24, 25, 26, 50, 51, 130} {
		r := many(t, n)
		if s := r.list(); !s.Complete || len(s.Instances) != n {
			t.Errorf("%d instances: %d came, complete %v", n, len(s.Instances), s.Complete)
		}
		if calls := r.Calls("list"); len(calls) != max(1, (n+24)/25) {
			t.Errorf("%d instances: %d pages", n, len(calls))
		}
		r.unbroken()
	}
}

// An instance comes to and goes from between two pages: the count tells.
func TestListingThatMoves(t *testing.T) {
	t.Parallel()
	r := many(t, 27)
	// Between the pages the first instance ends.
	first := r.Truth().Instances[0].ID
	r.apply(`{"faults":[{"kind":"slow","call":"list","delay":"50ms"}]}`)
	done := make(chan gpu.Snapshot)
	go func() { done <- r.list() }()
	for len(r.Calls("list")) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := r.Do(first, vastsim.Deed{Do: vastsim.DoVanish}); err != nil {
		t.Fatal(err)
	}
	if s := <-done; s.Complete || len(s.Instances) != 27 {
		t.Errorf("%d rows, complete %v", len(s.Instances), s.Complete)
	}
}

// A new instance is missing from listings at first, and one that was destroyed
// stays in them. Both listings are complete: only time tells.
func TestListingLag(t *testing.T) {
	t.Parallel()
	r := newRig(t, `{"timing":{"list_lag":"20s"}}`)
	id := r.create("a")
	if s := r.list(); !s.Complete || len(s.Instances) != 0 {
		t.Errorf("at once: %+v", s)
	}
	if lag := r.Traits().ListingLag; lag < 20*time.Second {
		t.Errorf("the adapter allows %v", lag)
	}
	r.Advance(21 * time.Second)
	if i := r.sees("a"); i.ID != id {
		t.Errorf("then: %+v", i)
	}
	r.apply(`{"faults":[{"kind":"list_lag","delay":"1h"}]}`)
	if s := r.list(); len(s.Instances) != 0 {
		t.Errorf("a longer lag: %+v", s)
	}
	if err := r.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.apply(`{"faults":[{"kind":"list_stale","delay":"1m"}]}`)
	r.Advance(30 * time.Second)
	if i := r.sees("a"); i.Running {
		t.Errorf("destroyed, and listed as running: %+v", i)
	}
	if s := r.list(); !s.Complete || len(s.Instances) != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// What goes wrong with a destroy.
var destroyCases = []struct {
	name, fault string
	want        error
	alive       bool
}{
	{"nothing", `{"kind":"status","call":"create"}`, nil, false},
	{"slow", `{"kind":"slow","call":"destroy","delay":"1ms"}`, nil, false},
	{"ignored", `{"kind":"destroy_ignored"}`, nil, true},
	{"said to be unknown", `{"kind":"destroy_unknown"}`, nil, true},
	{"200 and no success", `{"kind":"destroy_refused"}`, errAmbiguous, true},
	{"a page 502", `{"kind":"status","call":"destroy","status":502,"html":true}`, errAmbiguous, true},
	{"a page 502, done", `{"kind":"status","call":"destroy","status":502,"html":true,"after":true}`, errAmbiguous, false},
	{"a bare 404", `{"kind":"status","call":"destroy","status":404,"html":true}`, errAmbiguous, true},
	{"a 404 of a bad key", `{"kind":"status","call":"destroy","status":404,"body":{"success":false,"error":"auth_error","msg":"Invalid user key"}}`, gpu.ErrAuth, true},
	{"an expired session", `{"kind":"status","call":"destroy","status":404,"body":{"msg":"Session expired. Please log in again."}}`, gpu.ErrAuth, true},
	{"too often", `{"kind":"limited","call":"destroy"}`, gpu.RateLimited{}, true},
	{"no answer", `{"kind":"hang","call":"destroy","after":true,"delay":"1ms"}`, errAmbiguous, false},
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	for _, c := range destroyCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			id := r.boot("a")
			r.apply(`{"faults":[` + c.fault + `]}`)
			if err := r.Destroy(t.Context(), id); outcome(err) != c.want {
				t.Errorf("Destroy returned %v, want %v", err, c.want)
			}
			if alive := len(r.Truth().Alive("a")) == 1; alive != c.alive {
				t.Errorf("alive is %v", alive)
			}
			if listed := len(r.list().Instances) == 1; listed != c.alive {
				t.Errorf("listed is %v", listed)
			}
			// What failed is asked again, and what is gone may be.
			r.Advance(time.Minute)
			if err := r.Destroy(t.Context(), id); err != nil && c.want != (gpu.RateLimited{}) {
				t.Errorf("again: %v", err)
			}
			r.unbroken()
		})
	}
}

// All that calls for the market's own time: its 429 in three forms, from which
// the adapter learns how often it may ask.
func TestTooOften(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"text", "detail", "json"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, `{"intervals":0.05,"limit_body":"`+form+`"}`) // 50 ms a list
			r.list()
			began := time.Now()
			_, err := r.Instances(t.Context())
			if outcome(err) != (gpu.RateLimited{}) {
				t.Fatalf("Instances returned %v", err)
			}
			r.Advance(time.Second) // the market's clock stands still
			if _, err := r.Instances(t.Context()); err != nil {
				t.Errorf("later: %v", err)
			}
			if took := time.Since(began); took < 50*time.Millisecond {
				t.Errorf("asked again after %v", took)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := r.Instances(ctx); outcome(err) != gpu.ErrNotSent {
				t.Errorf("with an ended context: %v", err)
			}
		})
	}
}

// TestEveryFaultIsShown finds a knob of the market that no test turns.
func TestEveryFaultIsShown(t *testing.T) {
	t.Parallel()
	shown := vastsim.ListLag + vastsim.ListStale // by TestListingLag
	// The adapter shows no single instance, and starts nothing that stopped.
	shown += vastsim.ShowNull + vastsim.ShowBare + vastsim.StartUnavailable
	for _, c := range createCases {
		shown += c.fault
	}
	for _, c := range listCases {
		shown += c.fault
	}
	for _, c := range destroyCases {
		shown += c.fault
	}
	for _, kind := range vastsim.Kinds() {
		if !strings.Contains(shown, kind) {
			t.Errorf("no test shows what the adapter makes of the fault %q", kind)
		}
	}
	for _, word := range slices.Concat(vastsim.Failures(), vastsim.Deeds()) {
		if _, ok := machineCases[word]; !ok {
			t.Errorf("no test shows what the adapter makes of a machine that does %q", word)
		}
	}
}
