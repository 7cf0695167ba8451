package client

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

func TestPreview(t *testing.T) {
	t.Parallel()
	var asked, body string
	header := http.Header{"Content-Type": {"image/png"}, "X-Preview-Background": {"video"}, "X-Preview-Times": {"1.5, 3"}, "X-Job-Warnings": {`["late"]`}}
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		asked, body = r.Method+" "+r.URL.RequestURI(), string(raw)
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		_, _ = io.WriteString(w, "png")
	})
	second := 3.25
	got, err := c.Preview(t.Context(), Request{Spec: apigpu.CaptionSpec{SRT: "hi"}}, apigpu.PreviewAsk{At: &second, Width: 1080, Height: 1920})
	if err != nil {
		t.Fatal(err)
	}
	want := apigpu.Preview{PNG: []byte("png"), At: []float64{1.5, 3}, Background: apigpu.BackgroundVideo, Warnings: []string{"late"}}
	if d := cmp.Diff(want, got); d != "" || asked != "POST /video/caption/preview?size=1080x1920&t=3.25" || !strings.Contains(body, `"srt":"hi"`) {
		t.Errorf("%s; asked %s %s", d, asked, body)
	}
	_, err = c.Preview(t.Context(), Request{Subtitle: &File{Name: "a.srt", Content: strings.NewReader("hello")}}, apigpu.PreviewAsk{Sheet: true})
	if err != nil || asked != "POST /video/caption/preview?sheet=true" || !strings.Contains(body, "hello") {
		t.Errorf("asked %s %s: %v", asked, body, err)
	}
	for name, value := range map[string]string{"Content-Type": "text/html", "X-Preview-Times": "soon", "X-Job-Warnings": "{"} {
		was := header.Get(name)
		header.Set(name, value)
		if _, err := c.Preview(t.Context(), Request{}, apigpu.PreviewAsk{}); apigpu.CodeOf(err) != apigpu.Internal {
			t.Errorf("%s: %s: %v", name, value, err)
		}
		header.Set(name, was)
	}
}

func TestPreviewRefused(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotImplemented, apigpu.PreviewUnavailable)
	})
	_, err := c.Preview(t.Context(), Request{}, apigpu.PreviewAsk{})
	wantCode(t, err, apigpu.PreviewUnavailable)
}
