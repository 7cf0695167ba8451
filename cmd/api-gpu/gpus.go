package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/show"
)

// gpusCmd looks after the machines of a server. It wants the admin's key.
type gpusCmd struct {
	List    gpusListCmd    `cmd:"" default:"withargs" help:"Show what is rented, why, what it costs so far and at most (the default)."`
	Destroy gpusDestroyCmd `cmd:"" help:"End machines. A job that runs on one is queued again, and not blamed."`
}

type gpusListCmd struct {
	Plan bool `help:"Also show what the server would do next, and why."`
	JSON bool `name:"json" help:"Write the answer as JSON."`
}

// Run shows machines.
func (k *gpusListCmd) Run(a *app) error {
	all, err := a.client.GPUs(a.ctx, k.Plan)
	switch {
	case err != nil:
		return err
	case k.JSON:
		return show.JSON(a.stdout, all)
	}
	if err := show.GPUs(a.stdout, all); err != nil {
		return err
	}
	if all.Plan == nil {
		return nil
	}
	show.Lines(a.stdout, "")
	return show.Plan(a.stdout, *all.Plan)
}

type gpusDestroyCmd struct {
	IDs  []string `arg:"" optional:"" name:"id" help:"Machines, by their id or their provider's."`
	All  bool     `help:"All machines of the server."`
	Yes  bool     `short:"y" help:"Do not ask."`
	JSON bool     `name:"json" help:"Write the answers as JSON."`
}

// Run ends machines.
func (k *gpusDestroyCmd) Run(a *app) error {
	if k.All == (len(k.IDs) > 0) {
		return usage("Name the machines to end, or --all.").withHint("See: api-gpu gpus")
	}
	if !k.Yes {
		if err := k.confirm(a); err != nil {
			return err
		}
	}
	if k.All {
		ended, err := a.client.EndGPUs(a.ctx)
		if err != nil {
			return err
		}
		return k.tell(a, ended)
	}
	var failed error
	for _, id := range k.IDs { // one that is not there keeps no other rented
		ended, err := a.client.EndGPU(a.ctx, id)
		if err == nil {
			err = k.tell(a, ended)
		} else if len(k.IDs) > 1 {
			_, lines := explain(err)
			show.Lines(a.stderr, id+": "+lines[0])
		}
		failed = cmp.Or(failed, err) // the first decides the exit code
	}
	return failed
}

// confirm asks on a terminal. Elsewhere nobody could answer.
func (k *gpusDestroyCmd) confirm(a *app) error {
	what := "all machines of " + a.server
	if !k.All {
		what = strings.Join(k.IDs, ", ")
	}
	if f, ok := a.stdin.(*os.File); ok && !term.IsTerminal(int(f.Fd())) || !ok && a.stdin == nil {
		return usage("Nobody is there to confirm this.").withHint("Add --yes to end %s.", what)
	}
	fmt.Fprintf(a.stderr, "End %s? Jobs that run there are queued again. [y/N] ", show.Clean(what))
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return usage("Nobody is there to confirm this.").withHint("Add --yes to end %s.", what)
	}
	if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
		return usage("Nothing was ended.")
	}
	return nil
}

func (k *gpusDestroyCmd) tell(a *app, ended apigpu.GPUsEnded) error {
	if k.JSON {
		return show.JSON(a.stdout, ended)
	}
	for _, m := range ended.Data {
		show.Lines(a.stdout, fmt.Sprintf("%s is %s.", m.ID, m.State))
	}
	show.Lines(a.stdout, ended.Message)
	return nil
}
