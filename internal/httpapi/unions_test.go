package httpapi

import (
	"encoding/json"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// TestUnions: what may be written in two ways is read in both, written as it
// was read, and described as both.
func TestUnions(t *testing.T) {
	t.Parallel()
	body := []byte(`{"url_video":"https://v","url_srt":"https://s","exclude_time_ranges":[{"start":"1:02.5","end":70}],
		"style":{"font":{"size":"5%"},"position":{"x":50,"y":70},"safe_area":"tiktok"},
		"output":{"resolution":{"w":1080,"h":1920,"fit":"cover"},"fps":"source"}}`)
	var got captionBody
	if err := decodeJSON(body, &got); err != nil {
		t.Fatal(err)
	}
	if err := got.Clean().Validate(false, false); err != nil {
		t.Error(err)
	}
	if r := got.ExcludeTimeRanges[0]; r.Start != 62.5 || r.End != 70 {
		t.Errorf("range %v", r)
	}
	if s := got.Style; s.Font.Size.Pixels != 54 || s.Position != (apigpu.Position{X: 50, Y: 70}) || s.SafeArea.Name != "tiktok" {
		t.Errorf("style %+v", s)
	}
	if o := got.Output; o.Resolution != (apigpu.Resolution{Width: 1080, Height: 1920, Fit: apigpu.FitCover}) || o.FPS != 0 {
		t.Errorf("output %+v", o)
	}
	written, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var again captionBody
	if err := decodeJSON(written, &again); err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	if s := again.Style; s.Position != got.Style.Position || s.SafeArea != got.Style.SafeArea || s.Font.Size != got.Style.Font.Size {
		t.Errorf("written as %s", written)
	}
	for field, wrong := range map[string]string{
		"style.position":         `{"style":{"position":"midle"}}`,
		"style.position.x":       `{"style":{"position":{"x":101,"y":0}}}`,
		"style.position.z":       `{"style":{"position":{"z":1}}}`,
		"style.safe_area":        `{"style":{"safe_area":"vimeo"}}`,
		"output.resolution":      `{"output":{"resolution":"900p"}}`,
		"output.resolution.w":    `{"output":{"resolution":{"w":1,"h":100}}}`,
		"output.fps":             `{"output":{"fps":500}}`,
		"style.font.size":        `{"style":{"font":{"size":1}}}`,
		"style.color":            `{"style":{"color":"blurple"}}`,
		"replace[0].find":        `{"replace":[{"find":"(","regex":true}]}`,
		"replace":                `{"replace":[{"find":".{999}.{999}.{999}.{999}.{999}.{999}","regex":true}]}`,
		"exclude_time_ranges[0]": `{"exclude_time_ranges":[{"start":5,"end":4}]}`,
		"output.hdr":             `{"output":{"hdr":"keep"}}`,
	} {
		var body captionBody
		err := decodeJSON([]byte(wrong), &body)
		if err == nil {
			body.URLVideo, body.URLSRT = "https://v", "https://s"
			err = body.Clean().Validate(false, false)
		}
		if e := apigpu.AsError(err); err == nil || e.Code != apigpu.InvalidRequest || e.Field != field {
			t.Errorf("%s: %v, want a fault of %s", wrong, err, field)
		}
	}
}
