// Package program is what our programs have in common: a command line that is
// read from flags and environment, signals, and a log.
package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/api-gpu/api-gpu"
)

// Output is where a command prints. Commands get it as an argument of Run.
type Output struct{ Stdout, Stderr io.Writer }

// Main runs a program until it is done or told to stop, and ends the process:
// with status 1 and one line where it failed. A second signal ends it at once.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Run reads args and the environment into grammar, a struct of commands, and
// runs the one that was named. Its Run method may take a context.Context and
// an Output.
func Run(ctx context.Context, name, description string, grammar any, args []string, stdout, stderr io.Writer) error {
	forgetEmpty()
	parser, err := kong.New(grammar,
		kong.Name(name), kong.Description(description), kong.Writers(stdout, stderr), kong.UsageOnError(),
		kong.Vars{"version": apigpu.Version()}, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(Output{stdout, stderr}),
	)
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return err
	}
	return parsed.Run()
}

// forgetEmpty unsets variables that are set to nothing, as panels and
// .env.example leave them: empty means the default.
func forgetEmpty() {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); value == "" && name != "" {
			_ = os.Unsetenv(name)
		}
	}
}

// Log returns a log of this level (debug, info, warn or error): JSON lines in
// production, for people elsewhere.
func Log(w io.Writer, level string, production bool) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	if production {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

// Loopback reports whether a host to listen on is reached from this machine
// only.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
