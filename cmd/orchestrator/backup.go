package main

import (
	"context"
	"fmt"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/program"
)

// backupCmd copies the database while a server uses it.
type backupCmd struct {
	File        string `arg:"" help:"File to write; it must not be there yet. It holds the root secret: only its owner can read it."`
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" default:"sqlite:data/api-gpu.db" help:"The database (default: ${default}). A PostgreSQL has pg_dump."`
}

// Run copies it.
func (c *backupCmd) Run(ctx context.Context, out program.Output) error {
	if err := db.Backup(ctx, c.DatabaseURL, c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out.Stdout, "Written: %s\n", c.File)
	return err
}
