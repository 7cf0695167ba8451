// Package static is the provider of workers that already run: somebody
// started them on a GPU of their own, and nobody here ends them.
package static

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Config says where the workers are.
type Config struct {
	// URLs are their base URLs (WORKER_URL, split at the commas).
	URLs []string
	// Slots is how many jobs each runs at once; at least 1.
	Slots int
}

// Provider is a gpu.Provider of permanent instances. It keeps no state and
// calls nobody: whether a worker answers is for the fleet to find out.
type Provider struct {
	instances []gpu.Instance
}

var _ gpu.Provider = (*Provider)(nil)

// New checks the addresses. Its errors say which one is wrong, and how.
func New(cfg Config) (*Provider, error) {
	if cfg.Slots < 1 {
		return nil, fmt.Errorf("static: slots is %d, must be at least 1", cfg.Slots)
	}
	p := &Provider{}
	seen := map[string]string{}
	for n, raw := range cfg.URLs {
		base, err := parseBase(strings.TrimSpace(raw))
		if err != nil {
			return nil, fmt.Errorf("WORKER_URL, address %d: %w", n+1, err)
		}
		label := labelOf(base)
		if other, twice := seen[label]; twice {
			return nil, fmt.Errorf("WORKER_URL: %s and %s are the same worker", other, base)
		}
		seen[label] = base.String()
		p.instances = append(p.instances, gpu.Instance{
			ID: label, Label: label, Address: base.String(),
			Running: true, Started: true, Status: "static", Slots: cfg.Slots,
		})
	}
	if len(p.instances) == 0 {
		return nil, errors.New("WORKER_URL is empty: give it the base URL of a running worker, such as http://localhost:3334")
	}
	return p, nil
}

// parseBase reads a base URL. It refuses what would be dropped or sent along
// with every request: keys have variables of their own. Its errors do not
// repeat the text, which may hold a password in the wrong place.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		// Not wrapped: the error of url.Parse repeats its input.
		return nil, errors.New("is not a URL")
	case u.User != nil:
		return nil, errors.New("holds a user name or password: use WORKER_TOKEN and WORKER_KEY")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("does not begin with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a query or fragment: a base URL ends with its path")
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

var notLabel = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// labelOf derives the identity of a worker from host, port and path, so that
// neither the order of the list nor a later TLS certificate changes it.
func labelOf(base *url.URL) string {
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	label := "static-" + base.Hostname() + "-" + port + base.Path
	return notLabel.ReplaceAllString(label, "_")
}

// Name implements gpu.Provider.
func (*Provider) Name() string { return "static" }

// Traits implements gpu.Provider.
func (*Provider) Traits() gpu.Traits { return gpu.Traits{Free: true, Permanent: true} }

// Offers is always empty.
func (*Provider) Offers(context.Context) ([]gpu.Offer, error) { return nil, nil }

// Create always answers gpu.ErrNoCapacity.
func (*Provider) Create(context.Context, gpu.Request) (string, error) {
	return "", gpu.ErrNoCapacity
}

// Instances lists one instance a URL, in the order of the list.
func (p *Provider) Instances(context.Context) (gpu.Snapshot, error) {
	return gpu.Snapshot{Instances: slices.Clone(p.instances), Complete: true, Began: time.Now()}, nil
}

// Destroy does nothing: the machines are not ours.
func (*Provider) Destroy(context.Context, string) error { return nil }
