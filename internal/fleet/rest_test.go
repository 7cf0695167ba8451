package fleet

import (
	"testing"

	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// Who is handed the lease calls the provider no sooner than the one before
// might have. The first of all, and who took it from the dead, need not wait.
func TestRestAfterAHandover(t *testing.T) {
	t.Parallel()
	rests := 0
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) { c.Rest = func() { rests++ } })
	r.tick()
	r.restart()
	r.tick()
	if rests != 0 {
		t.Errorf("it rested %d times after a death", rests)
	}
	r.ok(r.release(t.Context()))
	r.process = r.start()
	r.tick()
	r.tick()
	if rests != 1 {
		t.Errorf("it rested %d times after a handover", rests)
	}
}
