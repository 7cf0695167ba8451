package fleet

import (
	"testing"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// resting counts how often it was told to rest.
type resting struct {
	gpu.Provider
	rests int
}

func (p *resting) Rest() { p.rests++ }

// Who is handed the lease calls the provider no sooner than the one before
// might have. The first of all, and who took it from the dead, need not wait.
func TestRestAfterAHandover(t *testing.T) {
	t.Parallel()
	provider := &resting{}
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) { c.Provider = provider })
	provider.Provider = r.fake
	r.tick()
	r.restart()
	r.tick()
	if provider.rests != 0 {
		t.Errorf("it rested %d times after a death", provider.rests)
	}
	r.ok(r.release(t.Context()))
	r.process = r.start()
	r.tick()
	r.tick()
	if provider.rests != 1 {
		t.Errorf("it rested %d times after a handover", provider.rests)
	}
}
