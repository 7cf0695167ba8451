package worker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	keys, err := httpapi.ParseKeys("secret")
	if err != nil {
		t.Fatal(err)
	}
	guard := Guard{Allowed: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}, Token: "token", Keys: keys}
	for _, c := range []struct {
		name, from, token, key string
		status                 int
		code                   apigpu.Code
		says                   string
	}{
		{"all is right", "203.0.113.7:1", "token", "secret", 204, "", ""},
		{"an IPv4 address in IPv6", "[::ffff:203.0.113.7]:1", "token", "secret", 204, "", ""},
		{"another address, named before all else", "198.51.100.9:1", "", "", 403, apigpu.AddressNotAllowed, "198.51.100.9"},
		{"another address in IPv6, named as IPv4", "[::ffff:198.51.100.9]:1", "token", "secret", 403, apigpu.AddressNotAllowed, "answer 198.51.100.9"},
		{"no address", "@", "token", "secret", 403, apigpu.AddressNotAllowed, ""},
		{"no token, before the key", "203.0.113.7:1", "", "", 403, apigpu.InvalidSession, ""},
		{"a wrong token", "203.0.113.7:1", "toke", "secret", 403, apigpu.InvalidSession, ""},
		{"no key", "203.0.113.7:1", "token", "", 401, apigpu.Unauthorized, ""},
		{"a wrong key", "203.0.113.7:1", "token", "Secret", 401, apigpu.Unauthorized, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.from
			r.Header.Set("X-Session-Token", c.token)
			r.Header.Set("X-API-Key", c.key)
			rec := httptest.NewRecorder()
			guard.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })).ServeHTTP(rec, r)
			var p apigpu.Problem
			if c.code != "" {
				if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
					t.Fatal(err)
				}
			}
			if rec.Code != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.says) {
				t.Errorf("%d %s %q", rec.Code, p.Code, p.Detail)
			}
			if guard.Admits(r) != (c.status == 204) {
				t.Error("Admits and Require disagree")
			}
		})
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	keys, err := httpapi.ParseKeys("secret")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(cfg *Config) { cfg.Guard = Guard{Token: "token", Keys: keys} })
	ask := func(token, key string) (int, Health) {
		r := httptest.NewRequest(http.MethodGet, "/health", nil)
		r.Header.Set("X-Session-Token", token)
		r.Header.Set("X-API-Key", key)
		rec := httptest.NewRecorder()
		b.Handler().ServeHTTP(rec, r)
		var h Health
		if err := json.Unmarshal(rec.Body.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		return rec.Code, h
	}
	if status, h := ask("", ""); status != 200 || h.Status != "healthy" || h.Worker != nil || h.Uptime != 0 || h.Timestamp.IsZero() {
		t.Errorf("to a stranger: %d %+v", status, h)
	}
	if status, h := ask("token", "secret"); status != 200 || h.Worker == nil || h.Worker.Encoder != "libx264" || h.Worker.Slots != 1 || h.Worker.API != apigpu.APIVersion {
		t.Errorf("to the owner: %d %+v", status, h)
	}
	b.mu.Lock()
	b.unfit = "there is no font"
	b.mu.Unlock()
	if status, h := ask("", ""); status != 503 || h.Status != "starting" || h.Reason != "" {
		t.Errorf("unfit, to a stranger: %d %+v", status, h)
	}
	if _, h := ask("token", "secret"); h.Reason != "there is no font" {
		t.Errorf("unfit, to the owner: %+v", h)
	}
}
