package vastsim

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a fault does to a create: what the client sees, and what is true.
func TestCreateFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fault string
		status      int // 0: no answer
		has         string
		alive       int // at once
		later       int // a minute later
	}{
		{"storm", `{"kind":"status","call":"create"}`, 503, "<html>", 0, 0},
		{"storm with a body", `{"kind":"status","status":500,"body":{"success":false}}`, 500, `{"success":false}`, 0, 0},
		{"storm with a text", `{"kind":"status","status":502,"body":"bad gateway"}`, 502, "bad gateway", 0, 0},
		{"too often", `{"kind":"limited"}`, 429, "API requests too frequent", 0, 0},
		{"reset", `{"kind":"reset"}`, 0, "", 0, 0},
		{"created, no answer", `{"kind":"reset","after":true}`, 0, "", 1, 1},
		{"created, error", `{"kind":"status","after":true}`, 503, "", 1, 1},
		{"created, 429", `{"kind":"limited","after":true}`, 429, "", 1, 1},
		{"created, timeout", `{"kind":"hang","after":true,"delay":"1ms"}`, 504, "", 1, 1},
		{"slow", `{"kind":"slow","delay":"1ms"}`, 200, "new_contract", 1, 1},
		{"error with an id", `{"kind":"create_error_with_id"}`, 500, "new_contract", 1, 1},
		{"twice", `{"kind":"create_twice"}`, 200, "new_contract", 2, 2},
		{"late", `{"kind":"create_late","delay":"30s"}`, 500, "server_error", 0, 1},
		{"stopped", `{"kind":"create_stopped"}`, 200, `"success":false`, 1, 1},
		{"vanished", `{"kind":"create_vanished"}`, 404, "no_such_ask", 0, 0},
		{"of another label", `{"kind":"status","label":"b"}`, 200, "new_contract", 1, 1},
		{"of another call", `{"kind":"status","call":"destroy"}`, 200, "new_contract", 1, 1},
		{"skipped", `{"kind":"status","call":"create","skip":1}`, 200, "new_contract", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Scenario{})
			ask := r.ask()
			r.apply(`{"faults":[` + c.fault + `]}`)
			a := r.call("PUT", "/api/v0/asks/"+ask+"/", body("a"))
			if (a.err != nil) != (c.status == 0) || a.status != c.status || !strings.Contains(a.text, c.has) {
				t.Errorf("seen: %d %s %v", a.status, a.text, a.err)
			}
			if n := len(r.Truth().Alive("a")); n != c.alive {
				t.Errorf("%d are alive at once, want %d", n, c.alive)
			}
			r.Advance(time.Minute)
			if n := len(r.Truth().Alive("a")); n != c.later {
				t.Errorf("%d are alive later, want %d", n, c.later)
			}
			if calls := r.Calls("create"); len(calls) != 1 || calls[0].Label != "a" || calls[0].Status != c.status {
				t.Errorf("log: %+v", calls)
			}
		})
	}
}

func TestListFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault string
		rows  int // -1: no rows at all
		total float64
	}{
		{ListMissing, 1, 3}, {ListDuplicate, 4, 3}, {ListEmpty, 0, 0}, {ListNoKey, -1, 3}, {ListCut, 3, 3}, {ListLag, 1, 1}, {ListStale, 4, 4},
	} {
		r := newRig(t, Scenario{Instances: []Existing{{Label: "x"}}})
		gone := r.run("gone")
		r.must("DELETE", "/api/v0/instances/"+gone+"/", nil)
		r.Advance(time.Minute)
		r.run("a")
		r.run("b")
		r.apply(`{"faults":[{"kind":"` + c.fault + `","delay":"5m"}]}`)
		page := r.must("GET", "/api/v1/instances/", nil)
		rows, there := page["instances"].([]any)
		if !there && c.rows >= 0 || there && len(rows) != c.rows || page["total_instances"] != c.total {
			t.Errorf("%s: %d rows of %v", c.fault, len(rows), page["total_instances"])
		}
		if ids, _ := r.listed(""); len(ids) != 3 {
			t.Errorf("%s went on: %v", c.fault, ids)
		}
	}
	r := many(t, 30)
	r.apply(`{"faults":[{"kind":"list_cut"}]}`)
	if ids, page := r.listed(""); len(ids) != 25 || page["next_token"] != nil || page["total_instances"] != 30.0 {
		t.Errorf("cut: %d rows", len(ids))
	}
}

func TestDestroyFaults(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		DestroyIgnored: `200 {"success":true}`, DestroyRefused: `200 {"msg":"Instance could not be destroyed.","success":false}`, DestroyUnknown: `404 {"error":"no_such_instance"`,
	} {
		r := newRig(t, Scenario{})
		id := r.run("a")
		r.apply(`{"faults":[{"kind":"` + kind + `","label":"a"}]}`)
		a := r.call("DELETE", "/api/v0/instances/"+id+"/", nil)
		if got := strconv.Itoa(a.status) + " " + a.text; !strings.HasPrefix(got, want) || r.show(id) == nil {
			t.Errorf("%s: %s", kind, got)
		}
		if r.must("DELETE", "/api/v0/instances/"+id+"/", nil); r.show(id) != nil {
			t.Errorf("%s went on", kind)
		}
	}
	r := newRig(t, Scenario{})
	id := r.run("a")
	r.apply(`{"faults":[{"kind":"show_null"},{"kind":"start_unavailable"}]}`)
	if r.show(id) != nil || r.show(id) == nil {
		t.Error("null is shown once")
	}
	r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"stopped"}`)
	if a := r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"running"}`); a["error"] == "resources_unavailable" {
		t.Error("the fault was for the change before")
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id := r.run("a")
	r.apply(`{"faults":[{"kind":"status","call":"*","for":"20m","html":true,"status":502}]}`)
	for range 3 {
		if a := r.call("GET", "/api/v1/instances/", nil); a.status != 502 || !strings.Contains(a.text, "<html>") {
			t.Errorf("outage: %d %s", a.status, a.text)
		}
		r.Advance(6 * time.Minute)
	}
	r.Advance(2 * time.Minute)
	if s := r.status(id); s != "running" {
		t.Errorf("after it: %v", s)
	}
	r.apply(`{"faults":[{"kind":"reset","times":2},{"kind":"status","times":-1}]}`)
	for n, want := range []int{0, 0, 503, 503, 503} {
		if a := r.call("GET", "/api/v1/instances/", nil); a.status != want {
			t.Errorf("call %d: %d, want %d", n, a.status, want)
		}
	}
	r.clearFaults()
	r.must("GET", "/api/v1/instances/", nil)
}

// A call that hangs is over when the client leaves, and its effect is there.
func TestHang(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id := r.run("a")
	r.apply(`{"faults":[{"kind":"hang","call":"destroy","after":true},{"kind":"hang","call":"list"}]}`)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "DELETE", r.url+"/api/v0/instances/"+id+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	left := make(chan error, 1)
	go func() {
		resp, err := r.client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	until(t, "destroyed", func() bool { return len(r.Truth().Alive("a")) == 0 })
	leave()
	if err := <-left; err == nil {
		t.Error("it answered")
	}
	// The end of the market lets go of another.
	go func() {
		until(t, "held", func() bool { return len(r.Calls("list")) == 1 })
		r.Close()
	}()
	if a := r.call("GET", "/api/v1/instances/", nil); a.err == nil {
		t.Errorf("list: %d", a.status)
	}
}

func TestBreaches(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Instances: []Existing{{Label: "theirs"}, {Label: "ours", Mine: true}}})
	id, _ := r.create("a")
	again := r.must("PUT", "/api/v0/asks/"+r.ask()+"/", body("a"))
	r.must("PUT", "/api/v0/asks/"+r.ask()+"/", body(""))
	ids := r.Truth().Alive("theirs")
	r.must("DELETE", "/api/v0/instances/"+number(ids[0])+"/", nil)
	r.must("DELETE", "/api/v0/instances/"+number(r.Truth().Alive("ours")[0])+"/", nil)
	if got, want := r.rules(), []string{CreateRetried, Unlabelled, ForeignTouched}; !slices.Equal(got, want) {
		t.Errorf("broken rules: %v, want %v", got, want)
	}
	if again["success"] != true || number(again["new_contract"]) == id {
		t.Error("the retry made no second instance: the API is not idempotent")
	}
	// After a definite refusal the same label may be tried on another offer.
	r2 := newRig(t, Scenario{})
	r2.call("PUT", "/api/v0/asks/5/", body("a"))
	r2.create("a")
	if got := r2.rules(); len(got) != 0 {
		t.Errorf("broken rules: %v", got)
	}
}
