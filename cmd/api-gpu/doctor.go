package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/show"
)

// doctorCmd tells why something does not work, and what to do.
type doctorCmd struct{}

// finding is what one check found.
type finding struct {
	ok   bool
	what string
	// todo says what to do, where something is not right or could be better.
	todo string
	// exit is the exit code of a check that failed.
	exit int
}

// Run checks one thing after the other and says what it found: the way to the
// server, and with the admin's key what the server finds of itself.
func (doctorCmd) Run(a *app) error {
	findings := []finding{transport(a.server, a.key != "")}
	health, err := a.client.Health(a.ctx)
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	findings = append(findings, reached(a.server, health, err))
	var itself []apigpu.Check
	if err == nil {
		_, err := a.client.Jobs(a.ctx, client.Filter{Limit: 1})
		findings = append(findings, keyAccepted(a.key != "", err), versions(apigpu.Version(), health.Version))
		findings = append(findings, condition(health)...)
		if err == nil {
			examined, f := examines(a.client.Doctor(a.ctx))
			findings, itself = append(findings, f), examined.Checks
		}
	}
	exit := exitOK
	for _, f := range findings {
		mark := "✓"
		if !f.ok {
			mark = "✗"
			if exit == exitOK { // the first fault is likely to cause the others
				exit = f.exit
			}
		}
		show.Lines(a.stdout, mark+" "+f.what)
		if f.todo != "" {
			show.Lines(a.stdout, "  "+f.todo)
		}
	}
	show.Checks(a.stdout, itself)
	if exit != exitOK {
		return &exitError{code: exit, message: "Not everything is in order: see above."}
	}
	return nil
}

// transport tells whether the key could be read on its way.
func transport(server string, withKey bool) finding {
	u, err := url.Parse(server)
	if err != nil { // not possible: the client was made from it
		return finding{ok: true, what: "The server has an address"}
	}
	what := "The address of the server is " + u.Redacted()
	if u.Scheme == "https" || !withKey || program.Loopback(u.Hostname()) {
		return finding{ok: true, what: what}
	}
	return finding{ok: true, what: what + ", without TLS",
		todo: "Whoever sees the traffic sees the key. Use https:// outside of a network that you trust."}
}

// reached tells whether a server of ours answers.
func reached(server string, h client.Health, err error) finding {
	if err != nil {
		exit, lines := explain(err)
		f := finding{what: lines[0], todo: "Start the server, or set --server or API_GPU_URL to its address.", exit: exit}
		if e, ok := errors.AsType[*apigpu.Error](err); ok && e.Hint != "" { // such as that there is no TLS
			f.todo = e.Hint
		}
		if u, err := url.Parse(server); err == nil {
			if _, _, err := net.SplitHostPort(u.Host); err != nil && u.Scheme == "http" {
				f.todo += " The port is missing: an orchestrator listens on 3000."
			}
		}
		return f
	}
	name := h.Service
	if name == "" {
		name = "the server"
	}
	what := "It answers: " + name
	if h.Version != "" {
		what += " " + h.Version
	}
	if h.Uptime > 0 {
		what += ", up for " + timeWords(h.Uptime)
	}
	return finding{ok: true, what: what}
}

// keyAccepted reads what a harmless request that needs a key came to.
func keyAccepted(given bool, err error) finding {
	if err != nil {
		exit, lines := explain(err)
		return finding{what: lines[0], todo: strings.Join(lines[1:], " "), exit: exit}
	}
	if given {
		return finding{ok: true, what: "It accepts the key"}
	}
	return finding{ok: true, what: "It asks for no key"}
}

// examines tells what the server found of itself, or why it was not asked.
func examines(d apigpu.Diagnosis, err error) (apigpu.Diagnosis, finding) {
	switch failed := d.Failed(); {
	case err == nil && failed == 0:
		return d, finding{ok: true, what: "It has examined itself, and nothing failed"}
	case err == nil:
		return d, finding{what: fmt.Sprintf("It has examined itself: %d of %d checks failed, see below", failed, len(d.Checks)), exit: exitFailed}
	}
	switch apigpu.CodeOf(err) {
	case apigpu.Forbidden:
		return d, finding{ok: true, what: "It examines itself for the key named admin only"}
	case apigpu.NotFound:
		return d, finding{ok: true, what: "It does not examine itself: it is an older version, or a worker"}
	}
	exit, lines := explain(err)
	return d, finding{what: "It was to examine itself: " + lines[0], todo: strings.Join(lines[1:], " "), exit: exit}
}

// versions compares; another version is worth a word and no failure, for the
// jobs API only grows.
func versions(own, server string) finding {
	f := finding{ok: true, what: "This program is version " + own}
	if server != "" && server != own {
		f.todo = "The server is another version: if something is not understood, update the older one."
	}
	return f
}

// condition reads what the server says about itself.
func condition(h client.Health) []finding {
	workers := finding{ok: true, what: fmt.Sprintf("Machines: %d ready, %d starting. Jobs: %d waiting, %d running",
		h.Workers.Ready, h.Workers.Booting, h.Jobs.Queued, h.Jobs.Running)}
	switch {
	case h.Workers.Ready > 0:
	// A static provider makes no machines: with none ready, jobs wait for ever.
	case h.Provider == "static":
		workers.ok, workers.exit = false, exitUnreachable
		workers.todo = "No worker answers: start one, and compare WORKER_URL, WORKER_TOKEN and WORKER_KEY of the server."
	case h.Workers.Booting == 0:
		workers.todo = "One is started when a job comes."
	}
	state := finding{ok: true, what: "Its state is " + h.Status}
	switch h.Status {
	case "ok":
	case "standby":
		state.todo = "Another process leads; this one only passes jobs on."
	default:
		state.ok, state.exit = false, exitUnreachable
		state.todo = "The log of the server says more."
	}
	findings := []finding{workers, state}
	for _, w := range h.Warnings {
		findings = append(findings, finding{ok: true, what: "It warns: " + w})
	}
	return findings
}
