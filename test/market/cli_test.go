package market

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// cli makes requests as the command line client of Vast.ai does. The client is
// not used: its requests are written down here, literally, from its code as of
// August 2026 (vast-ai/vast-cli 5567983).
type cli struct {
	*rig
	key string
}

// result is an answer; json is nil where it is none.
type result struct {
	status int
	text   string
	json   map[string]any
}

// call makes one request. Its client repeats 429 and what a proxy answers;
// this one does not, so that the first answer is seen.
func (c *cli) call(method, path, body string) result {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("User-Agent", "vastai-cli/0.5.0")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	r := result{status: resp.StatusCode, text: string(text)}
	_ = json.Unmarshal(text, &r.json) // not all answers are JSON
	return r
}

// must is call that has to answer 200 and JSON.
func (c *cli) must(method, path, body string) map[string]any {
	c.Helper()
	r := c.call(method, path, body)
	if r.status != http.StatusOK || r.json == nil {
		c.Fatalf("%s %s: %d %s", method, path, r.status, r.text)
	}
	return r.json
}

// at looks up a path of names and numbers in an answer, as "offers.0.id".
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch have := v.(type) {
		case map[string]any:
			v = have[name]
		case []any:
			var n int
			if _, err := fmt.Sscan(name, &n); err != nil || n >= len(have) {
				return nil
			}
			v = have[n]
		default:
			return nil
		}
	}
	return v
}

func id(v any) string {
	n, _ := v.(float64)
	return fmt.Sprintf("%.0f", n)
}

// searchBody is `search offers 'gpu_name=RTX_3090 num_gpus=1 dph<0.5 gpu_ram>=20'`:
// its defaults, and numbers that stay text.
const searchBody = `{"verified":{"eq":true},"external":{"eq":false},"rentable":{"eq":true},"rented":{"eq":false},
	"gpu_name":{"eq":"RTX 3090"},"num_gpus":{"eq":"1"},"dph_total":{"lt":"0.5"},"gpu_ram":{"gte":20000.0},
	"order":[["score","desc"]],"type":"on-demand","allocated_storage":5.0}`

// createBody is `create instance ID --image … --env '-e TZ=UTC -p 8081:8081' --disk 20 --args serve`.
const createBody = `{"client_id":"me","image":"ghcr.io/me/worker:1.2","env":{"TZ":"UTC","-p 8081:8081":"1","-h":"box"},"price":null,
	"disk":20.0,"label":null,"extra":null,"onstart":null,"image_login":null,"python_utf8":false,"lang_utf8":false,"use_jupyter_lab":false,
	"jupyter_dir":null,"force":false,"cancel_unavail":false,"template_hash_id":null,"user":null,"runtype":"args","args":["serve"]}`

// sshBody is the same with --ssh --direct and a label.
const sshBody = `{"client_id":"me","image":"pytorch/pytorch","env":{},"price":null,"disk":10,"label":"mine","extra":null,"onstart":null,
	"image_login":"-u me -p token ghcr.io","python_utf8":false,"lang_utf8":false,"use_jupyter_lab":false,"jupyter_dir":null,"force":false,
	"cancel_unavail":false,"template_hash_id":null,"user":null,"runtype":"ssh_direc ssh_proxy"}`

// TestCLI is a day with the client of Vast.ai: search, create, show, stop,
// start, logs, label, destroy, money.
func TestCLI(t *testing.T) {
	t.Parallel()
	c := &cli{rig: newRig(t, `{"timing":{"log_lag":"900ms"}}`), key: accountKey}

	found := c.must("POST", "/api/v0/bundles/", searchBody)
	offers, _ := found["offers"].([]any)
	if len(offers) != 2 || at(found, "offers.0.gpu_name") != "RTX 3090" {
		t.Fatalf("search: %d offers, %v", len(offers), found)
	}
	for _, field := range []string{
		"id", "cuda_max_good", "num_gpus", "gpu_name", "pcie_bw", "cpu_cores_effective", "cpu_ram", "disk_space", "dph_total", "dlperf",
		"dlperf_per_dphtotal", "inet_up", "inet_down", "reliability2", "duration", "machine_id", "verification", "host_id", "direct_port_count",
		"geolocation", "score", "driver_version", "gpu_ram", "storage_cost", "inet_up_cost", "inet_down_cost", "min_bid", "compute_cap",
	} { // which its table shows
		if at(offers[0], field) == nil {
			t.Errorf("an offer has no %s", field)
		}
	}
	newSearch := c.must("PUT", "/api/v0/search/asks/", `{"select_cols":["*"],"q":`+searchBody+`}`)
	if id(at(newSearch, "offers.0.id")) != id(at(found, "offers.0.id")) {
		t.Errorf("search --new found %v", newSearch)
	}

	made := c.must("PUT", "/api/v0/asks/"+id(at(found, "offers.0.id"))+"/", createBody)
	one := id(made["new_contract"])
	if made["success"] != true || one == "0" || made["instance_api_key"] == "" {
		t.Fatalf("create: %v", made)
	}
	ssh := c.must("PUT", "/api/v0/asks/"+id(at(found, "offers.1.id"))+"/", sshBody)
	c.showsWhileItBoots(one)
	c.Advance(time.Minute)
	c.shows(one, id(ssh["new_contract"]))
	c.changes(one)
	c.logs(one)
	c.destroys(one, id(ssh["new_contract"]))
	c.money(one)

	// What the client does and this project's own must not.
	allowed := []string{vastsim.Unlabelled, vastsim.MayBeStopped, vastsim.KeyInQuery}
	for _, b := range c.Truth().Broken {
		if !slices.Contains(allowed, b.Rule) {
			t.Errorf("rule %s: %s", b.Rule, b.Detail)
		}
	}
}

// showsWhileItBoots: the client's table is made from these at any time.
func (c *cli) showsWhileItBoots(one string) {
	for _, state := range []any{nil, "created", "loading", "running"} {
		i := at(c.must("GET", "/api/v0/instances/"+one+"/?owner=me", ""), "instances")
		if at(i, "actual_status") != state || at(i, "start_date") == nil || at(i, "extra_env.0.0") == nil {
			c.Errorf("show while %v: %v", state, i)
		}
		c.Advance(time.Second)
	}
}

func (c *cli) shows(one, ssh string) {
	i, _ := c.must("GET", "/api/v0/instances/"+one+"/?owner=me", "")["instances"].(map[string]any)
	for field, want := range map[string]any{
		"actual_status": "running", "intended_status": "running", "cur_state": "running", "next_state": "running", "label": nil,
		"status_msg": "success, running ghcr.io/me/worker:1.2/args", "image_uuid": "ghcr.io/me/worker:1.2", "image_runtype": "args", "is_bid": false,
		"public_ipaddr": "127.0.0.1\n", "num_gpus": 1.0, "gpu_name": "RTX 3090",
	} {
		if i[field] != want {
			c.Errorf("show: %s is %v, want %v", field, i[field], want)
		}
	}
	if port, _ := at(i, "ports.8081/tcp.0.HostPort").(string); port == "" {
		c.Errorf("show: ports %v", i["ports"])
	}
	if env := fmt.Sprint(i["extra_env"]); env != "[[-h box] [-p 8081:8081 1] [TZ UTC]]" {
		c.Errorf("show: extra_env %s", env)
	}
	page := c.must("GET", "/api/v1/instances/?limit=25&order_by="+url.QueryEscape(`[{"col":"id","dir":"asc"}]`), "")
	if id(at(page, "instances.0.id")) != one || id(at(page, "instances.1.id")) != ssh || page["total_instances"] != 2.0 || page["next_token"] != nil || page["success"] != true {
		c.Errorf("show instances: %v", page)
	}
	if counts := fmt.Sprint(page["label_counts"]); counts != "map[:1 mine:1]" {
		c.Errorf("show instances: label_counts %s", counts)
	}
	mine := c.must("GET", "/api/v1/instances/?limit=25&select_filters="+url.QueryEscape(`{"label":{"eq":"mine"}}`)+"&select_cols="+url.QueryEscape(`["id","label"]`), "")
	if got := fmt.Sprint(len(mine["instances"].([]any)), " ", at(mine, "instances.0.label")); got != "1 mine" {
		c.Errorf("show instances by label: %s", got)
	}
	if none := c.must("GET", "/api/v0/instances/5/?owner=me", ""); none["instances"] != nil {
		c.Errorf("show of nothing: %v", none)
	}
	// Older ones put the key into the address.
	old := &cli{rig: c.rig}
	before := len(c.Truth().Broken)
	if page := old.must("GET", "/api/v1/instances/?limit=25&api_key="+c.key, ""); page["total_instances"] != 2.0 {
		c.Errorf("the key in the address: %v", page)
	}
	if broken := c.Truth().Broken[before:]; len(broken) != 1 || broken[0].Rule != vastsim.KeyInQuery {
		c.Errorf("noted is %+v", broken)
	}
}

func (c *cli) changes(one string) {
	path := "/api/v0/instances/" + one + "/"
	status := func() any { return at(c.must("GET", path+"?owner=me", ""), "instances.actual_status") }
	yes := func(what, method, path, body string) {
		if r := c.must(method, path, body); r["success"] != true {
			c.Errorf("%s: %v", what, r)
		}
	}
	yes("label", "PUT", path, `{"label":"renamed"}`)
	if label := at(c.must("GET", path, ""), "instances.label"); label != "renamed" {
		c.Errorf("the label is %v", label)
	}
	yes("stop", "PUT", path, `{"state":"stopped"}`)
	if s := status(); s != "stopped" {
		c.Errorf("after stop: %v", s)
	}
	yes("start", "PUT", path, `{"state":"running"}`)
	c.Advance(10 * time.Second)
	yes("reboot", "PUT", "/api/v0/instances/reboot/"+one+"/", `{}`)
	if s := status(); s != "loading" {
		c.Errorf("after reboot: %v", s)
	}
	c.Advance(10 * time.Second)
	yes("recycle", "PUT", "/api/v0/instances/recycle/"+one+"/", `{}`)
	c.Advance(10 * time.Second)
	if s := status(); s != "running" {
		c.Errorf("at the end: %v", s)
	}
	if r := c.must("PUT", "/api/v0/instances/reboot/5/", `{}`); r["success"] != false {
		c.Errorf("reboot of nothing: %v", r)
	}
	many := c.must("PUT", "/api/v0/instances/", `{"ids":[`+one+`,5],"state":"stopped"}`)
	if at(many, "results.0.success") != true || at(many, "results.1.error") != "no_such_instance" {
		c.Errorf("stop of many: %v", many)
	}
	yes("start", "PUT", path, `{"state":"running"}`)
	c.Advance(10 * time.Second)
}

// logs: the client asks, then polls the address that it is given, without a
// key, until something is there.
func (c *cli) logs(one string) {
	asked := c.must("PUT", "/api/v0/instances/request_logs/"+one+"/", `{"tail":"1000"}`)
	address, _ := asked["result_url"].(string)
	if asked["success"] != true || !strings.HasPrefix(address, c.url) {
		c.Fatalf("logs: %v", asked)
	}
	anyone := &cli{rig: c.rig}
	path := strings.TrimPrefix(address, c.url)
	if r := anyone.call("GET", path, ""); r.status != http.StatusForbidden && r.status != http.StatusNotFound {
		c.Errorf("logs before they are there: %d", r.status)
	}
	for range 30 {
		c.Advance(300 * time.Millisecond)
		if anyone.call("GET", path, "").status == http.StatusOK {
			return
		}
	}
	c.Error("logs never came")
}

func (c *cli) destroys(one, ssh string) {
	if r := c.must("DELETE", "/api/v0/instances/"+one+"/", `{}`); r["success"] != true {
		c.Errorf("destroy: %v", r)
	}
	again := c.call("DELETE", "/api/v0/instances/"+one+"/", `{}`)
	if again.status != http.StatusNotFound || again.json["error"] != "no_such_instance" || again.json["msg"] != "Instance "+one+" not found." {
		c.Errorf("destroy again: %d %s", again.status, again.text)
	}
	if r := c.must("DELETE", "/api/v0/instances/", `{"instance_ids":[`+one+`,`+ssh+`]}`); r["success"] != true {
		c.Errorf("destroy many: %v", r)
	}
	none := c.call("DELETE", "/api/v0/instances/", `{"instance_ids":[`+one+`]}`)
	if none.status != http.StatusNotFound || none.json["error"] != "instances_not_found" {
		c.Errorf("destroy many again: %d %s", none.status, none.text)
	}
	if alive := c.Truth().Alive(""); len(alive) != 0 {
		c.Errorf("left alive: %v", alive)
	}
}

func (c *cli) money(one string) {
	user := c.must("GET", "/api/v0/users/current/", "")
	for _, field := range []string{"id", "email", "balance", "credit", "can_pay", "balance_threshold", "balance_threshold_enabled", "ssh_key"} {
		if _, there := user[field]; !there {
			c.Errorf("show user: no %s", field)
		}
	}
	if rate := c.must("GET", "/api/v0/users/spend-rate/", ""); rate["success"] != true || rate["has_active_resources"] != false {
		c.Errorf("spend rate: %v", rate)
	}
	from, to := c.Now().Add(-24*time.Hour).Unix(), c.Now().Add(24*time.Hour).Unix()
	filters := func(what string) string {
		return url.QueryEscape(fmt.Sprintf(`{"%s":{"gte":%d,"lte":%d}}`, what, from, to))
	}
	charges := c.must("GET", "/api/v0/charges/?limit=50&latest_first=true&select_filters="+filters("day"), "")
	sources := []string{}
	for _, r := range charges["results"].([]any) {
		sources = append(sources, at(r, "source").(string))
		if at(r, "amount") == nil || at(r, "items.0.type") == nil || at(r, "start") == nil || at(r, "end") == nil {
			c.Errorf("a charge: %v", r)
		}
	}
	if !slices.Contains(sources, "instance-"+one) || charges["success"] != true {
		c.Errorf("charges: %v", charges)
	}
	invoices := c.must("GET", "/api/v1/invoices/?limit=50&select_filters="+filters("when"), "")
	if list, isList := invoices["results"].([]any); !isList || len(list) != 0 {
		c.Errorf("invoices: %v", invoices)
	}
}

// The client pages through its instances, 25 at a time.
func TestCLIPages(t *testing.T) {
	t.Parallel()
	c := &cli{rig: many(t, 60), key: accountKey}
	ids, token, sizes := map[string]bool{}, "", []int{}
	for range 5 {
		path := "/api/v1/instances/?limit=25"
		if token != "" {
			path += "&after_token=" + url.QueryEscape(token)
		}
		page := c.must("GET", path, "")
		rows := page["instances"].([]any)
		sizes = append(sizes, len(rows))
		if page["instances_found"] != float64(len(rows)) || page["total_instances"] != 60.0 {
			t.Errorf("a page of %d: %v of %v", len(rows), page["instances_found"], page["total_instances"])
		}
		for _, r := range rows {
			ids[id(at(r, "id"))] = true
		}
		if token, _ = page["next_token"].(string); token == "" {
			break
		}
	}
	if len(ids) != 60 || fmt.Sprint(sizes) != "[25 25 10]" {
		t.Errorf("%d instances in pages of %v", len(ids), sizes)
	}
}

// Refusals, in the words that the client prints.
func TestCLIRefusals(t *testing.T) {
	t.Parallel()
	c := &cli{rig: newRig(t, `{"limit_body":"text"}`), key: accountKey}
	ask := c.request("x").Offer.ID
	bulk := c.must("POST", "/api/v0/asks/bulk/", `{"ids":[`+ask+`,5],"client_id":"me","image":"x","label":"bulk","cancel_unavail":true}`)
	if bulk["created"] != 1.0 || bulk["failed"] != 1.0 || at(bulk, "results.0.success") != true || at(bulk, "results.1.error") != "no_such_ask" {
		t.Errorf("bulk create: %v", bulk)
	}
	for name, want := range map[string]struct {
		method, path, body string
		status             int
		error, msg         string
	}{
		"taken":         {"PUT", "/api/v0/asks/" + ask + "/", createBody, 404, "no_such_ask", "error 404/3603: no_such_ask Instance type by id " + ask + " is not available."},
		"both":          {"PUT", "/api/v0/asks/5/", `{"image":"x","runtype":"args","use_ssh":true}`, 400, "invalid_args", "runtype and use_ssh cannot both be set"},
		"an old list":   {"GET", "/api/v0/instances/?owner=me", "", 410, "deprecated_endpoint", "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."},
		"computed":      {"GET", "/api/v1/instances/?select_filters=" + url.QueryEscape(`{"dph_total":{"gt":1}}`), "", 400, "invalid_request", "Error in query parameters: dph_total is not a valid search key"},
		"bad token":     {"GET", "/api/v1/instances/?after_token=x", "", 400, "invalid_token", ""},
		"scalar":        {"POST", "/api/v0/bundles/", `{"num_gpus":1}`, 400, "invalid_args", "Invalid query: must be dict of conditions"},
		"not a number":  {"GET", "/api/v0/instances/me/", "", 400, "invalid_args", "Invalid id: me"},
		"bad state":     {"PUT", "/api/v0/instances/5/", `{"state":"fast"}`, 404, "no_such_instance", "Instance 5 not found."},
		"charges ever":  {"GET", "/api/v0/charges/", "", 400, "invalid_args", ""},
		"no such thing": {"DELETE", "/api/v0/instances/", `{"instance_ids":[]}`, 400, "invalid_args", "instance_ids must be 1 to 64 ids"},
	} {
		r := c.call(want.method, want.path, want.body)
		if r.status != want.status || r.json["error"] != want.error || want.msg != "" && r.json["msg"] != want.msg {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	c.apply(`{"intervals":1}`)
	c.must("POST", "/api/v0/bundles/", `{}`)
	if r := c.call("POST", "/api/v0/bundles/", `{}`); r.status != 429 || r.text != "API requests too frequent: endpoint threshold=2.0" {
		t.Errorf("too often: %d %q", r.status, r.text)
	}
}
