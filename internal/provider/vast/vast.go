// Package vast is the provider of machines that are rented on Vast.ai.
//
// It speaks the HTTP API that the marketplace's own client speaks: searches on
// /api/v0/bundles/, creates by /api/v0/asks/{id}/, lists by /api/v1/instances/
// and destroys by /api/v0/instances/{id}/, all with a slash at the end. What
// it answers is read tolerantly and believed carefully: words before statuses,
// a listing only when it is proven to be whole, a create only when the API
// itself says what became of it.
package vast

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// DefaultURL is where the API is. vast.ai itself answers 308.
const DefaultURL = "https://console.vast.ai"

// Config says which account, which image, and what may be rented.
type Config struct {
	// URL is the base of the API (VAST_API_URL); DefaultURL when empty.
	URL string
	// Key is the account's (VAST_API_KEY). It needs the scopes misc,
	// user_read, instance_read, instance_write, and billing_read for Charges.
	Key string
	// Image is that of the worker, with a tag or a digest, where a Request
	// names none.
	Image string
	// ImageLogin is "-u USER -p TOKEN registry.host", empty for a public
	// image (VAST_IMAGE_LOGIN). The machine's owner can read it: let the
	// token do nothing but pull.
	ImageLogin string
	// Args are the arguments of the image's entrypoint; "serve" when nil.
	Args []string
	// DiskGB is the size of the disk; 20 when zero, at least 8.
	DiskGB int
	// Slots is how many jobs each worker runs at once; at least 1.
	Slots int

	// MaxPrice is the most for an hour, GPU and disk (VAST_MAX_PRICE).
	MaxPrice gpu.USD
	// Models are the GPUs to take, by name (VAST_GPU_MODELS); any with NVENC
	// when empty. One without NVENC is never taken.
	Models []string
	// MinVRAM is the least GPU memory, in GB (VAST_MIN_VRAM).
	MinVRAM int
	// Verified takes only machines that Vast.ai has verified (VAST_VERIFIED).
	Verified bool
	// Datacenter takes only those in data centers (VAST_DATACENTER).
	Datacenter bool
	// Countries are two letters each (VAST_COUNTRIES); any when empty.
	Countries []string
	// MinReliability is 0 to 1 (VAST_MIN_RELIABILITY).
	MinReliability float64

	// Through carries all calls in the place of the transport that it is given,
	// where it is set: for who listens to them. It must pass each on once, with
	// its context.
	Through func(http.RoundTripper) http.RoundTripper
	// Pace scales the least times between two calls; 1 when zero, as the real
	// API demands. A simulator may allow less.
	Pace float64
	// Log takes what is odd about answers; discarded when nil.
	Log *slog.Logger
}

// Provider is a gpu.Provider. It keeps no state but the times of its calls.
type Provider struct {
	cfg        Config
	base       string
	secrets    []string
	conditions []condition
	lanes      lanes
	client     *http.Client
	ahead      atomic.Pointer[time.Duration] // of the API's clock: see Clock
}

var _ gpu.Provider = (*Provider)(nil)

// New checks the configuration and calls nobody. Its errors repeat no secret.
// Close the Provider when done.
func New(cfg Config) (*Provider, error) {
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("VAST_API_URL %w", err)
	}
	if cfg, err = cfg.checked(); err != nil {
		return nil, err
	}
	p := &Provider{
		cfg: cfg, base: base, conditions: cfg.conditions(), lanes: newLanes(cfg.Pace),
		secrets: append(loginSecrets(cfg.ImageLogin), cfg.Key),
	}
	p.client = newClient()
	if cfg.Through != nil {
		p.client.Transport = cfg.Through(p.client.Transport)
	}
	return p, nil
}

func (c Config) checked() (Config, error) {
	c.Key, c.Image, c.ImageLogin = strings.TrimSpace(c.Key), strings.TrimSpace(c.Image), strings.TrimSpace(c.ImageLogin)
	if c.DiskGB == 0 {
		c.DiskGB = 20
	}
	if c.Args == nil {
		c.Args = []string{"serve"}
	}
	if c.Pace == 0 {
		c.Pace = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var countries []string
	for _, code := range c.Countries {
		code = strings.ToUpper(strings.TrimSpace(code))
		if len(code) != 2 || countryCode.FindString(code) == "" {
			return c, fmt.Errorf("VAST_COUNTRIES: %q is not a code of two letters, such as DE", oneLine(code))
		}
		countries = append(countries, code)
	}
	c.Countries = countries
	return c, errors.Join(c.faults()...)
}

// faults are what is wrong with the configuration, all of it.
func (c Config) faults() (faults []error) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Key == "", "VAST_API_KEY is empty: make a key at https://cloud.vast.ai/manage-keys/")
	wrong(strings.ContainsFunc(c.Key, unprintable), "VAST_API_KEY holds a space or another character that no key has")
	wrong(!validImage(c.Image),
		"VAST_WORKER_IMAGE must name an image, such as ghcr.io/you/worker:1.0")
	wrong(c.ImageLogin != "" && !strings.HasPrefix(c.ImageLogin, "-u "),
		`VAST_IMAGE_LOGIN must read "-u USER -p TOKEN registry.host"`)
	wrong(c.DiskGB < 8, "the disk has %d GB, must have at least 8", c.DiskGB)
	wrong(c.Slots < 1, "slots is %d, must be at least 1", c.Slots)
	wrong(c.MaxPrice <= 0, "VAST_MAX_PRICE is %s, must be above 0", c.MaxPrice)
	wrong(c.MinVRAM < 0, "VAST_MIN_VRAM is %d GB, must not be negative", c.MinVRAM)
	wrong(!(c.MinReliability >= 0 && c.MinReliability <= 1), "VAST_MIN_RELIABILITY is %v, must be 0 to 1", c.MinReliability)
	wrong(!(c.Pace > 0 && c.Pace <= 100), "pace is %v, must be above 0", c.Pace)
	for _, name := range c.Models {
		wrong(fold(name) == "" || nvenc(name, 0) == 0, "VAST_GPU_MODELS: %q has no NVENC, which encodes the video", oneLine(name))
	}
	return faults
}

// validImage tells whether the API would take it for the name of an image.
func validImage(name string) bool {
	return name != "" && len(name) <= 1024 && !strings.ContainsFunc(name, unprintable)
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// parseBase reads the base URL. Its errors do not repeat it: it may hold a key.
func parseBase(raw string) (string, error) {
	if raw = strings.TrimSpace(raw); raw == "" {
		raw = DefaultURL
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("does not begin with https:// or http://")
	case u.Hostname() == "":
		return "", errors.New("has no host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("holds more than a host and a path: the key belongs into VAST_API_KEY")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Beside is for who asks while a server may run with the same key: whatever that
// asked last it may have asked this moment. Destroys and creates do not wait.
func (p *Provider) Beside() {
	for _, l := range []*lane{p.lanes.search, p.lanes.list, p.lanes.charges, p.lanes.user} {
		l.ended()
	}
}

// Close lets go of what is left of the connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Rest makes the next call of each kind wait as if one had just been made: for
// who follows another process, which may have made some.
func (p *Provider) Rest() {
	for _, l := range p.lanes.all() {
		l.ended()
	}
}

// Clock is by how much the clock of the API is ahead of this machine's, to a
// second or two, as its last answer told; known is false before one did.
func (p *Provider) Clock() (ahead time.Duration, known bool) {
	d := p.ahead.Load()
	if d == nil {
		return 0, false
	}
	return *d, true
}

// noteClock notes what an answer tells of the clock of the API: its Date, which
// has whole seconds, was written between began and now.
func (p *Provider) noteClock(date string, began, now time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	ahead := time.Duration(0) // it fits
	if first, last := at, at.Add(time.Second); last.Before(began) {
		ahead = last.Sub(began)
	} else if first.After(now) {
		ahead = first.Sub(now)
	}
	p.ahead.Store(&ahead)
}

// Name implements gpu.Provider.
func (*Provider) Name() string { return "vast" }

// Traits: how long a new instance may be missing from the API's listing is not
// documented; clients in the wild allow 10 to 20 s. A wrong absence would cost
// a machine that nobody ends, so it gets far more.
func (*Provider) Traits() gpu.Traits {
	return gpu.Traits{Pinned: true, ListingLag: 90 * time.Second, AbsenceGap: 10 * time.Second}
}
