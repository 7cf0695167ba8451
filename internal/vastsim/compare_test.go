package vastsim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/transcript"
)

// lived is a transcript of an instance that boots, runs, and is gone in the end.
func lived(t *testing.T, scenario Scenario, end func(r *rig, call func(method, path, body string), id string)) []transcript.Exchange {
	t.Helper()
	r := newRig(t, scenario)
	recorder := &transcript.Recorder{}
	client := &http.Client{Transport: recorder.Through(r.client.Transport)}
	var said struct {
		Contract json.Number `json:"new_contract"`
	}
	call := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+testKey)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPut {
			if err := json.Unmarshal(raw, &said); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := func() {
		t.Helper()
		call("GET", `/api/v1/instances/?limit=25&order_by=%5B%7B%22col%22:%22id%22,%22dir%22:%22asc%22%7D%5D`, "")
	}
	call("POST", "/api/v0/bundles/", `{"gpu_name":{"eq":"RTX 3060"},"limit":64,"order":[["dph_total","asc"]]}`)
	call("GET", "/api/v0/users/current/", "")
	offer := r.offerOf(t)
	call("PUT", "/api/v0/asks/"+offer+"/", `{"client_id":"me","image":"ghcr.io/me/worker:1","label":"ag1.live.a","disk":20,"runtype":"args","args":["serve"],
		"env":{"TOKEN":"a-token-of-the-worker","-p 3334:3334":"1"},"image_login":null,"cancel_unavail":true,"target_state":"running"}`)
	for range 5 {
		list()
		r.Advance(time.Second)
		time.Sleep(2 * time.Millisecond) // the transcript has its times in milliseconds
	}
	end(r, call, said.Contract.String())
	r.Advance(time.Minute)
	list()
	list()
	call("GET", `/api/v0/charges/?limit=100&format=table&select_filters=`+`%7B%22day%22:%7B%22gte%22:1795564800,%22lte%22:1795651199%7D,%22type%22:%7B%22in%22:%5B%22instance%22%5D%7D%7D`, "")
	_, all := recorder.Redacted(transcript.Redaction{Secrets: []string{testKey}, Ours: func(label string) bool { return label == "ag1.live.a" }})
	return all
}

// offerOf is the id of one of its offers.
func (r *rig) offerOf(t *testing.T) string {
	t.Helper()
	offers := r.must("POST", "/api/v0/bundles/", map[string]any{"gpu_name": map[string]any{"eq": "RTX 3060"}})["offers"].([]any)
	id, err := json.Marshal(offers[0].(map[string]any)["id"])
	if err != nil {
		t.Fatal(err)
	}
	n, err := json.Number(id).Float64()
	if err != nil {
		t.Fatal(err)
	}
	return json.Number(strings.TrimSuffix(jsonInt(n), ".0")).String()
}

func jsonInt(f float64) string {
	raw, _ := json.Marshal(int64(f))
	return string(raw)
}

// quick are machines that boot in seconds.
func quick() Scenario {
	return Scenario{Timing: Timing{Provision: Duration(time.Second), Create: Duration(time.Second), Pull: Duration(time.Second), ListLag: 1, DestroyLag: 1, ChargeLag: 1},
		Instances: []Existing{{Label: "another's"}}}
}

// The market answers as itself, whatever becomes of the machine.
func TestCompareSame(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *rig, call func(method, path, body string), id string){
		"it vanishes": func(r *rig, _ func(method, path, body string), _ string) {
			for _, i := range r.Truth().Instances {
				if !i.Foreign {
					if err := r.Do(i.ID, Deed{Do: DoVanish}); err != nil {
						r.Fatal(err)
					}
				}
			}
		},
		"it is destroyed": func(_ *rig, call func(method, path, body string), id string) {
			call("DELETE", "/api/v0/instances/"+id+"/", "{}")
			call("DELETE", "/api/v0/instances/"+id+"/", "{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := lived(t, quick(), end)
			c, err := Compare(calls)
			if err != nil || c.Calls != len(calls) || len(c.Skipped) > 0 {
				t.Errorf("%+v %v", c, err)
			}
			for _, d := range c.Differences {
				t.Errorf("%+v", d)
			}
		})
	}
}

// What the real API does otherwise is found, and told apart by whether we read
// it.
func TestCompareFinds(t *testing.T) {
	t.Parallel()
	calls := lived(t, quick(), func(_ *rig, call func(method, path, body string), id string) {
		call("DELETE", "/api/v0/instances/"+id+"/", "{}")
	})
	for name, c := range map[string]struct {
		change func(e *transcript.Exchange)
		want   Difference
	}{
		"a number becomes a text": {replace("GET /api/v1", `"dph_total":0.053066667`, `"dph_total":"0.053"`),
			Difference{"GET /api/v1/instances/", "instances[running].dph_total", "string", "number", true}},
		"a member is null": {replace("GET /api/v1", `"gpu_name":"RTX 3060"`, `"gpu_name":null`),
			Difference{"GET /api/v1/instances/", "instances[loading].gpu_name", "null", "string", true}},
		"a member is missing": {replace("POST", `"inet_down_cost"`, `"inet_cost"`),
			Difference{"POST /api/v0/bundles/", "offers[].inet_down_cost", "absent", "number", true}},
		"a member is new": {replace("POST", `"offers":[`, `"took":3,"offers":[`),
			Difference{"POST /api/v0/bundles/", "took", "number", "absent", false}},
		"a list is an object": {replace("POST", `"offers":[`, `"offers":{"a":[`, `]`, `]}`),
			Difference{"POST /api/v0/bundles/", "offers", "object", "array", true}},
		"another status": {func(e *transcript.Exchange) {
			if e.Method == "DELETE" {
				e.Status = http.StatusAccepted
			}
		}, Difference{"DELETE /api/v0/instances/{id}/", "(status)", "202 Accepted", "200 OK", true}},
		"another key of ports": {replace("GET /api/v1", `"HostPort":`, `"host_port":`),
			Difference{"GET /api/v1/instances/", "instances[running].ports.{port}[].HostPort", "absent", "string", true}},
		"a state that nobody knows": {replace("GET /api/v1", `"actual_status":"loading"`, `"actual_status":"warming"`),
			Difference{"GET /api/v1/instances/", "instances[].actual_status", "warming", "never in that state here", true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := slices.Clone(calls)
			for n := range changed {
				c.change(&changed[n])
			}
			got, err := Compare(changed)
			if err != nil || !slices.Contains(got.Differences, c.want) {
				t.Errorf("%v, differences %+v\nwant %+v", err, got.Differences, c.want)
			}
			if relied := got.Relied(); slices.Contains(relied, c.want) != c.want.Relied || !c.want.Relied && len(relied) > 0 {
				t.Errorf("relied on: %+v", relied)
			}
		})
	}
}

// replace changes the answers of a call, by pairs of texts.
func replace(call string, pairs ...string) func(*transcript.Exchange) {
	return func(e *transcript.Exchange) {
		if !strings.HasPrefix(e.Method+" "+e.Path, call) {
			return
		}
		answer := e.Answer
		for n := 0; n+1 < len(pairs); n += 2 {
			if pairs[n] == "]" { // the last
				at := bytes.LastIndexByte(answer, ']')
				answer = slices.Concat(answer[:at], []byte(pairs[n+1]), answer[at+1:])
				continue
			}
			answer = bytes.ReplaceAll(answer, []byte(pairs[n]), []byte(pairs[n+1]))
		}
		e.Answer = answer
	}
}

// What says nothing about shapes is not compared.
func TestCompareSkips(t *testing.T) {
	t.Parallel()
	c, err := Compare([]transcript.Exchange{
		{Method: "GET", Path: "/api/v1/instances/", Error: "timeout"}, {Method: "GET", Path: "/api/v1/instances/", Status: 429, Text: "API requests too frequent"},
		{Method: "GET", Path: "/api/v1/instances/", Status: 502, Text: "<html>"}, {Method: "GET", Path: "/api/v1/instances/", Status: 403, Text: "<html>"},
		{Method: "GET", Path: "/api/v1/instances/", Query: map[string]string{"after_token": "text-1"}, Status: 200},
	})
	if err != nil || len(c.Differences) > 0 || len(c.Skipped) != 5 {
		t.Errorf("%+v %v", c, err)
	}
}
