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

// describe adds the plain handlers to the OpenAPI document, their schemas
// made from the same types that they decode and encode.
func (a *API) describe() {
	doc := a.Huma.OpenAPI()
	schema := func(v any, name string) *huma.Schema {
		return doc.Components.Schemas.Schema(reflect.TypeOf(v), true, name)
	}
	job := content("application/json", schema(apigpu.Job{}, "Job"))
	result := content("application/json", schema(apigpu.Result{}, "Result"))
	problem := &huma.Response{Description: "What went wrong", Content: content("application/problem+json", schema(apigpu.Problem{}, "Problem"))}
	late := &huma.Response{Description: "With Accept: video/mp4: not ready yet, the job goes on", Content: problem.Content}
	video := content("video/mp4", &huma.Schema{Type: "string", Format: "binary"})
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}
	wait := &huma.Param{Name: "wait", In: "query", Description: "Seconds to wait for the end of the job", Schema: &huma.Schema{Type: "number"}}
	follow := &huma.Param{Name: "follow", In: "query", Description: "Answer a passed wait with a redirect to the next", Schema: &huma.Schema{Type: "boolean"}}
	text := &huma.Schema{Type: "string"}
	secured := []map[string][]string{{"key": {}}, {"bearer": {}}}

	openAnswers(doc.Components.Schemas.Map())
	for _, op := range []*huma.Operation{doc.Paths["/jobs"].Get, doc.Paths["/jobs/{id}"].Delete, doc.Paths["/jobs/{id}/cancel"].Post} {
		delete(op.Responses, "422") // huma adds it; ours are 400 (useProblems)
	}
	body := content("application/json", schema(captionBody{}, "CaptionRequest"))
	body["multipart/form-data"] = &huma.MediaType{Schema: formSchema()}
	done := content("application/json", result["application/json"].Schema)
	done["video/mp4"] = video["video/mp4"]
	doc.AddOperation(&huma.Operation{
		OperationID: "caption", Method: http.MethodPost, Path: "/video/caption", Summary: "Burn captions into a video", Security: secured,
		Parameters: []*huma.Param{
			wait, follow,
			{Name: "Prefer", In: "header", Description: "respond-async, or wait=N", Schema: text},
			{Name: "Idempotency-Key", In: "header", Description: "The same key and body within 24 hours join the same job; another body is 422", Schema: text},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: body},
		Responses: map[string]*huma.Response{
			"200": {Description: "The result; the video itself with Accept: video/mp4. A request that joined an earlier one carries Idempotency-Replayed: true", Content: done},
			"202": {Description: "The job goes on", Content: result},
			"303": {Description: "With follow=true: the next wait"},
			"503": late, "default": problem,
		},
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "validate", Method: http.MethodPost, Path: "/video/caption/validate", Security: secured,
		Summary:     "What a request for captions would find, without a job: the subtitles, the head of the video, time and cost",
		Parameters:  []*huma.Param{{Name: "cues", In: "query", Description: "The captions as they were read are part of the answer", Schema: &huma.Schema{Type: "boolean"}}},
		RequestBody: &huma.RequestBody{Required: true, Content: body},
		Responses: map[string]*huma.Response{
			"200": {Description: "It would be accepted", Content: content("application/json", schema(apigpu.Validation{}, "Validation"))}, "default": problem,
		},
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Summary: "A job as it is, or at its end", Security: secured,
		Parameters: []*huma.Param{id, wait, follow},
		Responses: map[string]*huma.Response{
			"200": {Description: "It has ended", Content: job}, "202": {Description: "It goes on", Content: job},
			"303": {Description: "With follow=true: the next wait"}, "503": late, "default": problem,
		},
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "job-events", Method: http.MethodGet, Path: "/jobs/{id}/events", Summary: "The job at each change, as server-sent events", Security: secured,
		Parameters: []*huma.Param{id},
		Responses:  map[string]*huma.Response{"200": {Description: "Events named job", Content: content("text/event-stream", &huma.Schema{Type: "string"})}, "204": {Description: "All was sent before (Last-Event-ID)"}, "default": problem},
	})
	describeFiles(doc, secured, problem, video, id, wait)
}

// describeFiles adds the files of a job.
func describeFiles(doc *huma.OpenAPI, secured []map[string][]string, problem *huma.Response, video map[string]*huma.MediaType, id, wait *huma.Param) {
	text := &huma.Schema{Type: "string"}
	doc.AddOperation(&huma.Operation{
		OperationID: "job-video", Method: http.MethodGet, Path: "/jobs/{id}/video", Summary: "The result, with ranges", Security: secured,
		Parameters: []*huma.Param{id},
		Responses:  map[string]*huma.Response{"200": {Description: "The video", Content: video}, "206": {Description: "A part of it", Content: video}, "default": problem},
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "job-thumbnail", Method: http.MethodGet, Path: "/jobs/{id}/thumbnail.jpg", Summary: "A picture of the result, where output.thumbnail asked for one", Security: secured,
		Parameters: []*huma.Param{id},
		Responses:  map[string]*huma.Response{"200": {Description: "The picture", Content: content("image/jpeg", &huma.Schema{Type: "string", Format: "binary"})}, "default": problem},
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "file", Method: http.MethodGet, Path: "/files/{id}/{name}", Summary: "The result or its thumbnail by its signed link, video_url or thumbnail_url: no key is needed",
		Parameters: []*huma.Param{
			id, {Name: "name", In: "path", Required: true, Schema: text}, wait,
			{Name: "exp", In: "query", Required: true, Description: "Unix time of the link's end", Schema: text},
			{Name: "sig", In: "query", Required: true, Description: "Signature of the link", Schema: text},
		},
		Responses: map[string]*huma.Response{"200": {Description: "The video", Content: video}, "206": {Description: "A part of it", Content: video}, "default": problem},
	})
}

// openAnswers corrects what huma derives for answers: clients must bear
// members that come later, and these members of a job may be null.
func openAnswers(schemas map[string]*huma.Schema) {
	for _, s := range schemas {
		s.AdditionalProperties = nil
	}
	for _, name := range []string{"video", "captions", "error"} {
		p := schemas["Job"].Properties[name]
		schemas["Job"].Properties[name] = &huma.Schema{Description: p.Description, AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}}
	}
}

// formSchema describes the multipart form of POST /video/caption.
func formSchema() *huma.Schema {
	field := func(format, description string) *huma.Schema {
		return &huma.Schema{Type: "string", Format: format, Description: description}
	}
	return &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
		"video":       field("binary", "The video, instead of url_video"),
		"srt":         field("binary", "The subtitles, instead of url_srt"),
		"font":        field("binary", "A font for these captions (TTF, OTF or TTC); up to 5 of them, 20 MB together"),
		"url_video":   field("", "As in JSON"),
		"url_srt":     field("", "As in JSON"),
		"quality":     field("", "output.quality"),
		"filename":    field("", "output.filename"),
		"wait":        field("", "Seconds to wait for the result"),
		"webhook_url": field("", "As in JSON"),
		"request":     field("", "The JSON body, for everything else"),
	}}
}

func content(mediaType string, schema *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{mediaType: {Schema: schema}}
}
