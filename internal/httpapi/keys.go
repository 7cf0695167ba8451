package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// adminName is the name of the key that steers the server.
const adminName = "admin"

// Keys are the API keys of a server, kept as digests. The zero value accepts
// every request as the admin: for a server that listens on loopback only.
type Keys struct {
	keys []key
}

type key struct {
	caller Caller
	digest [sha256.Size]byte
	short  bool
}

// shortKey is the length below which a key can be guessed in time, by words and
// dates at least: openssl rand -hex 24 gives 48.
const shortKey = 16

var keyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ParseKeys reads X_API_KEY: keys separated by commas, each as name:key or,
// where there is only one, the bare key. The one named admin, or the only
// one, is the admin's.
func ParseKeys(s string) (Keys, error) {
	var ks Keys
	seen := map[string]bool{}
	for n, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, secret, named := strings.Cut(part, ":")
		name, secret = strings.TrimSpace(name), strings.TrimSpace(secret)
		if !named {
			name, secret = adminName, part
		}
		digest := sha256.Sum256([]byte(secret))
		switch {
		case !keyName.MatchString(name):
			// Not the name: it may be half of a key that was to have none.
			return Keys{}, fmt.Errorf("key %d of the list: what stands before the colon is its name, of letters, digits, - and _", n+1)
		case secret == "":
			return Keys{}, fmt.Errorf("the key named %q is empty", name)
		case strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }):
			return Keys{}, fmt.Errorf("the key named %q holds a line break, an accent or another character that a header cannot carry: use openssl rand -hex 24", name)
		case seen[name]:
			return Keys{}, fmt.Errorf("two keys are named %q (a key without a name is named admin)", name)
		case slices.ContainsFunc(ks.keys, func(k key) bool { return k.digest == digest }):
			return Keys{}, fmt.Errorf("the key named %q is the same as another: nobody could tell whose it is", name)
		}
		seen[name] = true
		ks.keys = append(ks.keys, key{Caller{Name: name, Admin: name == adminName}, digest, len(secret) < shortKey})
	}
	if len(ks.keys) == 1 {
		ks.keys[0].caller.Admin = true
	}
	return ks, nil
}

// Open reports whether no key is asked for.
func (ks Keys) Open() bool { return len(ks.keys) == 0 }

// Weak are what is wrong with keys that work, in words for the operator.
func (ks Keys) Weak() (all []string) {
	steered := ks.Open()
	for _, k := range ks.keys {
		steered = steered || k.caller.Admin
		if k.short {
			all = append(all, fmt.Sprintf("the key named %q is shorter than %d characters and can be guessed: make one with openssl rand -hex 24", k.caller.Name, shortKey))
		}
	}
	if !steered {
		all = append(all, "no key is named admin, so that nobody reaches /gpus, /doctor and /metrics")
	}
	return all
}

// Caller returns whose key the request carries, in X-API-Key or as a bearer
// token. The comparison takes the same time for every key and every guess:
// digests of equal length are compared, all of them.
func (ks Keys) Caller(r *http.Request) (Caller, error) {
	if ks.Open() {
		return Caller{Name: adminName, Admin: true}, nil
	}
	given := keyOf(r)
	digest := sha256.Sum256([]byte(given))
	var found Caller
	for _, k := range ks.keys {
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			found = k.caller
		}
	}
	switch {
	case given == "":
		return Caller{}, apigpu.E(apigpu.Unauthorized, nil, "An API key is needed.").
			WithHint("Send it as the header X-API-Key, or as Authorization: Bearer.")
	case found.Name == "":
		return Caller{}, apigpu.E(apigpu.Unauthorized, nil, "This API key is not known.").
			WithHint("Compare it with X_API_KEY in the server's configuration.")
	}
	return found, nil
}

// strangersBody is how long a request without a known key may go on sending
// its body, so that a client that sends first and reads later gets its answer.
const strangersBody = 2 * time.Second

// keyOf returns the key that a request carries, in X-API-Key or as a bearer
// token; empty without one.
func keyOf(r *http.Request) string {
	if given := r.Header.Get("X-API-Key"); given != "" {
		return given
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// Require lets only requests with a known key through to next, which finds
// the caller by CallerOf.
func (ks Keys) Require(next http.Handler) http.Handler { return require(ks.Caller, next) }

// RequireAdmin is Require for the admin only; other known keys get 403.
func (ks Keys) RequireAdmin(next http.Handler) http.Handler { return requireAdmin(ks.Caller, next) }

func require(caller func(*http.Request) (Caller, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := caller(r)
		if err != nil {
			if apigpu.CodeOf(err) == apigpu.Unauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="api-gpu"`)
			}
			if r.ContentLength != 0 {
				// Else net/http waits for the body, before it answers and
				// after: a stranger's, who may never send it.
				w.Header().Set("Connection", "close")
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(strangersBody))
			}
			WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

func requireAdmin(caller func(*http.Request) (Caller, error), next http.Handler) http.Handler {
	return require(caller, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !CallerOf(r.Context()).Admin {
			WriteError(w, apigpu.E(apigpu.Forbidden, nil, "Only the key named admin may do this."))
			return
		}
		next.ServeHTTP(w, r)
	}))
}

type callerKey struct{}

// CallerOf returns who sent the request of this context: nobody, who may see
// nothing, outside of Require.
func CallerOf(ctx context.Context) Caller {
	who, _ := ctx.Value(callerKey{}).(Caller)
	return who
}
