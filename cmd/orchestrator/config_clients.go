package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/webhook"
)

// clientFaults says what is wrong with the settings by which clients come in and
// are answered. It tells no key.
func (c *Config) clientFaults() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	keys, err := httpapi.ParseKeys(c.APIKey)
	switch {
	case err != nil:
		fault("X_API_KEY: %w", err)
	case !keys.Open() || program.Loopback(c.Host):
	case c.APIKey == "":
		fault("X_API_KEY is not set, and HOST=%s is reached from outside: set a key", c.Host)
	default:
		fault("X_API_KEY holds no key")
	}
	if c.Port < 0 || c.Port > 65535 {
		fault("PORT=%d is no port: use 1 to 65535", c.Port)
	}
	if c.PublicURL != "" && !isBase(c.PublicURL) {
		fault("PUBLIC_URL=%s is not an address such as https://video.example.com", withoutUser(c.PublicURL))
	}
	if _, err := httpapi.ParseProxies(c.TrustedProxies); err != nil {
		fault("TRUSTED_PROXIES: %w", err)
	}
	if c.WebhookSecret != "" {
		if _, err := webhook.ParseSecrets(c.WebhookSecret); err != nil {
			fault("WEBHOOK_SECRET: %w", err)
		}
	}
	if c.MetricsAddr != "" {
		if _, port, err := net.SplitHostPort(c.MetricsAddr); err != nil || !isPort(port) {
			fault("METRICS_ADDR=%s is not an address such as 127.0.0.1:9090", c.MetricsAddr)
		}
	}
	return faults
}

// isBase reports whether paths can be put behind an address: what a panel left
// unfilled, as in https://$(PRIMARY_DOMAIN), is none.
func isBase(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return false
	}
	if u.Port() != "" && !isPort(u.Port()) {
		return false
	}
	return u.Hostname() != "" && !strings.ContainsAny(u.Hostname(), "$(){}<> ")
}

// withoutUser is an address without the name and password in it, which are for
// nobody's log.
func withoutUser(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if at := strings.LastIndex(rest, "@"); found && at >= 0 {
		return scheme + "://" + rest[at+1:]
	}
	return address
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 0 && n <= 65535
}

// weaknesses are settings with which the server starts, and which invite
// strangers to it. They are for the operator only: /health does not tell them.
func (c *Config) weaknesses() (all []string) {
	if !c.production() {
		return nil
	}
	if keys, err := httpapi.ParseKeys(c.APIKey); err == nil {
		for _, weak := range keys.Weak() {
			all = append(all, "X_API_KEY: "+weak)
		}
	}
	if c.GPUAPIKey != "" && len(c.GPUAPIKey) < shortSecret {
		all = append(all, "GPU_API_KEY is short, and all keys of the workers and of links derive from it: leave it empty, or make one with openssl rand -hex 32")
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Scheme == "http" && !inside(u.Hostname()) {
		all = append(all, "PUBLIC_URL begins with http://, so that keys and videos can be read on their way: let the proxy speak HTTPS")
	}
	return all
}

// shortSecret is the length below which a root secret can be guessed by who has
// anything that derives from it.
const shortSecret = 16

// inside reports whether a host is of one machine or one network: an address in
// a private range, or a name without a dot.
func inside(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return !strings.Contains(host, ".")
	}
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}
