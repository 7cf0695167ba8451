package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/render"
	"github.com/api-gpu/api-gpu/internal/server"
)

// previews says who draws previews; nil for nobody.
func (o *orchestrator) previews() *server.Previews {
	if o.cfg.Preview == "off" {
		return nil
	}
	forgetPreviews(os.TempDir(), time.Now().Add(-time.Hour))
	return &server.Previews{Studio: render.NewStudio(os.TempDir(), kept(render.Here)), Worker: o.idleWorker}
}

// kept remembers what was found once; what was not found is looked for again,
// for it may be installed meanwhile.
func kept(find func(context.Context) (render.Means, error)) func(context.Context) (render.Means, error) {
	var mu sync.Mutex
	var found *render.Means
	return func(ctx context.Context) (render.Means, error) {
		mu.Lock()
		defer mu.Unlock()
		if found != nil {
			return *found, nil
		}
		m, err := find(ctx)
		if err == nil {
			found = &m
		}
		return m, err
	}
}

// idleWorker returns a worker that is ready and has a slot free, or nil.
func (o *orchestrator) idleWorker(ctx context.Context) (*client.Client, error) {
	free, err := o.fleet.Slots(ctx)
	if err != nil || len(free) == 0 {
		return nil, err
	}
	return o.fleet.Client(ctx, free[0].Instance)
}

// forgetPreviews removes folders of previews that were cut off by a kill.
func forgetPreviews(dir string, before time.Time) {
	left, _ := filepath.Glob(filepath.Join(dir, render.DirPrefix+"*")) // the pattern is ours
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && info.ModTime().Before(before) {
			_ = os.RemoveAll(path) // another's: left alone
		}
	}
}

// stylesCmd prints what styles there are, for the guide.
type stylesCmd struct{}

// Run prints tables.
func (stylesCmd) Run(out program.Output) error {
	_, err := fmt.Fprint(out.Stdout, server.StylesMarkdown())
	return err
}
