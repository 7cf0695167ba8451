package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/crash"
)

const (
	// backupsKept is how many copies stay beside a database: that of the last
	// update, and the one before.
	backupsKept = 2
	// backupSpare is the room that must be left beside a copy, in bytes: the
	// migrations themselves need some.
	backupSpare = 16 << 20
	// backupStale is how old the unfinished copy of a killed process is at
	// least: one that is younger may be another's, at work.
	backupStale = 10 * time.Minute
)

// backup copies a database that is about to be brought from one schema to
// another, to PATH.before-0008 where 8 is the first schema that it lacks, so
// that the program before this one can be gone back to. A new database has
// nothing to copy. On PostgreSQL its operator makes back-ups.
//
// The copy is one moment of the database (VACUUM INTO), complete in itself, and
// for the owner only. Without room for it, or where it cannot be made, nothing
// is migrated.
func (d *DB) backup(ctx context.Context, version, next int64, log *slog.Logger) error {
	if d.path == "" || version == 0 || version >= next {
		return nil
	}
	if err := d.roomForBackup(); err != nil {
		return err
	}
	began := time.Now()
	to := fmt.Sprintf("%s%s%04d", d.path, backupMark, next)
	made, err := d.copyTo(ctx, to, version)
	if err != nil {
		return fmt.Errorf("the database is about to be updated, and cannot be copied before: %w", err)
	}
	if made {
		log.InfoContext(ctx, "copied database before its update", "from", version, "to", to, "took", time.Since(began))
	}
	return tidyBackups(d.path)
}

// backupMark begins what the name of a copy adds to that of the database; the
// number of a schema follows.
const backupMark = ".before-"

// isBackup reports whether a file has the name of one of our copies of the
// database base. Others that are like it are the operator's.
func isBackup(base, name string) bool {
	number, ok := strings.CutPrefix(name, base+backupMark)
	return ok && len(number) == 4 && strings.Trim(number, "0123456789") == ""
}

// roomForBackup fails where a copy, which is at most as large as the file and
// its log, would fill the disk.
func (d *DB) roomForBackup() error {
	need := int64(backupSpare)
	for _, name := range []string{d.path, d.path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			need += info.Size()
		}
	}
	free, known := freeBytes(filepath.Dir(d.path))
	if known && free < need {
		return fmt.Errorf("the database is about to be updated, and there is no room for a copy before: %s needs %d MiB and has %d free; make room, and start again",
			filepath.Dir(d.path), need>>20, free>>20)
	}
	return nil
}

// copyTo makes the copy under another name first: what stands under the name
// of a copy is whole. made is false where another process has brought the
// database up to date meanwhile, and so has made the copy before.
func (d *DB) copyTo(ctx context.Context, to string, version int64) (made bool, err error) {
	// Made here, since SQLite would let others read what it makes: it holds the
	// root secret.
	file, err := os.CreateTemp(filepath.Dir(to), filepath.Base(d.path)+".copying-*")
	if err != nil {
		return false, err
	}
	defer func() {
		if !made {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	defer file.Close()
	crash.Point("db.backup")
	if _, err := d.writer.ExecContext(ctx, `VACUUM INTO $1`, file.Name()); err != nil {
		return false, err
	}
	if copied, err := schemaOf(ctx, file.Name()); err != nil || copied != version {
		return false, err
	}
	crash.Point("db.backup.copied")
	if err := file.Sync(); err != nil {
		return false, err
	}
	crash.Point("db.backup.synced")
	if err := os.Rename(file.Name(), to); err != nil {
		return false, err
	}
	crash.Point("db.backup.renamed")
	return true, nil
}

// schemaOf reads the schema version in a file, and so proves that it can be
// read.
func schemaOf(ctx context.Context, path string) (version int64, err error) {
	pool, err := openPool(dsn(path, commonParams(readerCache)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	err = pool.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return version, err
}

// tidyBackups removes all copies but the newest, and what is left of those that
// were never finished.
func tidyBackups(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	var copies []string // ascending: ReadDir sorts, and the numbers have four digits
	for _, e := range entries {
		name := filepath.Join(filepath.Dir(path), e.Name())
		switch info, err := e.Info(); {
		case err != nil:
		case isBackup(filepath.Base(path), e.Name()):
			copies = append(copies, name)
		case strings.HasPrefix(e.Name(), filepath.Base(path)+".copying-") && time.Since(info.ModTime()) > backupStale:
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, name := range slices.Clip(copies)[:max(0, len(copies)-backupsKept)] {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
