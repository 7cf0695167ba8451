package market

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
)

// errAmbiguous stands for: nobody knows what exists.
var errAmbiguous = errors.New("ambiguous")

// outcome is the kind of an error, as callers tell them apart.
func outcome(err error) error {
	if _, limited := errors.AsType[gpu.RateLimited](err); limited {
		return gpu.RateLimited{}
	}
	for _, kind := range []error{gpu.ErrPartial, gpu.ErrNotSent, gpu.ErrOfferGone, gpu.ErrNoCapacity, gpu.ErrFunds, gpu.ErrAuth, gpu.ErrRefused} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	if err != nil {
		return errAmbiguous
	}
	return nil
}

const envelope = `{"kind":"status","call":"create","status":%d,"body":{"success":false,"error":"%s","msg":"%s"}}`

func answers(status int, code, msg string) string { return fmt.Sprintf(envelope, status, code, msg) }

// What goes wrong with a create: what the caller is told, and what is true.
var createCases = []struct {
	name, fault  string
	want         error
	id           bool // the caller learns one
	alive, later int  // at once, and a minute later
}{
	{"nothing", `{"kind":"status","call":"destroy"}`, nil, true, 1, 1},
	{"late answer", `{"kind":"slow","call":"create","delay":"1ms"}`, nil, true, 1, 1},
	{"made twice", `{"kind":"create_twice"}`, nil, true, 2, 2},

	{"a page 502", `{"kind":"status","call":"create","status":502,"html":true}`, errAmbiguous, false, 0, 0},
	{"a page 502, created", `{"kind":"status","call":"create","status":502,"html":true,"after":true}`, errAmbiguous, false, 1, 1},
	{"a text 503", `{"kind":"status","call":"create","status":503,"body":"upstream connect error"}`, errAmbiguous, false, 0, 0},
	{"500 of its own", answers(500, "server_error", "Something went wrong."), errAmbiguous, false, 0, 0},
	{"a page 404", `{"kind":"status","call":"create","status":404,"html":true,"after":true}`, errAmbiguous, false, 1, 1},
	{"a page 403", `{"kind":"status","call":"create","status":403,"html":true}`, errAmbiguous, false, 0, 0},
	{"200 of somebody else", `{"kind":"status","call":"create","status":200,"html":true,"after":true}`, errAmbiguous, false, 1, 1},
	{"200 without a word", `{"kind":"status","call":"create","status":200,"body":{}}`, errAmbiguous, false, 0, 0},
	{"cut before", `{"kind":"reset","call":"create"}`, errAmbiguous, false, 0, 0},
	{"cut after", `{"kind":"reset","call":"create","after":true}`, errAmbiguous, false, 1, 1},
	{"a gateway's timeout", `{"kind":"hang","call":"create","after":true,"delay":"1ms"}`, errAmbiguous, false, 1, 1},
	{"made late", `{"kind":"create_late","delay":"30s"}`, errAmbiguous, false, 0, 1},

	{"500 with an id", `{"kind":"create_error_with_id"}`, gpu.ErrPartial, true, 1, 1},
	{"made stopped", `{"kind":"create_stopped"}`, gpu.ErrPartial, true, 1, 1},

	{"offer gone", `{"kind":"create_vanished"}`, gpu.ErrOfferGone, false, 0, 0},
	{"offer gone, 410", answers(410, "no_such_ask", "error 410/3907: Instance type 5 is no longer available."), gpu.ErrOfferGone, false, 0, 0},
	{"offer gone, 200", answers(200, "no_such_ask", "Instance type 5 is no longer available."), gpu.ErrOfferGone, false, 0, 0},
	{"host's own machine", answers(403, "forbidden", "You cannot rent your own machine."), gpu.ErrOfferGone, false, 0, 0},
	{"blacklisted host", answers(400, "invalid_args", "blacklisted host"), gpu.ErrOfferGone, false, 0, 0},

	{"no credit, 200", answers(200, "insufficient_credit", "Your account lacks credit; see the billing page."), gpu.ErrFunds, false, 0, 0},
	{"no credit, 400", answers(400, "invalid_args", "You lack credit, see the billing page."), gpu.ErrFunds, false, 0, 0},
	{"spend limit, 403", answers(403, "spend_rate_limit", "Spend rate limit."), gpu.ErrFunds, false, 0, 0},
	{"key not known", answers(404, "auth_error", "Invalid user key"), gpu.ErrAuth, false, 0, 0},
	{"session over", answers(404, "", "Session expired. Please log in again."), gpu.ErrAuth, false, 0, 0},
	{"key not allowed", answers(403, "", "This key is not allowed to do that."), gpu.ErrAuth, false, 0, 0},
	{"a bad request", answers(400, "invalid_args", "runtype and use_ssh cannot both be set"), gpu.ErrRefused, false, 0, 0},

	{"too often, text", `{"kind":"limited","call":"create"}`, gpu.RateLimited{}, false, 0, 0},
	{"too often, detail", `{"kind":"status","call":"create","status":429,"body":{"detail":"API requests too frequent endpoint threshold=4.5"}}`, gpu.RateLimited{}, false, 0, 0},
	{"too often, 400", answers(400, "rate_limit_exceeded", "API requests too frequent: endpoint threshold=4.5"), gpu.RateLimited{}, false, 0, 0},
}

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, c := range createCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			req := r.request("a")
			r.apply(`{"faults":[` + c.fault + `]}`)
			id, err := r.Create(t.Context(), req)
			if outcome(err) != c.want || (id != "") != c.id {
				t.Errorf("Create returned %q, %v; want %v", id, err, c.want)
			}
			if gpu.IsAmbiguous(err) != (c.want == errAmbiguous || c.want == gpu.ErrPartial) {
				t.Errorf("%v: ambiguous is %v", err, gpu.IsAmbiguous(err))
			}
			if n := len(r.Truth().Alive("a")); n != c.alive {
				t.Errorf("%d are alive at once, want %d", n, c.alive)
			}
			r.Advance(time.Minute)
			if n := len(r.Truth().Alive("a")); n != c.later {
				t.Errorf("%d are alive later, want %d", n, c.later)
			}
			// Whatever was told: one call, and the label finds what there is.
			if calls := r.Calls("create"); len(calls) != 1 {
				t.Errorf("the adapter called %d times: %+v", len(calls), calls)
			}
			if s := r.list(); !s.Complete || len(s.Instances) != c.later {
				t.Errorf("listed is %+v", s)
			}
			r.unbroken()
		})
	}
}

// An answer that does not come in the caller's time says nothing.
func TestCreateHangs(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		r := newRig(t, "")
		req := r.request("a")
		r.apply(fmt.Sprintf(`{"faults":[{"kind":"hang","call":"create","after":%v}]}`, after))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		id, err := r.Create(ctx, req)
		cancel()
		if id != "" || outcome(err) != errAmbiguous || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create returned %q, %v", id, err)
		}
		if n := len(r.list().Instances); (n == 1) != after {
			t.Errorf("%d are listed", n)
		}
	}
}

// The market's own refusals, by what it is like and not by a fault.
func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	one := `"offers":[{"dph_base":0.2}]`
	for name, c := range map[string]struct {
		scenario string // after the search
		want     error
	}{
		"the GPU is taken":      {`{}`, gpu.ErrOfferGone},
		"credit used up":        {`{"credit_usd":0}`, gpu.ErrFunds},
		"above the limit":       {`{"spend_limit_usd":0.1}`, gpu.ErrFunds},
		"offer gone, 404":       {`{"gone_form":"404",` + one + `}`, gpu.ErrOfferGone},
		"offer gone, 400":       {`{"gone_form":"400",` + one + `}`, gpu.ErrOfferGone},
		"offer gone, by a word": {`{"gone_form":"invalid_args",` + one + `}`, gpu.ErrOfferGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			busy := name == "the GPU is taken"
			r := newRig(t, fmt.Sprintf(`{"offers":[{"dph_base":0.1,"busy":%v}]}`, busy))
			req := r.request("a")
			r.apply(c.scenario)
			if id, err := r.Create(t.Context(), req); id != "" || outcome(err) != c.want {
				t.Errorf("Create returned %q, %v; want %v", id, err, c.want)
			}
			if n := len(r.Truth().Instances); n != 0 {
				t.Errorf("%d instances came to be", n)
			}
			r.unbroken()
		})
	}
}

// Nothing to rent is an empty list, and no error.
func TestNoCapacity(t *testing.T) {
	t.Parallel()
	for name, offers := range map[string]string{
		"none": `[]`, "none that can encode": `[{"gpu_name":"A100 SXM4","compute_cap":800,"dph_base":0.1}]`,
		"taken": `[{"rentable":false}]`, "too dear": `[{"dph_base":1.01}]`, "unverified": `[{"verification":"unverified"}]`,
		"no port": `[{"direct_port_count":0}]`, "two GPUs": `[{"num_gpus":2}]`, "not reliable": `[{"reliability2":0.9}]`,
	} {
		r := newRig(t, `{"offers":`+offers+`}`)
		if got, err := r.Offers(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		r.unbroken()
	}
}

// Every condition is checked again on what comes back.
func TestUnfaithfulSearch(t *testing.T) {
	t.Parallel()
	faithful := newRig(t, "")
	want, err := faithful.Offers(t.Context())
	if err != nil || len(want) < 8 {
		t.Fatalf("%d offers, %v", len(want), err)
	}
	r := newRig(t, `{"unfaithful":["gpu_name","verified","external","rentable","rented","num_gpus","cpu_arch","direct_port_count",
		"gpu_ram","disk_space","duration","dph_total","reliability2"]}`)
	got, err := r.Offers(t.Context())
	if err != nil || len(got) != len(want) {
		t.Errorf("%d offers, %v; want %d", len(got), err, len(want))
	}
	for _, o := range got {
		if !slices.ContainsFunc(want, func(w gpu.Offer) bool { return w.MachineID == o.MachineID && w.HourlyUSD == o.HourlyUSD }) {
			t.Errorf("%+v is not what was asked for", o)
		}
	}
}

// More offers than one search brings are read from the last price on.
func TestManyOffers(t *testing.T) {
	t.Parallel()
	offers := ""
	for n := range 100 {
		// The cheapest 70 are of no use, and fill the first answer.
		offers += fmt.Sprintf(`,{"dph_base":%.3f,"compute_cap":860,"gpu_name":"%s"}`, 0.1+float64(n)/1000, map[bool]string{true: "A100 SXM4", false: "RTX 3090"}[n < 70])
	}
	r := newRig(t, `{"offers":[`+offers[1:]+`],"unfaithful":["gpu_name"]}`)
	got, err := r.Offers(t.Context())
	if err != nil || len(got) != 30 {
		t.Errorf("%d offers, %v; want 30", len(got), err)
	}
}

// A wrong key is told by the body: its status is 404.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	req := r.request("a")
	id := r.create("b")
	wrong := r.open(func(c *vast.Config) { c.Key = "another-key-0123456789" })
	_, createErr := wrong.Create(t.Context(), req)
	_, listErr := wrong.Instances(t.Context())
	_, offersErr := wrong.Offers(t.Context())
	_, creditErr := wrong.Credit(t.Context())
	for what, err := range map[string]error{
		"create": createErr, "list": listErr, "search": offersErr, "destroy": wrong.Destroy(t.Context(), id),
		"credit": creditErr, "ping": wrong.Ping(t.Context()),
	} {
		if !errors.Is(err, gpu.ErrAuth) {
			t.Errorf("%s: %v, want ErrAuth", what, err)
		}
	}
	for _, c := range r.Calls() {
		if c.Outcome == "Invalid user key" && c.Status != http.StatusNotFound {
			t.Errorf("%s was answered with %d", c.Name, c.Status)
		}
	}
	if n := len(r.Truth().Alive("b")); n != 1 {
		t.Error("a destroy without the key took effect")
	}
}
