package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

// key is the server's one key.
const key = "a-key-of-tests"

// giveUp is when a client stops trying: its job then counts as lost.
const giveUp = time.Minute

// crowd is all clients.
type crowd struct {
	plan    plan
	targets []*orchestrator
	source  string // address of the video
	http    *http.Client

	submitted, read times
	retried         atomic.Int64 // requests that were sent again
	refused         atomic.Int64 // streams that ended before they were to
	events          atomic.Int64

	mu     sync.Mutex
	jobs   map[string]string // Idempotency-Key → id of the answer
	recent []string          // ids
	faults []string
}

func newCrowd(t *testing.T, p plan, targets ...*orchestrator) *crowd {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &crowd{plan: p, targets: targets, source: source(t), http: &http.Client{Transport: transport}, jobs: map[string]string{}}
}

// run lets the clients come, first those that hold streams, and judges what
// they saw. half is called in the middle.
func (c *crowd) run(t *testing.T, half func()) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	var streams, rest sync.WaitGroup
	defer streams.Wait()
	defer leave()
	for n := range c.plan.streams {
		streams.Go(func() { c.hold(ctx, n) })
		time.Sleep(time.Second / time.Duration(2*c.plan.submits))
	}
	watch := watchAll(c.targets)
	c.submitted.reset() // what the streams submitted comes at another rate
	rest.Go(func() { c.every(ctx, c.plan.submits, func(n int, due time.Time) { c.submit(ctx, "job", n, due) }) })
	rest.Go(func() { c.every(ctx, c.plan.reads, c.look) })
	if half != nil {
		time.Sleep(c.plan.last / 2)
		half()
	}
	rest.Wait()
	usage := watch.end()
	leave()
	streams.Wait()
	c.report(t, usage)
	c.judge(t, usage)
}

// every calls do at a rate, each in a goroutine, whether or not the ones before
// have returned: clients do not wait for each other. due is when it was to
// begin, so that a pause of ours or of the server's counts.
func (c *crowd) every(ctx context.Context, rate int, do func(n int, due time.Time)) {
	var all sync.WaitGroup
	defer all.Wait()
	began := time.Now()
	for n := range rate * int(c.plan.last/time.Second) {
		due := began.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			return
		}
		all.Go(func() { do(n, due) })
	}
}

// submit asks for a job until it is answered, and returns its id.
func (c *crowd) submit(ctx context.Context, kind string, n int, due time.Time) (id string) {
	once := fmt.Sprintf("%s-%d", kind, n)
	body, _ := json.Marshal(map[string]string{
		"url_video": c.source, "srt": fmt.Sprintf("1\n00:00:00,000 --> 00:00:01,000\nJob %d of many\n", n),
	})
	c.insist(ctx, n, once, func(base string) error {
		var result apigpu.Result
		err := c.ask(ctx, http.MethodPost, base+"/video/caption", once, body, &result)
		id = result.Job.ID
		return err
	})
	c.submitted.add(time.Since(due))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[once] = id
	if id != "" {
		c.recent = append(c.recent, id)
	}
	return id
}

// look reads some job.
func (c *crowd) look(n int, due time.Time) {
	c.mu.Lock()
	id := c.recent[rand.N(len(c.recent))]
	c.mu.Unlock()
	c.insist(context.Background(), n, "look at "+id, func(base string) error {
		var job apigpu.Job
		err := c.ask(context.Background(), http.MethodGet, base+"/jobs/"+id, "", nil, &job)
		if err == nil && job.ID != id {
			err = fmt.Errorf("job %s came for %s", job.ID, id)
		}
		return err
	})
	c.read.add(time.Since(due))
}

// insist tries, at one orchestrator after another, until it is answered.
func (c *crowd) insist(ctx context.Context, n int, what string, try func(base string) error) {
	began := time.Now()
	for ; ; n++ {
		err := try(c.targets[n%len(c.targets)].url)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > giveUp {
			c.fault("%s: %v", what, err)
			return
		}
		c.retried.Add(1)
		if _, answered := errors.AsType[*refusal](err); answered || n%len(c.targets) == len(c.targets)-1 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// refusal is an answer that is none of ours to wait for.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// ask makes one request.
func (c *crowd) ask(ctx context.Context, method, url, once string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", key)
	if once != "" {
		req.Header.Set("Idempotency-Key", once)
		req.Header.Set("Prefer", "respond-async")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &refusal{resp.StatusCode, string(raw)}
	}
	return json.Unmarshal(raw, into)
}

// hold submits a job and holds its event stream, at another orchestrator when
// one is gone, until ctx ends or the job does.
func (c *crowd) hold(ctx context.Context, n int) {
	id := c.submit(ctx, "stream", n, time.Now())
	for ; ctx.Err() == nil && id != ""; n++ {
		done, err := c.follow(ctx, c.targets[n%len(c.targets)].url, id)
		if done || ctx.Err() != nil {
			return
		}
		if err != nil {
			c.refused.Add(1)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// follow reads events until the job or the stream ends.
func (c *crowd) follow(ctx context.Context, base, id string) (done bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/jobs/"+id+"/events", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-API-Key", key)
	resp, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, errors.New(resp.Status)
	}
	lines := bufio.NewReaderSize(resp.Body, 4096)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false, err
		}
		if strings.HasPrefix(line, "data: ") {
			c.events.Add(1)
			if strings.Contains(line, `"phase":"done"`) {
				return true, nil
			}
		}
	}
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// lost holds what was answered against what is there: each key has one job, and
// no job is there that nobody was told of.
func (c *crowd) lost(t *testing.T, o *orchestrator) {
	t.Helper()
	there := map[string]bool{}
	for next := "/jobs?limit=100"; next != ""; {
		var page apigpu.JobPage
		if err := c.ask(t.Context(), http.MethodGet, o.url+next, "", nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Data {
			there[j.ID] = true
		}
		if next = ""; page.NextCursor != "" {
			next = "/jobs?limit=100&cursor=" + page.NextCursor
		}
	}
	missing, made := 0, len(there)
	for _, id := range c.jobs {
		if !there[id] {
			missing++
		}
		delete(there, id)
	}
	t.Logf("%d requests for a job, %d jobs, %d lost, %d that nobody asked for", len(c.jobs), made, missing, len(there))
	if missing > 0 || len(there) > 0 {
		t.Errorf("%d of %d jobs are lost, and %d are there that nobody was told of", missing, len(c.jobs), len(there))
	}
}
