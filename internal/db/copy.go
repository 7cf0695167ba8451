package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup copies the SQLite database at url into a new file that only its owner
// can read, for it holds the root secret. Others may go on to write meanwhile:
// the copy is the database at one moment, whole or not there at all. Its tables
// are copied as they are, whatever version made them. A file that exists is
// refused.
func Backup(ctx context.Context, url, file string) (err error) {
	if IsShared(url) {
		return errors.New("DATABASE_URL is a PostgreSQL: use pg_dump")
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already, or cannot be looked at: name a new file", file)
	}
	d, err := connect(ctx, url, Options{AsIs: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	// In the same folder, so that it can take its name in one step. SQLite
	// writes into a file that is there, if it is empty.
	partial, err := os.CreateTemp(filepath.Dir(file), ".backup-*")
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer os.Remove(partial.Name()) // gone by then, where all went well
	if err := partial.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if _, err := d.writer.ExecContext(ctx, `VACUUM INTO $1`, partial.Name()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return publish(partial.Name(), file)
}

// publish gives a file its name once it is on the disk.
func publish(partial, file string) error {
	f, err := os.OpenFile(partial, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	// A link takes no name from another, as a rename does; some disks have none.
	if err := os.Link(partial, file); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(partial, file)
}
