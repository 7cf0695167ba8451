package main

import (
	"context"
	"io"
	"os"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/server"
	"github.com/api-gpu/api-gpu/internal/show"
)

// planCmd tells what the next round of a server with these settings would do.
// It reads the database and asks the provider; it takes no lease, writes
// nothing, and so may run beside the server.
type planCmd struct {
	serveCmd
	JSON bool `name:"json" help:"Write JSON, as GET /gpus?plan=1 does."`
}

// Run tells the plan.
func (c *planCmd) Run(ctx context.Context, out program.Output) (err error) {
	c.defaults()
	if err := c.check(); err != nil {
		return err
	}
	log := program.Log(out.Stderr, "warn", c.production())
	o := &orchestrator{cfg: &c.Config, log: log, noRent: c.noRent()}
	defer o.close()
	if o.db, err = c.openDatabase(ctx, db.Open, db.Options{Log: log, AsIs: true}); err != nil {
		return err
	}
	o.queue = queue.New(o.db, nil)
	identity, err := fleet.ReadIdentity(ctx, o.db, c.Fleet, c.GPUAPIKey)
	if err != nil {
		return err
	}
	provider, credentials, err := c.provider(log)
	if err != nil {
		return err
	}
	if o.rental, _ = provider.(*vast.Provider); o.rental != nil { // o closes it
		o.rental.Rest() // a server may run beside us, and ask with the same key
	}
	var roomy func() bool
	dir, _ := c.storageDir()
	if _, err := os.Stat(dir); err == nil { // else nothing was ever stored
		store, err := c.openStore(o.queue)
		if err != nil {
			return err
		}
		roomy = func() bool { return hasRoom(ctx, store) }
	}
	if o.fleet, err = o.newFleet(identity, provider, credentials, roomy); err != nil {
		return err
	}
	preview, err := o.fleet.Preview(ctx)
	if err != nil {
		return err
	}
	return c.write(out.Stdout, preview)
}

func (c *planCmd) write(w io.Writer, p fleet.Preview) error {
	g := server.ShowPlan(p)
	if c.JSON {
		return show.JSON(w, g)
	}
	if err := show.GPUs(w, g); err != nil {
		return err
	}
	show.Lines(w, "")
	return show.Plan(w, *g.Plan)
}
