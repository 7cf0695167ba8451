package e2e

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/api-gpu/api-gpu/test/need"
)

// leastUpdate is how many moments of an update have a name: the beginning and
// the end, four of the copy, and one after each migration.
const leastUpdate = 8

// TestCrashInAnUpdate kills the orchestrator at each moment of the start that
// brings the database of an earlier release up to date. What stands under the
// name of a copy is whole at once, and the next start finds a sound database,
// and copies it where it is not yet done.
func TestCrashInAnUpdate(t *testing.T) {
	need.Long(t)
	t.Parallel()
	bin, err := crashBin()
	if err != nil {
		t.Fatal(err)
	}
	whole := newUpdate(t)
	whole.start(bin)
	whole.updated()
	points := whole.passed()
	if len(points) < leastUpdate {
		t.Errorf("only %d points are passed: %v", len(points), points)
	}
	count := map[string]int{}
	for _, name := range points {
		count[name]++
		at := fmt.Sprintf("%s#%d", name, count[name])
		t.Run(strings.ReplaceAll(at, "#", "-"), func(t *testing.T) {
			t.Parallel()
			u := newUpdate(t)
			write(t, u.points, "at", at)
			u.dies(bin)
			u.copied(slices.Contains([]string{"db.backup.renamed", "db.migrate.one", "db.migrated"}, name))
			u.start(bin)
			u.updated()
		})
	}
}

// update is an orchestrator that finds the database of an earlier release.
type update struct {
	*server
	points string // the folder of its points
	file   string // the database
}

// oldSchema is that of the earlier release, and oldCopy what its copy is called.
const (
	oldSchema = 6
	oldCopy   = ".before-0007"
)

func newUpdate(t *testing.T) *update {
	t.Helper()
	dir := t.TempDir()
	u := &update{points: filepath.Join(dir, "points"), file: filepath.Join(dir, "data", "api-gpu.db")}
	for _, folder := range []string{u.points, filepath.Dir(u.file)} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d := u.open(t, u.file)
	provider, err := goose.NewProvider(goose.DialectSQLite3, d, os.DirFS("../../internal/db/migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), oldSchema); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ExecContext(t.Context(), `INSERT INTO fleet (one, id, secret, epoch, holder, lease_until) VALUES (1, 'old', 'aa', 7, '', 0)`); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	u.server = newServer(t, dir, []string{"CRASH_DIR=" + u.points})
	t.Cleanup(u.end)
	return u
}

func (u *update) open(t testing.TB, file string) *sql.DB {
	t.Helper()
	d, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start starts it, and waits until it answers.
func (u *update) start(bin string) {
	u.t.Helper()
	u.begin(bin)
	eventually(u.t, patience, "the orchestrator answers", u.answers)
}

// dies starts it, and waits until it has killed itself.
func (u *update) dies(bin string) {
	u.t.Helper()
	u.begin(bin)
	cmd := u.cmd
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer late.Stop()
	_ = cmd.Wait()
	if u.cmd = nil; !diedOfKill(cmd.ProcessState) {
		u.t.Fatalf("it did not die there: %s", cmd.ProcessState)
	}
}

// passed are the points of the update that it passed, in their order.
func (u *update) passed() (points []string) {
	u.t.Helper()
	raw, err := os.ReadFile(filepath.Join(u.points, "trace"))
	if err != nil {
		u.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "db.") {
			points = append(points, name)
		}
	}
	if end := slices.Index(points, "db.migrated"); end >= 0 {
		points = points[:end+1]
	}
	return points
}

// updated wants a sound database of a later schema, with its fleet, beside the
// copy of what it was.
func (u *update) updated() {
	u.t.Helper()
	if schema := u.sound(u.file); schema <= oldSchema {
		u.t.Errorf("the database has schema %d", schema)
	}
	u.copied(true)
}

// copied wants a copy to be whole where it is there, and wants one where it must
// be there.
func (u *update) copied(must bool) {
	u.t.Helper()
	if _, err := os.Stat(u.file + oldCopy); err != nil {
		if must {
			u.t.Error("there is no copy")
		}
		return
	}
	if schema := u.sound(u.file + oldCopy); schema != oldSchema {
		u.t.Errorf("the copy has schema %d", schema)
	}
}

// sound wants a file to be a sound database with the fleet of the beginning, and
// returns its schema.
func (u *update) sound(file string) (schema int) {
	u.t.Helper()
	d := u.open(u.t, file)
	defer d.Close()
	var check, fleet string
	if err := d.QueryRowContext(u.t.Context(), `PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
		u.t.Errorf("%s: %s, %v", file, check, err)
	}
	err := d.QueryRowContext(u.t.Context(), `SELECT id, (SELECT max(version_id) FROM goose_db_version WHERE is_applied) FROM fleet`).Scan(&fleet, &schema)
	if err != nil || fleet != "old" {
		u.t.Errorf("%s is of fleet %q: %v", file, fleet, err)
	}
	return schema
}
