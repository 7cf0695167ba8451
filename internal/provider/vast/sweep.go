package vast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// AccountConfig is what it takes to list and end the instances of an account,
// and nothing else.
type AccountConfig struct {
	// URL and Key are as in Config. The key needs the scopes instance_read and
	// instance_write.
	URL, Key string
	// Pace and Log are as in Config.
	Pace float64
	Log  *slog.Logger
}

// Account lists and ends the instances of an account, whoever rented them. It
// rents nothing: for whoever has nothing left but the key.
type Account struct{ p *Provider }

// NewAccount checks the configuration and calls nobody. Its errors repeat no
// secret. Close the Account when done.
func NewAccount(cfg AccountConfig) (*Account, error) {
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("VAST_API_URL %w", err)
	}
	c := Config{Key: strings.TrimSpace(cfg.Key), Pace: cfg.Pace, Log: cfg.Log}
	if c.Pace == 0 {
		c.Pace = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Key == "":
		return nil, errors.New("VAST_API_KEY is empty: make a key at https://cloud.vast.ai/manage-keys/")
	case strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("VAST_API_KEY holds a space or another character that no key has")
	}
	p := &Provider{cfg: c, base: base, lanes: newLanes(c.Pace), secrets: []string{c.Key}}
	p.client = newClient()
	// The server that this account is swept after may have listed this moment.
	p.lanes.list.ended()
	return &Account{p}, nil
}

// Instances is that of gpu.Provider.
func (a *Account) Instances(ctx context.Context) (gpu.Snapshot, error) { return a.p.Instances(ctx) }

// Destroy is that of gpu.Provider.
func (a *Account) Destroy(ctx context.Context, id string) error { return a.p.Destroy(ctx, id) }

// Traits is that of gpu.Provider.
func (a *Account) Traits() gpu.Traits { return a.p.Traits() }

// Close lets go of what is left of the connections.
func (a *Account) Close() { a.p.Close() }
