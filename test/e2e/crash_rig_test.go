package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look into the database of the programs

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/blob"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/queue"
	jobs "github.com/api-gpu/api-gpu/internal/server"
)

// rig is an orchestrator with its workers in a folder of its own: what dies is
// started again, and all that clients were promised is remembered.
type rig struct {
	*server
	bin    string // the folder of the programs
	now    string // the case, for messages
	then   point  // where the orchestrator dies once more, after a death
	media  string // the folder of the videos
	source string // the address that serves them
	hook   string // the address that takes webhooks

	database *postgres // nil on SQLite

	program *exec.Cmd     // the orchestrator
	died    chan struct{} // closed when it has ended
	stops   bool          // it was told to
	deaths  int
	again   bool // the job of this case may have to run again

	mu     sync.Mutex
	events map[string][]event // webhooks that came, by job
	early  []string           // those that came before the end of their job

	keys     int
	kept     map[string]string // job that succeeded → SHA-256 of its result
	canceled []string
}

// event is one message of a webhook.
type event struct{ id, kind, status string }

// patience is how long a case may take. On an idle machine it takes seconds.
const patience = 2 * time.Minute

// newRig is a rig of programs that can be told where to die.
func newRig(t testing.TB, media string, env ...string) *rig {
	t.Helper()
	bin, err := crashBin()
	if err != nil {
		t.Fatal(err)
	}
	return newRigOf(t, bin, media, env...)
}

// postgres is what a rig on PostgreSQL has of its own: a worker that somebody
// else runs, which is started again when it dies.
type postgres struct {
	url    string
	port   string
	worker *exec.Cmd
	died   chan struct{}
}

// newPostgresRig is newRig on PostgreSQL, with one worker that runs already.
func newPostgresRig(t testing.TB, media string) *rig {
	t.Helper()
	p := &postgres{url: dbtest.PostgresURL(t), port: freePort(t)}
	r := newRig(t, media, "DATABASE_URL="+p.url, "SHARED_FILES=1", "PROVIDER=static", "WORKER_TOKEN=a-token", "WORKER_KEY=a-worker-key",
		"WORKER_URL=http://127.0.0.1:"+p.port)
	r.database = p
	r.hire()
	return r
}

// hire starts the worker of a rig on PostgreSQL.
func (r *rig) hire() {
	r.t.Helper()
	p := r.database
	p.worker, p.died = exec.Command(filepath.Join(r.dir, "start-worker")), make(chan struct{})
	p.worker.Dir = r.dir
	p.worker.Env = append(os.Environ(), "HOST=127.0.0.1", "PORT="+p.port, "SESSION_TOKEN=a-token", "X_API_KEY=a-worker-key",
		"ALLOW_PRIVATE_HOSTS=127.0.0.1", "WORK_DIR="+filepath.Join(r.dir, "work"), "TMPDIR="+r.points("tmp"))
	if err := p.worker.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(p.died)
		_ = p.worker.Wait()
	}()
}

// dismiss ends that worker, if there is one.
func (r *rig) dismiss() {
	if p := r.database; p != nil {
		_ = p.worker.Process.Signal(syscall.SIGTERM)
		<-p.died
	}
}

// newRigOf is a rig of the programs in a folder.
func newRigOf(t testing.TB, bin, media string, env ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{bin: bin, media: media, events: map[string][]event{}, kept: map[string]string{}}
	for _, name := range append([]string{"tmp"}, programs...) {
		if err := os.Mkdir(filepath.Join(dir, "points-"+name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A worker of this machine gets little of our environment: a script adds
	// to it.
	script := fmt.Sprintf("#!/bin/sh\nexport CRASH_DIR=%s\nexec %s \"$@\" 2>>%s\n",
		filepath.Join(dir, "points-worker"), filepath.Join(bin, "worker"), filepath.Join(dir, "workers.log"))
	if err := os.WriteFile(filepath.Join(dir, "start-worker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r.server = newServer(t, dir, append([]string{"CRASH_DIR=" + filepath.Join(dir, "points-orchestrator"),
		"WORKER_BIN=" + filepath.Join(dir, "start-worker"), "TMPDIR=" + filepath.Join(dir, "points-tmp"), "MAX_GPUS=1"}, env...))
	r.source, r.hook = r.serveSource(), r.serveHooks()
	t.Cleanup(r.bury)
	r.up()
	return r
}

func (r *rig) points(program string) string { return filepath.Join(r.dir, "points-"+program) }

// up starts the orchestrator, and notes when it ends.
func (r *rig) up() {
	r.t.Helper()
	r.begin(r.bin)
	cmd, died := r.cmd, make(chan struct{})
	r.cmd, r.program, r.died, r.stops = nil, cmd, died, false
	go func() {
		defer close(died)
		_ = cmd.Wait()
	}()
}

// down tells the orchestrator to stop, and waits until it has ended, one way
// or the other.
func (r *rig) down() {
	r.t.Helper()
	r.stops = true
	_ = r.program.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.died:
	case <-time.After(patience):
		r.t.Fatalf("%s: the orchestrator does not stop", r.now)
	}
	if state := r.program.ProcessState; !diedOfKill(state) && !state.Success() {
		r.t.Errorf("%s: the orchestrator stopped with %s", r.now, state)
	}
}

// tend starts the orchestrator again if it has died.
func (r *rig) tend() {
	r.t.Helper()
	if p := r.database; p != nil {
		select {
		case <-p.died:
			r.hire()
		default:
		}
	}
	select {
	case <-r.died:
	default:
		return
	}
	if !r.stops && !diedOfKill(r.program.ProcessState) {
		r.t.Fatalf("%s: the orchestrator ended by itself: %s", r.now, r.program.ProcessState)
	}
	r.deaths++
	// What a worker was given it goes on with; what it was not, it loses.
	given, _ := r.passed("worker")
	r.again = r.again || r.stops || given["worker.assigned"] == 0
	if !r.stops && r.then != (point{}) {
		r.arm(r.then)
		r.then = point{}
	}
	r.up()
	r.until("the orchestrator answers", r.answers) // or dies again, and that is tended
	r.age()
}

// age lets the leases of the one that died run out: nothing but time is saved
// by that, 15 s and 30 s for each death.
func (r *rig) age() {
	r.t.Helper()
	r.query(func(d *sql.DB) error {
		if _, err := d.Exec(`UPDATE fleet SET lease_until = 0`); err != nil {
			return err
		}
		_, err := d.Exec(`UPDATE jobs SET webhook_due = 1 WHERE webhook_due > 1 AND finished_at IS NOT NULL`)
		return err
	})
}

// until waits until something holds, through deaths.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %s: %s", r.now, patience, what)
		}
		time.Sleep(20 * time.Millisecond)
		r.tend()
	}
}

// query looks into the database beside the program. It is never the last to
// close it: what a crash leaves is for the program to mend.
func (r *rig) query(do func(*sql.DB) error) {
	r.t.Helper()
	if err := r.look(do); err != nil {
		r.t.Fatalf("%s: look into the database: %v", r.now, err)
	}
}

// look is query for goroutines that must not end the test.
func (r *rig) look(do func(*sql.DB) error) error {
	driver, source := "sqlite", "file:"+filepath.Join(r.dir, "data", "api-gpu.db")+"?_pragma=busy_timeout(10000)"
	if r.database != nil {
		driver, source = "pgx", r.database.url
	}
	d, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Close())
}

// number reads one number from the database.
func (r *rig) number(query string, args ...any) (n int) {
	r.t.Helper()
	r.query(func(d *sql.DB) error { return d.QueryRow(query, args...).Scan(&n) })
	return n
}

// stalling is a video of which only the half comes.
const stalling = "/stalling.mp4"

// serveSource serves the videos.
func (r *rig) serveSource() string {
	folder := http.FileServer(http.Dir(r.media))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		span := req.Header.Get("Range")
		if req.URL.Path != stalling || span != "" && !strings.HasSuffix(span, "-") {
			folder.ServeHTTP(w, req)
			return
		}
		raw, err := os.ReadFile(filepath.Join(r.media, stalling))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		_, _ = w.Write(raw[:len(raw)/2])
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}))
	r.t.Cleanup(srv.Close)
	return srv.URL
}

// serveHooks takes webhooks, and looks whether each is true when it comes.
func (r *rig) serveHooks() string {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var message struct {
			Type string
			Data struct{ ID, Status string }
		}
		raw, err := io.ReadAll(req.Body)
		if err == nil {
			err = json.Unmarshal(raw, &message)
		}
		id := message.Data.ID
		var row string
		if err == nil {
			err = r.look(func(d *sql.DB) error {
				return d.QueryRow(`SELECT status FROM jobs WHERE id = $1`, id).Scan(&row)
			})
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil || row != message.Data.Status || !apigpu.Status(row).Final() {
			r.early = append(r.early, fmt.Sprintf("%s: %s for a row that is %q (%v)", id, message.Type, row, err))
		}
		r.events[id] = append(r.events[id], event{req.Header.Get("Webhook-Id"), message.Type, message.Data.Status})
	}))
	r.t.Cleanup(srv.Close)
	return srv.URL + "/hook"
}

// finish stops everything, and checks that nothing is left but what rows name.
func (r *rig) finish() {
	r.t.Helper()
	r.now += " (the end)"
	r.tend()
	r.until("the orchestrator leads", func() bool { return r.health().Role == "leader" })
	r.checkRows()
	r.down()
	r.dismiss()
	if left := processes(r.dir); len(left) > 0 {
		r.t.Errorf("processes are left: %v", left)
	}
	for _, dir := range []string{filepath.Join(r.dir, "data", "local"), filepath.Join(r.dir, "work"), r.points("tmp")} {
		if left := filesIn(r.t, dir); len(left) > 0 {
			r.t.Errorf("files are left in %s: %v", dir, left)
		}
	}
	r.checkFiles()
}

// checkRows compares the rows with what clients were told.
func (r *rig) checkRows() {
	r.t.Helper()
	if want, got := len(r.kept)+len(r.canceled), r.number(`SELECT count(*) FROM jobs`); got != want {
		r.t.Errorf("%d jobs, want %d", got, want)
	}
	for id, sum := range r.kept {
		if n := r.number(`SELECT count(*) FROM jobs WHERE id = $1 AND status = 'succeeded' AND blamed = 0 AND result <> '' AND video LIKE $2`, id, "%"+sum+"%"); n != 1 {
			r.t.Errorf("job %s is not what it was", id)
		}
	}
	for _, id := range r.canceled {
		if n := r.number(`SELECT count(*) FROM jobs WHERE id = $1 AND status = 'canceled' AND result = ''`, id); n != 1 {
			r.t.Errorf("job %s is not canceled any more", id)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range r.early {
		r.t.Errorf("webhook of %s", what)
	}
	for id, events := range r.events {
		for _, e := range events {
			if e != events[0] {
				r.t.Errorf("webhooks of job %s: %v", id, events)
			}
		}
	}
}

// checkFiles sweeps the files as the orchestrator does once they are old, and
// compares what is left with the rows.
func (r *rig) checkFiles() {
	r.t.Helper()
	url := "sqlite:" + filepath.Join(r.dir, "data", "api-gpu.db")
	if r.database != nil {
		url = r.database.url
	}
	d, err := db.Open(r.t.Context(), url, db.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	if d.Dialect() == db.SQLite {
		var integrity string
		if err := d.Read().QueryRow(`PRAGMA integrity_check`).Scan(&integrity); err != nil || integrity != "ok" {
			r.t.Errorf("integrity: %s %v", integrity, err)
		}
	}
	var live int
	if err := d.Read().QueryRow(`SELECT count(*) FROM instances WHERE state <> 'gone' AND permanent = 0`).Scan(&live); err != nil || live != 0 {
		r.t.Errorf("%d instances are not gone (%v)", live, err)
	}
	folder := filepath.Join(r.dir, "data", "files")
	old := time.Now().Add(-24 * time.Hour)
	for _, name := range filesIn(r.t, folder) {
		if err := os.Chtimes(filepath.Join(folder, name), old, old); err != nil {
			r.t.Fatal(err)
		}
	}
	store, err := blob.Open(folder, blob.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	q := queue.New(d, nil)
	keeper := &jobs.Jobs{Queue: q, Blob: store, Log: slog.New(slog.DiscardHandler), Now: d.Now}
	if err := keeper.KeepOnce(context.Background()); err != nil {
		r.t.Error(err)
	}
	needed, err := q.Files(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for key := range needed {
		if strings.HasSuffix(key, ".jpg") { // the place of a thumbnail, for which none of these jobs asked
			delete(needed, key)
		}
	}
	if len(needed) != len(r.kept) {
		r.t.Errorf("rows need %d files, want %d", len(needed), len(r.kept))
	}
	for _, name := range filesIn(r.t, folder) {
		key, _, _ := strings.Cut(filepath.Base(name), "~")
		if !strings.HasPrefix(name, "objects"+string(filepath.Separator)) || !needed[key] {
			r.t.Errorf("%s is left, and no row needs it", name)
		}
	}
	for key := range needed {
		if _, err := store.Stat(context.Background(), key); err != nil {
			r.t.Errorf("a row needs %s: %v", key, err)
		}
	}
}

// filesIn lists the files below a folder, by their paths from there.
func filesIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // there is no such folder
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// bury ends what a failed test leaves, and shows the logs.
func (r *rig) bury() {
	_ = r.program.Process.Kill()
	<-r.died
	if r.database != nil {
		_ = r.database.worker.Process.Kill()
		<-r.database.died
	}
	for _, p := range processes(r.dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	_ = r.log.Close()
	if !r.t.Failed() {
		return
	}
	r.t.Logf("the case: %s", r.now)
	for _, name := range []string{r.log.Name(), filepath.Join(r.dir, "workers.log")} {
		raw, _ := os.ReadFile(name)
		r.t.Logf("%s:\n%s", filepath.Base(name), tail(raw, 12000))
	}
}
