package fleet

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// A proof is of one marketplace, and the last one counts.
func TestProof(t *testing.T) {
	t.Parallel()
	for name, engine := range dbtest.Engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := engine(t)()
			const market = "https://market.example"
			if at, ok, err := Proof(t.Context(), d, market); ok || err != nil || !at.IsZero() {
				t.Errorf("before: %v %v %v", at, ok, err)
			}
			first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			for _, at := range []time.Time{first, first.Add(time.Hour)} {
				if err := KeepProof(t.Context(), d, market, at, "a machine was gone 12 s after its lease\x00"); err != nil {
					t.Fatal(err)
				}
				if got, ok, err := Proof(t.Context(), d, market); !ok || err != nil || !got.Equal(at) {
					t.Errorf("got %v %v %v, want %v", got, ok, err, at)
				}
			}
			if _, ok, err := Proof(t.Context(), d, market+"/"); !ok || err != nil {
				t.Errorf("of the same, with a slash: %v %v", ok, err)
			}
			if _, ok, err := Proof(t.Context(), d, "http://127.0.0.1:3399"); ok || err != nil {
				t.Errorf("of another market: %v %v", ok, err)
			}
		})
	}
}

// Until it is shown that a machine ends itself, none stands idle for long; what
// works, and what is free, is not touched by that.
func TestUnprovenIdle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout  time.Duration
		unproven bool
		idle     time.Duration
		busy     int
		want     string
	}{
		"proven":                {5 * time.Minute, false, 2 * time.Minute, 0, ""},
		"proven, and over":      {5 * time.Minute, false, 6 * time.Minute, 0, "idle for 5m0s"},
		"unproven":              {5 * time.Minute, true, 2 * time.Minute, 0, "idle for 1m0s"},
		"unproven, for a while": {5 * time.Minute, true, 50 * time.Second, 0, ""},
		"unproven, and busy":    {5 * time.Minute, true, 2 * time.Minute, 1, ""},
		"a short one":           {5 * time.Second, true, 6 * time.Second, 0, "idle for 5s"},
	} {
		p := policy
		p.IdleTimeout = c.timeout
		w := World{Unproven: c.unproven, Busy: map[string]int{"a": c.busy}, Instances: []Instance{with(ready("a"), func(i *Instance) { i.IdleSince = ago(c.idle) })}}
		actions, _ := Plan(p, w, noon)
		got := ""
		if len(actions) > 0 {
			got = actions[0].Reason
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A server that runs learns of the proof, and asks only where it must.
func TestUnprovenLearns(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	now := noon
	const market = "https://market.example"
	f := New(Config{
		DB: d, Queue: queue.New(d, func() time.Time { return now }), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Policy: Policy{IdleTimeout: 5 * time.Minute, ProofOf: market},
	})
	if why := f.IdleCapped(t.Context()); !strings.Contains(why, "IDLE_TIMEOUT=5m0s") || !strings.Contains(why, "doctor --live") {
		t.Errorf("before: %q", why)
	}
	if err := KeepProof(t.Context(), d, market, now, "seen"); err != nil {
		t.Fatal(err)
	}
	if why := f.IdleCapped(t.Context()); why == "" {
		t.Error("it asks at each look")
	}
	now = now.Add(proofGap)
	if why := f.IdleCapped(t.Context()); why != "" {
		t.Errorf("after: %q", why)
	}
	for name, p := range map[string]Policy{"a short time": {IdleTimeout: time.Minute, ProofOf: "x"}, "not asked for": {IdleTimeout: time.Hour}} {
		f.cfg.Policy = p
		f.proof = proof{}
		if why := f.IdleCapped(t.Context()); why != "" {
			t.Errorf("%s: %q", name, why)
		}
	}
}
