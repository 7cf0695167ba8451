package httpapi

import (
	"container/list"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/pause"
)

// How wrong keys are slowed, per address (per /64 in IPv6).
const (
	// freeGuesses may come at once: a program with an old key makes some
	// before somebody looks.
	freeGuesses = 20
	// guessRate is how many more are judged each second: 86,400 a day, which
	// takes three hundred thousand million years for half of the 2^64
	// keys of 16 hex digits.
	guessRate = 1
	// guessHold is how long a request may be held until it is its turn;
	// beyond that it is refused unjudged. So at most three are held.
	guessHold = 3 * time.Second
	// maxClients bounds how many addresses are remembered, the latest first.
	maxClients = 10_000
	// warnGap is the least time between two lines in the log about one
	// address.
	warnGap = time.Minute
)

// Gate lets requests with a known key through, as Keys does, and makes
// guessing hopeless: after some wrong keys from an address, further ones are
// judged slowly, or refused without being judged.
//
// A right key passes all the same where it has passed from that address
// before: behind one proxy or NAT others work on while somebody guesses, or
// while a program tries an old key for ever. A right key that is new there
// waits its turn like the guesses: if it passed at once, its answer would
// tell a guesser that it is right. What remains is a guesser behind the very
// address from which the key is used, whom only the key's length stops.
//
// A request without any key is no guess.
type Gate struct {
	keys    Keys
	proxies []netip.Prefix
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	clients map[netip.Prefix]*list.Element // of *gateClient
	recent  *list.List                     // the latest first
}

// gateClient is what is remembered of an address.
type gateClient struct {
	from    netip.Prefix
	passed  map[string]bool // names of keys that have passed
	guesses *rate.Limiter   // nil before the first wrong key
	warned  time.Time
}

// NewGate returns a gate before keys. The client's address is believed from
// X-Forwarded-For only where proxies hold the sender.
func NewGate(keys Keys, proxies []netip.Prefix, log *slog.Logger, now func() time.Time) *Gate {
	return &Gate{keys: keys, proxies: proxies, log: log, now: now, clients: map[netip.Prefix]*list.Element{}, recent: list.New()}
}

// Require is Keys.Require behind the gate.
func (g *Gate) Require(next http.Handler) http.Handler { return require(g.caller, next) }

// RequireAdmin is Keys.RequireAdmin behind the gate.
func (g *Gate) RequireAdmin(next http.Handler) http.Handler { return requireAdmin(g.caller, next) }

// caller returns whose key the request carries. It may take guessHold.
func (g *Gate) caller(r *http.Request) (Caller, error) {
	who, err := g.keys.Caller(r)
	if g.keys.Open() || keyOf(r) == "" {
		return who, err
	}
	from := neighbours(clientAddr(r, g.proxies))
	wait, refused := g.judge(from, who.Name)
	switch {
	case refused > 0:
		e := apigpu.E(apigpu.RateLimited, nil, "Too many wrong keys came from this address.").
			WithHint("Wait, and compare the key with X_API_KEY in the server's configuration.")
		e.RetryAfter = int(math.Ceil(refused.Seconds()))
		return Caller{}, e
	case wait > 0 && !pause.For(r.Context(), wait):
		return Caller{}, r.Context().Err()
	}
	if err == nil {
		g.pass(from, who.Name)
	}
	return who, err
}

// pass remembers that a key was right.
func (g *Gate) pass(from netip.Prefix, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client(from).passed[name] = true
}

// judge decides how long a request with a key waits until its answer may tell
// whether the key is right. name is that of the key; empty where it is wrong.
// refused above 0 means that it is not judged, and when it might be.
func (g *Gate) judge(from netip.Prefix, name string) (wait, refused time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, c := g.now(), g.client(from)
	calm := c.guesses == nil || c.guesses.TokensAt(now) >= 1
	switch {
	case name != "" && (calm || c.passed[name]):
		return 0, 0
	case c.guesses == nil:
		c.guesses = rate.NewLimiter(guessRate, freeGuesses)
	}
	turn := c.guesses.ReserveN(now, 1)
	wait = turn.DelayFrom(now)
	if wait > guessHold {
		turn.CancelAt(now)
		if now.Sub(c.warned) >= warnGap {
			c.warned = now
			g.log.Warn("wrong keys keep coming: they are refused unjudged", "address", from.String())
		}
		return 0, wait - guessHold
	}
	return wait, 0
}

// client returns what is known of an address, and forgets the one that has
// been silent longest when there are too many.
func (g *Gate) client(from netip.Prefix) *gateClient {
	if e := g.clients[from]; e != nil {
		g.recent.MoveToFront(e)
		return e.Value.(*gateClient)
	}
	c := &gateClient{from: from, passed: map[string]bool{}}
	g.clients[from] = g.recent.PushFront(c)
	if g.recent.Len() > maxClients {
		oldest := g.recent.Remove(g.recent.Back()).(*gateClient)
		delete(g.clients, oldest.from)
	}
	return c
}
