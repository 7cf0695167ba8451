package hostile

import (
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// nasty are texts that have broken programs before.
var nasty = []string{
	"'", `"`, "`id`", "$(id)", ";id", "\n", "\r\nX-Injected: yes\r\n\r\n", "\x00", "a\x00b", "\x1b[2J", "../../etc/passwd", "..%2f..%2fetc%2fpasswd",
	"C:\\Windows\\x", "/etc/passwd", "\u202egnp.4pm", "\u2066\u2069", "\u200b", "\ufeff", "%s%n%d", "{{.}}", "<script>alert(1)</script>",
	"' OR 1=1 --", "-rf", "--help", "con", ".", "..", "...", "[out]", "drawtext=textfile=/etc/passwd", "\\N{\\p1}m 0 0", "\xff\xfe", strings.Repeat("A", 100_000),
}

// requests are paths and queries that name nothing.
func (s *server) requests(t *testing.T) {
	for _, text := range nasty {
		if len(text) > 8000 {
			text = text[:8000]
		}
		in := url.PathEscape(text)
		for _, c := range []struct{ method, target string }{
			{"GET", "/jobs/" + in}, {"GET", "/jobs/" + in + "/events"}, {"GET", "/jobs/" + in + "/video"}, {"GET", "/files/" + in + "/" + in},
			{"POST", "/jobs/" + in + "/cancel"}, {"DELETE", "/jobs/" + in}, {"GET", "/" + in},
			{"GET", "/jobs?limit=" + url.QueryEscape(text)}, {"GET", "/jobs?status=" + url.QueryEscape(text)}, {"GET", "/jobs?since=" + url.QueryEscape(text)},
			{"GET", "/jobs?" + url.QueryEscape(text) + "=1"},
			{"GET", "/jobs/x?wait=" + url.QueryEscape(text)}, {"GET", "/jobs/x?follow=" + url.QueryEscape(text)},
		} {
			a := s.send(t, c.method, c.target, nil, nil)
			switch {
			case a.status < 400 && !(c.method == "GET" && a.status < 300 && (in == "." || in == "..")) && a.status/100 != 3, a.status >= 500:
				t.Errorf("%s %.80q: %d %.200s", c.method, c.target, a.status, a.body)
			case a.header.Get("X-Injected") != "":
				t.Errorf("%s %.80q: a header was injected", c.method, c.target)
			}
			clean(t, c.target, a)
		}
		// A cursor is any id: one that is none finds what comes after it.
		if a := s.send(t, "GET", "/jobs?cursor="+url.QueryEscape(text), nil, nil); a.status >= 500 || a.status/100 == 3 {
			t.Errorf("cursor %.80q: %d %.200s", text, a.status, a.body)
		}
	}
	for _, target := range []string{
		"/jobs?limit=1e9", "/jobs?limit=-1", "/jobs?limit=99999999999999999999", "/jobs?limit=NaN", "/jobs/x?wait=NaN", "/jobs/x?wait=1e300", "/jobs/x?wait=-1",
		"/files/x/y?exp=99999999999999999999&sig=x", "/files/x/y?exp=1&sig=" + strings.Repeat("A", 5000),
	} {
		if a := s.send(t, "GET", target, nil, nil); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
}

// clean fails where an answer carries raw what a terminal or a page would act
// on.
func clean(t *testing.T, what string, a answer) {
	t.Helper()
	if strings.ContainsAny(a.body, "\x00\x1b\r") {
		t.Errorf("%.80q: the answer holds control characters: %.300q", what, a.body)
	}
	if len(a.body) > 64<<10 {
		t.Errorf("%.80q: the answer has %d bytes", what, len(a.body))
	}
}

// texts puts nasty texts into every field. Some are fine there; then the job
// is made, and forgotten again.
func (s *server) texts(t *testing.T, base string) {
	fields := map[string]func(map[string]any, string){
		"url_video": func(b map[string]any, v string) { b["url_video"] = base + "/nothing/" + v },
		"url_srt":   func(b map[string]any, v string) { b["url_srt"] = base + "/nothing/" + v },
		"srt":       func(b map[string]any, v string) { delete(b, "url_srt"); b["srt"] = v },
		"filename":  func(b map[string]any, v string) { b["output"] = map[string]any{"filename": v} },
		"quality":   func(b map[string]any, v string) { b["output"] = map[string]any{"quality": v} },
		"header":    func(b map[string]any, v string) { b["headers_video"] = map[string]string{v: "x"} },
		"value":     func(b map[string]any, v string) { b["headers_srt"] = map[string]string{"X-A": v} },
		"no field":  func(b map[string]any, v string) { b[v] = 1 },
	}
	for field, set := range fields {
		for _, text := range nasty {
			body := map[string]any{"url_video": base + "/file/good.mp4", "url_srt": base + "/good.srt"}
			set(body, text)
			raw, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			a := s.send(t, "POST", "/video/caption?wait=0", nil, strings.NewReader(string(raw)))
			clean(t, field, a)
			switch {
			case a.header.Get("X-Injected") != "":
				t.Errorf("%s %.80q: a header was injected", field, text)
			case a.status == 202:
				s.forget(t, field, text, a)
			case a.status < 400 || a.status >= 500:
				t.Errorf("%s %.80q: %d %.300s", field, text, a.status, a.body)
			}
		}
	}
}

// forget looks at the name of a job's result, and ends the job.
func (s *server) forget(t *testing.T, field, text string, a answer) {
	t.Helper()
	var r apigpu.Result
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.VideoURL)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(u.Path, "/")
	if name := parts[len(parts)-1]; len(parts) != 4 || !strings.HasSuffix(name, ".mp4") || strings.ContainsAny(name, "'\"`$;\\ <>%\x00") || len(name) > 110 {
		t.Errorf("%s %.80q: the result is called %q", field, text, u.Path)
	}
	s.send(t, "POST", "/jobs/"+r.Job.ID+"/cancel", nil, nil)
	if a := s.send(t, "DELETE", "/jobs/"+r.Job.ID, nil, nil); a.status != 204 {
		t.Errorf("%s %.80q: delete: %d %s", field, text, a.status, a.body)
	}
}

// bodies are requests that break off, or have no end.
func (s *server) bodies(t *testing.T) {
	head := "POST /video/caption HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key + "\r\n"
	form := head + "Content-Type: multipart/form-data; boundary=b\r\n"
	sized := func(h, body string) string { return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", h, len(body), body) }
	part := "--b\r\nContent-Disposition: form-data; name=\"srt\"; filename=\"s\"\r\n\r\n" + goodSRT + "\r\n"
	video := "--b\r\nContent-Disposition: form-data; name=\"video\"; filename=\"v\"\r\n\r\n" + strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name, request string
		want          []int
	}{
		{"a body that is cut", head + "Content-Length: 1000\r\n\r\n{\"url_video\":", []int{400}},
		{"a chunk that is cut", head + "Transfer-Encoding: chunked\r\n\r\n1000\r\n{\"url", []int{400}},
		{"a chunk of no size", head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}", []int{400, 415}},
		{"a length beyond all", head + "Content-Length: 9223372036854775807\r\n\r\n{", []int{413}},
		{"a length that is none", head + "Content-Length: 1e3\r\n\r\n{", []int{400}},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", []int{400}},
		{"a length and chunks", head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 415}},
		{"deep", sized(head, strings.Repeat(`{"a":`, 1_000_000)), []int{400}},
		{"deep lists", sized(head, `{"url_video":`+strings.Repeat(`[`, 1_000_000)), []int{400}},
		{"a field twice", sized(head, `{"url_video": "http://a", "url_video": "http://b", "srt": "x"}`), []int{400}},
		{"a huge number", sized(head, `{"wait": 1e999999, "url_video": "http://a"}`), []int{400}},
		{"no number", sized(head, `{"wait": NaN}`), []int{400}},
		{"a long number", sized(head, `{"wait": `+strings.Repeat("9", 1_000_000)+`}`), []int{400}},
		{"no UTF-8", sized(head, "{\"srt\": \"\xff\xfe\"}"), []int{400}},
		{"half a surrogate", sized(head, `{"url_video": "http://a/\ud800", "srt": "x"}`), []int{422, 400}},
		{"20 MB of JSON", sized(head, `{"srt": "`+strings.Repeat("x", 20<<20)+`"}`), []int{413, 0}},
		{"blanks without end", sized(head, strings.Repeat(" ", 1<<20)), []int{415, 0}},
		{"a form without end", sized(form, part), []int{400}},
		{"a form that is cut in its video", form + "Content-Length: 50000000\r\n\r\n" + part + video, []int{400, 413}},
		{"a chunked form that is cut in its video", form + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", 4<<20) + part + video, []int{400}},
		{"10,000 parts", sized(form, strings.Repeat("--b\r\nContent-Disposition: form-data; name=\"quality\"\r\n\r\nhigh\r\n", 10_000)+"--b--\r\n"), []int{400}},
		{"a part with a long header", sized(form, "--b\r\nX: "+strings.Repeat("x", 11<<20)+"\r\n\r\n\r\n--b--\r\n"), []int{400, 0}},
		{"a part with many headers", sized(form, "--b\r\n"+strings.Repeat("X: x\r\n", 20_000)+"\r\n\r\n--b--\r\n"), []int{400, 0}},
		{"a header bomb", head + "X-Bomb: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", []int{431, 0}},
		{"10,000 headers", head + strings.Repeat("X-Bomb: x\r\n", 10_000) + "\r\n", []int{431, 0}},
		{"a long address", "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431, 414, 400, 0}},
		{"a header with a line end", head + "X-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"a header with a NUL", head + "X-A: b\x00\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []int{400, 0}},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{505, 400, 404, 405, 0}},
		{"no host", "GET /jobs HTTP/1.1\r\n\r\n", []int{400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := s.raw(t, c.request, true)
			for _, status := range c.want {
				if a.status == status {
					return
				}
			}
			t.Errorf("%d %.300s, want %v", a.status, a.body, c.want)
		})
	}
	t.Run("names in forms", s.forms)
}

// forms sends nasty names of fields and files.
func (s *server) forms(t *testing.T) {
	t.Parallel()
	for _, text := range nasty {
		var body strings.Builder
		w := multipart.NewWriter(&body)
		header := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", text[:min(len(text), 5000)], text[:min(len(text), 5000)])}}
		p, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(p, goodSRT)
		_ = w.Close()
		a := s.send(t, "POST", "/video/caption", map[string]string{"Content-Type": w.FormDataContentType()}, strings.NewReader(body.String()))
		if a.status < 400 || a.status >= 500 {
			t.Errorf("a field called %.80q: %d %.300s", text, a.status, a.body)
		}
		clean(t, text, a)
	}
}
