package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// soaks reports whether there is time for all of a table (CRASH_ALL=1, make
// soak): make test tries a part, since nearly all of it is waiting.
func soaks() bool { return os.Getenv("CRASH_ALL") == "1" }

// lookTimeout bounds one look at an orchestrator, which a test repeats.
const lookTimeout = 15 * time.Second

// gpus is what GET /gpus says; empty while it does not answer.
func (s *server) gpus() apigpu.GPUs {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), lookTimeout)
	defer cancel()
	g, _ := s.client().GPUs(ctx, false)
	return g
}

// warned reports whether a warning of /health has these words.
func (s *server) warned(words string) bool {
	s.t.Helper()
	resp, err := http.Get(s.url + "/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var h struct{ Warnings []string }
	if json.NewDecoder(resp.Body).Decode(&h) != nil {
		return false
	}
	return slices.ContainsFunc(h.Warnings, func(w string) bool { return strings.Contains(w, words) })
}

// stopped waits until everybody who must know is told that nothing is rented:
// the operator by GET /gpus and by /health, and who sent the job by its note.
func (s *server) stopped(code, job, note string) {
	s.t.Helper()
	eventually(s.t, time.Minute, "GET /gpus has the stop "+code, func() bool {
		return slices.ContainsFunc(s.gpus().Stops, func(stop apigpu.GPUStop) bool { return stop.Code == code })
	})
	eventually(s.t, lookTimeout, "/health has the stop "+code, func() bool { return s.warned("nothing is rented (" + code + ")") })
	s.until(job, "the job is told: "+note, func(j apigpu.Job) bool {
		return j.Phase == apigpu.WaitingGPU && strings.Contains(j.PhaseNote, note)
	})
}

// goesOn waits until no stop is left, and so no warning of one.
func (s *server) goesOn() {
	s.t.Helper()
	eventually(s.t, time.Minute, "nothing is stopped", func() bool {
		g := s.gpus()
		return g.Object != "" && len(g.Stops) == 0 && !s.warned("nothing is rented")
	})
}

// ledger opens the database of an orchestrator that may run.
func (s *server) ledger() *sql.DB {
	s.t.Helper()
	d, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "api-gpu.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { d.Close() })
	return d
}

// open counts the jobs that have not ended; as one where nobody tells.
func (s *server) open() int {
	resp, err := http.Get(s.url + "/health")
	if err != nil {
		return 1
	}
	defer resp.Body.Close()
	h := struct{ Jobs struct{ Queued, Running int } }{}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&h) != nil {
		return 1
	}
	return h.Jobs.Queued + h.Jobs.Running
}
