package server

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/test/need"
)

// drawer is a worker that draws the same picture for everybody, and remembers
// what it was told.
func drawer(t *testing.T, status int) (c *client.Client, told func() string) {
	t.Helper()
	var last string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		last = r.URL.RequestURI() + "\n" + string(raw)
		w.Header().Set("X-Preview-Times", "1")
		w.Header().Set("Content-Type", "image/png")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "png")
	}))
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, func() string { return last }
}

// nothing draws nothing, as the slim image.
func nothing(context.Context) (render.Means, error) {
	return render.Means{}, render.Unavailable(nil, "this is a test")
}

func TestPreviewHere(t *testing.T) {
	t.Parallel()
	need.FFmpeg(t)
	b := newBench(t)
	b.Previews = &Previews{Studio: render.NewStudio(t.TempDir(), render.Here), Worker: func(context.Context) (*client.Client, error) {
		t.Error("a worker was asked for")
		return nil, nil
	}}
	video := clip(t)
	allowed, blocked := source(t, map[string]string{"/v.mp4": video, "/page": "<!doctype html><html></html>"})
	upload, err := b.Receive(t.Context(), ann(), strings.NewReader(video))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		address, upload string
		background      apigpu.Background
		width           int
		code            apigpu.Code
	}{
		"an address":   {allowed + "/v.mp4", "", apigpu.BackgroundVideo, 160, ""},
		"an upload":    {"", upload, apigpu.BackgroundVideo, 160, ""},
		"no video":     {"", "", apigpu.BackgroundPlain, 1280, ""},
		"nothing":      {allowed + "/nothing", "", apigpu.BackgroundPlain, 1280, ""},
		"a page":       {allowed + "/page", "", "", 0, apigpu.SourceIsHTML},
		"not our host": {blocked + "/v.mp4", "", "", 0, apigpu.BlockedAddress},
	} {
		sub := httpapi.Submission{Spec: apigpu.CaptionSpec{URLVideo: c.address}.Clean(), Upload: c.upload, Subtitle: []byte(oneCue)}
		p, err := b.Preview(t.Context(), ann(), sub, apigpu.PreviewAsk{})
		if apigpu.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		picture, err := png.Decode(bytes.NewReader(p.PNG))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if w := picture.Bounds().Dx(); w != c.width || p.Background != c.background {
			t.Errorf("%s: %d pixels wide, %s", name, w, p.Background)
		}
	}
	wrong := httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Subtitle: []byte("<html>")}
	if _, err := b.Preview(t.Context(), ann(), wrong, apigpu.PreviewAsk{}); apigpu.AsError(err).Field != "srt" {
		t.Errorf("no subtitles: %v", err)
	}
}

// TestPreviewElsewhere asks a worker, and tells it nothing that a job would not
// tell it.
func TestPreviewElsewhere(t *testing.T) {
	t.Parallel()
	video := clip(t)
	allowed, _ := source(t, map[string]string{"/v.mp4": video})
	b := newBench(t)
	worker, told := drawer(t, http.StatusOK)
	b.Previews = &Previews{Studio: render.NewStudio(t.TempDir(), nothing), Worker: func(context.Context) (*client.Client, error) { return worker, nil }}
	ask := func(spec apigpu.CaptionSpec) apigpu.Preview {
		t.Helper()
		spec.Style.Preset = apigpu.PresetKaraoke
		p, err := b.Preview(t.Context(), ann(), httpapi.Submission{Spec: spec.Clean(), Subtitle: []byte(oneCue)}, apigpu.PreviewAsk{})
		if err != nil || string(p.PNG) != "png" {
			t.Fatal(err)
		}
		if !strings.Contains(told(), "Hello") || !strings.Contains(told(), `"preset":"karaoke"`) {
			t.Errorf("told %s", told())
		}
		return p
	}
	ask(apigpu.CaptionSpec{})
	// The test's source is on loopback: private, so that its size is all a
	// worker hears of it.
	p := ask(apigpu.CaptionSpec{URLVideo: allowed + "/v.mp4", HeadersVideo: map[string]string{"Authorization": "secret"}})
	if !strings.HasPrefix(told(), "/video/caption/preview?size=160x90\n") || !slices.Contains(p.Warnings, apigpu.PreviewPlain) {
		t.Errorf("told %s, warnings %q", told(), p.Warnings)
	}
	for _, secret := range []string{"localhost", "Authorization", "secret", "v.mp4"} {
		if strings.Contains(told(), secret) {
			t.Errorf("the worker heard of %s: %s", secret, told())
		}
	}
	ask(apigpu.CaptionSpec{URLVideo: "https://example.com/v.mp4"})
	if !strings.Contains(told(), "https://example.com/v.mp4") {
		t.Errorf("told %s", told())
	}
}

func TestPreviewNowhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	broken, _ := drawer(t, http.StatusBadGateway)
	sub := httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Subtitle: []byte(oneCue)}
	for name, worker := range map[string]func(context.Context) (*client.Client, error){
		"none":       func(context.Context) (*client.Client, error) { return nil, nil },
		"no answer":  func(context.Context) (*client.Client, error) { return nil, errors.New("the database is away") },
		"broken":     func(context.Context) (*client.Client, error) { return broken, nil },
		"switch off": nil,
	} {
		b.Previews = &Previews{Studio: render.NewStudio(t.TempDir(), nothing), Worker: worker}
		if worker == nil {
			b.Previews = nil
		}
		if _, err := b.Preview(t.Context(), ann(), sub, apigpu.PreviewAsk{}); apigpu.CodeOf(err) != apigpu.PreviewUnavailable || apigpu.AsError(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStyles(t *testing.T) {
	t.Parallel()
	s := Styles()
	for _, p := range s.Presets {
		if p.Summary == "" || p.Style.Font.Size.Pixels == 0 || p.Style.Color == "" {
			t.Errorf("%s says too little: %+v", p.Name, p)
		}
	}
	for _, a := range s.Animations {
		if a.Summary == "" {
			t.Errorf("nothing is said of %s", a.Name)
		}
	}
	if len(s.Presets) != len(apigpu.Presets()) || len(s.SafeAreas) != len(apigpu.SafeAreas())+1 || len(s.Positions) == 0 {
		t.Errorf("%+v", s)
	}
	for _, path := range []string{"font.size", "font.weight", "outline.width", "max_lines", "active.scale", "box.radius"} {
		if l, known := s.Limits[path]; !known || l.Min >= l.Max {
			t.Errorf("%s is from %g to %g", path, l.Min, l.Max)
		}
	}
}

func TestStylesAreServed(t *testing.T) {
	t.Parallel()
	keys, err := httpapi.ParseKeys("secret")
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{Jobs: newBench(t).Jobs, Guard: keys.Require, LinkSecret: []byte("links"), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	t.Cleanup(api.Stop)
	RegisterStyles(api, keys.Require)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	for key, ok := range map[string]bool{"secret": true, "wrong": false} {
		c, err := client.New(server.URL, client.Options{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Styles(t.Context())
		if ok {
			if d := cmp.Diff(Styles(), got); err != nil || d != "" {
				t.Errorf("%v %s", err, d)
			}
		} else if apigpu.CodeOf(err) != apigpu.Unauthorized {
			t.Errorf("with a wrong key: %v", err)
		}
		c.Close()
	}
}
