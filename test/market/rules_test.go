package market

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

// However many callers press, no rule of the API is broken: above all none of
// its intervals. The market measures when calls arrive, and the adapter when it
// sends them. So that a busy machine is not blamed on it, the market's are a
// tenth of the real ones here and the adapter's four tenths, and a try in which
// a call was late all the same is made again.
func TestNoRuleIsBroken(t *testing.T) {
	t.Parallel()
	for try := 1; ; try++ {
		broken := press(t)
		if len(broken) == 0 {
			return
		}
		early := func(b vastsim.Breach) bool { return b.Rule == vastsim.TooOften }
		if try == 3 || !slices.ContainsFunc(broken, early) {
			t.Fatalf("broken rules: %+v", broken)
		}
		t.Logf("again, after %+v", broken)
	}
}

// press makes all kinds of calls at the same time and returns what rules they
// broke.
func press(t *testing.T) []vastsim.Breach {
	t.Helper()
	r := rigAt(t, time.Now, `{"credit_usd":10,"intervals":0.1,
		"timing":{"provision":"1ns","create":"1ns","pull":"1ns","list_lag":"1ns","destroy_lag":"1ns"}}`, "",
		func(c *vast.Config) { c.Pace = 0.4 })
	offers, err := r.Offers(t.Context())
	if err != nil || len(offers) < 3 {
		t.Fatalf("%d offers, %v", len(offers), err)
	}
	note := func(what string, err error) {
		// A call that came too soon is among the broken rules.
		if _, limited := errors.AsType[gpu.RateLimited](err); err != nil && !limited {
			t.Errorf("%s: %v", what, err)
		}
	}
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() {
			id, err := r.Create(t.Context(), gpu.Request{Label: "rules-" + strconv.Itoa(n), Offer: offers[n]})
			note("create", err)
			if id != "" {
				note("destroy", r.Destroy(t.Context(), id))
			}
		})
		all.Go(func() {
			_, err := r.Instances(t.Context())
			note("list", err)
			_, err = r.Offers(t.Context())
			note("search", err)
			_, err = r.Credit(t.Context())
			note("credit", err)
			_, err = r.Charges(t.Context(), time.Now(), time.Now())
			note("charges", err)
		})
	}
	all.Wait()
	truth := r.Truth()
	if alive := truth.Alive(""); len(alive) > 0 && len(truth.Broken) == 0 {
		t.Errorf("left alive: %v", alive)
	}
	return truth.Broken
}

// A destroy waits for no other call: not for creates that must wait, not for
// listings.
func TestDestroyHasItsOwnLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", func(c *vast.Config) { c.Pace = 10 }) // 11 s between listings, 49 s between creates
	id := r.create("a")
	r.list()
	began := time.Now()
	if err := r.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// The market notices what a careless client does, and the adapter does none of
// it: here are the requests that it makes, literally.
func TestRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", func(c *vast.Config) { c.ImageLogin = "-u me -p registry-token ghcr.io" })
	id := r.boot("a")
	r.list()
	if err := r.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Charges(t.Context(), r.Now(), r.Now()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.Calls() {
		got = append(got, strings.ReplaceAll(c.Method+" "+c.Path, id, "ID"))
	}
	ask := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "PUT /api/v0/asks/") })
	if ask < 0 {
		t.Fatalf("calls: %q", got)
	}
	got[ask] = "PUT /api/v0/asks/OFFER/"
	want := []string{
		"POST /api/v0/bundles/", "PUT /api/v0/asks/OFFER/", "GET /api/v1/instances/", "DELETE /api/v0/instances/ID/", "GET /api/v0/charges/",
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls: %q, want %q", got, want)
	}
	r.unbroken()
}

// The rules that the market notes when they are broken.
func TestTheMarketNotices(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	ask := r.request("a").Offer.ID
	create := func(body string) func(*cli) {
		return func(c *cli) { c.call("PUT", "/api/v0/asks/"+ask+"/", body) }
	}
	for rule, do := range map[string]func(*cli){
		vastsim.NoTrailingSlash: func(c *cli) { c.call("GET", "/api/v1/instances", "") },
		vastsim.WrongVersion:    func(c *cli) { c.call("DELETE", "/api/v1/instances/5/", "{}") },
		vastsim.UnknownCall:     func(c *cli) { c.call("GET", "/api/v0/machines/", "") },
		vastsim.DeprecatedList:  func(c *cli) { c.call("GET", "/api/v0/instances/", "") },
		vastsim.KeyInQuery:      func(c *cli) { c.call("GET", "/api/v0/users/current/?api_key="+accountKey, "") },
		vastsim.Unlabelled:      create(`{"image":"x","cancel_unavail":true}`),
		vastsim.MayBeStopped:    create(`{"image":"x","label":"b"}`),
		vastsim.EnvIgnored:      create(`{"image":"x","label":"c","cancel_unavail":true,"env":"-e A=1 -p 3334:3334"}`),
		vastsim.UnknownField:    create(`{"image":"x","label":"d","cancel_unavail":true,"colour":"red"}`),
		vastsim.KeyInInstance:   create(`{"image":"x","label":"e","cancel_unavail":true,"env":{"KEY":"` + accountKey + `"}}`),
		vastsim.Malformed:       create(`{"image":"x","label":"` + strings.Repeat("x", 257) + `","cancel_unavail":true}`),
	} {
		before := len(r.Truth().Broken)
		do(&cli{rig: r, key: accountKey})
		broken := r.Truth().Broken[before:]
		if len(broken) != 1 || broken[0].Rule != rule {
			t.Errorf("%s: noted is %+v", rule, broken)
		}
	}
}
