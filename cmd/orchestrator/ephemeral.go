package main

import (
	"fmt"

	"github.com/api-gpu/api-gpu/internal/container"
)

// noRent says why nothing is rented whatever waits, or nothing. State that is
// lost with the container is the ledger of what costs money: nobody would know
// of it, and nobody end it.
func (c *Config) noRent() string {
	if !c.rented() || !c.production() || c.AllowEphemeral {
		return ""
	}
	setting := c.forgets()
	if setting == "" {
		return ""
	}
	return fmt.Sprintf("nothing is rented: %s is inside the container, which forgets it when it is replaced; mount a volume there, or set ALLOW_EPHEMERAL=1", setting)
}

// forgets is the first setting whose path is inside a container that forgets
// it; empty where there is none, or no container that we know.
func (c *Config) forgets() string {
	for _, p := range c.places() {
		if container.Forgets(p.path) {
			return p.String()
		}
	}
	return ""
}

// forClients is what those who wait are told of it: no path of the server.
func forClients(noRent string) string {
	if noRent == "" {
		return ""
	}
	return "this server rents nothing: its operator finds the reason at /health and in the log"
}
