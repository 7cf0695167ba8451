package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// FuzzCaptionBody sends any bytes as any type: the answer is a job, whose spec
// is valid and clean, or the client's fault, and never ours.
func FuzzCaptionBody(f *testing.F) {
	multi := form(f, file("video", "movie"), field("srt", "subs"), field("request", `{"output": {"quality": "max"}}`))
	for _, seed := range []encodedForm{
		{goodBody, asJSON}, {"\ufeff" + goodBody, asForm}, {`{"wait": 1e999}`, ""}, {`{"output": {"output": {}}}`, asJSON},
		{"url_video=http%3A%2F%2Fv&srt=x&wait=NaN", asForm}, {"request=%7B%7D&video=x", asForm}, multi,
		{multi.body[:len(multi.body)/2], multi.contentType}, {"--b\r\n\r\n\r\n--b--", "Content-Type: multipart/form-data; boundary=b"},
		{`{"url_video": "http://v/\u0000 \n", "output": {"filename": "../../é.MP4"}, "headers_srt": {"a\r\nb": "c"}}`, asJSON},
	} {
		f.Add(seed.body, strings.TrimPrefix(seed.contentType, "Content-Type: "))
	}
	w := newWorld(f) // one for all: to build it takes longer than a request
	w.Stop()         // nothing waits
	f.Fuzz(func(t *testing.T, body, contentType string) {
		w.jobs.forget()
		w.log.Reset()
		res := w.do("POST", "/video/caption", body, "Content-Type: "+contentType)
		defer res.Body.Close()
		if w.jobs.held() != 0 {
			t.Fatal("an upload leaked")
		}
		s, made := w.jobs.last()
		if !made {
			if res.StatusCode < 400 || res.StatusCode >= 500 || w.log.Len() > 0 {
				t.Fatalf("status %d, log %s", res.StatusCode, w.log)
			}
			if p := decode[apigpu.Problem](t, res, res.StatusCode); p.Code == "" || p.Detail == "" {
				t.Fatalf("problem %+v", p)
			}
			return
		}
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d", res.StatusCode)
		}
		result := decode[apigpu.Result](t, res, http.StatusAccepted)
		if err := s.Spec.Validate(s.Upload != "", s.Subtitle != nil); err != nil {
			t.Fatalf("%+v: %v", s.Spec, err)
		}
		if again := s.Spec.Clean(); again.URLVideo != s.Spec.URLVideo || again.URLSRT != s.Spec.URLSRT || again.Output != s.Spec.Output {
			t.Fatalf("%+v is not clean", s.Spec)
		}
		if link := w.do("GET", result.VideoURL, "", "X-API-Key: "); link.StatusCode != http.StatusConflict {
			t.Fatalf("%s answers %d", result.VideoURL, link.StatusCode)
		}
	})
}
