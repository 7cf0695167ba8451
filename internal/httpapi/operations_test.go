package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

func TestListPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for range 7 {
		want = append(want, w.submit(t))
	}
	slices.Reverse(want) // newest first
	w.jobs.finish(want[2], "movie")
	var got []string
	at := "/jobs?limit=3"
	for pages := 1; ; pages++ {
		page := decode[apigpu.JobPage](t, w.do("GET", at, ""), 200)
		for _, j := range page.Data {
			if j.VideoURL == "" || j.Links.Self == "" || j.Object != "job" {
				t.Errorf("job %+v", j)
			}
			got = append(got, j.ID)
		}
		if page.NextCursor == "" || pages > 5 {
			if pages != 3 || page.Object != "list" {
				t.Errorf("%d pages of %q", pages, page.Object)
			}
			break
		}
		at = "/jobs?limit=3&cursor=" + page.NextCursor
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if page := decode[apigpu.JobPage](t, w.do("GET", "/jobs?status=succeeded", ""), 200); len(page.Data) != 1 || page.Data[0].ID != want[2] {
		t.Errorf("by status: %+v", page.Data)
	}
	if page := decode[apigpu.JobPage](t, w.do("GET", "/jobs?since=2026-03-01T12:00:01Z", ""), 200); page.Data == nil || len(page.Data) != 0 {
		t.Errorf("since later: %+v", page.Data)
	}
	if page := decode[apigpu.JobPage](t, w.do("GET", "/jobs?since=2026-03-01T13:00:00%2B01:00", ""), 200); len(page.Data) != 7 {
		t.Errorf("since then, in another zone: %d", len(page.Data))
	}
}

func TestBadParametersAreProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("x", 65)
	for _, c := range []struct{ method, path, field string }{
		{"GET", "/jobs?limit=0", "limit"},
		{"GET", "/jobs?limit=101", "limit"},
		{"GET", "/jobs?limit=many", "limit"},
		{"GET", "/jobs?status=done", "status"},
		{"GET", "/jobs?since=yesterday", "since"},
		{"GET", "/jobs?cursor=" + long, "cursor"},
		{"GET", "/jobs?cursor=zzz", "cursor"},
		{"GET", "/jobs?stauts=queued", "stauts"},
		{"POST", "/jobs/" + long + "/cancel", "id"},
		{"DELETE", "/jobs/" + long, "id"},
	} {
		p := problem(t, w.do(c.method, c.path, ""), apigpu.InvalidRequest)
		if p.Field != c.field || len(p.Details) != 1 || p.Details[0].Field != c.field {
			t.Errorf("%s %.40s: field %q, details %+v", c.method, c.path, p.Field, p.Details)
		}
	}
}

func TestCancelAndDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit(t)
	res := w.do("DELETE", "/jobs/"+id, "")
	if p := problem(t, res, apigpu.Conflict); p.JobID != id || res.Header.Get("Retry-After") != "2" || res.Header.Get("X-Job-Id") != id {
		t.Errorf("problem %+v, header %v", p, res.Header)
	}
	if job := decode[apigpu.Job](t, w.do("POST", "/jobs/"+id+"/cancel", ""), 200); job.Status != apigpu.JobCanceled || job.VideoURL == "" {
		t.Errorf("job %+v", job)
	}
	problem(t, w.do("POST", "/jobs/"+id+"/cancel", ""), apigpu.Conflict)
	if res := w.do("DELETE", "/jobs/"+id, ""); res.StatusCode != 204 {
		t.Errorf("delete: %d", res.StatusCode)
	}
	problem(t, w.do("DELETE", "/jobs/"+id, ""), apigpu.JobNotFound)
	problem(t, w.do("GET", "/jobs/"+id, ""), apigpu.JobNotFound)
}

// The document names every path and the answers it really gives.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	type schema struct {
		Ref                  string             `json:"$ref"`
		Properties           map[string]*schema `json:"properties"`
		AnyOf                []schema           `json:"anyOf"`
		AdditionalProperties any                `json:"additionalProperties"`
		Type                 any                `json:"type"`
	}
	type media map[string]struct {
		Schema schema `json:"schema"`
	}
	type operation struct {
		Security    []map[string][]string `json:"security"`
		RequestBody struct {
			Content media `json:"content"`
		} `json:"requestBody"`
		Responses map[string]struct {
			Content media `json:"content"`
		} `json:"responses"`
	}
	type document struct {
		OpenAPI    string                          `json:"openapi"`
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	doc := decode[document](t, newWorld(t).do("GET", "/openapi.json", "", "X-API-Key: "), 200)
	var got []string
	for path, operations := range doc.Paths {
		for method, op := range operations {
			var statuses []string
			for status, response := range op.Responses {
				statuses = append(statuses, status)
				for mediaType, m := range response.Content {
					name := strings.TrimPrefix(m.Schema.Ref, "#/components/schemas/")
					if _, known := doc.Components.Schemas[name]; m.Schema.Ref != "" && !known {
						t.Errorf("%s %s: no schema %s", method, path, m.Schema.Ref)
					}
					if mediaType == "application/problem+json" && name != "Problem" {
						t.Errorf("%s %s: the problem of %s is a %q", method, path, status, name)
					}
				}
			}
			slices.Sort(statuses)
			got = append(got, fmt.Sprintf("%s %s key=%v %s", method, path, len(op.Security) > 0, strings.Join(statuses, " ")))
		}
	}
	slices.Sort(got)
	want := []string{
		"delete /jobs/{id} key=true 204 400 401 404 409 500",
		"get /files/{id}/{name} key=false 200 206 default",
		"get /jobs key=true 200 400 401 404 500",
		"get /jobs/{id} key=true 200 202 303 503 default",
		"get /jobs/{id}/events key=true 200 204 default",
		"get /jobs/{id}/thumbnail.jpg key=true 200 default",
		"get /jobs/{id}/video key=true 200 206 default",
		"post /jobs/{id}/cancel key=true 200 400 401 404 409 500",
		"post /video/caption key=true 200 202 303 503 default",
		"post /video/caption/preview key=true 200 501 default",
		"post /video/caption/validate key=true 200 default",
	}
	if d := cmp.Diff(want, got); d != "" || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s: %s", doc.OpenAPI, d)
	}
	for _, name := range []string{"video", "captions", "error"} {
		if p := doc.Components.Schemas["Job"].Properties[name]; len(p.AnyOf) != 2 || p.AnyOf[1].Type != "null" {
			t.Errorf("job.%s may not be null: %+v", name, p)
		}
	}
	if doc.Components.Schemas["CaptionBody"].AdditionalProperties != false || doc.Components.Schemas["Job"].AdditionalProperties != nil {
		t.Error("requests are closed and answers open")
	}
	if f := doc.Paths["/video/caption"]["post"].RequestBody.Content["multipart/form-data"].Schema.Properties; len(f) != len(formFields) {
		t.Errorf("the form has %d fields, and describes %d", len(formFields), len(f))
	}
}
