package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// data is where the database is, and the results.
func (s *server) data() string { return filepath.Join(s.dir, "data") }

// loses kills the orchestrator while a job runs on a rented machine, and its
// database is lost with it. It returns the fleet that was.
func (r *rental) loses(base string) (id string) {
	r.t.Helper()
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.until(job.ID, "it renders", renders)
	id = r.gpus().Fleet
	r.kill()
	if err := os.RemoveAll(r.data()); err != nil {
		r.t.Fatal(err)
	}
	r.run()
	return id
}

// TestVastLostDatabase: with FLEET set, a server whose database is lost knows
// by their labels what it rented, ends it, and works on.
func TestVastLostDatabase(t *testing.T) {
	need.Long(t)
	t.Parallel()
	base := clip(t, 20)
	r := rent(t, quickBoot)
	r.loses(base)
	r.over(2*time.Minute, vastsim.TooOften)
	job := r.submit(base+"/v.mp4", base+"/s.srt")
	r.done(r.final(job.ID, 2*time.Minute))
	r.over(time.Minute, vastsim.TooOften)
	r.createdOnce()
}
