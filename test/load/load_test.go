// Package load sends an orchestrator, in a process of its own, more jobs than
// any server of its size will see, while clients hold event streams. The test
// is the clients: what it measures is what they see.
//
// make load holds the figures of the README. A short version, whose bounds only
// a collapse exceeds, runs with all tests.
package load

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/test/need"
)

// plan is what is sent, for how long, and what it may take.
type plan struct {
	submits int // a second
	reads   int // GET /jobs/{id} a second
	streams int // clients that hold event streams
	last    time.Duration

	maxSubmit time.Duration // 99th percentile
	maxRead   time.Duration // 99th percentile
	flat      bool          // whether memory must not grow
}

// figures are those that make load holds.
var figures = plan{
	submits: 200, reads: 100, streams: 1000, last: time.Minute,
	maxSubmit: 50 * time.Millisecond, maxRead: 20 * time.Millisecond, flat: true,
}

// collapse is the short run: under the race detector, beside other tests.
var collapse = plan{
	submits: 40, reads: 40, streams: 200, last: 10 * time.Second,
	maxSubmit: 15 * time.Second, maxRead: 15 * time.Second,
}

// thisPlan is figures in make load, else collapse.
func thisPlan(t *testing.T) plan {
	t.Helper()
	need.FFmpeg(t) // makes the video that the jobs name
	if os.Getenv("LOAD") != "full" {
		need.Long(t)
		t.Parallel()
		return collapse
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Skip("measures by /proc, which this system lacks")
	}
	t.Logf("%d cores, load average %s", runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "))
	return figures
}

// TestSQLite is one orchestrator whose one worker is not there: all jobs wait.
func TestSQLite(t *testing.T) {
	c := newCrowd(t, thisPlan(t), start(t, t.TempDir(), absent(t)...))
	c.run(t, nil)
	o := c.targets[0]
	o.kill() // what was answered survives that
	o.run()
	c.lost(t, o)
}

// TestSQLiteWorking is the same with a worker that renders some. It gets only
// the time that nobody else wants: workers run elsewhere.
func TestSQLiteWorking(t *testing.T) {
	c := newCrowd(t, thisPlan(t), start(t, t.TempDir(), worker(t)...))
	c.run(t, nil)
	c.lost(t, c.targets[0])
}

// TestPostgres is two orchestrators on one PostgreSQL, which syncs as it does
// by default. One is killed in the middle: its clients go on with the other.
func TestPostgres(t *testing.T) {
	p := thisPlan(t)
	url, dir := dbtest.PostgresURL(t), t.TempDir()
	durable(t, url)
	env := append(absent(t), "DATABASE_URL="+url, "SHARED_FILES=1")
	c := newCrowd(t, p, start(t, dir, env...), start(t, dir, env...))
	c.run(t, c.targets[0].kill)
	c.lost(t, c.targets[1])
}
