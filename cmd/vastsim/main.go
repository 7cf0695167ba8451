// Command vastsim is the Vast.ai marketplace on loopback, where the rented
// machines are worker processes: for development and tests.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

func main() { program.Main("vastsim", run) }

// commands are what the program can do: flags, environment and help come from
// here.
type commands struct {
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run the marketplace (the default)."`
	Version kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return program.Run(ctx, "vastsim", "Plays the Vast.ai marketplace on this machine: what is rented is a worker process.",
		&commands{}, args, stdout, stderr)
}

type serveCmd struct {
	Port     int     `env:"VASTSIM_PORT" default:"3399" help:"Port to listen on, on loopback; 0 takes a free one."`
	Key      string  `env:"VASTSIM_KEY" help:"The account's API key. Default: a random one."`
	Worker   string  `env:"VASTSIM_WORKER" default:"bin/worker" help:"The worker program; none makes machines that are but rows."`
	Credit   float64 `env:"VASTSIM_CREDIT" default:"10" help:"Credit of the account, in dollars."`
	Scenario string  `env:"VASTSIM_SCENARIO" help:"JSON file with offers, faults and events: vastsim.Scenario in internal/vastsim."`
	Compare  string  `placeholder:"FILE" help:"Serve nothing: compare a transcript of the real API, as orchestrator doctor --live writes it, with what this one answers. Exit code 1 where something differs that we rely on."`
	LogLevel string  `env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"What is logged: debug shows each call."`
}

// Run serves until ctx ends, and leaves no process behind.
func (c *serveCmd) Run(ctx context.Context, out program.Output) (err error) {
	if c.Compare != "" {
		return compare(c.Compare, out.Stdout)
	}
	scenario, err := c.scenario()
	if err != nil {
		return err
	}
	machines, cleanUp, err := c.machines()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	if c.Key == "" {
		c.Key = rand.Text()
	}
	log := program.Log(out.Stderr, c.LogLevel, false)
	sim, err := vastsim.New(vastsim.Config{
		Key: c.Key, Machines: machines, Address: "127.0.0.1", Seed: uint64(time.Now().UnixNano()), Log: log, Scenario: scenario,
	})
	if err != nil {
		return err
	}
	defer sim.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("VASTSIM_PORT: %w", err)
	}
	url := "http://" + listener.Addr().String()
	sim.SetURL(url)
	// In the form of .env, so that it can be put there.
	fmt.Fprintf(out.Stdout, "VAST_API_URL=%s\nVAST_API_KEY=%s\n", url, c.Key)
	return serve(ctx, sim, listener)
}

// serve answers, and lets the machines live, until ctx ends.
func serve(ctx context.Context, sim *vastsim.Sim, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	stepped := make(chan struct{})
	go func() {
		defer close(stepped)
		sim.Run(ctx)
	}()
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
		err = server.Close() // a request that a fault holds would never end
		<-served
	}
	cancel()
	<-stepped
	return err
}

// scenario is that of the file, with the credit of the flag unless the file
// says another.
func (c *serveCmd) scenario() (sc vastsim.Scenario, err error) {
	if c.Scenario != "" {
		text, err := os.ReadFile(c.Scenario)
		if err != nil {
			return sc, fmt.Errorf("VASTSIM_SCENARIO: %w", err)
		}
		if sc, err = vastsim.ReadScenario(text); err != nil {
			return sc, fmt.Errorf("VASTSIM_SCENARIO: %w", err)
		}
	}
	if sc.CreditUSD == nil {
		sc.CreditUSD = &c.Credit
	}
	return sc, nil
}

// machines returns what runs instances, and how to remove what it left.
func (c *serveCmd) machines() (vastsim.Machines, func() error, error) {
	if c.Worker == "none" {
		return &vastsim.Scripted{}, func() error { return nil }, nil
	}
	binary, err := exec.LookPath(c.Worker)
	if err == nil {
		binary, err = filepath.Abs(binary)
	}
	if err != nil {
		return nil, nil, fmt.Errorf(`VASTSIM_WORKER: the worker program is missing (build it with "make build"): %w`, err)
	}
	dir, err := os.MkdirTemp("", "vastsim-*")
	if err != nil {
		return nil, nil, fmt.Errorf("make folder: %w", err)
	}
	return &vastsim.Processes{Binary: binary, Dir: dir, Env: os.Environ()}, func() error { return os.RemoveAll(dir) }, nil
}
