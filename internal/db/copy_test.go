package db_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu/internal/db"
)

// A backup is taken while others write, and is a database of its own.
func TestBackupWhileOthersWrite(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "a.db")
	d, err := db.Open(ctx, url, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write := func(statement string) {
		t.Helper()
		if err := d.Tx(ctx, func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
			t.Fatal(err)
		}
	}
	write(`CREATE TABLE t (n bigint)`)
	write(`INSERT INTO t VALUES (7)`)

	file := filepath.Join(dir, "copy.db")
	if err := db.Backup(ctx, url, file); err != nil {
		t.Fatal(err)
	}
	write(`INSERT INTO t VALUES (8)`) // it is not in the way
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	copied, err := db.Open(ctx, "sqlite:"+file, db.Options{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	var n, sum int
	if err := copied.Read().QueryRow(`SELECT count(*), sum(n) FROM t`).Scan(&n, &sum); err != nil || n != 1 || sum != 7 {
		t.Errorf("%d rows, sum %d, %v", n, sum, err)
	}

	for name, c := range map[string]struct{ url, file, want string }{
		"a file that is there": {url, file, "is there already"},
		"no database":          {"sqlite:" + filepath.Join(dir, "none.db"), filepath.Join(dir, "x"), "there is no database yet"},
		"another engine":       {"postgres://u:secret@h/n", filepath.Join(dir, "x"), "pg_dump"},
		"no folder":            {url, filepath.Join(dir, "none", "x"), "write backup"},
	} {
		if err := db.Backup(ctx, c.url, c.file); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".backup-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
