package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/test/need"
)

// named asks for captions in a family.
func named(family, text string) httpapi.Submission {
	s := httpapi.Submission{Spec: apigpu.CaptionSpec{}.Clean(), Upload: "upload-none", Subtitle: []byte(strings.ReplaceAll(oneCue, "Hello", text))}
	s.Spec.Style.Font.Family = family
	return s
}

func TestFontsOfCaptions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct {
		sub     httpapi.Submission
		fonts   []string
		missing string
	}{
		"latin":    {sub: named("", "Hello"), fonts: []string{"Noto Sans"}},
		"in serif": {sub: named("Noto Serif", "Hello"), fonts: []string{"Noto Serif"}},
		"hindi":    {sub: named("", "हिन्दी"), fonts: []string{"Noto Sans Devanagari"}},
		"missing":  {sub: named("", "a\ue83ab"), fonts: []string{"Noto Sans"}, missing: "U+E83A"},
		"emoji":    {sub: named("", "ok 🍕"), fonts: []string{"Noto Sans"}},
	} {
		c.sub.Upload = ""
		v, err := b.Validate(t.Context(), ann(), c.sub, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(v.Captions.Fonts, c.fonts) {
			t.Errorf("%s: fonts %q, want %q", name, v.Captions.Fonts, c.fonts)
		}
		told := slices.ContainsFunc(v.Warnings, func(w apigpu.Warning) bool {
			return w.Code == "glyph_missing" && strings.Contains(w.Message, c.missing)
		})
		if told != (c.missing != "") {
			t.Errorf("%s: warnings %+v", name, v.Warnings)
		}
	}
	_, _, err := b.Submit(t.Context(), ann(), named("Comic Neue", "Hello"))
	e := apigpu.AsError(err)
	if e == nil || e.Code != apigpu.FontUnknown || e.Field != "style.font.family" || len(e.Available) == 0 || e.Available[0] != "Noto Sans" {
		t.Errorf("an unknown font: %+v", e)
	}
	sub := named("wonder-type", "Hello")
	sub.Fonts = [][]byte{need.Wonder(t)}
	_, _, err = b.Submit(t.Context(), ann(), sub)
	if e := apigpu.AsError(err); e == nil || e.Code != apigpu.FontUnknown || !strings.Contains(e.Hint, ": Wonder Type.") {
		t.Errorf("a font asked for by the name of its file: %+v", e)
	}
}

func TestFontsOfClients(t *testing.T) {
	t.Parallel()
	file := need.Wonder(t)
	b := newBench(t)
	for name, junk := range map[string][]byte{"text": []byte("no font"), "cut": file[:len(file)/2], "empty": {}} {
		if _, err := b.Fonts.Add(t.Context(), "ann", junk); apigpu.CodeOf(err) != apigpu.FontUnreadable {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 { // the second changes nothing
		if _, err := b.Fonts.Add(t.Context(), "ann", file); err != nil {
			t.Fatal(err)
		}
	}
	j, _, err := b.Submit(t.Context(), ann(), named("wonder type", "Hello"))
	if err != nil || !slices.Equal(j.Captions.Fonts, []string{"Wonder Type"}) {
		t.Fatalf("%+v %v", j.Captions, err)
	}
	if _, _, err := b.Submit(t.Context(), bob(), named("Wonder Type", "Hello")); apigpu.CodeOf(err) != apigpu.FontUnknown {
		t.Errorf("another key: %v", err)
	}
	along := named("Wonder Type", "Hello")
	along.Fonts = [][]byte{file}
	if _, _, err := b.Submit(t.Context(), bob(), along); err != nil {
		t.Errorf("sent along: %v", err)
	}
	along.Fonts = [][]byte{[]byte("no font")}
	if _, _, err := b.Submit(t.Context(), bob(), along); apigpu.CodeOf(err) != apigpu.FontUnreadable {
		t.Errorf("junk sent along: %v", err)
	}
	if err := b.Fonts.Delete(t.Context(), "bob", "Wonder Type"); apigpu.CodeOf(err) != apigpu.FontNotFound {
		t.Errorf("another's: %v", err)
	}
	if err := b.Fonts.Delete(t.Context(), "ann", "Wonder Type"); err != nil {
		t.Fatal(err)
	}
	// The job that waits keeps its file, and nothing else does.
	row, err := b.Queue.Job(t.Context(), j.ID)
	if err != nil || len(row.Fonts) != 1 {
		t.Fatalf("%q %v", row.Fonts, err)
	}
	needed, err := b.Queue.Files(t.Context())
	if err != nil || !needed[row.Fonts[0]] {
		t.Errorf("needed %v %v", needed, err)
	}
	if keys, err := b.Fonts.Keys(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("kept %q %v", keys, err)
	}
}

func TestFontsOverHTTP(t *testing.T) {
	t.Parallel()
	file := need.Wonder(t)
	b := newBench(t)
	api := httpapi.New(httpapi.Config{
		Jobs: b.Jobs, Guard: func(h http.Handler) http.Handler { return h }, LinkSecret: make([]byte, 32), MaxUpload: 1 << 20,
		Title: "test", Version: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	b.Fonts.Register(api, func(h http.Handler) http.Handler { return h })
	defer api.Stop()
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	part, err := parts.CreateFormFile("font", "../../etc/w.ttf")
	if err == nil {
		_, err = part.Write(file)
	}
	if err == nil {
		err = parts.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		method, path, kind string
		body               io.Reader
		status             int
		families           int // uploaded ones
	}{
		{http.MethodPost, "/fonts", "", strings.NewReader("junk"), http.StatusUnprocessableEntity, 0},
		{http.MethodPost, "/fonts", "", strings.NewReader(""), http.StatusBadRequest, 0},
		{http.MethodPost, "/fonts", "", io.LimitReader(zeros{}, apigpu.MaxFont+1), http.StatusRequestEntityTooLarge, 0},
		{http.MethodPost, "/fonts", "font/ttf", bytes.NewReader(file), http.StatusCreated, 1},
		{http.MethodPost, "/fonts", parts.FormDataContentType(), &form, http.StatusCreated, 1},
		{http.MethodGet, "/fonts", "", nil, http.StatusOK, 1},
		{http.MethodDelete, "/fonts/Wonder%20Type", "", nil, http.StatusNoContent, 0},
		{http.MethodDelete, "/fonts/Wonder%20Type", "", nil, http.StatusNotFound, 0},
		{http.MethodGet, "/fonts", "", nil, http.StatusOK, 0},
	} {
		r := httptest.NewRequest(step.method, step.path, step.body)
		r.Header.Set("Content-Type", step.kind)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != step.status {
			t.Errorf("%s %s: %d %s", step.method, step.path, w.Code, w.Body)
			continue
		}
		var list apigpu.FontList
		if w.Code < 300 && w.Body.Len() > 0 {
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for _, f := range list.Data {
			if f.Source == apigpu.Uploaded {
				n++
				if f.Family != "Wonder Type" || !slices.Contains(f.Scripts, "Greek") || slices.Contains(f.Scripts, "Thai") {
					t.Errorf("%+v", f)
				}
			}
		}
		if n != step.families {
			t.Errorf("%s %s: %d uploaded, want %d", step.method, step.path, n, step.families)
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
