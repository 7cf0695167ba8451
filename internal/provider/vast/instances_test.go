package vast

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// pageOf is a page of a listing.
func pageOf(total int, next string, rows ...string) step {
	if next != "null" {
		next = `"` + next + `"`
	}
	return step{status: 200, body: fmt.Sprintf(`{"success":true,"total_instances":%d,"instances_found":%d,"label_counts":{"":1},"next_token":%s,"instances":[%s]}`,
		total, len(rows), next, strings.Join(rows, ","))}
}

func idRow(id int) string {
	return fmt.Sprintf(`{"id":%d,"label":"l%d","actual_status":"running"}`, id, id)
}

func idRows(from, to int) (rows []string) {
	for id := from; id <= to; id++ {
		rows = append(rows, idRow(id))
	}
	return rows
}

// longRows are instances with all the environment and script that the API lets
// them have.
func longRows(n int) (rows []string) {
	for id := range n {
		rows = append(rows, fmt.Sprintf(`{"id":%d,"label":"other-%d","extra_env":[["X","%s"]],"onstart":"%s"}`,
			id+1, id+1, strings.Repeat("x", maxEnv), strings.Repeat("x", 16<<10)))
	}
	return rows
}

func TestListings(t *testing.T) {
	t.Parallel()
	full := func(total int, next string, from, to int) step { return pageOf(total, next, idRows(from, to)...) }
	tooSoon := step{status: 429, body: "API requests too frequent"}
	body := func(status int, body string) []step { return []step{{status: status, body: body}} }
	for name, c := range map[string]struct {
		steps    []step
		labels   int // that were learned
		complete bool
		err      error
		failed   bool
	}{
		"empty":                {[]step{pageOf(0, "null")}, 0, true, nil, false},
		"one page":             {[]step{full(3, "null", 1, 3)}, 3, true, nil, false},
		"three pages":          {[]step{full(60, "a+/=", 1, 25), full(60, "b", 26, 50), full(60, "null", 51, 60)}, 60, true, nil, false},
		"others' scripts":      {[]step{pageOf(25, "null", longRows(25)...)}, 25, true, nil, false},
		"token is empty":       {[]step{{status: 200, body: `{"total_instances":0,"next_token":"","instances":[]}`}}, 0, true, nil, false},
		"no token":             {[]step{{status: 200, body: `{"total_instances":0,"instances":[]}`}}, 0, true, nil, false},
		"token is no text":     {[]step{{status: 200, body: `{"total_instances":0,"next_token":{},"instances":[]}`}}, 0, false, nil, false},
		"no total":             {[]step{{status: 200, body: `{"next_token":null,"instances":[{"id":5}]}`}}, 1, true, nil, false},
		"no total, no token":   {[]step{{status: 200, body: `{"instances":[{"id":5}]}`}}, 1, false, nil, false},
		"total comes late":     {[]step{{status: 200, body: `{"next_token":"a","instances":[{"id":5}]}`}, pageOf(2, "null", idRow(6))}, 2, false, nil, false},
		"fewer than said":      {[]step{full(4, "null", 1, 3)}, 3, false, nil, false},
		"more than said":       {[]step{full(2, "null", 1, 3)}, 3, false, nil, false},
		"page says another":    {[]step{{status: 200, body: `{"total_instances":1,"instances_found":2,"instances":[{"id":5}]}`}}, 1, false, nil, false},
		"total changes":        {[]step{full(26, "a", 1, 25), full(27, "null", 26, 26)}, 26, false, nil, false},
		"ids in any order":     {[]step{pageOf(3, "null", idRow(5), idRow(4), idRow(6))}, 3, true, nil, false},
		"ids fall, two pages":  {[]step{pageOf(3, "a", idRow(6), idRow(5)), pageOf(3, "null", idRow(4))}, 3, true, nil, false},
		"any order, two pages": {[]step{pageOf(3, "a", idRow(6), idRow(4)), pageOf(3, "null", idRow(5))}, 3, false, nil, false},
		"ids twice":            {[]step{pageOf(2, "null", idRow(5), idRow(5))}, 1, false, nil, false},
		"ids twice, two pages": {[]step{full(26, "a", 1, 25), full(26, "null", 25, 25)}, 25, false, nil, false},
		"second page fails":    {[]step{full(26, "a", 1, 25), {status: 502, kind: "text/html", body: html}}, 25, false, nil, false},
		"second page is cut":   {[]step{full(26, "a", 1, 25), {cut: true}}, 25, false, nil, false},
		"second page is odd":   {[]step{full(26, "a", 1, 25), {status: 200, body: `{"success":true}`}}, 25, false, nil, false},
		"second page too soon": {[]step{full(26, "a", 1, 25), tooSoon, tooSoon}, 25, false, nil, false},
		"and on a second try":  {[]step{full(26, "a", 1, 25), tooSoon, full(26, "null", 26, 26)}, 26, true, nil, false},
		"bad token":            {[]step{full(26, "a", 1, 25), {status: 400, body: `{"error":"invalid_token"}`}}, 25, false, nil, false},
		"leads to itself":      {[]step{full(26, "a", 1, 25), full(26, "a", 26, 26)}, 26, false, nil, false},
		"a poisoned row":       {[]step{pageOf(4, "null", idRow(1), `"x"`, `{"id":null,"label":"l2"}`, idRow(9))}, 2, false, nil, false},
		"a strange row":        {[]step{pageOf(3, "null", idRow(1), `{"id":"7","label":5,"actual_status":{},"ports":[1],"public_ipaddr":7,"dph_total":"x"}`, idRow(9))}, 3, true, nil, false},

		"null and zero":      {body(200, `{"success":true,"total_instances":0,"instances_found":0,"next_token":null,"instances":null}`), 0, true, nil, false},
		"nothing and zero":   {body(200, `{"success":true,"total_instances":0,"next_token":null,"instances":{}}`), 0, true, nil, false},
		"one without a list": {body(200, `{"success":true,"total_instances":1,"instances":{"id":5}}`), 1, true, nil, false},
		"by their ids":       {body(200, `{"total_instances":2,"next_token":null,"instances":{"10":{"id":10},"9":{"id":"9"}}}`), 2, true, nil, false},

		"by other ids":    {body(200, `{"total_instances":1,"instances":{"10":{"id":11}}}`), 0, false, nil, true},
		"no rows by id":   {body(200, `{"total_instances":1,"instances":{"error":"x"}}`), 0, false, nil, true},
		"nothing and one": {body(200, `{"success":true,"total_instances":1,"instances":{}}`), 0, false, nil, true},
		"no list":         {body(200, `{"success":true,"total_instances":0}`), 0, false, nil, true},
		"list is null":    {body(200, `{"success":true,"total_instances":1,"instances":null}`), 0, false, nil, true},
		"null, no count":  {body(200, `{"success":true,"next_token":null,"instances":null}`), 0, false, nil, true},
		"not a success":   {body(200, `{"success":false,"instances":[]}`), 0, false, nil, true},
		"empty answer":    {body(200, ``), 0, false, nil, true},
		"page of html":    {body(200, html), 0, false, nil, true},
		"deprecated":      {body(410, `{"success":false,"error":"deprecated_endpoint","msg":"/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."}`), 0, false, gpu.ErrRefused, true},
		"bad key":         {body(404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`), 0, false, gpu.ErrAuth, true},
		"too often":       {body(429, `{"detail":"API requests too frequent endpoint threshold=1.0"}`), 0, false, gpu.RateLimited{}, true},
		"gone":            {body(404, `{"success":false,"error":"not_found","msg":"x"}`), 0, false, nil, true},
		"bad gateway":     {body(502, html), 0, false, nil, true},
		"too long":        {body(200, `{"total_instances":0,"instances":[],"x":"`+strings.Repeat("x", maxBody)+`"}`), 0, false, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := script(t, c.steps...)
			before := time.Now()
			s, err := open(t, api.URL).Instances(t.Context())
			if (err != nil) != c.failed || c.err != nil && !is(err, c.err) {
				t.Fatalf("Instances: %v; want failed %t, %v", err, c.failed, c.err)
			}
			if len(s.Instances) != c.labels || s.Complete != c.complete {
				t.Errorf("%d instances, complete %t; want %d, %t", len(s.Instances), s.Complete, c.labels, c.complete)
			}
			if !c.failed && (s.Began.Before(before) || s.Began.After(time.Now())) {
				t.Errorf("began %v", s.Began)
			}
			token := ""
			for n, call := range api.calls() {
				u, _ := url.Parse(call.uri)
				q := u.Query()
				if call.method != "GET" || u.Path != "/api/v1/instances/" || q.Get("limit") != "25" || q.Get("after_token") != token ||
					q.Get("order_by") != `[{"col":"id","dir":"asc"}]` {
					t.Errorf("page %d was asked for by %s %s", n+1, call.method, call.uri)
				}
				if n < len(c.steps) && c.steps[n].status == 200 { // after any other it is asked for again, if at all
					token = parseObject([]byte(c.steps[n].body)).text("next_token")
				}
			}
		})
	}
}

// Pages that never end do not keep a listing for ever.
func TestListingIsBounded(t *testing.T) {
	t.Parallel()
	var steps []step
	for n := range maxPages + 5 {
		steps = append(steps, pageOf(1000000, fmt.Sprint("t", n), idRow(n+1)))
	}
	api := script(t, steps...)
	s, err := open(t, api.URL).Instances(t.Context())
	if err != nil || s.Complete || len(s.Instances) != maxPages || len(api.calls()) != maxPages {
		t.Errorf("%d calls, %d instances, complete %t, %v", len(api.calls()), len(s.Instances), s.Complete, err)
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	p := open(t, DefaultURL, func(c *Config) { c.Slots = 2 })
	whole := gpu.Instance{
		ID: "7", Label: "l", Address: "https://203.0.113.42:40713", Running: true, Started: true, Status: "running",
		Message: "success, running ghcr.io/me/worker:1.2/args", HourlyUSD: 53_100_000, Slots: 2,
		DownUSD: 2_600_000, UpUSD: 3_900_000, GPU: "RTX 3060", HostID: "55555", MachineID: "18231", Country: "BG",
	}
	if diff := cmp.Diff(whole, p.instance(parseObject(fmt.Appendf(nil, aRow, 7, "l")))); diff != "" {
		t.Errorf("the whole row (-want +got):\n%s", diff)
	}
	for raw, want := range map[string]gpu.Instance{
		`{"id":7}`: {ID: "7", Running: true, Status: "scheduling", Slots: 2},
		`{"id":7,"label":null,"actual_status":null,"ports":null,"public_ipaddr":null,"dph_total":null,"dph_base":0.0489,"storage_cost":"0.72","disk_space":20}`: {
			ID: "7", Running: true, Status: "scheduling", Slots: 2, HourlyUSD: 48_900_000 + 20_000_000},
		`{"id":7,"actual_status":"created","status_msg":"Error response from daemon: failed to create task for container\n"}`: {
			ID: "7", Status: "created", Slots: 2, Fault: gpu.FaultMachine, Message: "Error response from daemon: failed to create task for container"},
		`{"id":7,"actual_status":"running","status_msg":"Error response from daemon: an old one"}`: {
			ID: "7", Running: true, Started: true, Status: "running", Slots: 2, Message: "Error response from daemon: an old one"},
	} {
		if diff := cmp.Diff(want, p.instance(parseObject([]byte(raw)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestRunning(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		`{}`:                          true,
		`{"actual_status":null}`:      true,
		`{"actual_status":""}`:        true,
		`{"actual_status":"created"}`: true,
		`{"actual_status":"loading","status_msg":"a1: Pulling fs layer"}`:               true,
		`{"actual_status":"running"}`:                                                   true,
		`{"actual_status":"rebooting"}`:                                                 true,
		`{"actual_status":"restarting"}`:                                                true,
		`{"actual_status":"unknown"}`:                                                   true,
		`{"actual_status":"brand-new"}`:                                                 true,
		`{"actual_status":5}`:                                                           true,
		`{"actual_status":"stopped"}`:                                                   false,
		`{"actual_status":"frozen"}`:                                                    false,
		`{"actual_status":"exited","intended_status":"running","cur_state":"running"}`:  false,
		`{"actual_status":"offline","intended_status":"running","cur_state":"running"}`: false,
		`{"actual_status":null,"cur_state":"unloaded"}`:                                 false,
		`{"actual_status":"loading","intended_status":"stopped","cur_state":"stopped","next_state":"stopped"}`: false,
		`{"actual_status":"loading","intended_status":"running","cur_state":"stopped","next_state":"running"}`: true,
		`{"actual_status":"loading","status_msg":"Error response from daemon: manifest for x:1 not found"}`:    false,
		`{"actual_status":"running","cur_state":"running","status_msg":"success, running x/args"}`:             true,
	} {
		if got := running(parseObject([]byte(raw))); got != want {
			t.Errorf("%s: running %t, want %t", raw, got, want)
		}
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]gpu.Fault{
		"":                                    "",
		"success, running ghcr.io/x/y:1/args": "",
		"a1b2c3d4e5f6: Pull complete\n":       "",
		"a1b2c3d4e5f6: Verifying Checksum":    "",
		"a1b2: Download failed, retrying":     "",
		"Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: …": gpu.FaultMachine,
		"could not apply required modification to OCI specification":                                                                                    gpu.FaultMachine,
		`OCI runtime create failed: exec: "worker": executable file not found in $PATH`:                                                                 gpu.FaultImage,
		"exec format error":                            gpu.FaultImage,
		"Error response from daemon: manifest unknown": gpu.FaultImage,
		"Error response from daemon: manifest for x:1 not found: manifest unknown":                                                                                          gpu.FaultImage,
		"Error response from daemon: pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied": gpu.FaultImage,
		"Error response from daemon: Head \"https://ghcr.io/v2/x/manifests/1\": unauthorized":                                                                               gpu.FaultImage,
		"Error response from daemon: Head \"https://ghcr.io/v2/x/manifests/1\": denied: denied":                                                                             gpu.FaultImage,
		"Error response from daemon: Head \"https://ghcr.io/v2/x/manifests/1\": denied":                                                                                     gpu.FaultImage,
		"Error response from daemon: error from registry: denied\n":                                                                                                         gpu.FaultImage,
		"Error response from daemon: failed to resolve reference \"ghcr.io/x/y:1\": ghcr.io/x/y:1: not found\n":                                                             gpu.FaultImage,
		"Error response from daemon: ghcr.io/x/y:1: not found":                                                                                                              gpu.FaultImage,
		"Error response from daemon: failed to resolve reference \"ghcr.io/x/y:1\": dial tcp: lookup ghcr.io: no such host":                                                 gpu.FaultMachine,
		"Error response from daemon: open /var/lib/docker/overlay2/x: permission denied":                                                                                    gpu.FaultMachine,
		"Error response from daemon: network vast not found":                                                                                                                gpu.FaultMachine,
		"Error: No such image: x:1":                                                                       gpu.FaultImage,
		"no matching manifest for linux/amd64 in the manifest list entries":                               gpu.FaultImage,
		"write /var/lib/docker/tmp/x: no space left on device":                                            gpu.FaultMachine,
		"toomanyrequests: You have reached your pull rate limit":                                          gpu.FaultMachine,
		"Error response from daemon: Get \"https://ghcr.io/v2/\": dial tcp: lookup ghcr.io: no such host": gpu.FaultMachine,
		"Error response from daemon: Get \"https://ghcr.io/v2/\": net/http: TLS handshake timeout":        gpu.FaultMachine,
		"dial tcp 1.2.3.4:443: i/o timeout":                                                               gpu.FaultMachine,
		"Error response from daemon: something new":                                                       gpu.FaultMachine,
	} {
		if got := Fault(message); got != want {
			t.Errorf("%q is a fault of %q, want %q", message, got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	const tcp = `"ports":{"3334/tcp":`
	for raw, want := range map[string]string{
		`{}`:                               "",
		`{"public_ipaddr":"203.0.113.42"}`: "",
		`{"public_ipaddr":"203.0.113.42","ports":null}`:                                                                     "",
		`{"public_ipaddr":"203.0.113.42","ports":{}}`:                                                                       "",
		`{"public_ipaddr":"203.0.113.42","ports":[3334]}`:                                                                   "",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `null}}`:                                                                 "",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[]}}`:                                                                   "",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[null,5,{"HostPort":null}]}}`:                                           "",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[{"HostPort":"0"}]}}`:                                                   "",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[{"HostPort":"70000"}]}}`:                                               "",
		`{"public_ipaddr":"203.0.113.42","ports":{"22/tcp":[{"HostPort":"22"}]}}`:                                           "",
		`{"public_ipaddr":null,` + tcp + `[{"HostPort":"40713"}]}}`:                                                         "",
		`{"public_ipaddr":"evil.example/x?",` + tcp + `[{"HostPort":"40713"}]}}`:                                            "",
		`{"public_ipaddr":"0.0.0.0",` + tcp + `[{"HostPort":"40713"}]}}`:                                                    "",
		`{"public_ipaddr":" 203.0.113.42\n",` + tcp + `[{"HostPort":" 40713 "}]}}`:                                          "https://203.0.113.42:40713",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[{"HostPort":40713}]}}`:                                                 "https://203.0.113.42:40713",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[{"HostIp":"::","HostPort":"2"},{"HostIp":"0.0.0.0","HostPort":"1"}]}}`: "https://203.0.113.42:1",
		`{"public_ipaddr":"203.0.113.42",` + tcp + `[{"HostIp":"::","HostPort":"2"}]}}`:                                     "https://203.0.113.42:2",
		`{"public_ipaddr":"2001:db8::1",` + tcp + `[{"HostIp":"0.0.0.0","HostPort":"1"},{"HostIp":"::","HostPort":"2"}]}}`:  "https://[2001:db8::1]:2",
	} {
		if got := address(parseObject([]byte(raw))); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestDestroyAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step step
		want error // errAmbiguous for any that is of no kind
	}{
		"accepted":          {step{status: 200, body: `{"success":true}`}, nil},
		"gone":              {step{status: 404, body: `{"success":false,"error":"no_such_instance","msg":"Instance 5 not found."}`}, nil},
		"gone, older":       {step{status: 404, body: `{"success":false,"error":"not_found","msg":"x"}`}, nil},
		"gone, many":        {step{status: 404, body: `{"success":false,"error":"instances_not_found","msg":"x"}`}, nil},
		"gone, 200":         {step{status: 200, body: `{"success":false,"error":"no_such_instance"}`}, nil},
		"bad key":           {step{status: 404, body: `{"success":false,"error":"auth_error","msg":"Invalid user key"}`}, gpu.ErrAuth},
		"expired":           {step{status: 404, body: `{"success":false,"msg":"Session expired. Please log in again."}`}, gpu.ErrAuth},
		"bare 404":          {step{status: 404}, errAmbiguous},
		"page 404":          {step{status: 404, kind: "text/html", body: html}, errAmbiguous},
		"a word, no code":   {step{status: 404, body: `{"success":false,"msg":"Instance 5 not found."}`}, gpu.ErrRefused},
		"not a success":     {step{status: 200, body: `{"success":false}`}, errAmbiguous},
		"not a success, so": {step{status: 200, body: `{"success":false,"error":"x","msg":"y"}`}, errAmbiguous},
		"no word":           {step{status: 200, body: `{}`}, errAmbiguous},
		"empty":             {step{status: 200}, errAmbiguous},
		"invalid":           {step{status: 400, body: `{"success":false,"error":"invalid_args","msg":"x"}`}, gpu.ErrRefused},
		"too often":         {step{status: 429, body: "API requests too frequent: endpoint threshold=0.001"}, gpu.RateLimited{}},
		"bad gateway":       {step{status: 502, kind: "text/html", body: html}, errAmbiguous},
		"cut":               {step{cut: true}, errAmbiguous},
	} {
		api := script(t, c.step)
		if err := open(t, api.URL).Destroy(t.Context(), "5"); !is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if calls := api.calls(); len(calls) != 1 || calls[0].method != "DELETE" || calls[0].uri != "/api/v0/instances/5/" {
			t.Errorf("%s: asked %+v", name, calls)
		}
	}
}

// FuzzListing: no page makes a listing panic, lie about itself, or hand out an
// id that could mean another instance in a path.
func FuzzListing(f *testing.F) {
	f.Add(`{"success":true,"total_instances":1,"next_token":null,"instances":[`+fmt.Sprintf(aRow, 7, "l")+`]}`, `{}`)
	f.Add(`{"total_instances":"2","next_token":"x","instances":[{"id":1}]}`, `{"total_instances":2,"instances":[{"id":2,"ports":{"3334/tcp":[{"HostPort":"1"}]}}]}`)
	f.Add(`{"instances":[null,[],{"id":1e300},{"id":-1},{"id":"07"}]}`, `{"instances":[{"id":9223372036854775808}]}`)
	p := open(f, DefaultURL)
	f.Fuzz(func(t *testing.T, first, second string) {
		l := listing{began: time.Now()}
		pages := 0
		for _, body := range []string{first, second} {
			a := newAnswer(request{lane: p.lanes.list}, 200, nil, []byte(body))
			rows, err := instanceRows(a)
			if err != nil {
				return
			}
			pages++
			if l.add(a.object, rows) == "" {
				break
			}
		}
		s := p.snapshot(t.Context(), &l)
		seen := map[string]bool{}
		for _, i := range s.Instances {
			if !validID(i.ID) || seen[i.ID] || i.HourlyUSD < 0 || i.DownUSD < 0 || i.UpUSD < 0 || i.Status == "" {
				t.Fatalf("listed %+v", i)
			}
			if i.Address != "" {
				if u, err := url.Parse(i.Address); err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" {
					t.Fatalf("address %q", i.Address)
				}
			}
			seen[i.ID] = true
		}
		if s.Complete && (len(s.Instances) != l.count || l.counted && l.total != float64(l.count) || !l.ended || pages == 0) {
			t.Fatalf("%d of %v in %d pages are complete", len(s.Instances), l.total, pages)
		}
	})
}

// FuzzCreated: no answer to a create panics, gives an id with a refusal, or is
// a success without an id of the API's own.
func FuzzCreated(f *testing.F) {
	for _, body := range []string{`{"success":true,"new_contract":7}`, `{"success":false,"new_contract":7}`, `{"error":"no_such_ask"}`, `{"success":1,"new_contract":"7"}`, html} {
		for _, status := range []int{200, 400, 404, 410, 429, 500} {
			f.Add(status, body)
		}
	}
	p := open(f, DefaultURL)
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := newAnswer(request{lane: p.lanes.create, creating: true}, status, nil, []byte(body))
		id, err := created(a)
		switch {
		case err == nil:
			if !validID(id) || status/100 != 2 || !json.Valid([]byte(body)) {
				t.Fatalf("%d %q is the success %q", status, body, id)
			}
		case (id != "") != errors.Is(err, gpu.ErrPartial):
			t.Fatalf("%d %q is %q, %v", status, body, id, err)
		case !gpu.IsAmbiguous(err) && status/100 == 2 && !a.failure:
			if _, limited := errors.AsType[gpu.RateLimited](err); !limited && a.code == "" && a.msg == "" {
				t.Fatalf("%d %q is refused: %v", status, body, err)
			}
		case strings.ContainsAny(err.Error(), "\n\r\x1b"):
			t.Fatalf("%q is not one line", err)
		}
	})
}
