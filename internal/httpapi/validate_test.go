package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name, target, body string
		status             int
		code               apigpu.Code
		field              string
		cues, video        bool
	}{
		{"all of a request", "/video/caption/validate", goodBody, 200, "", "", false, true},
		{"subtitles alone", "/video/caption/validate", `{"srt":"1\n00:01 --> 00:02\nhi"}`, 200, "", "", false, false},
		{"with cues", "/video/caption/validate?cues=true", `{"srt":"hi"}`, 200, "", "", true, false},
		{"with cues, in short", "/video/caption/validate?cues", `{"captions":[{"start":1,"end":2,"text":"hi"}]}`, 200, "", "", true, false},
		{"without cues", "/video/caption/validate?cues=false", `{"srt":"hi"}`, 200, "", "", false, false},
		{"perhaps with cues", "/video/caption/validate?cues=maybe", `{"srt":"hi"}`, 400, apigpu.InvalidRequest, "cues", false, false},
		{"nothing", "/video/caption/validate", `{}`, 400, apigpu.InvalidRequest, "url_srt", false, false},
		{"a wrong style", "/video/caption/validate", `{"srt":"hi","style":{"color":"blurple"}}`, 400, apigpu.InvalidRequest, "style.color", false, false},
		{"an unknown field", "/video/caption/validate", `{"srt":"hi","style":{"colour":"red"}}`, 400, apigpu.InvalidRequest, "style.colour", false, false},
	} {
		resp := w.do(http.MethodPost, c.target, c.body, asJSON, "X-API-Key: b0b")
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s", c.name, resp.StatusCode, raw)
			continue
		}
		if c.status != http.StatusOK {
			var p apigpu.Problem
			if err := json.Unmarshal(raw, &p); err != nil || p.Code != c.code || p.Field != c.field {
				t.Errorf("%s: %s, want %s of %s", c.name, raw, c.code, c.field)
			}
			continue
		}
		var v apigpu.Validation
		if err := json.Unmarshal(raw, &v); err != nil || v.Object != "validation" || (v.Cues != nil) != c.cues || (v.Video != nil) != c.video {
			t.Errorf("%s: %s", c.name, raw)
		}
	}
	if _, made := w.jobs.last(); made || w.jobs.held() != 0 {
		t.Error("a job was made, or an upload kept")
	}
	if resp := w.do(http.MethodPost, "/video/caption/validate", goodBody, asJSON, "X-API-Key: wrong"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %d", resp.StatusCode)
	}
}
