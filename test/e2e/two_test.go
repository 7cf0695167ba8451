package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/test/need"
)

// What the second orchestrator is allowed, once the first is gone.
const (
	afterTerm = 5 * time.Second
	afterKill = 20 * time.Second
	// busy is what this machine, with other tests on it, may add.
	busy = 15 * time.Second
)

// TestStandby runs two orchestrators on one SQLite file, as a redeploy does:
// the second serves, and goes on with the jobs when the first is gone.
func TestStandby(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(*server)
		within time.Duration
	}{
		"terminated": {(*server).terminate, afterTerm},
		"killed":     {(*server).kill, afterKill},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			media, dir := t.TempDir(), t.TempDir()
			longVideo(t, media)
			base := files(t, media, 0)
			first := startIn(t, dir, "SHUTDOWN=keep")
			first.leads()
			second := startIn(t, dir)
			if got := second.health(); got != (health{"standby", "standby"}) {
				t.Errorf("the second is %+v", got)
			}
			job := second.submit(base+"/v.mp4", base+"/s.srt") // through the row
			first.until(job.ID, "the first drives it", renders)
			second.until(job.ID, "the second sees it", renders)
			canceled := second.submit(base+"/v.mp4", base+"/s.srt")
			if _, err := second.client().Cancel(t.Context(), canceled.ID); err != nil {
				t.Errorf("cancel: %v", err)
			}
			began := time.Now()
			c.end(first)
			second.becomes("leader", c.within+busy)
			t.Logf("took over within %s", time.Since(began))
			done := second.final(job.ID, time.Minute)
			second.wants(done)
			if done.Attempt != 1 {
				t.Errorf("attempt %d, want the first to go on", done.Attempt)
			}
		})
	}
}

// TestTwoOnPostgres runs two orchestrators on one PostgreSQL, with a worker
// that somebody else runs: both serve and drive, and when the one that drives
// is killed the other finishes its job.
func TestTwoOnPostgres(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media, dir := t.TempDir(), t.TempDir()
	longVideo(t, media)
	base := files(t, media, 0)
	workers := [2]string{freePort(t), freePort(t)}
	for _, port := range workers {
		startWorker(t, port)
	}
	env := []string{
		"DATABASE_URL=" + dbtest.PostgresURL(t), "SHARED_FILES=1", "PROVIDER=static", "WORKER_TOKEN=a-token", "WORKER_KEY=a-worker-key",
		"WORKER_URL=http://127.0.0.1:" + workers[0] + ",http://127.0.0.1:" + workers[1],
	}
	first := startIn(t, dir, env...)
	first.leads()
	second := startIn(t, dir, env...)
	second.becomes("member", 20*time.Second)
	if got := second.health().Status; got != "ok" {
		t.Errorf("the second is %s", got)
	}
	// More jobs than workers, at both doors.
	var ids []string
	for n := range 4 {
		ids = append(ids, []*server{first, second}[n%2].submit(base+"/v.mp4", base+"/s.srt").ID)
	}
	second.until(ids[0], "it renders", renders)
	first.kill()
	second.becomes("leader", afterKill+busy)
	for _, id := range ids {
		done := second.final(id, 2*time.Minute)
		if second.succeeded(done); done.Attempt != 1 {
			t.Errorf("attempt %d, want the first to go on", done.Attempt)
		}
	}
	// Both were asked to, and both did: each names its jobs in its log.
	log, err := os.ReadFile(second.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte("job runs")) {
		t.Error("the second drove nothing")
	}
	// A first that comes again finds a leader, and drives all the same.
	first.run()
	first.becomes("member", 20*time.Second)
	third := first.submit(base+"/v.mp4", base+"/s.srt")
	second.terminate()
	first.becomes("leader", afterTerm+busy)
	first.succeeded(first.final(third.ID, time.Minute))
}

// TestRestored puts the database of before the end of a job back, as an
// operator does from a backup: every machine is adopted, and the job is done
// once more, whole.
func TestRestored(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := t.TempDir()
	longVideo(t, media)
	base := files(t, media, 0)
	s := start(t)
	job := s.submit(base+"/v.mp4", base+"/s.srt")
	s.until(job.ID, "it renders", renders)
	s.kill()
	backup := t.TempDir()
	copyDatabase(t, filepath.Join(s.dir, "data"), backup)
	s.run()
	s.wants(s.final(job.ID, 2*time.Minute))
	later := s.submit(base+"/v.mp4", base+"/s.srt") // which the backup does not know
	s.until(later.ID, "it renders", renders)
	s.kill()
	copyDatabase(t, backup, filepath.Join(s.dir, "data"))
	s.run()
	s.succeeded(s.final(job.ID, 3*time.Minute))
}

// copyDatabase replaces a database by another, as they are after a crash.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"api-gpu.db", "api-gpu.db-wal", "api-gpu.db-shm"} {
		raw, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), raw, 0o600)
		} else if os.IsNotExist(err) {
			err = os.RemoveAll(filepath.Join(to, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
