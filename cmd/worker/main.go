// Command worker burns captions into videos on the machine it runs on: on a
// rented GPU for an orchestrator, or alone for whoever has its key.
package main

import (
	"context"
	"io"

	"github.com/alecthomas/kong"

	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/program"
)

func main() {
	ffmpeg.Launch() // a worker starts itself to become FFmpeg, within bounds
	program.Main("worker", run)
}

// commands are what the program can do: flags, environment and help come from
// here.
type commands struct {
	Serve    serveCmd         `cmd:"" default:"withargs" help:"Run the worker (the default)."`
	Selftest selftestCmd      `cmd:"" help:"Prove that this machine can encode and draw captions."`
	Version  kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return program.Run(ctx, "worker", "Burns captions into videos on this machine.", &commands{}, args, stdout, stderr)
}
