package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/test/need"
)

// clients is how many of them ask for work all the time while programs die.
const clients = 3

// kills is how often each program is killed in a row: KILLS, which make soak
// sets to 200.
func kills(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil && n > 0 {
		return n
	}
	return 5
}

// TestKillLoop kills a program again and again at random moments, against a
// stream of jobs: every one of them succeeds, once.
func TestKillLoop(t *testing.T) {
	need.Long(t)
	t.Parallel()
	media := crashMedia(t)
	for name, kill := range map[string]func(*rig, int){
		// The first is dead for as long as its lease holds in one of ten cases; in
		// the others that time is saved.
		"orchestrator": func(r *rig, n int) {
			time.Sleep(rand.N(2 * time.Second)) // the moment itself is what is tested
			_ = r.program.Process.Kill()
			<-r.died
			r.restart(n%10 != 9)
		},
		"worker": func(r *rig, n int) {
			r.someWorker(n)
			time.Sleep(rand.N(3 * time.Second))
			for _, p := range processes(r.dir) {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		},
		"both": func(r *rig, n int) {
			r.someWorker(n)
			time.Sleep(rand.N(3 * time.Second))
			for _, p := range processes(r.dir) {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
			_ = r.program.Process.Kill()
			<-r.died
			r.restart(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigOf(t, bin, media)
			r.until("the orchestrator answers", r.answers)
			began, times := time.Now(), kills(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			s := r.stream(ctx)
			for n := range times {
				r.now = fmt.Sprintf("kill %d of %d", n+1, times)
				kill(r, n)
			}
			stop()
			r.until("all jobs have ended", s.over)
			s.check(r)
			r.finish()
			t.Logf("%d kills in %s: %d jobs succeeded; attempts: %v", times, time.Since(began).Round(time.Second), len(r.kept), s.attempts)
		})
	}
}

// someWorker waits for a worker, every other time for one that is ready, and
// every fifth time until one more job has ended: a job whose workers die ten
// times is given up, and workers that never get ready are started more and
// more seldom.
func (r *rig) someWorker(n int) {
	r.t.Helper()
	r.until("there is a worker", func() bool {
		return len(processes(r.dir)) > 0 && (n%2 == 0 || r.number(`SELECT count(*) FROM instances WHERE state = 'ready'`) > 0)
	})
	if n%5 != 4 {
		return
	}
	before := r.number(`SELECT count(*) FROM jobs WHERE status = 'succeeded'`)
	r.until("one more job has ended", func() bool {
		return r.number(`SELECT count(*) FROM jobs WHERE status = 'succeeded'`) > before
	})
}

// restart starts the orchestrator after its death.
func (r *rig) restart(age bool) {
	r.t.Helper()
	r.deaths++
	r.up()
	r.until("the orchestrator answers", r.answers)
	if age {
		r.age()
	}
}

// stream is clients that ask for one job after the other.
type stream struct {
	wg   sync.WaitGroup
	done chan struct{}

	mu       sync.Mutex
	jobs     map[string]apigpu.Job // by key, at their end
	faults   []string
	attempts map[int]int // how many jobs needed how many
}

// stream asks until ctx ends, and then waits for the jobs that were begun.
func (r *rig) stream(ctx context.Context) *stream {
	s := &stream{done: make(chan struct{}), jobs: map[string]apigpu.Job{}, attempts: map[int]int{}}
	for c := range clients {
		s.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("client %d, order %d", c, n)
				job := r.patiently(http.MethodPost, "/video/caption?wait=0", key)
				for id := job.ID; !job.Status.Final(); {
					time.Sleep(50 * time.Millisecond)
					if job = r.patiently(http.MethodGet, "/jobs/"+id+"?wait=0", ""); job.ID != id {
						s.fault("job %s became %q", id, job.ID)
						return
					}
				}
				s.mu.Lock()
				s.jobs[key] = job
				s.attempts[job.Attempt]++
				s.mu.Unlock()
			}
		})
	}
	go func() { defer close(s.done); s.wg.Wait() }()
	return s
}

func (s *stream) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *stream) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// check compares each job with what its key is answered now.
func (s *stream) check(r *rig) {
	r.t.Helper()
	for _, fault := range s.faults {
		r.t.Error(fault)
	}
	for key, job := range s.jobs {
		again := r.patiently(http.MethodPost, "/video/caption?wait=0", key)
		if job.Status != apigpu.Succeeded || again.ID != job.ID || again.Status != job.Status {
			r.t.Errorf("%s: job %s is %s (%v) after %d attempts; sent again it is job %s, %s",
				key, job.ID, job.Status, job.Error, job.Attempt, again.ID, again.Status)
			continue
		}
		r.kept[job.ID] = job.Video.SHA256
	}
	if len(s.jobs) == 0 {
		r.t.Error("no job ended")
	}
	r.until("every webhook is delivered", func() bool {
		return r.number(`SELECT count(*) FROM jobs WHERE webhook_status <> 'delivered'`) == 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.kept {
		if len(r.events[id]) == 0 {
			r.t.Errorf("nobody called for job %s", id)
		}
	}
}

// patiently asks until there is an answer that is about a job. It is called by
// many at once, and starts nothing again: who kills does.
func (r *rig) patiently(method, path, order string) (job apigpu.Job) {
	var body []byte
	if order != "" {
		body, _ = json.Marshal(map[string]any{"url_video": r.source + "/v.mp4", "srt": shortCue, "webhook_url": r.hook})
	}
	for wait := time.NewTicker(20 * time.Millisecond); ; <-wait.C {
		req, err := http.NewRequest(method, r.url+path, bytes.NewReader(body))
		if err != nil {
			return job
		}
		req.Header.Set("X-API-Key", key)
		if order != "" {
			req.Header.Set("Idempotency-Key", order)
		}
		resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
		if err != nil {
			continue
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode == http.StatusServiceUnavailable {
			continue
		}
		if order == "" {
			_ = json.Unmarshal(raw, &job)
			return job
		}
		var result apigpu.Result
		_ = json.Unmarshal(raw, &result)
		return result.Job
	}
}
