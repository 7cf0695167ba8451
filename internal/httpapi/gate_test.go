package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// knock is one request through a gate; it returns the answer.
func knock(g *Gate, from, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = from
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	w := httptest.NewRecorder()
	g.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, CallerOf(r.Context()).Name)
	})).ServeHTTP(w, r)
	return w
}

func newGate(t *testing.T, log *bytes.Buffer) *Gate {
	t.Helper()
	keys, err := ParseKeys("admin:r00t,bob:b0b,eve:e")
	if err != nil {
		t.Fatal(err)
	}
	return NewGate(keys, nil, slog.New(slog.NewTextHandler(log, nil)), time.Now)
}

func TestGate(t *testing.T) {
	const attacker, other = "203.0.113.7:1", "198.51.100.1:1"
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := newGate(t, &log)
		wrong := func() int { return knock(g, attacker, "gu3ss").Code }
		if w := knock(g, attacker, "b0b"); w.Body.String() != "bob" {
			t.Fatalf("before any guess: %d %s", w.Code, w.Body)
		}
		began := time.Now()
		for n := range freeGuesses {
			if code := wrong(); code != http.StatusUnauthorized {
				t.Fatalf("guess %d: %d", n, code)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a few wrong keys were held for %s", took)
		}
		// One after the other, each waits its turn.
		for range 5 {
			began := time.Now()
			if code := wrong(); code != http.StatusUnauthorized || time.Since(began) != time.Second {
				t.Errorf("a slowed guess: %d after %s", code, time.Since(began))
			}
		}
		// All at once, most are refused unjudged, the right one among them.
		answers := make(chan *httptest.ResponseRecorder, 100)
		for n := range cap(answers) {
			go func() {
				key := "gu3ss"
				if n%2 == 1 {
					key = "r00t" // right, but new at this address
				}
				answers <- knock(g, attacker, key)
			}()
		}
		synctest.Wait()
		if len(answers) < cap(answers)-3 {
			t.Errorf("%d requests are held", cap(answers)-len(answers))
		}
		codes := map[int]int{}
		for range cap(answers) {
			w := <-answers
			codes[w.Code]++
			if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"rate_limited"`)) {
				t.Errorf("refused by %v %s", w.Header(), w.Body)
			}
		}
		if codes[http.StatusTooManyRequests] < cap(answers)-3 {
			t.Errorf("answers %v", codes)
		}
		// Meanwhile others work on: from elsewhere, and with a key that has
		// passed from here.
		if w := knock(g, other, "r00t"); w.Code != http.StatusOK {
			t.Errorf("from another address: %d", w.Code)
		}
		if w := knock(g, attacker, "b0b"); w.Code != http.StatusOK {
			t.Errorf("a key that has passed from here: %d", w.Code)
		}
		if w := knock(g, attacker, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("without a key: %d", w.Code)
		}
		// A right key that is new here gets its turn, once.
		time.Sleep(4 * time.Second)
		wrong()
		if w := knock(g, attacker, "e"); w.Code != http.StatusOK {
			t.Errorf("a right key after the flood: %d", w.Code)
		}
		began = time.Now()
		if w := knock(g, attacker, "e"); w.Code != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("the second time: %d after %s", w.Code, time.Since(began))
		}
		if n := strings.Count(log.String(), "wrong keys keep coming"); n != 1 {
			t.Errorf("%d lines in the log: %s", n, &log)
		}
		if strings.Contains(log.String(), "gu3ss") {
			t.Errorf("the log holds a key: %s", &log)
		}
	})
}

// What is remembered has a bound, however many addresses come.
func TestGateForgets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := newGate(t, &log)
	first := netip.MustParsePrefix("198.51.100.1/32")
	g.pass(first, "bob")
	for n := range maxClients + 100 {
		g.judge(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32), "")
	}
	if n, m := len(g.clients), g.recent.Len(); n != maxClients || m != maxClients || g.clients[first] != nil {
		t.Errorf("%d and %d addresses are kept", n, m)
	}
}

// A client that leaves while it is held holds nothing.
func TestGateHeldClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := newGate(t, &log)
		for range freeGuesses {
			knock(g, "203.0.113.7:1", "x")
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "203.0.113.7:1"
		r.Header.Set("X-API-Key", "x")
		ctx, leave := context.WithCancel(r.Context())
		go leave()
		began := time.Now()
		if _, err := g.caller(r.WithContext(ctx)); err == nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestOpenGate(t *testing.T) {
	t.Parallel()
	g := NewGate(Keys{}, nil, slog.New(slog.DiscardHandler), time.Now)
	for range 2 * freeGuesses {
		if w := knock(g, "127.0.0.1:1", "any"); w.Body.String() != adminName {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
