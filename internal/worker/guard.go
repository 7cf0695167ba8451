package worker

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// Guard says who may speak to a worker. It checks in this order: the address
// (403, naming the address seen), X-Session-Token (403), X-API-Key (401).
type Guard struct {
	// Allowed are the addresses that may; none means all.
	Allowed []netip.Prefix
	// Token is the session token; empty means none is asked for.
	Token string
	Keys  httpapi.Keys
}

// strangerTime is how long the body of a refused request may take.
const strangerTime = 5 * time.Second

// Require lets only those through to next who may speak to this worker.
func (g Guard) Require(next http.Handler) http.Handler {
	withKey := g.Keys.Require(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.Admits(r) {
			// What a stranger has announced is not waited for: net/http reads
			// the rest of a body before it takes the next request.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(strangerTime))
		}
		if err := g.check(r); err != nil {
			httpapi.WriteError(w, err)
			return
		}
		withKey.ServeHTTP(w, r)
	})
}

// Admits reports whether a request carries all that is asked for.
func (g Guard) Admits(r *http.Request) bool {
	if g.check(r) != nil {
		return false
	}
	_, err := g.Keys.Caller(r)
	return err == nil
}

// check looks at the address and the session token.
func (g Guard) check(r *http.Request) error {
	if len(g.Allowed) > 0 {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !g.allows(from.Addr().Unmap()) {
			return apigpu.E(apigpu.AddressNotAllowed, err, "This worker does not answer %s.", from.Addr().Unmap()).
				WithHint("Add the address to ALLOWED_IPS.")
		}
	}
	if g.Token == "" {
		return nil
	}
	want, given := sha256.Sum256([]byte(g.Token)), sha256.Sum256([]byte(r.Header.Get("X-Session-Token")))
	if subtle.ConstantTimeCompare(want[:], given[:]) != 1 {
		return apigpu.E(apigpu.InvalidSession, nil, "The session token is missing or not known.")
	}
	return nil
}

func (g Guard) allows(addr netip.Addr) bool {
	for _, p := range g.Allowed {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
