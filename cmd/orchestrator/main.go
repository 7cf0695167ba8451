// Command orchestrator takes requests on a small VPS, keeps the queue, gets a
// worker while there is work, and keeps the results.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"github.com/api-gpu/api-gpu/internal/ffmpeg"
	"github.com/api-gpu/api-gpu/internal/program"
)

func main() {
	ffmpeg.Launch() // it starts itself to become FFmpeg for previews, within bounds
	// A missing .env is no error, and a set variable wins over it. A broken one
	// must not start a server without its key; doctor tells of it beside the rest.
	if err := godotenv.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) && !isDoctor(os.Args[1:]) {
		fmt.Fprintln(os.Stderr, "orchestrator: .env cannot be read: each line must be NAME=value")
		os.Exit(1)
	}
	program.Main("orchestrator", run)
}

// commands are what the program can do: flags, environment and help come from
// here.
type commands struct {
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run the orchestrator (the default)."`
	Plan    planCmd          `cmd:"" help:"Tell what the server would do next about machines, and why; do nothing."`
	Doctor  doctorCmd        `cmd:"" help:"Check settings, account, image, database, storage and workers, and say what to do; rent nothing, but one machine with --live. Exit code 1 means that something does not work."`
	Sweep   sweepCmd         `cmd:"" help:"End the instances of a lost fleet: needs the account's key (VAST_API_KEY) and no database. Exit code 1 means that something is left, or that a named fleet was not seen while others were."`
	Backup  backupCmd        `cmd:"" help:"Copy the database into a new file, while a server uses it."`
	Costs   costsCmd         `cmd:"" help:"Tell what jobs are expected to cost, as Markdown tables; ask nobody."`
	Health  healthCmd        `cmd:"" help:"Ask a running orchestrator on this machine whether it is healthy."`
	Styles  stylesCmd        `cmd:"" help:"Print presets, safe areas and animations as Markdown tables."`
	Config  configCmd        `cmd:"" help:"Print every setting as a Markdown table."`
	Secret  webhookSecretCmd `cmd:"" name:"webhook-secret" help:"Print the secret that signs webhooks, for their receivers."`
	Version kong.VersionFlag `help:"Print the version."`
}

// run is the program with the world as arguments: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := &commands{}
	err := program.Run(ctx, "orchestrator", "Takes requests, keeps the queue, gets a worker while there is work.",
		c, args, stdout, stderr)
	if isDoctor(args) && !c.Doctor.began {
		return c.Doctor.unread(args, stdout, err)
	}
	return err
}
