package httpapi

import (
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := fieldNames(&captionBody{})
	for name, want := range map[string]string{
		"urlVideo":                "url_video",
		"URL_VIDEO":               "url_video",
		"url-video":               "url_video",
		"video_url":               "url_video",
		"srt_url":                 "url_srt",
		"urlvideo":                "url_video", // one letter is missing
		"url_vidoe":               "url_video", // two are wrong
		"quality":                 "output.quality",
		"output_quality":          "output.quality",
		"fileName":                "output.filename",
		"output.filname":          "output.filename",
		"wiat":                    "wait",
		"styles":                  "style",
		"style.colour":            "style.color",
		"colour":                  "style.color",
		"outline.colour":          "style.outline.color",
		"style.positon":           "style.position",
		"font_size":               "style.font.size",
		"animaton":                "style.animation",
		"":                        "",
		"légende":                 "",
		strings.Repeat("x", 1000): "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", name, got, want)
		}
	}
}

func TestFieldNames(t *testing.T) {
	t.Parallel()
	got := fieldNames(&captionBody{})
	for _, want := range []string{
		"url_video", "headers_srt", "captions", "replace.find", "style", "style.font.size", "style.position", "style.position.x",
		"style.word_styles", "style.word_styles.match", "output", "output.quality", "wait", "webhook_url",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s among %q", want, got)
		}
	}
	for _, name := range got {
		if strings.Contains(name, "..") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
			t.Errorf("%q is no name", name)
		}
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"wait", "wiat", 2}, {"a", strings.Repeat("a", 65), 64}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %.10q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
