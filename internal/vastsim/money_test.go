package vastsim

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		price       gpu.USD
		part, whole int64
		want        gpu.USD
	}{
		{3600, 1, 3600, 1}, {3599, 1, 3600, 0}, {gpu.Dollar, int64(30 * 24 * time.Hour), int64(time.Hour), 720 * gpu.Dollar},
		{0, 1, 1, 0}, {-1, 1, 1, 0}, {1, -1, 1, 0}, {1, 1, 0, 0}, {math.MaxInt64, math.MaxInt64, 1, math.MaxInt64},
	} {
		if got := share(c.price, c.part, c.whole); got != c.want {
			t.Errorf("share(%d, %d, %d) = %d, want %d", c.price, c.part, c.whole, got, c.want)
		}
	}
}

// cheap is an offer with round prices: $3.60 an hour is 1 mill a second, and
// 20 GB cost $0.72 an hour, 0.2 mill a second.
func cheap() Offer {
	o := typicalOffer()
	o.DPHBase, o.StorageCost, o.InetDownCost, o.InetUpCost = 3.6, 25.92, 0.5, 1
	return o
}

const mill = gpu.Dollar / 1000

// The GPU is paid while it runs, the disk from the creation, traffic by bytes;
// what an offline host has is free.
func TestBill(t *testing.T) {
	t.Parallel()
	minute := Duration(time.Minute)
	r := newRig(t, Scenario{Offers: []Offer{cheap()}, Timing: Timing{Provision: minute, Create: minute, Pull: minute}})
	id, _ := r.create("a")
	known := r.Truth().Instances[0].ID
	check := func(when string, want bill) {
		t.Helper()
		truth := r.Truth()
		if i := truth.Instances[0]; i.Cost != want || i.Total != want.total() || truth.Spent != want.total() || truth.Credit != 10*gpu.Dollar-want.total() {
			t.Errorf("%s: %+v, want %+v", when, i.Cost, want)
		}
	}
	do := func(d Deed) {
		t.Helper()
		if err := r.Do(known, d); err != nil {
			t.Fatal(err)
		}
	}
	check("at once", bill{})
	r.Advance(3 * time.Minute)
	check("as it begins to run", bill{Disk: 36 * mill})
	r.Advance(100 * time.Second)
	check("100 s later", bill{GPU: 100 * mill, Disk: 56 * mill})
	do(Deed{Do: DoTraffic, Down: 2e9, Up: 1e9})
	check("after traffic", bill{GPU: 100 * mill, Disk: 56 * mill, Down: gpu.Dollar, Up: gpu.Dollar})
	do(Deed{Do: DoOffline})
	r.Advance(time.Hour)
	check("offline", bill{GPU: 100 * mill, Disk: 56 * mill, Down: gpu.Dollar, Up: gpu.Dollar})
	do(Deed{Do: DoReturn})
	r.Advance(100 * time.Second)
	check("back", bill{GPU: 200 * mill, Disk: 76 * mill, Down: gpu.Dollar, Up: gpu.Dollar})
	r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"stopped"}`)
	r.Advance(100 * time.Second)
	check("stopped", bill{GPU: 200 * mill, Disk: 96 * mill, Down: gpu.Dollar, Up: gpu.Dollar})
	r.must("DELETE", "/api/v0/instances/"+id+"/", nil)
	r.Advance(time.Hour)
	check("destroyed", bill{GPU: 200 * mill, Disk: 96 * mill, Down: gpu.Dollar, Up: gpu.Dollar})
}

func TestAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Offers: []Offer{cheap()}})
	if u := r.must("GET", "/api/v0/users/current/", nil); u["credit"] != 10.0 || u["balance"] != 0.0 || number(u["id"]) != "1234" || u["can_pay"] != true {
		t.Errorf("user: %v", u)
	}
	if rate := r.must("GET", "/api/v0/users/spend-rate/", nil); rate["has_active_resources"] != false || rate["gpu_cost_per_hour"] != 0.0 || rate["success"] != true {
		t.Errorf("rate: %v", rate)
	}
	id, _ := r.create("a")
	if rate := r.must("GET", "/api/v0/users/spend-rate/", nil); rate["has_active_resources"] != true || rate["gpu_cost_per_hour"] != 0.0 || rate["container_storage_cost_per_hour"] != 0.72 {
		t.Errorf("rate of what boots: %v", rate)
	}
	r.Advance(time.Hour)
	if rate := r.must("GET", "/api/v0/users/spend-rate/", nil); rate["gpu_cost_per_hour"] != 3.6 || rate["volume_storage_cost_per_hour"] != 0.0 {
		t.Errorf("rate of what runs: %v", rate)
	}
	// 3.5 s of boot cost no GPU: 10 - 4.32 + 0.0035, and two decimals.
	if u := r.must("GET", "/api/v0/users/current/", nil); u["credit"] != 5.68 {
		t.Errorf("credit after an hour: %v", u["credit"])
	}
	if i := r.show(id); i["dph_total"] != 3.6+0.72 {
		t.Errorf("price: %v", i["dph_total"])
	}
}

// The end of the credit stops everything at its very moment, however late
// anybody looks; the disk goes on.
func TestCreditEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Offers: []Offer{cheap(), cheap()}})
	a, _ := r.create("a")
	b, _ := r.create("b")
	r.apply(`{"credit_usd":2.4}`) // for 1000 s of both
	r.Advance(24 * time.Hour)
	for _, id := range []string{a, b} {
		if i := r.show(id); i["actual_status"] != "stopped" || i["intended_status"] != "stopped" {
			t.Errorf("%s: %v", id, i)
		}
	}
	for _, i := range r.Truth().Instances {
		// 2.4 mill a second for both, less 3.5 s of disks while they boot.
		if i.GPUSeconds < 999.41 || i.GPUSeconds > 999.42 || i.Cost.Disk != 72*24*mill*10 {
			t.Errorf("GPU ran for %v s, disk cost %v", i.GPUSeconds, i.Cost.Disk)
		}
	}
	if u := r.must("GET", "/api/v0/users/current/", nil); u["balance"].(float64) >= 0 {
		t.Errorf("balance: %v", u["balance"])
	}
	if x := r.call("PUT", "/api/v0/instances/"+a+"/", `{"state":"running"}`); x.status != 400 || x.json["error"] != "missing_billing" {
		t.Errorf("start: %d %s", x.status, x.text)
	}
}

// charges of some days.
func (r *rig) charges(from, to time.Time, more string) map[string]any {
	r.Helper()
	filters, err := json.Marshal(row{"day": row{"gte": from.Unix(), "lte": to.Unix()}, "type": row{"in": []string{"instance"}}})
	if err != nil {
		r.Fatal(err)
	}
	return r.must("GET", "/api/v0/charges/?select_filters="+url.QueryEscape(string(filters))+more, nil)
}

// Charges appear late, in days, and sum up to the truth.
func TestCharges(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Offers: []Offer{cheap(), cheap()}, Timing: Timing{ChargeLag: Duration(10 * time.Minute)}})
	r.apply(`{"credit_usd":1000}`)
	a, _ := r.create("a")
	r.Advance(time.Minute)
	if got := r.charges(noon, noon, ""); got["count"] != 0.0 {
		t.Errorf("at once: %v", got)
	}
	r.Advance(10 * time.Minute)
	if got := r.charges(noon, noon, ""); got["count"] != 1.0 {
		t.Errorf("ten minutes later: %v", got)
	}
	if err := r.Do(r.Truth().Instances[0].ID, Deed{Do: DoTraffic, Up: 1e9}); err != nil {
		t.Fatal(err)
	}
	r.Advance(33 * time.Hour)
	r.must("DELETE", "/api/v0/instances/"+a+"/", nil)
	r.run("b")
	r.Advance(time.Hour)
	all := r.charges(noon, noon.AddDate(0, 0, 3), "")
	rows := all["results"].([]any)
	if len(rows) != 3 || all["count"] != 3.0 || all["next_token"] != nil {
		t.Fatalf("rows: %v", all)
	}
	var sum, items float64
	for n, x := range rows[:2] {
		c := x.(map[string]any)
		if c["source"] != "instance-"+a || c["type"] != "instance" || c["metadata"].(map[string]any)["label"] != "a" {
			t.Errorf("row %d: %v", n, c)
		}
		sum += c["amount"].(float64)
		for _, item := range c["items"].([]any) {
			items += item.(map[string]any)["amount"].(float64)
		}
	}
	if want := dollars(r.Truth().Instances[0].Total); math.Abs(sum-want) > 1e-8 || math.Abs(items-want) > 1e-8 {
		t.Errorf("charged %v, items %v, in truth %v", sum, items, want)
	}
	if first := rows[0].(map[string]any); first["start"] != epoch(noon) || len(first["items"].([]any)) != 3 {
		t.Errorf("first row: %v", first)
	}
	if day := r.charges(noon, noon, ""); day["count"] != 1.0 {
		t.Errorf("the first of two days: %v", day)
	}
	page := r.charges(noon, noon.AddDate(0, 0, 3), "&limit=2&latest_first=true")
	token, _ := page["next_token"].(string)
	if len(page["results"].([]any)) != 2 || page["results"].([]any)[0].(map[string]any)["source"] == "instance-"+a || token == "" {
		t.Errorf("first page: %v", page)
	}
	page = r.charges(noon, noon.AddDate(0, 0, 3), "&limit=2&latest_first=true&after_token="+url.QueryEscape(token))
	if len(page["results"].([]any)) != 1 || page["next_token"] != nil {
		t.Errorf("second page: %v", page)
	}
}

func TestChargesRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{})
	for query, has := range map[string]string{
		"": "invalid_args", `select_filters={"day":{"gte":1}}`: "day filter with gte and lte is required",
		`select_filters={"day":{"gte":1,"lte":2}}&limit=0`:       "limit",
		`select_filters={"day":{"gte":1,"lte":2}}&after_token=x`: "invalid_token",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if a := r.call("GET", "/api/v0/charges/?"+values.Encode(), nil); a.status != 400 || !strings.Contains(a.text, has) {
			t.Errorf("%s: %d %s", query, a.status, a.text)
		}
	}
	if got := fmt.Sprint(r.must("GET", "/api/v0/charges/?select_filters="+url.QueryEscape(`{"day":{"gte":1,"lte":2},"type":{"in":["volume"]}}`), nil)["count"]); got != "0" {
		t.Errorf("volumes: %s", got)
	}
}

// The pull of the image is paid as a download where a scenario says its size.
func TestImageIsPaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Offers: []Offer{cheap()}})
	r.apply(`{"image_bytes":2000000000}`)
	id := r.run("a")
	if c := r.Truth().Instances[0].Cost; c.Down != gpu.Dollar {
		t.Errorf("cost: %+v", c)
	}
	r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"stopped"}`)
	r.must("PUT", "/api/v0/instances/"+id+"/", `{"state":"running"}`)
	r.Advance(time.Minute)
	if c := r.Truth().Instances[0].Cost; c.Down != gpu.Dollar {
		t.Errorf("the second start pulled again: %+v", c)
	}
}

// A contract is over at the end of its offer's time, though nobody ends it.
func TestContractEnds(t *testing.T) {
	t.Parallel()
	o := cheap()
	o.Duration = 600
	r := newRig(t, Scenario{Offers: []Offer{o}})
	id, _ := r.create("a")
	r.Advance(time.Hour)
	if i := r.show(id); i["actual_status"] != "stopped" || i["end_date"].(float64)-i["start_date"].(float64) != 600 {
		t.Errorf("an hour later: %v", i)
	}
	if i := r.Truth().Instances[0]; i.GPUSeconds != 596.5 || !i.Alive {
		t.Errorf("in truth: %+v", i)
	}
}

func TestPriceBeforeItRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, Scenario{Offers: []Offer{cheap()}})
	id, _ := r.create("a")
	known := r.Truth().Instances[0].ID
	if err := r.Do(known, Deed{Do: DoPrice, PriceUSD: 7.2}); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Minute)
	if i := r.show(id); i["dph_base"] != 7.2 {
		t.Errorf("price: %v", i["dph_base"])
	}
	if err := r.Do(known, Deed{Do: DoPrice, PriceUSD: 1}); err == nil {
		t.Error("the price of what ran was changed")
	}
}
