package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func TestJobRate(t *testing.T) {
	t.Parallel()
	now := start
	l := newJobRate(3, func() time.Time { return now })
	served := 0
	h := l.limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	ask := func(who Caller) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/video/caption", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
		return w
	}
	bob := Caller{Name: "bob"}
	for _, c := range []struct {
		after                          time.Duration
		status                         int
		limit, remaining, reset, again string
	}{
		{0, 200, "3", "2", "20", ""},
		{0, 200, "3", "1", "40", ""},
		{0, 200, "3", "0", "60", ""},
		{0, 429, "3", "0", "60", "20"},
		{5 * time.Second, 429, "3", "0", "55", "15"},
		{15 * time.Second, 200, "3", "0", "60", ""},
		{time.Hour, 200, "3", "2", "20", ""},
	} {
		now = now.Add(c.after)
		w := ask(bob)
		h := w.Header()
		if w.Code != c.status || h.Get("RateLimit-Limit") != c.limit || h.Get("RateLimit-Remaining") != c.remaining ||
			h.Get("RateLimit-Reset") != c.reset || h.Get("Retry-After") != c.again {
			t.Errorf("%+v: %d %v", c, w.Code, h)
		}
	}
	for range 10 {
		if w := ask(Caller{Name: adminName, Admin: true}); w.Code != 200 || w.Header().Get("RateLimit-Limit") != "" {
			t.Errorf("the admin: %d %v", w.Code, w.Header())
		}
	}
	if w := ask(Caller{Name: "eve"}); w.Code != 200 {
		t.Errorf("another key: %d", w.Code)
	}
	if served != 5+10+1 {
		t.Errorf("%d requests were served", served)
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	h, bob := newHeld(), Caller{Name: "bob"}
	for range maxHeldPerKey {
		if !h.enter(bob) {
			t.Fatal("refused within the bound")
		}
	}
	if h.enter(bob) {
		t.Error("one key may hold more than its share")
	}
	admin := Caller{Name: adminName, Admin: true}
	for range maxHeld - maxHeldPerKey {
		if !h.enter(admin) {
			t.Fatal("the admin is refused while there is room")
		}
	}
	if h.enter(admin) || h.enter(Caller{Name: "eve"}) {
		t.Error("more are held than the bound")
	}
	h.leave(bob)
	if !h.enter(bob) {
		t.Error("what was left is not free again")
	}
	if len(h.byKey) != 2 {
		t.Errorf("%d keys are counted", len(h.byKey))
	}
}

// The limit stands before the submission, and before nothing else.
func TestRateLimitOfTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.RateLimit = 2 })
	for range 2 {
		if res := w.do("POST", "/video/caption?wait=0", goodBody); res.StatusCode != http.StatusAccepted || res.Header.Get("RateLimit-Limit") != "2" {
			t.Fatalf("%s %v", res.Status, res.Header)
		}
	}
	res := w.do("POST", "/video/caption?wait=0", goodBody)
	if p := problem(t, res, apigpu.RateLimited); !p.Retryable || p.RetryAfter != 30 || res.Header.Get("Retry-After") != "30" {
		t.Errorf("%+v", p)
	}
	if res := w.do("GET", "/jobs", ""); res.StatusCode != http.StatusOK || res.Header.Get("RateLimit-Limit") != "" {
		t.Errorf("a listing: %s %v", res.Status, res.Header)
	}
	if res := w.do("POST", "/video/caption?wait=0", goodBody, "X-API-Key: root"); res.StatusCode != http.StatusAccepted {
		t.Errorf("the admin: %s", res.Status)
	}
}

// A link to one result cannot take the places of those who have keys.
func TestHeldByALink(t *testing.T) {
	t.Parallel()
	h := newHeld()
	link, other := Caller{Name: linkName + "job_1", Admin: true}, Caller{Name: linkName + "job_2", Admin: true}
	for n := range maxHeldPerLink {
		if !h.enter(link) {
			t.Fatalf("only %d are held", n)
		}
	}
	if h.enter(link) {
		t.Error("one too many is held")
	}
	for _, who := range []Caller{other, {Name: "ann"}, {Name: adminName, Admin: true}} {
		if !h.enter(who) {
			t.Errorf("%s is turned away", who.Name)
		}
	}
	h.leave(link)
	if !h.enter(link) {
		t.Error("a place that was left is not free")
	}
}
