package dbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/test/need"
)

// server is the PostgreSQL of this process: started by the first test that
// needs one, and ended with the process.
var server struct {
	sync.Once
	folder string
	input  *os.File // the server goes when this is closed, by us or by our end
	err    error
	// strategy is how a template is copied: file by file, as every version did
	// before 15, which writes it through its log unless it is told.
	strategy string
}

// databases counts those that were made.
var databases atomic.Int64

const (
	templateName = "template_api_gpu"
	serverUser   = "postgres"
	startTimeout = time.Minute
)

// Postgres returns a migrated, empty PostgreSQL database of the test's own,
// and closes it at the end of the test. The test is skipped where there is no
// PostgreSQL.
func Postgres(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, PostgresURL(t))
}

// PostgresURL returns the url of a migrated, empty PostgreSQL database, which
// goes with the test.
func PostgresURL(t testing.TB) string {
	t.Helper()
	bin := need.Postgres(t)
	server.Do(func() { server.err = startServer(bin) })
	if server.err != nil {
		t.Fatal(server.err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := administer(`CREATE DATABASE ` + name + ` TEMPLATE ` + templateName + server.strategy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the databases were closed before, each by its own cleanup
		if err := administer(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return serverURL(name)
}

func serverURL(name string) string {
	u := url.URL{Scheme: "postgres", Host: "", Path: "/" + name, RawQuery: url.Values{"host": {server.folder}, "user": {serverUser}}.Encode()}
	return u.String()
}

// administer runs a statement that belongs to no database.
func administer(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, serverURL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// serverScript makes a cluster, runs its server, and ends it when its input
// does: at the latest with the process that holds the other end, whatever
// kills that. Nothing of it is worth a sync.
const serverScript = `
bin=$1; dir=$2
"$bin/initdb" -D "$dir/data" -U ` + serverUser + ` -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || exit 1
"$bin/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" -c fsync=off -c synchronous_commit=off \
	-c full_page_writes=off -c shared_buffers=32MB -c max_connections=300 >>"$dir/log" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$dir"/*
rmdir "$dir" 2>/dev/null
exit 0
`

// startServer runs a server on a socket in a folder of its own: it takes no
// port, and nobody else can reach it.
func startServer(bin string) error {
	base := ""
	if os.Geteuid() == 0 { // it runs as somebody who may not look into root's folders
		base = "/tmp"
	}
	folder, err := os.MkdirTemp(base, "pg") // short: a socket's path has at most 107 letters
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", serverScript, "sh", bin, folder)
	cmd.Dir, cmd.Stdin = folder, ours
	if err := asOther(cmd, folder); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	server.folder, server.input = folder, theirs
	if err := errors.Join(ours.Close(), awaitServer()); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log"))
		return fmt.Errorf("start PostgreSQL: %w\n%s", err, bytes.TrimSpace(log))
	}
	return makeTemplate()
}

// awaitServer waits until it takes connections.
func awaitServer() error {
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = administer(`SELECT 1`); err == nil {
			return nil
		}
	}
	return err
}

// makeTemplate migrates the database that the others are copies of: a copy
// costs less than the migrations.
func makeTemplate() error {
	if err := administer(`CREATE DATABASE ` + templateName); err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	d, err := db.Open(context.Background(), serverURL(templateName), db.Options{})
	if err != nil {
		return fmt.Errorf("make template: %w", err)
	}
	var version int
	err = d.Read().QueryRow(`SELECT current_setting('server_version_num')::int`).Scan(&version)
	if version >= 150000 {
		server.strategy = ` STRATEGY FILE_COPY`
	}
	return errors.Join(err, d.Close())
}
