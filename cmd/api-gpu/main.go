// Program api-gpu asks an api-gpu server for captions burnt into videos, and
// looks after the jobs that do it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// cli is every command, flag and variable of the program.
type cli struct {
	Server  string           `env:"API_GPU_URL" default:"http://localhost:3000" placeholder:"URL" help:"Address of the server (default: ${default})."`
	Key     string           `env:"API_GPU_KEY" placeholder:"KEY" help:"API key of the server. Other users of this machine can see flags: prefer the variable."`
	Version kong.VersionFlag `help:"Print the version and quit."`

	Caption  captionCmd  `cmd:"" help:"Burn captions into a video."`
	Validate validateCmd `cmd:"" help:"Check subtitles, and a video's address, without a job."`
	Preview  previewCmd  `cmd:"" help:"Draw what captions would look like, without a job."`
	Styles   stylesCmd   `cmd:"" help:"List presets, animations, safe areas and limits of styles."`
	Jobs     jobsCmd     `cmd:"" help:"List jobs, newest first."`
	Job      jobCmd      `cmd:"" help:"Show one job."`
	Cancel   cancelCmd   `cmd:"" help:"End a job."`
	GPUs     gpusCmd     `cmd:"" name:"gpus" help:"Show and end the machines of the server (with the admin's key)."`
	Doctor   doctorCmd   `cmd:"" help:"Check that the server can be used from here."`
}

const description = `Burns captions into videos on an api-gpu server.

A file named .env in the current folder may hold the variables; the environment wins over it.`

// app is what a command needs of the world.
type app struct {
	ctx            context.Context
	client         *client.Client
	server, key    string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the program: it returns the exit code, and all it says it says on
// stdout and stderr.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr}
	return report(stderr, a.execute(args, getenv))
}

func (a *app) execute(args []string, getenv func(string) string) error {
	lookup, err := withDotEnv(getenv, ".env")
	if err != nil {
		return err
	}
	var flags cli
	// kong would end the process; here it goes on, and its faults are ignored.
	quit := false // --help or --version has said all there is to say
	parser, err := kong.New(&flags,
		kong.Name("api-gpu"), kong.Description(description), kong.Vars{"version": apigpu.Version()},
		kong.Writers(a.stdout, a.stderr), kong.Exit(func(int) { quit = true }),
		kong.Resolvers(environment(lookup)), kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	command, err := parser.Parse(args)
	switch {
	case quit:
		return nil
	case err != nil:
		return usage("%v.", err).withHint("See: api-gpu --help")
	}
	a.server, a.key = flags.Server, flags.Key
	a.client, err = client.New(flags.Server, client.Options{Key: flags.Key, UserAgent: "api-gpu/" + apigpu.Version()})
	if err != nil {
		return err
	}
	defer a.client.Close()
	return command.Run(a)
}

// environment gives flags the values of their variables. kong would look into
// the environment of the process by itself, and not into .env.
func environment(lookup func(string) string) kong.ResolverFunc {
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if value := lookup(name); value != "" {
				return value, nil
			}
		}
		return nil, nil
	}
}

// withDotEnv looks into the environment first and then into the file, which
// need not exist.
func withDotEnv(getenv func(string) string, file string) (func(string) string, error) {
	values, err := godotenv.Read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Its error may quote a line, and a line may hold a key.
		return nil, usage("The file %s cannot be read as lines of NAME=value.", file)
	}
	return func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return values[name]
	}, nil
}

// help is kong's own, and below it, for the whole program, the exit codes.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if ctx.Selected() == nil {
		fmt.Fprint(ctx.Stdout, "\nExit codes:\n")
		for _, c := range exitCodes() {
			fmt.Fprintf(ctx.Stdout, "  %3d  %s\n", c.code, c.meaning)
		}
	}
	return nil
}
