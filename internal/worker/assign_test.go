package worker

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	first := b.assign(t, "job_1", pushed(2))
	b.until(t, "job_1", isRunning)
	held, err := b.find("job_1")
	if err != nil {
		t.Fatal(err)
	}
	if again := b.assign(t, "job_1", pushed(2)); again.Attempt != 2 || !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("the same attempt began again: %+v", again)
	}
	_, err = b.client.Assign(t.Context(), "job_1", pushed(1))
	wantCode(t, err, apigpu.StaleAttempt)

	bad := pushed(3)
	bad.Subtitle = nil
	_, err = b.client.Assign(t.Context(), "job_1", bad)
	wantCode(t, err, apigpu.SubtitleEmpty)
	if held.public().Status.Final() {
		t.Error("an assignment that is refused ended the one before")
	}

	if newer := b.assign(t, "job_1", pushed(3)); newer.Attempt != 3 {
		t.Errorf("attempt %d", newer.Attempt)
	}
	select {
	case <-held.ended:
	default:
		t.Error("two attempts run at once")
	}
	if s := held.public().Status; s != apigpu.JobCanceled {
		t.Errorf("the older attempt is %s", s)
	}
	if _, err := os.Stat(held.dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	if folders := names(t, b.dir); len(folders) != 1 {
		t.Errorf("folders %q", folders)
	}
}

func TestSameMessageManyTimes(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Slots = 10 })
	var wg sync.WaitGroup
	for n := range 20 { // ten of each of two attempts, crossing
		wg.Go(func() {
			_, err := b.client.Assign(context.WithoutCancel(t.Context()), "job_1", pushed(1+n%2))
			if err != nil && apigpu.CodeOf(err) != apigpu.StaleAttempt {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	j := b.until(t, "job_1", isRunning)
	if folders := names(t, b.dir); j.Attempt != 2 || len(folders) != 1 {
		t.Errorf("attempt %d, folders %q", j.Attempt, folders)
	}
}

func TestAssignRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for name, c := range map[string]struct {
		edit func(*apigpu.Assignment)
		code apigpu.Code
	}{
		"attempt 0":                {func(a *apigpu.Assignment) { a.Attempt = 0 }, apigpu.InvalidRequest},
		"no deadline":              {func(a *apigpu.Assignment) { a.DeadlineSeconds = 0 }, apigpu.InvalidRequest},
		"no subtitles":             {func(a *apigpu.Assignment) { a.Subtitle = nil }, apigpu.SubtitleEmpty},
		"a page for subtitles":     {func(a *apigpu.Assignment) { a.Subtitle = []byte("<!doctype html><html></html>") }, apigpu.SubtitleNotText},
		"neither address nor push": {func(a *apigpu.Assignment) { a.Push = false }, apigpu.InvalidRequest},
		"address and push":         {func(a *apigpu.Assignment) { a.Spec.URLVideo = "http://127.0.0.1/" }, apigpu.InvalidRequest},
		"a file":                   {func(a *apigpu.Assignment) { a.Push, a.Spec.URLVideo = false, "file:///etc/passwd" }, apigpu.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			a := pushed(1)
			c.edit(&a)
			_, err := b.client.Assign(t.Context(), "job_1", a)
			wantCode(t, err, c.code)
		})
	}
	for _, id := range []string{"..%2Fx", "%2e%2e%2f%2e%2e%2fetc", "a%2Fb", "a.b", "a*b", "a%00b", "%C3%A9", strings.Repeat("a", 65)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+"/jobs/"+id, strings.NewReader(`{"attempt":1}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", id, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for _, message := range []string{"", "[]", "{", `{"attempt":"1"}`} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+"/jobs/job_1", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", message, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A worker alone keeps no keys and calls nobody, and says so.
func TestPromisesOfAnOrchestrator(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	spec := apigpu.CaptionSpec{URLVideo: "http://127.0.0.1:1/v.mp4", SRT: oneCue}
	for field, r := range map[string]client.Request{
		"Idempotency-Key": {Spec: spec, IdempotencyKey: "k"}, "webhook_url": {Spec: spec, WebhookURL: "https://n8n.example/"},
	} {
		_, err := b.client.Caption(t.Context(), r)
		if e := apigpu.AsError(err); apigpu.CodeOf(err) != apigpu.InvalidRequest || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.mu.Lock()
	b.proven, b.unfit = false, "it is proving its encoder"
	b.mu.Unlock()
	_, err := b.client.Assign(t.Context(), "job_1", pushed(1))
	if e := wantCode(t, err, apigpu.Unavailable); !e.Retryable {
		t.Error("a worker that starts is worth another try")
	}
	b.mu.Lock()
	b.proven, b.unfit = true, "there is no font"
	b.mu.Unlock()
	_, err = b.client.Assign(t.Context(), "job_1", pushed(1))
	wantCode(t, err, apigpu.NoEncoder)
}

// Who renews the lease of a worker that proves itself hears of the end of the
// proof as soon as it comes, and of a long one that it goes on.
func TestLeaseAwaitsTheProof(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.mu.Lock()
	b.proven, b.unfit = false, "it is proving its encoder"
	b.mu.Unlock()
	ask := func() apigpu.LeaseReply {
		reply, err := b.client.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 1, TTLSeconds: 60})
		if err != nil {
			t.Error(err)
		}
		return reply
	}
	if reply := ask(); reply.Ready || reply.Reason != "it is proving its encoder" {
		t.Errorf("a proof that goes on: %+v", reply)
	}
	replies := make(chan apigpu.LeaseReply)
	go func() { replies <- ask() }()
	b.mu.Lock()
	b.proven, b.unfit = true, ""
	close(b.tried)
	b.mu.Unlock()
	if reply := <-replies; !reply.Ready || reply.UptimeSeconds <= 0 {
		t.Errorf("a proof that ended: %+v", reply)
	}
}

func TestRequireGPU(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := pushed(1)
	a.RequireGPU = true
	b.assign(t, "job_1", a)
	j := b.final(t, "job_1")
	if j.Status != apigpu.Failed || j.Error.Code != apigpu.NoEncoder {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := pushed(1)
	a.DeadlineSeconds = 0.05
	b.assign(t, "job_1", a)
	if j := b.final(t, "job_1"); j.Status != apigpu.Failed || j.Error.Code != apigpu.JobTimeout {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	a.DeadlineSeconds = 1e300 // must not become a time in the past
	b.assign(t, "job_2", a)
	b.until(t, "job_2", isRunning)
}

func TestSlots(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	b.until(t, "job_1", isRunning)
	b.assign(t, "job_2", pushed(1))
	short := pushed(1)
	short.DeadlineSeconds = 0.05
	b.assign(t, "job_3", short)
	if j := b.final(t, "job_3"); j.Status != apigpu.JobExpired || j.Error.Code != apigpu.QueueExpired {
		t.Errorf("without a slot: %s %v", j.Status, j.Error)
	}
	if j, err := b.client.Job(t.Context(), "job_2", 0); err != nil || j.Status != apigpu.Queued {
		t.Fatalf("the second of one slot is %s, %v", j.Status, err)
	}
	if err := b.client.Delete(t.Context(), "job_1"); err != nil {
		t.Fatal(err)
	}
	b.until(t, "job_2", isRunning)
	if j, err := b.client.Cancel(t.Context(), "job_2"); err != nil || j.Status != apigpu.JobCanceled {
		t.Errorf("%s %v", j.Status, err)
	}
	_, err := b.client.Cancel(t.Context(), "job_2")
	wantCode(t, err, apigpu.Conflict)
	_, err = b.client.Job(t.Context(), "job_1", 0)
	wantCode(t, err, apigpu.JobNotFound)
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestPanicEndsOneJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Fetch = nil }) // a download panics
	a := pushed(1)
	a.Push, a.Spec.URLVideo = false, "http://127.0.0.1:1/video.mp4"
	b.assign(t, "job_1", a)
	j := b.final(t, "job_1")
	if j.Status != apigpu.Failed || j.Error.Code != apigpu.Internal || strings.Contains(j.Error.Message, "nil") {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	b.assign(t, "job_2", pushed(1)) // the slot is free again
	b.until(t, "job_2", isRunning)
}

func TestCloseEndsJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.assign(t, "job_1", pushed(1))
	b.until(t, "job_1", isRunning)
	held, err := b.find("job_1")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if j := held.public(); j.Status != apigpu.Failed || j.Error.Code != apigpu.Unavailable {
		t.Errorf("%s %v", j.Status, j.Error)
	}
	_, err = b.client.Assign(t.Context(), "job_2", pushed(1))
	wantCode(t, err, apigpu.Unavailable)
	if left := names(t, b.dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNewClearsWhatIsItsOwn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "odd [name]*") // no pattern may be made of it
	for _, path := range []string{"job_1.1.123/input", "upload_123/x", "proof/fonts/x", "notes/keep"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := New(Config{WorkDir: dir, Slots: 1, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if left := names(t, dir); len(left) != 1 || left[0] != "notes" {
		t.Errorf("left: %q", left)
	}
}

func TestSweepForgets(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := pushed(1)
	a.RequireGPU = true
	b.assign(t, "job_1", a)
	b.final(t, "job_1")
	b.assign(t, "job_2", pushed(1))
	b.sweepOnce(time.Now().Add(keepAssigned + time.Minute))
	if _, err := b.find("job_1"); apigpu.CodeOf(err) != apigpu.JobNotFound {
		t.Error("a job that nobody fetched is kept for ever")
	}
	if _, err := b.find("job_2"); err != nil {
		t.Error("a job that goes on was forgotten")
	}
}
