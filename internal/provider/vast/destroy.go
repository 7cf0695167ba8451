package vast

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Destroy asks for the end of an instance. nil means that the API accepted it
// or says in its own words that there is no such instance. A bare 404 does
// not: that is also how it answers a bad key.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	if !validID(id) {
		return fmt.Errorf("vast: destroy: %w: %q is no id of an instance", gpu.ErrRefused, oneLine(id))
	}
	a, err := p.call(ctx, request{
		name: "destroy " + id, lane: p.lanes.destroy, method: http.MethodDelete, path: "/api/v0/instances/" + id + "/",
		body: struct{}{},
	})
	if err == nil {
		err = a.outcome()
	}
	if errors.Is(err, gpu.ErrGone) {
		return nil
	}
	return err
}
