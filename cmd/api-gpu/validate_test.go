package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	server := serve(t, newMemory(), healthy)
	_, _, srt := files(t)
	invoke(t.Context(), t, server, "", "validate", srt, "--video", "http://v/a.mp4", "--cues").want(t, result{stdout: `Captions  2 of 3, srt, windows-1252 (90 % sure)
Warning   Cues without text were left out. (1) Lines 7.
Video     1m1.5s, 1080 x 1920, h264, 5.0 MB
Expected  1m10s, $0.0038: the cheapest of 12 offers
    1.000     2.500  "Olá\nmundo"
`})
	got := invoke(t.Context(), t, server, "1\n00:01 --> 00:02\nhi\n", "validate", "-", "--json")
	if got.code != 0 || !strings.Contains(got.stdout, `"windows-1252"`) || strings.Contains(got.stdout, `"reachable"`) {
		t.Errorf("%+v", got)
	}
	m := newMemory()
	m.refuse = apigpu.E(apigpu.SubtitleEmpty, nil, "The subtitle file is empty.")
	if got := invoke(t.Context(), t, serve(t, m, healthy), "", "validate", srt); got.code == 0 || !strings.Contains(got.stderr, "is empty") {
		t.Errorf("%+v", got)
	}
}

// What a file of further fields says reaches the server; flags win over it.
func TestRequestFile(t *testing.T) {
	t.Parallel()
	m := newMemory()
	server := serve(t, m, healthy)
	dir, video, srt := files(t)
	file := filepath.Join(dir, "request.json")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"offset":1.5,"style":{"preset":"clean","position":{"x":50,"y":20}},"output":{"quality":"high"}}`)
	got := invoke(t.Context(), t, server, "", "caption", video, srt, "--no-wait", "--request", file, "--preset", "karaoke")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	spec := m.jobs["job_a"].sub.Spec
	if spec.Offset != 1.5 || spec.Style.Preset != apigpu.PresetKaraoke || spec.Style.Position.Y != 20 || spec.Output.Quality != apigpu.High {
		t.Errorf("%+v", spec)
	}
	for _, wrong := range []string{`{"ofset":1}`, `[`, ``} {
		write(wrong)
		if got := invoke(t.Context(), t, server, "", "caption", video, srt, "--no-wait", "--request", file); got.code != exitUsage {
			t.Errorf("%q: %+v", wrong, got)
		}
	}
}
