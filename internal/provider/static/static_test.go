package static_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/provider/static"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) gpu.Provider {
		p, err := static.New(static.Config{URLs: []string{"http://localhost:3334", "https://gpu.example/worker/"}, Slots: 2})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	providertest.Run(t, open, providertest.Options{
		Reopen: func(t *testing.T, _ gpu.Provider) gpu.Provider { return open(t) },
	})
}

func TestNewNamesWorkers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ address, label string }{
		"http://localhost:3334":    {"http://localhost:3334", "static-localhost-3334"},
		" http://GPU.lan:3334/ ":   {"http://gpu.lan:3334", "static-gpu.lan-3334"},
		"https://gpu.example":      {"https://gpu.example", "static-gpu.example-443"},
		"http://[::1]:3334":        {"http://[::1]:3334", "static-_1-3334"},
		"https://gpu.example/a/b/": {"https://gpu.example/a/b", "static-gpu.example-443_a_b"},
	}
	legal := regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	for raw, want := range tests {
		p, err := static.New(static.Config{URLs: []string{raw}, Slots: 1})
		if err != nil {
			t.Errorf("New(%q): %v", raw, err)
			continue
		}
		s, err := p.Instances(t.Context())
		if err != nil || len(s.Instances) != 1 {
			t.Fatalf("Instances: %+v, %v", s, err)
		}
		got := s.Instances[0]
		if got.Address != want.address || got.Label != want.label || !legal.MatchString(got.Label) {
			t.Errorf("New(%q) gives address %q and label %q, want %+v", raw, got.Address, got.Label, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		urls string // separated by spaces
		want string // part of the message
	}{
		"nothing":     {"", "is empty"},
		"no scheme":   {"localhost:3334", "http://"},
		"other":       {"ftp://gpu.lan", "http://"},
		"no host":     {"http://:3334", "no host"},
		"only path":   {"/worker", "http://"},
		"password":    {"http://me:hunter2@gpu.lan", "WORKER_KEY"},
		"bare":        {"me:hunter2@gpu.lan", "http://"},
		"query":       {"http://gpu.lan/?key=hunter2x", "query or fragment"},
		"unreadable":  {"http://me:hunter2@gpu.lan:port", "not a URL"},
		"twice":       {"http://gpu.lan:1 http://GPU.lan:1/", "same worker"},
		"second":      {"http://gpu.lan:1 gpu.lan", "address 2"},
		"both, ports": {"http://gpu.lan:443 https://gpu.lan", "same worker"},
	}
	for name, tt := range tests {
		_, err := static.New(static.Config{URLs: strings.Fields(tt.urls), Slots: 1})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
	if _, err := static.New(static.Config{URLs: []string{"http://gpu.lan"}}); err == nil {
		t.Error("no slots are accepted")
	}
}
