package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/selfdestroy"
)

const (
	// steady is how long a child must have lived for its end to be the first
	// one again.
	steady = time.Minute
	// maxCrashes is how many children in a row may end early. They take some four
	// minutes, pauses included; a machine on which no worker lives is worth
	// nothing.
	maxCrashes = 10
	// leaveTimeout is how long a child may take to end in order: docker stop
	// gives ten seconds.
	leaveTimeout = 8 * time.Second
)

// errCrashing ends the program: this machine runs no worker.
var errCrashing = errors.New("the worker ends again and again")

// rented reports whether this process is the first of a rented machine: one
// that is to be ended when nobody renews the lease.
func (c *serveCmd) rented() bool { return c.ContainerID != "" && c.Lease > 0 && c.LeasePipe == 0 }

// guard is the worker on a rented machine: this process holds the lease and
// nothing else, and a child of it serves and renders. Whatever happens to the
// child, the machine ends with its lease (docs/adr/0007-switch.md).
func (c *serveCmd) guard(ctx context.Context, out program.Output) error {
	lines := newLoose(out.Stderr)
	defer lines.close()
	log := program.Log(lines, c.LogLevel, c.AppEnv == "production")
	self, err := selfdestroy.New(selfdestroy.Config{URL: c.VastAPIURL, ID: c.ContainerID, Key: c.ContainerAPIKey, Log: log})
	if err != nil {
		return err
	}
	return supervise(ctx, c.first(time.Now()), self, log)
}

// crashPause is how long to wait after so many ends in a row, 1 or more.
func crashPause(crashes int) time.Duration {
	return min(500*time.Millisecond<<min(crashes, 10), 30*time.Second)
}

// childEnv is the environment of the child: it needs no key of the marketplace.
func childEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "CONTAINER_ID" || name == "CONTAINER_API_KEY"
	})
}
