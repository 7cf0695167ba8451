package httpapi

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
)

// describe adds the plain handlers to the OpenAPI document, their schemas
// made from the same types that they decode and encode.
func (a *API) describe() {
	d := a.newDescription()
	for _, op := range []*huma.Operation{d.doc.Paths["/jobs"].Get, d.doc.Paths["/jobs/{id}"].Delete, d.doc.Paths["/jobs/{id}/cancel"].Post} {
		delete(op.Responses, "422") // huma adds it; ours are 400 (useProblems)
	}
	d.captions()
	d.preview()
	d.job()
	d.results()
}

// description is what the plain handlers' operations are made of.
type description struct {
	doc                   *huma.OpenAPI
	request, problem      map[string]*huma.MediaType
	failure, late         *huma.Response
	id, wait, follow      *huma.Param
	text, switched, bytes *huma.Schema
}

func (a *API) newDescription() *description {
	d := &description{
		doc:  a.Huma.OpenAPI(),
		text: &huma.Schema{Type: "string"}, switched: &huma.Schema{Type: "boolean"}, bytes: &huma.Schema{Type: "string", Format: "binary"},
	}
	d.problem = content("application/problem+json", d.schema(apigpu.Problem{}, "Problem"))
	d.failure = &huma.Response{Description: "What went wrong", Content: d.problem}
	d.late = &huma.Response{Description: "With Accept: video/mp4: not ready yet, the job goes on", Content: d.problem}
	d.id = &huma.Param{Name: "id", In: "path", Required: true, Schema: d.text}
	d.wait = &huma.Param{Name: "wait", In: "query", Description: "Seconds to wait for the end of the job", Schema: &huma.Schema{Type: "number"}}
	d.follow = &huma.Param{Name: "follow", In: "query", Description: "Answer a passed wait with a redirect to the next", Schema: d.switched}
	for _, answer := range []any{apigpu.Job{}, apigpu.Result{}, apigpu.Validation{}} {
		d.schema(answer, reflect.TypeOf(answer).Name())
	}
	openAnswers(d.doc.Components.Schemas.Map()) // before the requests, which are closed
	d.request = content("application/json", d.schema(captionBody{}, "CaptionRequest"))
	d.request["multipart/form-data"] = &huma.MediaType{Schema: formSchema()}
	return d
}

func (d *description) schema(v any, name string) *huma.Schema {
	return d.doc.Components.Schemas.Schema(reflect.TypeOf(v), true, name)
}

// add adds an operation that needs a key, and may fail.
func (d *description) add(op huma.Operation) {
	op.Security = []map[string][]string{{"key": {}}, {"bearer": {}}}
	d.addOpen(op)
}

// addOpen adds an operation that needs no key.
func (d *description) addOpen(op huma.Operation) {
	op.Responses["default"] = d.failure
	d.doc.AddOperation(&op)
}

// captions are the operations that take a request for captions.
func (d *description) captions() {
	result := d.schema(apigpu.Result{}, "Result")
	done := content("application/json", result)
	done["video/mp4"] = &huma.MediaType{Schema: d.bytes}
	body := &huma.RequestBody{Required: true, Content: d.request}
	d.add(huma.Operation{
		OperationID: "caption", Method: http.MethodPost, Path: "/video/caption", Summary: "Burn captions into a video",
		Parameters: []*huma.Param{
			d.wait, d.follow,
			{Name: "Prefer", In: "header", Description: "respond-async, or wait=N", Schema: d.text},
			{Name: "Idempotency-Key", In: "header", Description: "The same key and body within 24 hours join the same job; another body is 422", Schema: d.text},
		},
		RequestBody: body,
		Responses: map[string]*huma.Response{
			"200": {Description: "The result; the video itself with Accept: video/mp4. A request that joined an earlier one carries Idempotency-Replayed: true", Content: done},
			"202": {Description: "The job goes on", Content: content("application/json", result)},
			"303": {Description: "With follow=true: the next wait"},
			"503": d.late,
		},
	})
	d.add(huma.Operation{
		OperationID: "validate", Method: http.MethodPost, Path: "/video/caption/validate",
		Summary:     "What a request for captions would find, without a job: the subtitles, the head of the video, time and cost",
		Parameters:  []*huma.Param{{Name: "cues", In: "query", Description: "The captions as they were read are part of the answer", Schema: d.switched}},
		RequestBody: body,
		Responses: map[string]*huma.Response{
			"200": {Description: "It would be accepted", Content: content("application/json", d.schema(apigpu.Validation{}, "Validation"))},
		},
	})
}

// preview is the operation that draws what a request would make.
func (d *description) preview() {
	d.add(huma.Operation{
		OperationID: "preview", Method: http.MethodPost, Path: "/video/caption/preview",
		Summary: "A picture of what a request for captions would make, without a job: one frame, or nine on a sheet. The video may be left out",
		Parameters: []*huma.Param{
			{Name: "t", In: "query", Description: "Seconds at which the frame is taken; the middle of the first long caption unless it is said", Schema: &huma.Schema{Type: "number"}},
			{Name: "sheet", In: "query", Description: "Nine frames, spread over the captions", Schema: d.switched},
			{Name: "size", In: "query", Description: "Width and height where no video is named, such as 1080x1920; 1280x720 unless it is said", Schema: d.text},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: d.request},
		Responses: map[string]*huma.Response{
			"200": {
				Description: "The picture, at most 720 pixels on its short side", Content: content("image/png", d.bytes),
				Headers: map[string]*huma.Header{
					"X-Preview-Background": {Description: "video, or plain where there is none or it cannot be read here", Schema: d.text},
					"X-Preview-Times":      {Description: "When the frames are shown, in seconds", Schema: d.text},
					"X-Job-Warnings":       {Description: "Codes of what was mended or guessed, as a JSON list; absent where nothing was", Schema: d.text},
				},
			},
			"501": {Description: "preview_unavailable: nothing here draws pictures", Content: d.problem},
		},
	})
}

// job are the operations that tell of one job.
func (d *description) job() {
	job := content("application/json", d.schema(apigpu.Job{}, "Job"))
	d.add(huma.Operation{
		OperationID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Summary: "A job as it is, or at its end",
		Parameters: []*huma.Param{d.id, d.wait, d.follow},
		Responses: map[string]*huma.Response{
			"200": {Description: "It has ended", Content: job}, "202": {Description: "It goes on", Content: job},
			"303": {Description: "With follow=true: the next wait"}, "503": d.late,
		},
	})
	d.add(huma.Operation{
		OperationID: "job-events", Method: http.MethodGet, Path: "/jobs/{id}/events", Summary: "The job at each change, as server-sent events",
		Parameters: []*huma.Param{d.id},
		Responses: map[string]*huma.Response{
			"200": {Description: "Events named job", Content: content("text/event-stream", d.text)}, "204": {Description: "All was sent before (Last-Event-ID)"},
		},
	})
}

// results are the operations that answer with what a job made.
func (d *description) results() {
	video := content("video/mp4", d.bytes)
	d.add(huma.Operation{
		OperationID: "job-video", Method: http.MethodGet, Path: "/jobs/{id}/video", Summary: "The result, with ranges",
		Parameters: []*huma.Param{d.id},
		Responses:  map[string]*huma.Response{"200": {Description: "The video", Content: video}, "206": {Description: "A part of it", Content: video}},
	})
	d.add(huma.Operation{
		OperationID: "job-thumbnail", Method: http.MethodGet, Path: "/jobs/{id}/thumbnail.jpg", Summary: "A picture of the result, where output.thumbnail asked for one",
		Parameters: []*huma.Param{d.id},
		Responses:  map[string]*huma.Response{"200": {Description: "The picture", Content: content("image/jpeg", d.bytes)}},
	})
	d.addOpen(huma.Operation{
		OperationID: "file", Method: http.MethodGet, Path: "/files/{id}/{name}", Summary: "The result or its thumbnail by its signed link, video_url or thumbnail_url: no key is needed",
		Parameters: []*huma.Param{
			d.id, {Name: "name", In: "path", Required: true, Schema: d.text}, d.wait,
			{Name: "exp", In: "query", Required: true, Description: "Unix time of the link's end", Schema: d.text},
			{Name: "sig", In: "query", Required: true, Description: "Signature of the link", Schema: d.text},
		},
		Responses: map[string]*huma.Response{"200": {Description: "The video", Content: video}, "206": {Description: "A part of it", Content: video}},
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
