package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
)

func TestPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	three := 3.2
	const srt = `{"srt":"hi"}`
	for _, c := range []struct {
		name, query, body string
		ask               apigpu.PreviewAsk
		background        apigpu.Background
	}{
		{"captions alone", "", srt, apigpu.PreviewAsk{}, apigpu.BackgroundPlain},
		{"with a video", "", goodBody, apigpu.PreviewAsk{}, apigpu.BackgroundVideo},
		{"at a time", "?t=3.2", srt, apigpu.PreviewAsk{At: &three}, apigpu.BackgroundPlain},
		{"nine", "?sheet=true", srt, apigpu.PreviewAsk{Sheet: true}, apigpu.BackgroundPlain},
		{"nine, in short", "?sheet", srt, apigpu.PreviewAsk{Sheet: true}, apigpu.BackgroundPlain},
		{"of a size", "?size=1080x1920", srt, apigpu.PreviewAsk{Width: 1080, Height: 1920}, apigpu.BackgroundPlain},
	} {
		resp := w.do(http.MethodPost, "/video/caption/preview"+c.query, c.body, asJSON, "X-API-Key: b0b")
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", c.name, resp.StatusCode, raw, err)
		}
		if d := cmp.Diff(c.ask, w.jobs.asked); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		h := resp.Header
		warnings := `["charset_guessed"]`
		if c.background == apigpu.BackgroundVideo {
			warnings = ""
		}
		if h.Get("Content-Type") != "image/png" || h.Get("X-Preview-Background") != string(c.background) ||
			h.Get("X-Preview-Times") != "1.235, 2" || h.Get("X-Job-Warnings") != warnings || c.background == apigpu.BackgroundPlain && string(raw) != "hi" {
			t.Errorf("%s: %q %v", c.name, raw, h)
		}
	}
	if _, made := w.jobs.last(); made || w.jobs.held() != 0 {
		t.Error("a job was made, or an upload kept")
	}
}

func TestPreviewRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ query, body, field string }{
		{"?t=soon", `{"srt":"hi"}`, "t"},
		{"?t=-1", `{"srt":"hi"}`, "t"},
		{"?t=NaN", `{"srt":"hi"}`, "t"},
		{"?t=1&sheet=true", `{"srt":"hi"}`, "t"},
		{"?sheet=nine", `{"srt":"hi"}`, "sheet"},
		{"?size=big", `{"srt":"hi"}`, "size"},
		{"?size=1x9999", `{"srt":"hi"}`, "size"},
		{"?size=32x32", `{"srt":"hi"}`, "size"},
		{"?at=3", `{"srt":"hi"}`, "at"},
		{"", `{}`, "url_srt"},
		{"", `{"srt":"hi","style":{"preset":"pink"}}`, "style.preset"},
	} {
		resp := w.do(http.MethodPost, "/video/caption/preview"+c.query, c.body, asJSON, "X-API-Key: b0b")
		var p apigpu.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != http.StatusBadRequest || p.Field != c.field {
			t.Errorf("%s %s: %d %+v %v", c.query, c.body, resp.StatusCode, p, err)
		}
	}
	w.jobs.mu.Lock()
	w.jobs.submitErr = apigpu.E(apigpu.PreviewUnavailable, nil, "not here")
	w.jobs.mu.Unlock()
	if resp := w.do(http.MethodPost, "/video/caption/preview", `{"srt":"hi"}`, asJSON, "X-API-Key: b0b"); resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("where nothing draws: %d", resp.StatusCode)
	}
	if resp := w.do(http.MethodPost, "/video/caption/preview", `{"srt":"hi"}`, asJSON, "X-API-Key: wrong"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %d", resp.StatusCode)
	}
}
