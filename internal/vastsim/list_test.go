package vastsim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// many is a market with n instances of another owner.
func many(t *testing.T, n int) *rig {
	t.Helper()
	var all []Existing
	for k := range n {
		all = append(all, Existing{Label: fmt.Sprintf("x-%d", k%3)})
	}
	all[0].Label = ""
	return newRig(t, Scenario{Instances: all})
}

const byID = `?order_by=` + `%5B%7B%22col%22%3A%22id%22%2C%22dir%22%3A%22asc%22%7D%5D`

func TestListPages(t *testing.T) {
	t.Parallel()
	r := many(t, 60)
	var all []string
	token, pages := "", 0
	for {
		ids, page := r.listed(byID + "&after_token=" + url.QueryEscape(token))
		all = append(all, ids...)
		pages++
		if page["total_instances"] != 60.0 || page["instances_found"] != float64(len(ids)) || page["success"] != true {
			t.Errorf("counts: %v %v", page["total_instances"], page["instances_found"])
		}
		if labels := page["label_counts"].(map[string]any); labels[""] != 1.0 || labels["x-1"] != 20.0 || labels["x-0"] != 19.0 {
			t.Errorf("labels: %v", labels)
		}
		next, more := page["next_token"].(string)
		if !more {
			break
		}
		token = next
	}
	if len(all) != 60 || !slices.IsSorted(all) || len(slices.Compact(all)) != 60 || pages != 3 {
		t.Errorf("%d pages with %v", pages, all)
	}
	newest, _ := r.listed("")
	if newest[0] != all[59] {
		t.Errorf("without an order the first is %s", newest[0])
	}
}

func TestListQueries(t *testing.T) {
	t.Parallel()
	r := many(t, 60)
	for _, c := range []struct {
		query map[string]string
		rows  int
		fault string
	}{
		{nil, 25, ""},
		{map[string]string{"limit": "3"}, 3, ""},
		{map[string]string{"limit": "100"}, 25, ""},
		{map[string]string{"limit": "0"}, 5, ""},
		{map[string]string{"limit": "-1"}, 5, ""},
		{map[string]string{"select_filters": `{"label":{"eq":"x-1"}}`}, 20, ""},
		{map[string]string{"select_filters": `{"label":{"in":["x-1","y"]}}`}, 20, ""},
		{map[string]string{"select_filters": `{"label":{"in":[null]}}`}, 1, ""},
		{map[string]string{"select_filters": `{"actual_status":{"eq":"running"},"gpu_name":{"eq":"L4"}}`}, 0, ""},
		{map[string]string{"order_by": `[{"col":"label","dir":"desc"}]`}, 25, ""},
		{map[string]string{"limit": "x"}, 0, "invalid_request"},
		{map[string]string{"select_filters": `{"dph_total":{"lte":1}}`}, 0, "Error in query parameters: dph_total is not a valid search key"},
		{map[string]string{"select_filters": `{"num_gpus":{"eq":1}}`}, 0, "Error in query parameters: num_gpus is not a valid search key"},
		{map[string]string{"select_filters": `{"label":{"startswith":"x"}}`}, 0, "startswith is not a valid search op"},
		{map[string]string{"select_filters": `{"label":"x"}`}, 0, "must be dict of conditions"},
		{map[string]string{"select_filters": `{`}, 0, "Invalid json body"},
		{map[string]string{"select_cols": `id`}, 0, "select_cols"},
		{map[string]string{"order_by": `id`}, 0, "order_by"},
		{map[string]string{"order_by": `[{"col":"dph_total","dir":"asc"}]`}, 0, "dph_total is not a valid search key"},
		{map[string]string{"after_token": "x"}, 0, `{"error":"invalid_token"}`},
		{map[string]string{"after_token": "e30="}, 0, `{"error":"invalid_token"}`},
	} {
		q := url.Values{}
		for k, v := range c.query {
			q.Set(k, v)
		}
		a := r.call("GET", "/api/v1/instances/?"+q.Encode(), nil)
		if c.fault != "" {
			if a.status != 400 || !strings.Contains(a.text, c.fault) {
				t.Errorf("%v: %d %s", c.query, a.status, a.text)
			}
			continue
		}
		if rows, _ := a.json["instances"].([]any); a.status != 200 || len(rows) != c.rows {
			t.Errorf("%v: %d with %d rows, want %d", c.query, a.status, len(rows), c.rows)
		}
	}
	page := r.must("GET", "/api/v1/instances/?limit=1&select_cols="+url.QueryEscape(`["id","nothing"]`), nil)
	if i := page["instances"].([]any)[0].(map[string]any); len(i) != 2 || i["nothing"] != nil || i["id"] == nil {
		t.Errorf("columns: %v", i)
	}
}

func TestListOfOldAccounts(t *testing.T) {
	t.Parallel()
	r := many(t, 30)
	a := r.call("GET", "/api/v0/instances/", nil)
	if a.status != 410 || a.text != `{"error":"deprecated_endpoint","msg":"/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.","success":false}` {
		t.Errorf("new account: %d %s", a.status, a.text)
	}
	r.apply(`{"old_account":true}`)
	if rows := r.must("GET", "/api/v0/instances/", nil)["instances"].([]any); len(rows) != 30 {
		t.Errorf("old account: %d rows", len(rows))
	}
	if a := r.call("GET", "/api/v1/instances/lite/", nil); a.status != 404 {
		t.Errorf("lite: %d", a.status)
	}
	if got := r.rules(); !slices.Contains(got, DeprecatedList) {
		t.Errorf("broken rules: %v", got)
	}
}

// A new instance is listed late; asked for alone it is there at once.
func TestListLag(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Timing: Timing{ListLag: Duration(15 * time.Second)}})
	id, _ := r.create("a")
	r.Advance(14 * time.Second)
	if ids, _ := r.listed(""); len(ids) != 0 || r.show(id) == nil {
		t.Errorf("after 14 s: %v", ids)
	}
	r.Advance(time.Second)
	if ids, _ := r.listed(""); len(ids) != 1 {
		t.Errorf("after 15 s: %v", ids)
	}
}
