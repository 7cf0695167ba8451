package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/api-gpu/api-gpu/internal/crash"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func embedded() (fs.FS, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return files, nil
}

// migrate applies what is missing of the migrations, each in a transaction
// that also records it.
func (d *DB) migrate(ctx context.Context, migrations fs.FS, log *slog.Logger) error {
	dialect := goose.DialectSQLite3
	if d.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
		unlock, err := lockMigrations(ctx, d.writer)
		if err != nil {
			return err
		}
		defer unlock()
	}
	// Without the global registry: what is applied stands in the folder.
	provider, err := goose.NewProvider(dialect, d.writer, migrations, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	version, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if version > known {
		return newer(version, known)
	}
	if err := d.words(ctx); err != nil {
		return err
	}
	if err := d.backup(ctx, version, firstAfter(provider, version), log); err != nil {
		return err
	}
	// Two processes may start at once on SQLite, and then one of them fails:
	// its migration has been applied by the other. As long as the version rises
	// it is worth another look, which is at most once a migration.
	for {
		m, err := provider.UpByOne(ctx)
		switch {
		case errors.Is(err, goose.ErrNoNextVersion):
			return nil
		case err == nil:
			// Our own line: goose's would hold each statement.
			log.InfoContext(ctx, "migrated database", "schema", m.Source.Version, "took", m.Duration)
			crash.Point("db.migrate.one")
			continue
		}
		now, _, lookErr := provider.GetVersions(ctx)
		if lookErr != nil || now <= version {
			return fmt.Errorf("migrate database: %w", err)
		}
		version = now
	}
}

// firstAfter is the first schema that a database of this version lacks; 0 where
// it lacks none.
func firstAfter(provider *goose.Provider, version int64) int64 {
	for _, source := range provider.ListSources() { // ascending
		if source.Version > version {
			return source.Version
		}
	}
	return 0
}

// current fails unless the schema is the one that this program knows.
func (d *DB) current(ctx context.Context, migrations fs.FS) error {
	dialect := goose.DialectSQLite3
	if d.dialect == PostgreSQL {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, d.writer, migrations, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	version, known, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	case version > known:
		return newer(version, known)
	case version < known:
		return fmt.Errorf("this database is of an older api-gpu (schema %d, this binary knows %d): the next start of the server brings it up to date", version, known)
	}
	return nil
}

func newer(version, known int64) error {
	return fmt.Errorf("this database was made by a newer api-gpu (schema %d, this binary knows %d): use the newer binary", version, known)
}

// words teaches PostgreSQL the one word of the migrations that it lacks: bytes
// are blob in SQLite. So there is one text of each migration.
func (d *DB) words(ctx context.Context) error {
	if d.dialect != PostgreSQL {
		return nil
	}
	_, err := d.writer.ExecContext(ctx, `DO $$ BEGIN CREATE DOMAIN blob AS bytea; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	if err != nil {
		return fmt.Errorf("prepare database: %w", err)
	}
	return nil
}
