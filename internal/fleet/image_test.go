package fleet

import (
	"context"
	"errors"
	"testing"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// What is rented runs the image that the registry names at that moment; where
// the registry says that there is none, nothing is rented until there is.
func TestImage(t *testing.T) {
	t.Parallel()
	name, err := "", errors.New("no such image")
	r := newRig(t, func(c *Config, _ *providertest.FakeConfig) {
		c.Image = func(context.Context) (string, bool, error) { return name, name != "", err }
	})
	r.submit()
	r.pass(2*imageHold, imageHold/10)
	r.calls(providertest.Create, 0)
	if rows := r.rows(); len(rows) > 0 {
		t.Errorf("there is no image, and the ledger has %+v", rows)
	}
	if n := len(r.fake.Calls(providertest.Offers)); n == 0 || n > 4 {
		t.Errorf("%d searches in two gaps", n)
	}
	name, err = "worker@sha256:a", nil
	r.until("rented", r.has(gpu.Ready))
	if got := r.rows()[0].Terms.Image; got != name {
		t.Errorf("the ledger has the image %q", got)
	}
	for _, made := range r.fake.Records() {
		if made.Request.Image != name {
			t.Errorf("asked for the image %q", made.Request.Image)
		}
	}
}
