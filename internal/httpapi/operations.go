package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
)

type listIn struct {
	Status apigpu.Status `query:"status" enum:"queued,running,succeeded,failed,canceled,expired" doc:"Only jobs of this status"`
	Since  time.Time     `query:"since" doc:"Only jobs created at or after this time"`
	Cursor string        `query:"cursor" pattern:"^job_[0-9A-Za-z]{1,60}$" doc:"next_cursor of the page before"`
	Limit  int           `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Jobs on a page"`
}

type listOut struct{ Body apigpu.JobPage }

func (a *API) list(ctx context.Context, in *listIn) (*listOut, error) {
	jobs, cursor, err := a.cfg.Jobs.List(ctx, CallerOf(ctx), Filter{Status: in.Status, Since: in.Since, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, a.Fault(ctx, err)
	}
	page := apigpu.JobPage{Object: "list", Data: make([]apigpu.Job, len(jobs)), NextCursor: cursor}
	for i, j := range jobs {
		page.Data[i] = a.decorate(ctx, j)
	}
	return &listOut{page}, nil
}

type jobIn struct {
	ID string `path:"id" maxLength:"64" doc:"Identity of the job"`
}

type jobOut struct{ Body apigpu.Job }

func (a *API) cancel(ctx context.Context, in *jobIn) (*jobOut, error) {
	job, err := a.cfg.Jobs.Cancel(ctx, CallerOf(ctx), in.ID)
	if err != nil {
		return nil, a.Fault(ctx, err)
	}
	return &jobOut{a.decorate(ctx, job)}, nil
}

func (a *API) remove(ctx context.Context, in *jobIn) (*struct{}, error) {
	if err := a.cfg.Jobs.Delete(ctx, CallerOf(ctx), in.ID); err != nil {
		return nil, a.Fault(ctx, err)
	}
	return nil, nil
}

// Describe corrects the answers of operations that were added, as those of the
// jobs API are: clients must bear members that come later, and a parameter that
// is wrong is 400.
func (a *API) Describe(ops ...*huma.Operation) {
	doc := a.Huma.OpenAPI()
	for _, s := range doc.Components.Schemas.Map() {
		s.AdditionalProperties = nil
	}
	for _, op := range ops {
		delete(op.Responses, "422") // huma adds it; ours are 400 (useProblems)
	}
}

// Fault is the error of an operation, as it is answered; its cause goes to the
// log.
func (a *API) Fault(ctx context.Context, err error) error {
	if Status(apigpu.CodeOf(err)) >= http.StatusInternalServerError && ctx.Err() == nil {
		a.cfg.Log.ErrorContext(ctx, "request failed", "error", err)
	}
	return &statusError{ProblemOf(err)}
}

// statusError is a problem in the shape that huma writes.
type statusError struct{ apigpu.Problem }

func (e *statusError) Error() string             { return e.Detail }
func (e *statusError) GetStatus() int            { return e.Status }
func (e *statusError) ContentType(string) string { return "application/problem+json" }
func (e *statusError) GetHeaders() http.Header   { return headersOf(e.Problem) }

// Schema says in the OpenAPI document that these errors are problems as well.
func (e *statusError) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[apigpu.Problem](), true, "Problem")
}

// useProblems makes huma's own errors (a query parameter out of range) look
// like all others. huma keeps that choice in a variable of its package.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		code := apigpu.InvalidRequest
		if status >= http.StatusInternalServerError {
			code = apigpu.Internal
		}
		e := apigpu.E(code, nil, "%s.", message)
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok {
				where := d.ErrorDetail().Location
				if _, name, ok := strings.Cut(where, "."); ok { // query.limit, path.id, body.ttl_seconds
					where = name
				}
				e.Details = append(e.Details, apigpu.Detail{Field: where, Message: d.ErrorDetail().Message})
			}
		}
		if len(e.Details) > 0 {
			e.Field = e.Details[0].Field
			e.Message = e.Details[0].Field + ": " + e.Details[0].Message
		}
		return &statusError{ProblemOf(e)}
	}
})

// humaConfig is huma's without its own docs page (its script comes from
// elsewhere) and without $schema members in answers.
func humaConfig(title, version string) huma.Config {
	cfg := huma.DefaultConfig(title, version)
	cfg.DocsPath, cfg.SchemasPath, cfg.CreateHooks = "", "", nil
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":    {Type: "apiKey", In: "header", Name: "X-API-Key"},
		"bearer": {Type: "http", Scheme: "bearer"},
	}
	return cfg
}
