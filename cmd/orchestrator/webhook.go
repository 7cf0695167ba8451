package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/program"
	"github.com/api-gpu/api-gpu/internal/webhook"
)

// webhookSecrets are those of WEBHOOK_SECRET, or the one that derives from
// the root secret: nothing need be stored for it.
func webhookSecrets(setting string, identity fleet.Identity) (webhook.Secrets, error) {
	if setting != "" {
		secrets, err := webhook.ParseSecrets(setting)
		if err != nil {
			return webhook.Secrets{}, fmt.Errorf("WEBHOOK_SECRET: %w", err)
		}
		return secrets, nil
	}
	key, err := link.Subkey(identity.Secret, "webhooks")
	if err != nil {
		return webhook.Secrets{}, err
	}
	return webhook.KeySecret(key)
}

// webhookSecretCmd prints what receivers check signatures with. It takes the
// settings of the orchestrator that the answer depends on.
type webhookSecretCmd struct {
	DatabaseURL   string `name:"database-url" env:"DATABASE_URL" default:"sqlite:data/api-gpu.db" help:"Where jobs and the ledger are."`
	GPUAPIKey     string `name:"gpu-api-key" env:"GPU_API_KEY" help:"Root secret, if it is not in the database."`
	WebhookSecret string `env:"WEBHOOK_SECRET" help:"The secret itself, if it was chosen."`
}

// Run prints one secret a line.
func (c *webhookSecretCmd) Run(ctx context.Context, out program.Output) (err error) {
	var identity fleet.Identity
	if c.WebhookSecret == "" {
		if identity, err = c.identity(ctx); err != nil {
			return err
		}
	}
	secrets, err := webhookSecrets(c.WebhookSecret, identity)
	if err != nil {
		return err
	}
	for _, text := range secrets.Texts() {
		fmt.Fprintln(out.Stdout, text)
	}
	return nil
}

// identity reads the root secret, and changes nothing: a database that is not
// there is not made, for in a wrong folder that would print a secret which signs
// nothing, and one of another version is left so.
func (c *webhookSecretCmd) identity(ctx context.Context) (_ fleet.Identity, err error) {
	d, err := db.Look(ctx, c.DatabaseURL, db.Options{})
	if err != nil {
		return fleet.Identity{}, err
	}
	if d == nil {
		return fleet.Identity{}, errors.New("there is no database yet: start the orchestrator first, and run this where it runs")
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return fleet.ReadIdentity(ctx, d, "", c.GPUAPIKey)
}
