package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// The process that goes on after an orderly stop asks the provider for nothing
// before it may be asked again: not for itself, and for no request either.
func TestRestBetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	const rest = 2200 * time.Millisecond
	r, _ := moneyRig(t, budgeted(Budget{Day: 10 * rentCost}), func(c *Config) { c.Rest = func() time.Duration { return rest } })
	r.tick()
	r.ok(r.release(t.Context()))
	r.forget(nil)
	r.process = r.start()
	lists := len(r.fake.Calls(providertest.Instances))
	for range 2 {
		r.tick()
		r.clock.Advance(rest / 2)
	}
	if n := len(r.fake.Calls(providertest.Instances)) - lists; r.Leading() || n != 0 {
		t.Errorf("leads: %t, after %d listings", r.Leading(), n)
	}
	if r.db.Dialect() == db.SQLite { // any member of PostgreSQL's may search
		soon, cancel := context.WithTimeout(t.Context(), tickMin)
		defer cancel()
		r.ok(r.Affordable(soon, queue.Ask{Run: time.Hour}))
		r.calls(providertest.Offers, 0)
	}
	r.clock.Advance(time.Millisecond)
	r.tick()
	if n := len(r.fake.Calls(providertest.Instances)) - lists; !r.Leading() || n != 1 {
		t.Errorf("afterwards it leads: %t, after %d listings", r.Leading(), n)
	}
}
