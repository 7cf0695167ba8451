package vast

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

func TestCharges(t *testing.T) {
	t.Parallel()
	api := script(t,
		step{status: 200, body: `{"success":true,"count":3,"total":5,"next_token":"a+b","results":[
			{"start":1,"end":2,"type":"instance","source":"instance-10","amount":0.031,"metadata":{"label":"ag1.x"},
			 "items":[{"type":"gpu","amount":0.02},{"type":"disk","amount":0.001},{"type":"bwd","amount":0.004},{"type":"bwu","amount":0.005}]},
			{"source":"volume-3","amount":5},
			{"source":"instance-9","amount":"0.5","items":null}]}`},
		step{status: 200, body: `{"success":true,"count":2,"total":5,"next_token":null,"results":[
			{"source":"instance-10","amount":0.1,"items":[{"type":"gpu","amount":0.09},{"type":"tax","amount":0.01},"x"]},
			{"source":"instance-9","amount":0.25,"metadata":"x","items":[{"type":"gpu","amount":0.25}]}]}`})
	from := time.Date(2026, 8, 7, 13, 0, 0, 0, time.UTC)
	got, err := open(t, api.URL).Charges(t.Context(), from, from.Add(12*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu.Charge{
		{InstanceID: "9", GPU: 250_000_000, Other: 500_000_000},
		{InstanceID: "10", Label: "ag1.x", GPU: 110_000_000, Disk: 1_000_000, Down: 4_000_000, Up: 5_000_000, Other: 11_000_000,
			Until: time.Unix(2, 0).UTC()},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("charges (-want +got):\n%s", diff)
	}
	if got[1].Total() != 131_000_000 {
		t.Errorf("the total is %s", got[1].Total())
	}
	u, _ := url.Parse(api.calls()[1].uri)
	// Two whole days, the second to its last second.
	filter := `{"day":{"gte":1786060800,"lte":1786233599},"type":{"in":["instance"]}}`
	if q := u.Query(); u.Path != "/api/v0/charges/" || q.Get("select_filters") != filter || q.Get("after_token") != "a+b" {
		t.Errorf("asked %s", u)
	}
}

// A sum that lacks a part is an error: it would be taken for the bill.
func TestChargesAreWholeOrNone(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]step{
		"no list":        {{status: 200, body: `{"success":true}`}},
		"not a success":  {{status: 200, body: `{"success":false,"error":"x","msg":"for hosts"}`}},
		"fewer":          {{status: 200, body: `{"success":true,"total":2,"results":[{"source":"instance-1","amount":1}]}`}},
		"no amount":      {{status: 200, body: `{"success":true,"total":1,"results":[{"source":"instance-1"}]}`}},
		"no id":          {{status: 200, body: `{"success":true,"total":1,"results":[{"source":"instance-x","amount":1}]}`}},
		"no source":      {{status: 200, body: `{"success":true,"total":1,"results":[{"amount":1}]}`}},
		"poisoned":       {{status: 200, body: `{"success":true,"total":1,"results":["x"]}`}},
		"second page":    {{status: 200, body: `{"success":true,"next_token":"a","results":[]}`}, {status: 502}},
		"without an end": {{status: 200, body: `{"success":true,"next_token":"a","results":[]}`}, {status: 200, body: `{"success":true,"next_token":"a","results":[]}`}},
	} {
		now := time.Now()
		if got, err := open(t, script(t, steps...).URL).Charges(t.Context(), now, now); err == nil || got != nil {
			t.Errorf("%s: %+v, %v; want an error", name, got, err)
		}
	}
	none := script(t)
	if got, err := open(t, none.URL).Charges(t.Context(), time.Now(), time.Now().AddDate(0, 0, -2)); err != nil || got != nil {
		t.Errorf("a span that ends before it begins: %v, %v", got, err)
	}
}

// Nobody tells whether "total" is of rows or of dollars.
func TestChargesWithATotalOfDollars(t *testing.T) {
	t.Parallel()
	for _, numbers := range []string{`"count":2,"total":0.75`, `"count":2,"total":3`, `"count":2`, `"total":2`, `"count":1,"total":2`} {
		body := `{"success":true,` + numbers + `,"next_token":null,"results":[{"source":"instance-1","amount":0.5},{"source":"instance-2","amount":2.5}]}`
		if numbers == `"count":2,"total":0.75` {
			body = `{"success":true,` + numbers + `,"results":[{"source":"instance-1","amount":0.5},{"source":"instance-2","amount":0.25}]}`
		}
		got, err := open(t, script(t, step{status: 200, body: body}).URL).Charges(t.Context(), time.Now(), time.Now())
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %+v, %v", numbers, got, err)
		}
	}
}

func TestCredit(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]gpu.USD{
		`{"id":1234,"balance":0,"credit":12.34}`: 12_340_000_000,
		`{"balance":-1.5}`:                       -1_500_000_000,
		`{"credit":null,"balance":"2"}`:          2_000_000_000,
	} {
		api := script(t, step{status: 200, body: body})
		if got, err := open(t, api.URL).Credit(t.Context()); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", body, got, err, want)
		}
		if call := api.calls()[0]; call.method != "GET" || call.uri != "/api/v0/users/current/" {
			t.Errorf("asked %s %s", call.method, call.uri)
		}
	}
	for body, kind := range map[string]error{
		`{}`:   errAmbiguous,
		`null`: errAmbiguous,
		`{"success":false,"error":"auth_error","msg":"Invalid user key"}`: gpu.ErrAuth,
		`{"success":false,"credit":5}`:                                    errAmbiguous,
	} {
		if got, err := open(t, script(t, step{status: 200, body: body}).URL).Credit(t.Context()); !is(err, kind) {
			t.Errorf("%s: %s, %v; want %v", body, got, err, kind)
		}
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step step
		want error
	}{
		"fine":    {pageOf(30, "a", idRow(1)), nil},
		"bad key": {step{status: 404, body: `{"success":false,"error":"auth_error","msg":"Invalid user key"}`}, gpu.ErrAuth},
		"page":    {step{status: 200, kind: "text/html", body: html}, errAmbiguous},
	} {
		if err := open(t, script(t, c.step).URL).Ping(t.Context()); !is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
