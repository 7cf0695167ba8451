package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestPreview(t *testing.T) {
	t.Parallel()
	m := newMemory()
	server := serve(t, m, healthy)
	dir, video, srt := files(t)
	out := filepath.Join(dir, "out.png")
	invoke(t.Context(), t, server, "", "preview", srt, "--at", "3.2", "--size", "1080x1920", "--preset", "karaoke", "-o", out).want(t, result{
		stdout: "Saved " + out + "\nAt    3.200 s\nNote  The captions stand on a plain picture.\nNote  charset_guessed\n",
	})
	if raw, err := os.ReadFile(out); err != nil || string(raw) != "a picture" {
		t.Errorf("%q %v", raw, err)
	}
	if m.asked.Width != 1080 || m.asked.Height != 1920 || m.asked.At == nil || *m.asked.At != 3.2 || m.drawn.Spec.Style.Preset != apigpu.PresetKaraoke {
		t.Errorf("asked %+v for %+v", m.asked, m.drawn.Spec)
	}
	if got := invoke(t.Context(), t, server, "", "preview", srt, "-o", out); got.code != exitUsage || !strings.Contains(got.stderr, "--force") {
		t.Errorf("over a file that is there: %+v", got)
	}
	for _, source := range []string{video, "http://v/a.mp4"} {
		got := invoke(t.Context(), t, server, "1\n00:01 --> 00:02\nhi\n", "preview", "-", "--video", source, "--sheet", "-o", "-")
		if got.code != 0 || got.stdout != "a picture" || !m.asked.Sheet {
			t.Errorf("%+v %+v", got, m.asked)
		}
	}
	for _, wrong := range [][]string{{"--size", "big"}, {"--video", "nowhere.mp4"}, {"--request", "nowhere.json"}, {"--preset", "pink"}} {
		if got := invoke(t.Context(), t, server, "", append([]string{"preview", srt, "-o", "-"}, wrong...)...); got.code != exitUsage {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
	m.refuse = apigpu.E(apigpu.PreviewUnavailable, nil, "This server draws no previews.").WithHint("Run the full image.")
	if got := invoke(t.Context(), t, server, "", "preview", srt, "-o", filepath.Join(dir, "other.png")); got.code != exitUnreachable || !strings.Contains(got.stderr, "full image") {
		t.Errorf("%+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*other.png*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestStyles(t *testing.T) {
	t.Parallel()
	server := serve(t, newMemory(), healthy, func(mux *http.ServeMux) {
		mux.HandleFunc("GET /styles", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"object":"styles","presets":[{"name":"clean","summary":"White","style":{"font":{"size":54},"animation":"none","position":"bottom_center"}}],
				"positions":["top","bottom"],"safe_areas":[{"name":"auto","shape":"tall","top":13,"right":16,"bottom":24,"left":6}],
				"animations":[{"name":"pop","summary":"Words grow","words":true}],"limits":{"font.size":{"min":8,"max":400}},"later":1}`))
		})
	})
	got := invoke(t.Context(), t, server, "", "styles")
	for _, want := range []string{"clean", "54", "White", "pop", "yes", "auto tall", "24 %, 6 %", "Positions: top, bottom"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("it does not say %q: %s", want, got.stdout)
		}
	}
	if got := invoke(t.Context(), t, server, "", "styles", "--json"); got.code != 0 || !strings.Contains(got.stdout, `"position": "bottom_center"`) {
		t.Errorf("%+v", got)
	}
}
