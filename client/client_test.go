package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hurried is a pace for tests: nothing waits for long, and bounds are near.
func hurried() pace {
	return pace{
		answer: 5 * time.Second, submit: 5 * time.Second, firstEvent: 5 * time.Second, silence: 5 * time.Second,
		poll: time.Second, backoff: time.Millisecond, maxBackoff: 4 * time.Millisecond, tries: 4,
	}
}

// clientOf returns a client of a server that answers with h.
func clientOf(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(server.URL, Options{Key: "secret", Token: "session", UserAgent: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	c.pace = hurried()
	t.Cleanup(c.Close)
	return c
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func writeProblem(w http.ResponseWriter, status int, code apigpu.Code) {
	writeJSON(w, status, apigpu.Problem{Code: code, Detail: "in words", Status: status, Retryable: code.Retryable()})
}

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func wantCode(t *testing.T, err error, code apigpu.Code) *apigpu.Error {
	t.Helper()
	e, ok := errors.AsType[*apigpu.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
	return e
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url string
		ok  bool
	}{
		{"http://localhost:3000", true},
		{" https://gpu.example.com/prefix/ \n", true},
		{"localhost:3000", false},
		{"ftp://example.com", false},
		{"http://", false},
		{"http://example.com/?key=1", false},
		{"http://example.com/#top", false},
		{"http://[::1", false},
		{"", false},
	} {
		_, err := New(tt.url, Options{})
		if (err == nil) != tt.ok {
			t.Errorf("New(%q): %v", tt.url, err)
		}
		if err != nil {
			wantCode(t, err, apigpu.InvalidRequest)
		}
	}
}

func TestRequestCarriesKeyAndPrefix(t *testing.T) {
	t.Parallel()
	var got *http.Request
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		writeJSON(w, http.StatusOK, apigpu.Job{ID: "job/1"})
	})
	c.base = c.base.JoinPath("prefix", "/")
	job, err := c.Job(t.Context(), "job/1", 1500*time.Millisecond)
	if err != nil || job.ID != "job/1" {
		t.Fatal(job, err)
	}
	if got.URL.RequestURI() != "/prefix/jobs/job%2F1?wait=1.5" {
		t.Errorf("asked for %s", got.URL.RequestURI())
	}
	for name, want := range map[string]string{"X-Api-Key": "secret", "X-Session-Token": "session", "User-Agent": "test/1"} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
}

func TestIDsThatWouldLeadElsewhere(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	for _, id := range []string{"", ".", ".."} {
		_, err := c.Cancel(t.Context(), id)
		wantCode(t, err, apigpu.InvalidRequest)
	}
}

func TestRefusalOf(t *testing.T) {
	t.Parallel()
	const page = "<html><title>502 Bad Gateway</title></html>"
	for _, tt := range []struct {
		name      string
		status    int
		header    http.Header
		body      string
		code      apigpu.Code
		message   string
		after     int
		retryable bool
	}{
		{name: "problem", status: 409, body: `{"code":"not_ready","detail":"Soon.","retryable":true,"retry_after":7}`,
			code: apigpu.NotReady, message: "Soon.", after: 7, retryable: true},
		{name: "code of a newer server", status: 418, body: `{"code":"teapot","title":"Short and stout"}`,
			code: "teapot", message: "Short and stout"},
		{name: "page of a proxy", status: 502, body: page,
			code: apigpu.Unavailable, message: "host answers 502 Bad Gateway, and not in the words of api-gpu.", retryable: true},
		{name: "Cloudflare", status: 524, body: page, code: apigpu.Unavailable, retryable: true},
		{name: "Retry-After", status: 503, header: http.Header{"Retry-After": {"12"}}, body: "",
			code: apigpu.Unavailable, after: 12, retryable: true},
		{name: "JSON of somebody else", status: 500, body: `{"error":"boom"}`, code: apigpu.Internal, retryable: true},
		{name: "no such path", status: 404, body: "404 page not found", code: apigpu.NotFound},
		{name: "basic auth of a proxy", status: 401, body: page, code: apigpu.Unauthorized},
		{name: "firewall", status: 403, body: page, code: apigpu.Forbidden},
		{name: "upload limit of a proxy", status: 413, body: page, code: apigpu.TooLarge},
		{name: "redirect", status: 301, header: http.Header{"Location": {"https://host/"}}, code: apigpu.InvalidRequest},
		{name: "rate limit of a proxy", status: 429, code: apigpu.RateLimited, retryable: true},
	} {
		e := refusalOf("host", tt.status, tt.header, []byte(tt.body))
		if e.Code != tt.code || e.RetryAfter != tt.after || e.Retryable != tt.retryable {
			t.Errorf("%s: got %+v", tt.name, e)
		}
		if tt.message != "" && e.Message != tt.message {
			t.Errorf("%s: message %q, want %q", tt.name, e.Message, tt.message)
		}
	}
}

func TestRedirectDoesNotCarryTheKey(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(other.Close)
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	_, err := c.Jobs(t.Context(), Filter{})
	if e := wantCode(t, err, apigpu.InvalidRequest); !strings.Contains(e.Hint, other.URL) {
		t.Errorf("the hint does not name the new address: %q", e.Hint)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	c, err := New(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, err = c.Job(t.Context(), "job_1", 0)
	e := wantCode(t, err, apigpu.Unavailable)
	if want := "The server at " + c.host() + " does not answer."; e.Message != want || !e.Retryable {
		t.Errorf("message %q, want %q", e.Message, want)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http notices a client that leaves only after the body
		<-r.Context().Done()
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Job(canceled, "job_1", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Lease(late, apigpu.LeaseRequest{})
	wantCode(t, err, apigpu.Unavailable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jobs/half" {
			_, _ = io.WriteString(w, `{"id":`)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	c.pace.answer = 20 * time.Millisecond
	for _, id := range []string{"mute", "half"} {
		_, err := c.Job(t.Context(), id, 0)
		wantCode(t, err, apigpu.Unavailable)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/jobs/page":
			_, _ = io.WriteString(w, "<html>Please sign in</html>")
		case "/jobs/long":
			_, _ = io.WriteString(w, strings.Repeat(" ", maxJSON+1))
		case "/jobs/cut":
			_, _ = io.WriteString(w, `{"id":"job_1"`)
			cut(w)
		}
	})
	for id, code := range map[string]apigpu.Code{"page": apigpu.Internal, "long": apigpu.Internal, "cut": apigpu.Unavailable} {
		_, err := c.Job(t.Context(), id, 0)
		wantCode(t, err, code)
	}
}

func TestListCancelDelete(t *testing.T) {
	t.Parallel()
	var asked []string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch r.Method {
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			writeJSON(w, http.StatusOK, apigpu.Job{Status: apigpu.JobCanceled})
		default:
			writeJSON(w, http.StatusOK, apigpu.JobPage{Data: []apigpu.Job{{ID: "job_1"}}, NextCursor: "job_1"})
		}
	})
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	page, err := c.Jobs(t.Context(), Filter{Status: apigpu.Failed, Since: since, Cursor: "job_9", Limit: 3})
	if err != nil || len(page.Data) != 1 || page.NextCursor != "job_1" {
		t.Errorf("Jobs: %+v, %v", page, err)
	}
	job, err := c.Cancel(t.Context(), "job_1")
	if err != nil || job.Status != apigpu.JobCanceled {
		t.Errorf("Cancel: %+v, %v", job, err)
	}
	if err := c.Delete(t.Context(), "job_1"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	want := []string{
		"GET /jobs?cursor=job_9&limit=3&since=2026-01-02T03%3A04%3A05Z&status=failed",
		"POST /jobs/job_1/cancel", "DELETE /jobs/job_1",
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   Health
		code   apigpu.Code
	}{
		{"whole", 200, `{"status":"ok","service":"api-gpu orchestrator","version":"1.2","timestamp":1,"uptime":90,"role":"leader",
			"provider":"local","workers":{"ready":1,"booting":2},"jobs":{"queued":3,"running":4},"warnings":["one",{"code":"x","message":"two"},7]}`,
			Health{Status: "ok", Service: "api-gpu orchestrator", Version: "1.2", Uptime: 90 * time.Second, Role: "leader", Provider: "local",
				Workers: HealthWorkers{1, 2}, Jobs: HealthJobs{3, 4}, Warnings: []string{"one", "two"}}, ""},
		{"unhealthy", 503, `{"status":"degraded","warnings":["no disk"]}`, Health{Status: "degraded", Warnings: []string{"no disk"}}, ""},
		{"other shapes", 200, `{"status":"ok","uptime":"1h","workers":3,"warnings":"none"}`, Health{Status: "ok"}, ""},
		{"problem", 503, `{"status":503,"code":"unavailable","detail":"Starting."}`, Health{}, apigpu.Unavailable},
		{"page", 200, `<html>`, Health{}, apigpu.Internal},
		{"page of a proxy", 502, `<html>`, Health{}, apigpu.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			got, err := c.Health(t.Context())
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil {
				t.Fatal(err)
			}
			equal(t, got, tt.want)
		})
	}
}
