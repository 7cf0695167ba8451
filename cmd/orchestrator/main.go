// Command orchestrator takes requests on a small VPS, keeps the queue, gets a
// worker while there is work, and keeps the results.
package main

import (
	"context"
	"io"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"github.com/api-gpu/api-gpu/internal/program"
)

func main() {
	_ = godotenv.Load() // a missing .env is no error; a set variable wins over it
	program.Main("orchestrator", run)
}

// commands are what the program can do: flags, environment and help come from
// here.
type commands struct {
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run the orchestrator (the default)."`
	Health  healthCmd        `cmd:"" help:"Ask a running orchestrator on this machine whether it is healthy."`
	Config  configCmd        `cmd:"" help:"Print every setting as a Markdown table."`
	Version kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return program.Run(ctx, "orchestrator", "Takes requests, keeps the queue, gets a worker while there is work.",
		&commands{}, args, stdout, stderr)
}
