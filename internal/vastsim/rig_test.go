package vastsim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		playWorker()
		return
	}
	goleak.VerifyTestMain(m)
}

const testKey = "account-key"

// noon is when the clock of a rig stands still, but for Advance.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// rig is a market behind real HTTP.
type rig struct {
	testing.TB
	*Sim
	scripted *Scripted
	url      string
	client   *http.Client
}

func newRig(t testing.TB, sc Scenario) *rig {
	t.Helper()
	r := &rig{TB: t, scripted: &Scripted{}}
	if sc.CreditUSD == nil {
		sc.CreditUSD = new(float64)
		*sc.CreditUSD = 10
	}
	if sc.Intervals == nil {
		sc.Intervals = new(float64)
	}
	var err error
	if r.Sim, err = New(Config{Key: testKey, Machines: r.scripted, Now: func() time.Time { return noon }, Scenario: sc}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r.Sim)
	r.url, r.client = server.URL, server.Client()
	// Else Go's client repeats a GET that was cut off on a used connection.
	r.client.Transport.(*http.Transport).DisableKeepAlives = true
	r.SetURL(r.url)
	t.Cleanup(func() {
		r.Sim.Close() // first: it lets held requests go
		server.Close()
	})
	return r
}

// answer is what came back: JSON, or text where it is none.
type answer struct {
	status int
	json   map[string]any
	text   string
	err    error
}

// as calls the API with a key; none where it is empty.
func (r *rig) as(key, method, path string, body any) answer {
	r.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			r.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, bytes.NewReader(text))
	if err != nil {
		r.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, text: string(got), err: err}
	_ = json.Unmarshal(got, &a.json) // not all answers are JSON
	return a
}

func (r *rig) call(method, path string, body any) answer {
	r.Helper()
	return r.as(testKey, method, path, body)
}

// must is call that has to answer 200.
func (r *rig) must(method, path string, body any) map[string]any {
	r.Helper()
	a := r.call(method, path, body)
	if a.err != nil || a.status != http.StatusOK || a.json == nil {
		r.Fatalf("%s %s: %d %s %v", method, path, a.status, a.text, a.err)
	}
	return a.json
}

// apply changes the market by JSON, as a scenario file does.
func (r *rig) apply(scenario string) {
	r.Helper()
	sc, err := ReadScenario([]byte(scenario))
	if err == nil {
		err = r.Apply(sc)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// ask is the id of an offer that is good.
func (r *rig) ask() string {
	r.Helper()
	offers := r.must("POST", "/api/v0/bundles/", `{"rentable":{"eq":true},"verified":{"eq":true},"dph_total":{"gte":0.04},"order":[["dph_total","asc"]],"limit":1}`)
	return number(offers["offers"].([]any)[0].(map[string]any)["id"])
}

// body of a create.
func body(label string, edit ...func(row)) row {
	b := row{
		"client_id": "me", "image": "ghcr.io/me/worker:1.2", "disk": 20, "label": label, "runtype": "args", "cancel_unavail": true,
		"env": row{"TOKEN": "x", "-p 3334:3334": "1"},
	}
	for _, e := range edit {
		e(b)
	}
	return b
}

// create rents the cheapest and returns its path.
func (r *rig) create(label string) (id string, key string) {
	r.Helper()
	a := r.must("PUT", "/api/v0/asks/"+r.ask()+"/", body(label))
	if a["success"] != true {
		r.Fatalf("create: %v", a)
	}
	return number(a["new_contract"]), a["instance_api_key"].(string)
}

// run rents one and waits until it runs.
func (r *rig) run(label string) (id string) {
	r.Helper()
	id, _ = r.create(label)
	r.Advance(time.Minute)
	return id
}

// show is one instance; nil where there is none.
func (r *rig) show(id string) map[string]any {
	r.Helper()
	i, _ := r.must("GET", "/api/v0/instances/"+id+"/", nil)["instances"].(map[string]any)
	return i
}

func (r *rig) status(id string) any { r.Helper(); return r.show(id)["actual_status"] }

// listed are the ids of one page.
func (r *rig) listed(query string) (ids []string, page map[string]any) {
	r.Helper()
	page = r.must("GET", "/api/v1/instances/"+query, nil)
	for _, i := range page["instances"].([]any) {
		ids = append(ids, number(i.(map[string]any)["id"]))
	}
	return ids, page
}

func number(v any) string {
	text, _ := json.Marshal(v)
	n := json.Number(strings.TrimSpace(string(text)))
	f, err := n.Float64()
	if err != nil {
		return string(text)
	}
	text, _ = json.Marshal(int64(f))
	return string(text)
}

// rules are those that were broken.
func (r *rig) rules() (names []string) {
	for _, b := range r.Truth().Broken {
		names = append(names, b.Rule)
	}
	return names
}
