// Command orchestrator takes requests on a small VPS, keeps the queue, gets a
// worker while there is work, and keeps the results.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"github.com/api-gpu/api-gpu"
)

func main() {
	_ = godotenv.Load() // a missing .env is no error; a set variable wins over it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "orchestrator:", err)
		os.Exit(1)
	}
}

// program is the command line: flags, environment and help come from it.
type program struct {
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run the orchestrator (the default)."`
	Health  healthCmd        `cmd:"" help:"Ask a running orchestrator on this machine whether it is healthy."`
	Config  configCmd        `cmd:"" help:"Print every setting as a Markdown table."`
	Version kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it. Settings
// come from flags and from the environment of the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	forgetEmpty()
	var p program
	parser, err := kong.New(&p,
		kong.Name("orchestrator"), kong.Description("Takes requests, keeps the queue, gets a worker while there is work."),
		kong.Writers(stdout, stderr), kong.Vars{"version": apigpu.Version()}, kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(output{stdout, stderr}),
	)
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return err
	}
	return parsed.Run(ctx, output{stdout, stderr})
}

// output is where a command prints.
type output struct{ stdout, stderr io.Writer }

// forgetEmpty unsets variables that are set to nothing, as panels and
// .env.example leave them: empty means the default.
func forgetEmpty() {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); value == "" && name != "" {
			_ = os.Unsetenv(name)
		}
	}
}
