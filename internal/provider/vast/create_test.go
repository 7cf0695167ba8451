package vast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

var aRequest = gpu.Request{
	Label: "ag1.fleet.01k", Offer: gpu.Offer{ID: "21034567"},
	Env: map[string]string{"SESSION_TOKEN": "token-0123456789", "LEASE": "10m0s"},
}

// errAmbiguous stands in a table for an error that leaves open what exists.
var errAmbiguous = errors.New("ambiguous")

// is tells whether err is of a kind.
func is(err, kind error) bool {
	switch kind {
	case nil:
		return err == nil
	case errAmbiguous:
		return gpu.IsAmbiguous(err) && !errors.Is(err, gpu.ErrPartial)
	}
	if _, limit := kind.(gpu.RateLimited); limit {
		_, ok := errors.AsType[gpu.RateLimited](err)
		return ok && !gpu.IsAmbiguous(err)
	}
	return errors.Is(err, kind) && gpu.IsAmbiguous(err) == (kind == gpu.ErrPartial)
}

const html = "<html><head><title>502 Bad Gateway</title></head><body>no_such_ask, Invalid user key, you lack credit</body></html>"

func TestCreateAnswers(t *testing.T) {
	t.Parallel()
	limited := gpu.RateLimited{}
	for name, c := range map[string]struct {
		status int
		body   string
		id     string
		want   error
	}{
		"created":                   {200, `{"success":true,"new_contract":31234567,"instance_api_key":"d0c1"}`, "31234567", nil},
		"id as text":                {200, `{"success":true,"new_contract":"31234567"}`, "31234567", nil},
		"id as float":               {200, `{"success":true,"new_contract":3.1234567e7}`, "31234567", nil},
		"created, stopped":          {200, `{"success":false,"new_contract":31234568}`, "31234568", gpu.ErrPartial},
		"created, stopped, why":     {200, `{"success":false,"new_contract":31234568,"error":"no_such_ask"}`, "31234568", gpu.ErrPartial},
		"created, stopped, 410":     {410, `{"success":false,"new_contract":31234568,"error":"no_such_ask"}`, "31234568", gpu.ErrPartial},
		"invalid":                   {400, `{"success":false,"error":"invalid_args","msg":"runtype and use_ssh cannot both be set"}`, "", gpu.ErrRefused},
		"invalid price":             {400, `{"success":false,"error":"invalid_price","msg":"x"}`, "", gpu.ErrRefused},
		"no key for vm":             {400, `{"success":false,"error":"no_ssh_key_for_vm","msg":"x"}`, "", gpu.ErrRefused},
		"bad offer id":              {400, `{"success":false,"msg":"'id' is required and must be a valid offer ID"}`, "", gpu.ErrRefused},
		"only detail":               {422, `{"detail":"bad"}`, "", gpu.ErrRefused},
		"blacklisted":               {400, `{"success":false,"error":"invalid_args","msg":"blacklisted host"}`, "", gpu.ErrOfferGone},
		"own machine":               {403, `{"success":false,"error":"invalid_args","msg":"You cannot rent your own machine."}`, "", gpu.ErrOfferGone},
		"funds":                     {400, `{"success":false,"error":"insufficient_credit","msg":"Your account lacks credit; see the billing page."}`, "", gpu.ErrFunds},
		"funds, 200":                {200, `{"success":false,"error":"insufficient_credit","msg":"Your account lacks credit; see the billing page."}`, "", gpu.ErrFunds},
		"funds, 403":                {403, `{"success":false,"error":"insufficient_credit","msg":"Your account lacks credit."}`, "", gpu.ErrFunds},
		"no billing":                {400, `{"success":false,"error":"missing_billing","msg":"You lack credit, see the billing page."}`, "", gpu.ErrFunds},
		"billing as invalid":        {400, `{"success":false,"error":"invalid_args","msg":"You lack credit."}`, "", gpu.ErrFunds},
		"spend rate":                {403, `{"success":false,"error":"spend_rate_limit","msg":"x"}`, "", gpu.ErrFunds},
		"gone 404":                  {404, `{"success":false,"error":"no_such_ask","msg":"error 404/3603: no_such_ask Instance type by id 21034567 is not available.","ask_id":21034567}`, "", gpu.ErrOfferGone},
		"gone 410":                  {410, `{"success":false,"error":"no_such_ask","msg":"Instance type 21034567 is no longer available."}`, "", gpu.ErrOfferGone},
		"gone 410 by number":        {410, `{"success":false,"error":"x","msg":"error 410/3907: taken"}`, "", gpu.ErrOfferGone},
		"gone 400":                  {400, `{"success":false,"error":"invalid_args","msg":"No ask by id 5 is available. error 404/3603: no_such_ask"}`, "", gpu.ErrOfferGone},
		"gone 200":                  {200, `{"success":false,"error":"no_such_ask","msg":"x"}`, "", gpu.ErrOfferGone},
		"not found":                 {404, `{"success":false,"error":"not_found","msg":"x"}`, "", gpu.ErrOfferGone},
		"bad key":                   {404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, "", gpu.ErrAuth},
		"deleted key":               {401, `{"msg":"Invalid user key"}`, "", gpu.ErrAuth},
		"no key":                    {403, `{"success":false,"error":"auth_error","msg":"This action requires login."}`, "", gpu.ErrAuth},
		"expired":                   {404, `{"success":false,"msg":"Session expired. Please log in again."}`, "", gpu.ErrAuth},
		"second factor":             {401, `{"success":false,"msg":"Two Factor Authentication is required"}`, "", gpu.ErrAuth},
		"forbidden":                 {403, `{"success":false,"msg":"no"}`, "", gpu.ErrAuth},
		"too often, text":           {429, `API requests too frequent: endpoint threshold=4.5`, "", limited},
		"too often, detail":         {429, `{"detail":"API requests too frequent endpoint threshold=4.5"}`, "", limited},
		"too often, code":           {429, `{"success":false,"error":"rate_limit_exceeded","msg":"API requests too frequent: endpoint threshold=3.0"}`, "", limited},
		"too often, page":           {429, html, "", limited},
		"too often, 200":            {200, `{"success":false,"error":"rate_limit_exceeded","msg":"x"}`, "", limited},
		"server error":              {500, `{"success":false,"error":"server_error","msg":"x"}`, "", errAmbiguous},
		"server error, 400":         {400, `{"success":false,"error":"server_error","msg":"x"}`, "", errAmbiguous},
		"server error, 200":         {200, `{"success":false,"error":"server_error","msg":"x"}`, "", errAmbiguous},
		"phrase of a 5xx":           {503, `{"success":false,"msg":"The service is not available. You lack credit."}`, "", errAmbiguous},
		"code of a 5xx":             {500, `{"success":false,"error":"no_such_ask","msg":"x"}`, "", gpu.ErrOfferGone},
		"queued":                    {200, `{"success":false,"error":"resources_unavailable","msg":"Required resources are currently unavailable, state change queued."}`, "", errAmbiguous},
		"bad gateway":               {502, html, "", errAmbiguous},
		"page, 200":                 {200, html, "", errAmbiguous},
		"page, 404":                 {404, html, "", errAmbiguous},
		"page, 403":                 {403, html, "", errAmbiguous},
		"text, 404":                 {404, ``, "", errAmbiguous},
		"words, no JSON":            {404, `The host is not available. Session expired.`, "", errAmbiguous},
		"JSON, no object":           {404, `"no_such_ask"`, "", errAmbiguous},
		"empty":                     {200, ``, "", errAmbiguous},
		"nothing":                   {200, `{}`, "", errAmbiguous},
		"null":                      {200, `null`, "", errAmbiguous},
		"list":                      {200, `[]`, "", errAmbiguous},
		"cut off":                   {200, `{"success":true,"new_contr`, "", errAmbiguous},
		"yes without an id":         {200, `{"success":true}`, "", errAmbiguous},
		"yes with a null":           {200, `{"success":true,"new_contract":null}`, "", errAmbiguous},
		"yes with a negative":       {200, `{"success":true,"new_contract":-5}`, "", errAmbiguous},
		"yes with half an id":       {200, `{"success":true,"new_contract":1.5}`, "", errAmbiguous},
		"id without yes":            {200, `{"new_contract":31234567}`, "", errAmbiguous},
		"id and an error":           {500, `{"new_contract":31234567,"msg":"x"}`, "", errAmbiguous},
		"yes, 404":                  {404, `{"success":true,"new_contract":31234567}`, "", errAmbiguous},
		"conflict":                  {409, `{"success":false,"msg":"x"}`, "", errAmbiguous},
		"request timeout":           {408, `{"success":false,"msg":"x"}`, "", errAmbiguous},
		"redirect":                  {308, ``, "", errAmbiguous},
		"too long":                  {200, `{"success":true,"new_contract":31234567,"x":"` + strings.Repeat("x", maxBody) + `"}`, "", errAmbiguous},
		"success as text":           {200, `{"success":"true","new_contract":31234567}`, "31234567", nil},
		"success of another type":   {200, `{"success":{},"new_contract":31234567}`, "", errAmbiguous},
		"error of another type":     {400, `{"success":false,"error":{"code":5},"msg":["x"]}`, "", gpu.ErrRefused},
		"deprecated":                {410, `{"success":false,"error":"deprecated_endpoint","msg":"x"}`, "", gpu.ErrRefused},
		"no such image is no offer": {400, `{"success":false,"error":"invalid_args","msg":"no such image"}`, "", gpu.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := ""
			if strings.HasPrefix(c.body, "<") {
				kind = "text/html; charset=UTF-8"
			}
			api := script(t, step{status: c.status, body: c.body, kind: kind, header: http.Header{"Location": {"https://console.example/"}}})
			id, err := open(t, api.URL).Create(t.Context(), aRequest)
			if id != c.id || !is(err, c.want) {
				t.Errorf("Create returned %q, %v; want %q, %v", id, err, c.id, c.want)
			}
			if n := len(api.calls()); n != 1 {
				t.Errorf("the API was asked %d times", n)
			}
		})
	}
}

// What is sent is what the API's own client sends, and no secret is where it
// could be logged.
func TestCreateRequest(t *testing.T) {
	t.Parallel()
	api := script(t, step{status: 200, body: `{"success":true,"new_contract":7}`})
	p := open(t, api.URL, func(c *Config) { c.ImageLogin = "-u me -p ghp_0123456789 ghcr.io" })
	if _, err := p.Create(t.Context(), aRequest); err != nil {
		t.Fatal(err)
	}
	call := api.calls()[0]
	if call.method != "PUT" || call.uri != "/api/v0/asks/21034567/" || call.header.Get("Authorization") != "Bearer "+testKey {
		t.Errorf("asked %s %s with %v", call.method, call.uri, call.header)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(call.body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"client_id": "me", "image": p.cfg.Image, "image_login": "-u me -p ghp_0123456789 ghcr.io", "disk": 20.0,
		"label": aRequest.Label, "runtype": "args", "args": []any{"serve"}, "cancel_unavail": true, "target_state": "running",
		"env": map[string]any{
			"SESSION_TOKEN": "token-0123456789", "LEASE": "10m0s", "NVIDIA_DRIVER_CAPABILITIES": "compute,video,utility",
			"VAST_API_URL": api.URL, "-p 3334:3334": "1",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

// The image of the request goes before that of the configuration.
func TestCreateImage(t *testing.T) {
	t.Parallel()
	api := script(t, step{status: 200, body: `{"success":true,"new_contract":7}`})
	r := aRequest
	r.Image = "ghcr.io/you/worker@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	if _, err := open(t, api.URL).Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if body := api.calls()[0].body; !strings.Contains(body, `"image":"`+r.Image+`"`) {
		t.Errorf("asked with %s", body)
	}
}

func TestCreateRefusesByItself(t *testing.T) {
	t.Parallel()
	api := script(t)
	p := open(t, api.URL)
	for name, change := range map[string]func(*gpu.Request){
		"no label":     func(r *gpu.Request) { r.Label = "" },
		"long label":   func(r *gpu.Request) { r.Label = strings.Repeat("x", 257) },
		"no offer":     func(r *gpu.Request) { r.Offer.ID = "" },
		"path":         func(r *gpu.Request) { r.Offer.ID = "../instances/5" },
		"option":       func(r *gpu.Request) { r.Env = map[string]string{"-p 22:22": "1"} },
		"assignment":   func(r *gpu.Request) { r.Env = map[string]string{"A=B": "1"} },
		"empty name":   func(r *gpu.Request) { r.Env = map[string]string{"": "1"} },
		"no image":     func(r *gpu.Request) { r.Image = "ghcr.io/you/worker 1.0" },
		"far too much": func(r *gpu.Request) { r.Env = map[string]string{"A": strings.Repeat("x", maxEnv)} },
	} {
		r := aRequest
		change(&r)
		if id, err := p.Create(t.Context(), r); id != "" || !is(err, gpu.ErrRefused) {
			t.Errorf("%s: Create returned %q, %v; want a refusal", name, id, err)
		}
	}
	if n := len(api.calls()); n != 0 {
		t.Errorf("the API was asked %d times", n)
	}
}

// What ends without an answer is ambiguous when the request may have arrived,
// and definite when it cannot have.
func TestCreateWithoutAnswer(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + refused.Addr().String()
	refused.Close()
	notTLS := "https" + strings.TrimPrefix(script(t).URL, "http")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		base string
		ctx  context.Context
		want error
	}{
		"refused connection": {nobody, t.Context(), gpu.ErrNotSent},
		"no TLS":             {notTLS, t.Context(), gpu.ErrNotSent},
		"ended before":       {nobody, ended, gpu.ErrNotSent},
		"connection cut":     {script(t, step{cut: true}, step{status: 200, body: `{"success":true,"new_contract":7}`}).URL, t.Context(), errAmbiguous},
	} {
		id, err := open(t, c.base).Create(c.ctx, aRequest)
		if id != "" || !is(err, c.want) {
			t.Errorf("%s: Create returned %q, %v; want %v", name, id, err, c.want)
		}
		if name == "ended before" && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v does not say so", name, err)
		}
	}
}

// A caller that gives up while the API thinks does not know what it did.
func TestCreateGivenUp(t *testing.T) {
	t.Parallel()
	arrived, done := make(chan struct{}), make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-done
	}))
	defer api.Close()
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if id, err := open(t, api.URL).Create(ctx, aRequest); id != "" || !is(err, errAmbiguous) || !errors.Is(err, context.Canceled) {
		t.Errorf("Create returned %q, %v", id, err)
	}
}

// A kept connection that is dead makes net/http send a call again by itself: a
// create, or a listing sooner than it may be asked for. One that died in silence
// takes all calls with it until the kernel notices. So none is kept.
func TestNoCallIsSentTwice(t *testing.T) {
	t.Parallel()
	ok := step{status: 200, body: `{"success":true,"new_contract":7,"instances":[],"total_instances":0,"results":[],"offers":[]}`}
	for name, call := range map[string]func(p *Provider) error{
		"create":  func(p *Provider) error { _, err := p.Create(t.Context(), aRequest); return err },
		"list":    func(p *Provider) error { _, err := p.Instances(t.Context()); return err },
		"search":  func(p *Provider) error { _, err := p.Offers(t.Context()); return err },
		"charges": func(p *Provider) error { _, err := p.Charges(t.Context(), time.Now(), time.Now()); return err },
		"destroy": func(p *Provider) error { return p.Destroy(t.Context(), "5") },
	} {
		api := script(t, ok, ok, step{cut: true}, ok)
		p := open(t, api.URL)
		for n := range 3 {
			if err := call(p); (err != nil) != (n == 2) {
				t.Errorf("%s: call %d: %v", name, n+1, err)
			}
		}
		calls := api.calls()
		if len(calls) != 3 {
			t.Errorf("%s: it was asked %d times", name, len(calls))
		}
		for _, call := range calls {
			if call.header.Get("Connection") != "close" {
				t.Errorf("%s came over a connection that is kept: %v", name, call.header)
			}
		}
	}
}

// A body that is sent to another address is a second create.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other := script(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		there := http.Header{"Location": {other.URL + "/x?y=z"}}
		api := script(t, step{status: status, header: there}, step{status: status, header: there}, step{status: status, header: there})
		p := open(t, api.URL)
		_, createErr := p.Create(t.Context(), aRequest)
		_, listErr := p.Instances(t.Context())
		for _, err := range []error{createErr, listErr, p.Destroy(t.Context(), "5")} {
			if err == nil || !strings.Contains(err.Error(), "VAST_API_URL") {
				t.Errorf("%d: %v; want a word on the address", status, err)
			}
		}
	}
	if n := len(other.calls()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// No error repeats the key, the login, or a secret of the worker, whatever the
// API echoes.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	login := "-u me -p ghp_0123456789 ghcr.io"
	echo := fmt.Sprintf(`{"success":false,"error":"invalid_args","msg":"%s %s token-0123456789\u0007\nsecond line"}`, testKey, login)
	api := script(t, step{status: 400, body: echo}, step{status: 400, body: echo}, step{status: 400, body: echo}, step{status: 400, body: echo})
	p := open(t, api.URL, func(c *Config) { c.ImageLogin = login })
	_, createErr := p.Create(t.Context(), aRequest)
	_, listErr := p.Instances(t.Context())
	_, offersErr := p.Offers(t.Context())
	for _, err := range []error{createErr, listErr, offersErr, p.Destroy(t.Context(), "5")} {
		if err == nil {
			t.Error("no error")
			continue
		}
		for _, secret := range []string{testKey, "ghp_0123456789"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q holds a secret", err)
			}
		}
		if strings.ContainsAny(err.Error(), "\n\a") {
			t.Errorf("%q is not one line", err)
		}
	}
	if strings.Contains(createErr.Error(), "token-0123456789") {
		t.Errorf("%q holds a secret of the worker", createErr)
	}
	for _, call := range api.calls() {
		if strings.Contains(call.uri, testKey) {
			t.Errorf("%s holds the key", call.uri)
		}
	}
}

func TestLimitIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		header string
		want   time.Duration
	}{
		"nothing":     {"API requests too frequent", "", 12 * time.Second},
		"threshold":   {"API requests too frequent: endpoint threshold=4.5", "", 4950 * time.Millisecond},
		"odd number":  {"threshold=...", "", 12 * time.Second},
		"huge number": {"threshold=99999999", "", 12 * time.Second},
		"header":      {"threshold=4.5", "30", 30 * time.Second},
		"long header": {"", "86400", maxAfter},
		"a past date": {"", "Fri, 07 Aug 2020 12:00:00 GMT", 0},
		"odd header":  {"", "-5", 12 * time.Second},
	} {
		l := newLanes(1)
		a := newAnswer(request{lane: l.create, creating: true}, 429, http.Header{"Retry-After": {c.header}}, []byte(c.body))
		limited, ok := errors.AsType[gpu.RateLimited](a.outcome())
		if !ok || limited.After != c.want {
			t.Errorf("%s: %+v, want %s", name, limited, c.want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Every call has an end, shows the key in one header and nowhere else, and
// goes where the documentation says: with a slash at the end.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	p := open(t, DefaultURL)
	var got []string
	look := roundTrip(func(r *http.Request) (*http.Response, error) {
		end, bounded := r.Context().Deadline()
		if !bounded || time.Until(end) > callTimeout {
			t.Errorf("%s ends at %v", r.URL, end)
		}
		if r.Header.Get("Authorization") != "Bearer "+testKey || strings.Contains(r.URL.String(), testKey) {
			t.Errorf("%s has the headers %v", r.URL, r.Header)
		}
		got = append(got, r.Method+" "+r.URL.Host+r.URL.Path)
		return nil, errors.New("no network here")
	})
	p.client.Transport = look
	ctx := t.Context()
	_, createErr := p.Create(ctx, aRequest)
	_, listErr := p.Instances(ctx)
	_, offersErr := p.Offers(ctx)
	_, chargesErr := p.Charges(ctx, time.Now(), time.Now())
	_, creditErr := p.Credit(ctx)
	for _, err := range []error{createErr, listErr, offersErr, p.Destroy(ctx, "5"), chargesErr, creditErr, p.Ping(ctx)} {
		if !errors.Is(err, gpu.ErrNotSent) || strings.Contains(err.Error(), "https://") {
			t.Errorf("%v", err)
		}
	}
	const host = " console.vast.ai/api/"
	want := []string{
		"PUT" + host + "v0/asks/21034567/", "GET" + host + "v1/instances/", "POST" + host + "v0/bundles/",
		"GET" + host + "v0/charges/", "GET" + host + "v0/users/current/", "DELETE" + host + "v0/instances/5/", "GET" + host + "v1/instances/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
