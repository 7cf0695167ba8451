package vastsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	id, own := r.create("a")
	other, _ := r.create("b")
	gone, lost := r.create("c")
	r.must("DELETE", "/api/v0/instances/"+gone+"/", nil)
	for _, c := range []struct {
		name, key, method, path string
		body                    any
		status                  int
		has                     string
	}{
		{"none", "", "GET", "/api/v1/instances/", nil, 403, `"error":"auth_error","msg":"This action requires login."`},
		{"bad", "wrong", "GET", "/api/v1/instances/", nil, 404, `"error":"auth_error","msg":"Invalid user key"`},
		{"bad to destroy", "wrong", "DELETE", "/api/v0/instances/" + id + "/", nil, 404, `auth_error`},
		{"deleted", lost, "DELETE", "/api/v0/instances/" + gone + "/", nil, 401, "Invalid user key"},
		{"none to search", "", "POST", "/api/v0/bundles/", "{}", 200, "offers"},
		{"bad to search", "wrong", "POST", "/api/v0/bundles/", "{}", 404, "auth_error"},
		{"none for names", "", "GET", "/api/v0/gpu_names/unique/", nil, 200, `"RTX 3060"`},
		{"in the address", "", "GET", "/api/v1/instances/?api_key=" + testKey, nil, 200, "instances"},
		{"own to list", own, "GET", "/api/v1/instances/", nil, 403, "auth_error"},
		{"own for another", own, "DELETE", "/api/v0/instances/" + other + "/", nil, 403, "auth_error"},
		{"own to show", own, "GET", "/api/v0/instances/" + id + "/", nil, 200, `"id":` + id},
		{"own to stop", own, "PUT", "/api/v0/instances/" + id + "/", `{"state":"stopped"}`, 200, `"success":true`},
		{"own to start", own, "PUT", "/api/v0/instances/" + id + "/", `{"state":"running"}`, 200, `"success":true`},
		{"own to rename", own, "PUT", "/api/v0/instances/" + id + "/", `{"label":"x"}`, 403, "auth_error"},
		{"own to create", own, "PUT", "/api/v0/asks/" + r.ask() + "/", body("d"), 403, "auth_error"},
		{"own to destroy", own, "DELETE", "/api/v0/instances/" + id + "/", `{}`, 200, `"success":true`},
	} {
		if a := r.as(c.key, c.method, c.path, c.body); a.status != c.status || !strings.Contains(a.text, c.has) {
			t.Errorf("%s: %d %s", c.name, a.status, a.text)
		}
	}
	if got := r.rules(); !slices.Contains(got, KeyInQuery) || !slices.Contains(got, ForeignTouched) {
		t.Errorf("broken rules: %v", got)
	}
}

// Every endpoint has its documented least interval, by identity.
func TestIntervals(t *testing.T) {
	t.Parallel()
	for path, interval := range map[string]time.Duration{
		"PUT /api/v0/asks/1/": 4500, "POST /api/v0/bundles/": 2000, "GET /api/v0/bundles/": 800, "PUT /api/v0/search/asks/": 2000,
		"GET /api/v1/instances/": 1000, "GET /api/v0/instances/": 20000, "GET /api/v0/instances/1/": 2000, "DELETE /api/v0/instances/1/": 3000,
		"PUT /api/v0/instances/1/": 1000, "GET /api/v0/users/spend-rate/": 2000, "GET /api/v0/charges/": 1000,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			one, text := 1.0, "text"
			r := newRig(t, Scenario{Intervals: &one, LimitBody: &text})
			method, path, _ := strings.Cut(path, " ")
			interval *= time.Millisecond
			call := func() answer { return r.call(method, path, "{}") }
			if a := call(); a.status == 429 {
				t.Fatal("the first call is too often")
			}
			r.Advance(interval - time.Millisecond)
			want := fmt.Sprintf("API requests too frequent: endpoint threshold=%.1f", interval.Seconds())
			if a := call(); a.status != 429 || a.text != want {
				t.Errorf("early: %d %q, want %q", a.status, a.text, want)
			}
			r.Advance(time.Millisecond)
			if a := call(); a.status == 429 {
				t.Error("in time: 429")
			}
			if got := r.rules(); !slices.Contains(got, TooOften) {
				t.Errorf("broken rules: %v", got)
			}
		})
	}
}

func TestLimitBodies(t *testing.T) {
	t.Parallel()
	one := 1.0
	r := newRig(t, Scenario{Intervals: &one})
	r.must("GET", "/api/v1/instances/", nil)
	for n, want := range []string{
		"API requests too frequent: endpoint threshold=1.0",
		`{"detail":"API requests too frequent endpoint threshold=1.0"}`,
		`{"error":"rate_limit_exceeded","msg":"API requests too frequent: endpoint threshold=1.0","success":false}`,
	} {
		if a := r.call("GET", "/api/v1/instances/", nil); a.status != 429 || a.text != want {
			t.Errorf("%d: %d %s", n, a.status, a.text)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	all := `"rentable":{"eq":true},`
	for _, c := range []struct {
		name, query string
		want        int // offers; -1 for none of interest
		msg         string
	}{
		{"nothing asked", `{}`, 20, ""},
		{"rentable", `{"rentable":{"eq":true}}`, 19, ""},
		{"verified", `{"verified":{"eq":true}}`, 19, ""},
		{"external", `{"external":{"eq":true}}`, 1, ""},
		{"datacenter", `{"datacenter":{"eq":true}}`, 2, ""},
		{"a name", `{"gpu_name":{"eq":"RTX 4090"}}`, 2, ""},
		{"a name with underscore", `{"gpu_name":{"eq":"RTX_4090"}}`, 0, ""},
		{"names", `{"gpu_name":{"in":["RTX 4090","L4"]}}`, 3, ""},
		{"not names", `{"gpu_name":{"notin":["RTX 3060","RTX 3060 Ti"]}}`, 7, ""},
		{"two on a column", `{"dph_base":{"gte":0.1,"lt":0.2}}`, 2, ""},
		{"country", `{"geolocation":{"in":["NO","US"]}}`, 2, ""},
		{"reliability", `{"reliability":{"gte":0.95}}`, 19, ""},
		{"compute capability", `{"compute_cap":{"gt":890}}`, 1, ""},
		{"driver", `{"driver_version":{"gte":"535.86.05"}}`, 20, ""},
		{"a newer driver", `{"driver_vers":{"gt":570133020}}`, 0, ""},
		{"disk", `{"allocated_storage":100}`, 19, ""},
		{"limit", `{"limit":3}`, 3, ""},
		{"id matches nothing", `{"id":{"gte":0}}`, 0, ""},
		{"ask_contract_id does", `{"ask_contract_id":{"gte":0}}`, 20, ""},
		{"null", `{"cluster_id":{"eq":null}}`, 20, ""},
		{"null has no size", `{"cluster_id":{"gte":0}}`, 0, ""},
		{"arm", `{"cpu_arch":{"neq":"amd64"}}`, 1, ""},
		{"types", `{` + all + `"type":"on-demand"}`, 19, ""},
		{"scalar", `{"gpu_name":"RTX 4090"}`, 0, "Invalid query: must be dict of conditions"},
		{"list", `{"gpu_name":["RTX 4090"]}`, 0, "0 is not a valid search op"},
		{"bad op", `{"gpu_name":{"like":"RTX"}}`, 0, "like is not a valid search op"},
		{"in without a list", `{"gpu_name":{"in":"RTX"}}`, 0, "Invalid query: must be dict of conditions"},
		{"no such column", `{"gpu_nam":{"eq":"RTX"}}`, 0, "gpu_nam is not a valid search key"},
		{"no JSON", `{`, 0, "Invalid json body"},
		{"no object", `[]`, 0, "Invalid json body"},
		{"bad type", `{"type":"cheap"}`, 0, "Invalid query: type"},
		{"bad order", `{"order":["dph_total"]}`, 0, "Invalid query: order"},
	} {
		forms := []answer{
			r.call("POST", "/api/v0/bundles/", c.query),
			r.call("GET", "/api/v0/bundles/?q="+url.QueryEscape(c.query), nil),
		}
		if json.Valid([]byte(c.query)) {
			forms = append(forms, r.call("PUT", "/api/v0/search/asks/", `{"select_cols":["*"],"q":`+c.query+`}`))
		}
		for n, a := range forms {
			if c.msg != "" {
				if msg, _ := a.json["msg"].(string); a.status != 400 || !strings.Contains(msg, c.msg) {
					t.Errorf("%s, form %d: %d %s", c.name, n, a.status, a.text)
				}
				continue
			}
			if offers, _ := a.json["offers"].([]any); a.status != 200 || len(offers) != c.want {
				t.Errorf("%s, form %d: %d with %d offers, want %d", c.name, n, a.status, len(offers), c.want)
			}
		}
	}
}

func TestSearchOrderAndPrices(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	prices := func(query string) (all []float64) {
		for _, o := range r.must("POST", "/api/v0/bundles/", query)["offers"].([]any) {
			all = append(all, o.(map[string]any)["dph_total"].(float64))
		}
		return all
	}
	asc := prices(`{"order":[["dph_total","asc"]]}`)
	if !slices.IsSorted(asc) || len(asc) != 20 {
		t.Errorf("ascending: %v", asc)
	}
	if desc := prices(`{"order":[["dph_total","desc"]]}`); desc[0] != asc[len(asc)-1] {
		t.Errorf("descending: %v", desc)
	}
	// 100 GB at $0.15 a month of 720 hours.
	more := prices(`{"order":[["dph_total","asc"]],"allocated_storage":100,"gpu_name":{"eq":"L4"}}`)
	if want := 0.22 + 0.15*100/720; more[0] < want-1e-6 || more[0] > want+1e-6 {
		t.Errorf("with disk: %v, want %v", more[0], want)
	}
	if bid := prices(`{"type":"bid","gpu_name":{"eq":"L4"}}`); bid[0] >= 0.22 {
		t.Errorf("bid: %v", bid)
	}
	r.apply(`{"unfaithful":["inet_up"]}`)
	if n := len(prices(`{"inet_up":{"gte":100000}}`)); n != 20 {
		t.Errorf("an unfaithful filter left %d", n)
	}
}

// At most 64 offers come back; the rest is found from the last price on.
func TestSearchCap(t *testing.T) {
	t.Parallel()
	var many []Offer
	for n := range 100 {
		o := typicalOffer()
		o.DPHBase = 0.1 + float64(n)/1000
		many = append(many, o)
	}
	r := newRig(t, Scenario{Offers: many})
	first := r.must("POST", "/api/v0/bundles/", `{"limit":1000,"order":[["dph_total","asc"]]}`)["offers"].([]any)
	if len(first) != 64 {
		t.Fatalf("%d offers", len(first))
	}
	last := first[63].(map[string]any)["dph_total"]
	rest := r.must("POST", "/api/v0/bundles/", row{"dph_total": row{"gte": last}})["offers"].([]any)
	if len(rest) != 37 {
		t.Errorf("%d from the last price on", len(rest))
	}
}

func TestCreateRefusals(t *testing.T) {
	t.Parallel()
	busy := typicalOffer()
	busy.Busy, busy.ID, busy.DPHBase = true, 77, 0.3
	r := newRig(t, Scenario{Offers: []Offer{busy, typicalOffer(), typicalOffer()}})
	edit := func(name string, value any) func(row) { return func(b row) { b[name] = value } }
	ports := row{}
	for n := range 65 {
		ports[fmt.Sprintf("-p %d:%d", 4000+n, 4000+n)] = "1"
	}
	for _, c := range []struct {
		name   string
		ask    string
		body   any
		status int
		has    string
	}{
		{"unknown offer", "5", body("a"), 404, `"no_such_ask"`},
		{"text of it", "5", body("a"), 404, `error 404/3603: no_such_ask Instance type by id 5 is not available.`},
		{"no number", "five", body("a"), 400, "invalid_args"},
		{"busy", "77", body("a"), 410, "Instance type 77 is no longer available."},
		{"no JSON", "", `{`, 400, "Invalid json body"},
		{"no image", "", body("a", edit("image", "")), 500, "server_error"},
		{"runtype and use_ssh", "", body("a", edit("use_ssh", true)), 400, "runtype and use_ssh cannot both be set"},
		{"bad runtype", "", body("a", edit("runtype", "docker")), 400, "invalid_args"},
		{"long label", "", body(strings.Repeat("x", 257)), 400, "invalid_args"},
		{"small disk", "", body("a", edit("disk", 7)), 400, "invalid_args"},
		{"large disk", "", body("a", edit("disk", 1e6)), 400, "invalid_args"},
		{"low price", "", body("a", edit("price", 0.0001)), 400, "invalid_price"},
		{"high price", "", body("a", edit("price", 129)), 400, "invalid_price"},
		{"low bid", "", body("a", edit("price", 0.01)), 410, "no_such_ask"},
		{"bad state", "", body("a", edit("target_state", "fast")), 400, "Invalid target state"},
		{"large env", "", body("a", edit("env", row{"A": strings.Repeat("x", 32768)})), 400, "invalid_args"},
		{"env of numbers", "", body("a", edit("env", row{"A": 1})), 400, "invalid_args"},
		{"many ports", "", body("a", edit("env", ports)), 400, "invalid_args"},
		{"long command", "", body("a", edit("args", []string{strings.Repeat("x", 4097)})), 400, "invalid_args"},
	} {
		ask := c.ask
		if ask == "" {
			ask = r.ask()
		}
		if a := r.call("PUT", "/api/v0/asks/"+ask+"/", c.body); a.status != c.status || !strings.Contains(a.text, c.has) {
			t.Errorf("%s: %d %s", c.name, a.status, a.text)
		}
	}
	if n := len(r.Truth().Instances); n != 0 {
		t.Errorf("%d instances came to be", n)
	}
}

func TestCreateWithoutCreditOrAboveTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	r.apply(`{"credit_usd":0}`)
	ask := "/api/v0/asks/" + r.ask() + "/"
	if a := r.call("PUT", ask, body("a")); a.status != 400 || a.json["error"] != "insufficient_credit" || a.json["msg"] != "Your account lacks credit; see the billing page." {
		t.Errorf("%d %s", a.status, a.text)
	}
	r.apply(`{"credit_usd":5,"spend_limit_usd":0.05}`)
	if a := r.call("PUT", ask, body("a")); a.status != 400 || a.json["error"] != "spend_rate_limit" {
		t.Errorf("%d %s", a.status, a.text)
	}
	r.apply(`{"spend_limit_usd":0}`)
	r.must("PUT", ask, body("a"))
}

// An offer can be taken once; after its instance there is another, with
// another id, of the same machine.
func TestAskIsUsedOnce(t *testing.T) {
	t.Parallel()
	one := typicalOffer()
	one.MachineID = 18231
	r := newRig(t, Scenario{Offers: []Offer{one}})
	ask := r.ask()
	id, _ := r.create("a")
	for form, want := range map[string]string{"404": `404 no_such_ask`, "400": `400 no_such_ask`, "invalid_args": `400 invalid_args`} {
		r.apply(`{"gone_form":"` + form + `"}`)
		a := r.call("PUT", "/api/v0/asks/"+ask+"/", body("b"))
		if got := fmt.Sprint(a.status, " ", a.json["error"]); got != want || number(a.json["ask_id"]) != ask || !strings.Contains(a.text, "available.") {
			t.Errorf("%s: %s", form, a.text)
		}
	}
	taken := r.must("POST", "/api/v0/bundles/", "{}")["offers"].([]any)[0].(map[string]any)
	if taken["rentable"] != false || taken["rented"] != true {
		t.Errorf("the taken offer: %v", taken)
	}
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	if again := r.ask(); again == ask {
		t.Error("the same ask came back")
	}
}

func TestCreatedStopped(t *testing.T) {
	t.Parallel()
	busy := typicalOffer()
	busy.ID, busy.Busy = 77, true
	for name, edit := range map[string]func(row){
		"busy":         func(b row) { b["cancel_unavail"] = false },
		"low bid":      func(b row) { b["price"] = 0.01; delete(b, "cancel_unavail") },
		"asked for it": func(b row) { b["target_state"] = "stopped"; delete(b, "cancel_unavail") },
	} {
		r := newRig(t, Scenario{Offers: []Offer{busy}})
		a := r.must("PUT", "/api/v0/asks/77/", body("a", edit))
		id := number(a["new_contract"])
		if a["success"] != false || id == "0" {
			t.Errorf("%s: %v", name, a)
		}
		r.Advance(time.Hour)
		i := r.show(id)
		if i["actual_status"] != "stopped" || i["intended_status"] != "stopped" || i["cur_state"] != "stopped" || i["next_state"] != "stopped" {
			t.Errorf("%s: %v", name, i)
		}
		if truth := r.Truth().Instances[0]; truth.Cost.GPU != 0 || truth.Cost.Disk == 0 {
			t.Errorf("%s: cost %+v", name, truth.Cost)
		}
	}
}

func TestStrayCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	for path, rule := range map[string]string{
		"/api/v1/instances": NoTrailingSlash, "/api/v0/instances/1": NoTrailingSlash, "/api/v9/instances/": UnknownCall, "/": UnknownCall,
		"/api/v1/instances/1/": WrongVersion,
	} {
		a := r.call(http.MethodDelete, path, nil)
		if a.status != 404 || a.json != nil {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
		if got := r.rules(); got[len(got)-1] != rule {
			t.Errorf("%s breaks %v", path, got)
		}
	}
}
