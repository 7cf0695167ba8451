package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Every answer carries the headers, whatever path it took.
func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	private, err := ParseProxies("private")
	if err != nil {
		t.Fatal(err)
	}
	api := newWorld(t, func(c *Config) { c.TrustedProxies = private })
	done := api.submit(t)
	api.jobs.finish(done, "video")
	for _, c := range []struct {
		name, path, proto string
		file, secure      bool
	}{
		{name: "a list", path: "/jobs"},
		{name: "a job", path: "/jobs/" + done},
		{name: "the description", path: "/openapi.json"},
		{name: "no such path", path: "/nothing"},
		{name: "a path to be cleaned", path: "//jobs"},
		{name: "a bad parameter", path: "/jobs?limit=x"},
		{name: "over https", path: "/jobs", proto: "https", secure: true},
		{name: "a result", path: "/jobs/" + done + "/video", file: true},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://api.example.com"+c.path, nil)
		r.RemoteAddr = "127.0.0.1:1"
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		r.Header.Set("X-API-Key", "b0b")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		got := w.Header()
		want := map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": policy,
			"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Strict-Transport-Security": "",
		}
		if c.file {
			want["Content-Security-Policy"], want["Cross-Origin-Resource-Policy"], want["X-Frame-Options"] = filePolicy, "cross-origin", ""
		}
		if c.secure {
			want["Strict-Transport-Security"] = "max-age=31536000"
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s (%d): %s is %q, want %q", c.name, w.Code, name, got.Get(name), value)
			}
		}
		if !c.file && !strings.Contains(got.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: Cache-Control %q", c.name, got.Get("Cache-Control"))
		}
	}
	w := httptest.NewRecorder()
	Secure(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Header().Get("Content-Security-Policy") != policy {
		t.Errorf("beside the API: %v", w.Header())
	}
}
