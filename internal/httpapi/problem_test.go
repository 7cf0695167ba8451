package httpapi

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

// declaredCodes reads the codes from the source of the root package.
func declaredCodes(t *testing.T) []apigpu.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []apigpu.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, apigpu.Code(value))
		}
		return false
	})
	return codes
}

// Every code has a status and a title, and no row is left of a code that went.
func TestEveryCodeHasAnAnswer(t *testing.T) {
	t.Parallel()
	codes := declaredCodes(t)
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found in error.go", len(codes))
	}
	declared := map[apigpu.Code]bool{}
	for _, code := range codes {
		if declared[code] {
			t.Errorf("two codes are written %q", code)
		}
		declared[code] = true
		row, ok := answers[code]
		switch {
		case !ok:
			t.Errorf("answers has no row for %q", code)
		case row.status < 400 || row.status > 599 || row.status == http.StatusGatewayTimeout:
			t.Errorf("%q has status %d", code, row.status)
		case row.title == "":
			t.Errorf("%q has no title", code)
		}
	}
	for code := range answers {
		if !declared[code] {
			t.Errorf("answers has a row for %q, which error.go does not declare", code)
		}
	}
}

func TestProblemGolden(t *testing.T) {
	t.Parallel()
	full := apigpu.E(apigpu.Unavailable, errors.New("dial 10.0.0.3: refused"), "Starting & not <ready>.").
		WithField("url_video").WithHint("Wait.").WithJob("job_1")
	full.RetryAfter = 7
	many := apigpu.E(apigpu.InvalidRequest, nil, "2 fields are not right.").WithField("a")
	many.Details = []apigpu.Detail{{Field: "a", Message: "x"}, {Field: "b", Message: "y"}}
	for _, c := range []struct {
		name   string
		err    error
		status int
		header http.Header
		body   string
	}{
		{
			"all members", fmt.Errorf("submit: %w", full), 503, http.Header{"Retry-After": {"7"}, "X-Job-Id": {"job_1"}},
			`{"type":"urn:api-gpu:error:unavailable","title":"Unavailable","status":503,"detail":"Starting & not <ready>.",` +
				`"code":"unavailable","field":"url_video","hint":"Wait.","retryable":true,"retry_after":7,"job_id":"job_1",` +
				`"error":"Unavailable","message":"Starting & not <ready>.","details":[{"field":"url_video","message":"Starting & not <ready>."}]}`,
		},
		{
			"several faults", many, 400, http.Header{},
			`{"type":"urn:api-gpu:error:invalid_request","title":"Validation error","status":400,"detail":"2 fields are not right.",` +
				`"code":"invalid_request","field":"a","retryable":false,"error":"Validation error","message":"2 fields are not right.",` +
				`"details":[{"field":"a","message":"x"},{"field":"b","message":"y"}]}`,
		},
		{
			"a foreign error tells nothing", io.ErrUnexpectedEOF, 500, http.Header{},
			`{"type":"urn:api-gpu:error:internal","title":"Internal server error","status":500,"detail":"Something went wrong on our side.",` +
				`"code":"internal","retryable":true,"error":"Internal server error","message":"Something went wrong on our side.","details":[]}`,
		},
		{
			"a code from a newer version", apigpu.E("brand_new", nil, "Hm."), 500, http.Header{},
			`{"type":"urn:api-gpu:error:brand_new","title":"Internal server error","status":500,"detail":"Hm.",` +
				`"code":"brand_new","retryable":false,"error":"Internal server error","message":"Hm.","details":[]}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rec := httptest.NewRecorder()
			WriteError(rec, c.err)
			c.header.Set("Content-Type", "application/problem+json")
			c.header.Set("Cache-Control", "no-store")
			if rec.Code != c.status {
				t.Errorf("status %d", rec.Code)
			}
			if d := cmp.Diff(c.body+"\n", rec.Body.String()); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.header, rec.Header()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAValueThatJSONLacksIsAProblem(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	WriteJSON(rec, 200, math.NaN())
	problem(t, rec.Result(), apigpu.Internal)
}

// Paths and methods that do not exist are answered in our words.
func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		code         apigpu.Code
		allow        string
	}{
		{"GET", "/", apigpu.NotFound, ""},
		{"GET", "/jobs/", apigpu.NotFound, ""},
		{"POST", "/video", apigpu.NotFound, ""},
		{"OPTIONS", "/nowhere", apigpu.NotFound, ""},
		{"GET", "/video/caption", apigpu.MethodNotAllowed, "POST"},
		{"HEAD", "/video/caption", apigpu.MethodNotAllowed, "POST"},
		{"OPTIONS", "/video/caption", apigpu.MethodNotAllowed, "POST"},
		{"PUT", "/jobs", apigpu.MethodNotAllowed, "GET, HEAD"},
		{"POST", "/jobs/x/events", apigpu.MethodNotAllowed, "GET, HEAD"},
		{"GET", "/jobs/x/cancel", apigpu.MethodNotAllowed, "POST"},
		{"POST", "/jobs/x", apigpu.MethodNotAllowed, "DELETE, GET, HEAD"}, // without follow
		{"POST", "/files/a/b", apigpu.MethodNotAllowed, "GET, HEAD"},
	} {
		res := w.do(c.method, c.path, "")
		p := problem(t, res, c.code)
		if res.Header.Get("Allow") != c.allow || p.Hint == "" {
			t.Errorf("%s %s: Allow %q, hint %q", c.method, c.path, res.Header.Get("Allow"), p.Hint)
		}
	}
	if res := w.do("GET", "//jobs", ""); res.StatusCode/100 != 3 || res.Header.Get("Location") != "/jobs" {
		t.Errorf("an unclean path: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
}

func TestPanicIsAProblemAndALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.jobs.panics = "Submit"
	p := problem(t, w.do("POST", "/video/caption", goodBody), apigpu.Internal)
	if strings.Contains(p.Detail, "fault of ours") {
		t.Errorf("a stranger reads %q", p.Detail)
	}
	if log := w.log.String(); !strings.Contains(log, "a fault of ours") || !strings.Contains(log, "fake_test.go") {
		t.Errorf("log %q", log)
	}
}

// An answer that breaks off must not look like a whole one: net/http cuts the
// connection.
func TestPanicInTheMiddleOfAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, h := range map[string]http.HandlerFunc{
		"/abort":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"/write":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("half")); panic("x") },
		"/header": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic("x") },
		"/readfrom": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("half"))
			panic("x")
		},
	} {
		w.Mux.HandleFunc("GET "+path, h)
		func() {
			defer func() {
				if fault := recover(); fault != http.ErrAbortHandler {
					t.Errorf("%s: %v reached net/http", path, fault)
				}
			}()
			w.do("GET", path, "")
		}()
	}
	id := w.submit(t)
	w.jobs.finish(id, "a long movie")
	w.jobs.panics = "Video.Content"
	res, err := w.client(t).Get("http://api/jobs/" + id + "/video")
	if err != nil {
		return // cut before anything was sent: as good
	}
	defer res.Body.Close()
	if raw, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the cut video looks whole: %q", raw)
	}
}

func TestCauseGoesToTheLogOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := errors.New("open /srv/secret/path: no such file")
	w.jobs.submitErr = apigpu.E(apigpu.StorageFull, secret, "There is no room for the result.")
	res := w.do("POST", "/video/caption", goodBody)
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusInsufficientStorage || strings.Contains(string(raw), "secret") {
		t.Errorf("%d %s, %v", res.StatusCode, raw, err)
	}
	if !strings.Contains(w.log.String(), "/srv/secret/path") {
		t.Errorf("log %q", w.log)
	}
}

// What a client wrote reaches a header only in the form of an id, and an
// answer only so far as it helps.
func TestClientTextsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"%00", "a%0d%0aX-A:%20b", "%e2%80%aeb", strings.Repeat("x", 900)} {
		for _, suffix := range []string{"", "/video", "/events"} {
			res := w.do("GET", "/jobs/"+id+suffix, "")
			if got := res.Header.Get("X-Job-Id"); got != "" || res.StatusCode != 404 {
				t.Errorf("%s%s: %s, X-Job-Id %q", id, suffix, res.Status, got)
			}
		}
	}
	if p := problem(t, w.do("GET", "/jobs/job_1/video", ""), apigpu.JobNotFound); p.JobID != "job_1" {
		t.Errorf("%+v", p)
	}
	if p := problem(t, w.do("GET", "/"+strings.Repeat("x", 5000), ""), apigpu.NotFound); len(p.Detail) > 200 {
		t.Errorf("%d bytes are said back", len(p.Detail))
	}
}
