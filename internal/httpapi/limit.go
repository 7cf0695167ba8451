package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/api-gpu/api-gpu"
)

// jobRate bounds how many requests for a job one key may make. A key that has
// been silent for a minute may make a minute's worth at once.
type jobRate struct {
	perMinute int // 0: any number
	now       func() time.Time

	mu    sync.Mutex
	byKey map[string]*rate.Limiter // as many as there are keys
}

func newJobRate(perMinute int, now func() time.Time) *jobRate {
	return &jobRate{perMinute: perMinute, now: now, byKey: map[string]*rate.Limiter{}}
}

// limit lets requests of a key through to next as often as it may make them.
// The admin has no limit: it is the operator's own key, and the only one where
// there is but one.
//
// Answers tell the limit in the fields that clients know: RateLimit-Limit,
// -Remaining and -Reset of draft-ietf-httpapi-ratelimit-headers-06. Later
// drafts put the same into structured fields that few read yet.
func (l *jobRate) limit(next http.Handler) http.Handler {
	if l.perMinute <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := CallerOf(r.Context())
		if who.Admin {
			next.ServeHTTP(w, r)
			return
		}
		left, retry := l.take(who.Name)
		h := w.Header()
		h.Set("RateLimit-Limit", strconv.Itoa(l.perMinute))
		h.Set("RateLimit-Remaining", strconv.Itoa(int(max(left, 0))))
		missing := float64(l.perMinute) - left
		h.Set("RateLimit-Reset", strconv.Itoa(int(math.Ceil(missing*60/float64(l.perMinute)))))
		if retry > 0 {
			e := apigpu.E(apigpu.RateLimited, nil, "The key named %s may ask for %d jobs a minute.", who.Name, l.perMinute).
				WithHint("Wait as Retry-After says, or ask the operator to raise RATE_LIMIT.")
			e.RetryAfter = int(math.Ceil(retry.Seconds()))
			WriteError(w, e)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take counts a request of a key. It returns how many more the key may make
// now, and how long until the next where this one was one too many.
func (l *jobRate) take(name string) (left float64, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	limiter := l.byKey[name]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.byKey[name] = limiter
	}
	turn := limiter.ReserveN(now, 1)
	if retry = turn.DelayFrom(now); retry > 0 {
		turn.CancelAt(now)
	}
	return limiter.TokensAt(now), retry
}

// Most requests that wait for a job or stream its events at once, so that the
// memory of a small server is enough: each holds some 40 KB.
const (
	maxHeld        = 4000 // in all
	maxHeldPerKey  = 2000 // of one key, but for the admin's
	maxHeldPerLink = 20   // by the link to one result, which asks for no key
)

// held counts the requests that are held open.
type held struct {
	mu    sync.Mutex
	all   int
	byKey map[string]int
}

func newHeld() *held { return &held{byKey: map[string]int{}} }

// enter reports whether a request of who may be held; then leave must follow.
func (h *held) enter(who Caller) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := maxHeldPerKey
	switch {
	case strings.HasPrefix(who.Name, linkName):
		most = maxHeldPerLink
	case who.Admin:
		most = maxHeld
	}
	if h.all >= maxHeld || h.byKey[who.Name] >= most {
		return false
	}
	h.all++
	h.byKey[who.Name]++
	return true
}

func (h *held) leave(who Caller) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.byKey[who.Name]--; h.byKey[who.Name] == 0 {
		delete(h.byKey, who.Name)
	}
}
