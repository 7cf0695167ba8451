package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

type doctorOut struct{ Body apigpu.Diagnosis }

// RegisterDoctor adds GET /doctor to an API, behind a guard that lets the admin
// through and nobody else: what it tells names settings, addresses and money.
// examine takes up to half a minute, and is asked one at a time: it asks a
// marketplace that counts.
func RegisterDoctor(api *httpapi.API, guard func(http.Handler) http.Handler, examine func(context.Context) apigpu.Diagnosis) {
	op := huma.Operation{
		OperationID: "doctor", Method: http.MethodGet, Path: "/doctor", Summary: "Whether this server can do its work, and what to do where it cannot",
		Errors: []int{http.StatusForbidden},
	}
	turn := make(chan struct{}, 1)
	huma.Register(api.Huma, api.Operation(op, guard), func(ctx context.Context, _ *struct{}) (*doctorOut, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return nil, api.Fault(ctx, ctx.Err())
		}
		return &doctorOut{examine(ctx)}, nil
	})
	api.Describe(api.Huma.OpenAPI().Paths["/doctor"].Get)
}
