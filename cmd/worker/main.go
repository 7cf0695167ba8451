// Command worker burns captions into videos on the machine it runs on: on a
// rented GPU for an orchestrator, or alone for whoever has its key.
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

	"github.com/api-gpu/api-gpu"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// program is the command line: flags, environment and help come from it.
type program struct {
	Serve    serveCmd         `cmd:"" default:"withargs" help:"Run the worker (the default)."`
	Selftest selftestCmd      `cmd:"" help:"Prove that this machine can encode and draw captions."`
	Version  kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	forgetEmpty()
	var p program
	parser, err := kong.New(&p,
		kong.Name("worker"), kong.Description("Burns captions into videos on this machine."),
		kong.Writers(stdout, stderr), kong.Vars{"version": apigpu.Version()}, kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
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

// forgetEmpty unsets variables that are set to nothing: empty means the
// default.
func forgetEmpty() {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); value == "" && name != "" {
			_ = os.Unsetenv(name)
		}
	}
}
