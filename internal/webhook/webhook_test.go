package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	newSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	oldSecret = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

// rig is a queue with a sender that runs until the test ends, or stop.
type rig struct {
	testing.TB
	queue  *queue.Queue
	sender *Sender
	log    *safeBuffer
	stop   func()
}

// safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newRig(t testing.TB, d *db.DB, now func() time.Time) *rig {
	t.Helper()
	secrets, err := ParseSecrets(newSecret + "," + oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	f := fetch.New(fetch.Options{AllowHosts: []string{"127.0.0.1"}})
	t.Cleanup(f.Close)
	r := &rig{TB: t, queue: queue.New(d, now), log: &safeBuffer{}}
	r.sender = New(Config{
		May:   func() bool { return true },
		Queue: r.queue, Fetch: f, Secrets: secrets, Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: now,
		Show: func(base string, j apigpu.Job) apigpu.Job { j.VideoURL = base + "/files/" + j.ID; return j },
	})
	return r
}

func (r *rig) run() {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- r.sender.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(r.stop)
}

// end makes a job that calls this address, and ends it.
func (r *rig) end(address string) string {
	r.Helper()
	j, err := r.queue.Submit(r.Context(), queue.Draft{
		Client: "ann", Subtitle: []byte("1"), WebhookURL: address, Base: "https://video.example", WaitFor: 100 * time.Hour, RunFor: time.Hour, KeepFor: time.Hour,
	})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.queue.Cancel(r.Context(), j.ID); err != nil {
		r.Fatal(err)
	}
	return j.ID
}

// until waits for what a job shows of its webhook.
func (r *rig) until(id string, holds func(w *apigpu.Webhook) bool) *apigpu.Webhook {
	r.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		j, err := r.queue.Job(r.Context(), id)
		if err != nil {
			r.Fatal(err)
		}
		if holds(j.Webhook) {
			return j.Webhook
		}
		if time.Now().After(deadline) {
			r.Fatalf("it stays %+v\n%s", j.Webhook, r.log)
		}
		time.Sleep(5 * time.Millisecond) // outcomes spread no news
	}
}

func delivered(w *apigpu.Webhook) bool { return w.Status == apigpu.WebhookDelivered }
func judged(w *apigpu.Webhook) bool {
	return w.Status != apigpu.WebhookPending || w.LastError != ""
}

// received is one call, as a receiver sees it.
type received struct {
	id, path string
	message  message
}

// receiver checks each call with the public library and both secrets, and
// answers as it is told.
func receiver(t testing.TB, answer http.HandlerFunc) (address string, calls <-chan received) {
	t.Helper()
	ch := make(chan received, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s of %s: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		for _, secret := range []string{newSecret, oldSecret} {
			verifier, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Error(err)
				return
			}
			if err := verifier.VerifyIgnoringTimestamp(body, r.Header); err != nil {
				t.Errorf("signature: %v", err)
			}
			if err := verifier.VerifyIgnoringTimestamp(append(body, ' '), r.Header); err == nil {
				t.Error("the signature covers any body")
			}
		}
		ch <- received{r.Header.Get("webhook-id"), r.URL.RequestURI(), decodeMessage(t.(*testing.T), body)}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s.URL, ch
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.SQLite(t), time.Now)
	address, calls := receiver(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Accepted") })
	early := r.end(address + "/webhook-waiting/231?signature=s3cret") // before it runs
	r.run()
	late := r.end(address + "/second")
	for _, id := range []string{early, late} {
		w := r.until(id, delivered)
		if w.Tries != 1 || w.LastError != "" || w.NextAt != nil {
			t.Errorf("shows %+v", w)
		}
	}
	got := map[string]received{}
	for range 2 {
		c := <-calls
		got[c.path] = c
	}
	for id, path := range map[string]string{early: "/webhook-waiting/231?signature=s3cret", late: "/second"} {
		c := got[path]
		if c.id != "msg_"+strings.TrimPrefix(id, "job_") || c.message.Type != "job.canceled" || c.message.Data.ID != id || c.message.Data.VideoURL != "https://video.example/files/"+id {
			t.Errorf("received %+v", c)
		}
	}
	r.stop()
	if log := r.log.String(); strings.Contains(log, "s3cret") || !strings.Contains(log, strings.TrimPrefix(address, "http://")) {
		t.Errorf("the log tells more than the host, or not even that:\n%s", log)
	}
}

// A receiver that fails, redirects and lies.
func TestReceiversThatDoNotTakeIt(t *testing.T) {
	t.Parallel()
	elsewhere, others := receiver(t, status(200))
	raw := func(text string) http.HandlerFunc { // whatever it says, and the end of the connection
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   apigpu.WebhookStatus
		says   string
	}{
		"fails":               {status(500), apigpu.WebhookPending, "answered 500"},
		"is not there yet":    {status(409), apigpu.WebhookPending, "answered 409"},
		"is gone":             {status(410), apigpu.WebhookFailed, "answered 410"},
		"knows no such token": {status(401), apigpu.WebhookFailed, "answered 401"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		}, apigpu.WebhookPending, "redirects are not followed"},
		"redirects into our house": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, apigpu.WebhookPending, "redirects are not followed"},
		"hangs up":                  {raw(""), apigpu.WebhookPending, "broke off"},
		"speaks another protocol":   {raw("SSH-2.0-OpenSSH\r\n"), apigpu.WebhookPending, "could not be read"},
		"talks without end":         {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), apigpu.WebhookPending, ""},
		"hangs":                     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, apigpu.WebhookPending, "did not answer in time"},
		"promises more than it has": {raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nnothing"), apigpu.WebhookDelivered, ""},
		"takes it and never ends": {func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, apigpu.WebhookDelivered, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dbtest.SQLite(t), time.Now)
			if name == "hangs" {
				r.sender.timeout = 200 * time.Millisecond
			}
			r.run()
			address, _ := receiver(t, c.answer)
			w := r.until(r.end(address+"/hook?s3cret"), judged)
			if w.Status != c.want || !strings.Contains(w.LastError, c.says) || strings.Contains(w.LastError, "s3cret") {
				t.Errorf("shows %+v, want %s: %s", w, c.want, c.says)
			}
		})
	}
	t.Cleanup(func() {
		if len(others) > 0 {
			t.Error("a redirect was followed")
		}
	})
}

// A receiver that hangs holds up its own messages only, and few of them.
func TestOneSlowReceiverDelaysNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.SQLite(t), time.Now)
	release := make(chan struct{})
	var now, most atomic.Int64
	slow, calls := receiver(t, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		now.Add(-1)
	})
	quick, _ := receiver(t, status(200))
	var waiting []string
	for range 5 {
		waiting = append(waiting, r.end(slow))
	}
	r.run()
	for range perHost {
		<-calls
	}
	for range 3 {
		r.until(r.end(quick), delivered)
	}
	close(release)
	for _, id := range waiting {
		r.until(id, delivered)
	}
	if most.Load() != perHost {
		t.Errorf("%d tries at once to one host", most.Load())
	}
}

// Two processes on one database send each message once.
func TestTwoSendersSendOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	one, two := newRig(t, dbtest.Open(t, url), time.Now), newRig(t, dbtest.Open(t, url), time.Now)
	address, calls := receiver(t, status(200))
	var ids []string
	for range 20 {
		ids = append(ids, one.end(address))
	}
	one.run()
	two.run()
	for _, id := range ids {
		if w := one.until(id, delivered); w.Tries != 1 {
			t.Errorf("%d tries", w.Tries)
		}
	}
	if len(calls) != len(ids) {
		t.Errorf("%d calls for %d messages", len(calls), len(ids))
	}
}

// A process that is killed after the call and before it is recorded: the
// message comes again, under the same id.
func TestKilledBetweenCallAndRecord(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	url := dbtest.URL(t)
	killed := newRig(t, dbtest.Open(t, url), now)
	address, calls := receiver(t, status(200))
	id := killed.end(address)
	d, _, err := killed.sender.claim(t.Context(), nil)
	if err != nil || d.Try != 1 {
		t.Fatalf("claimed %+v, %v", d, err)
	}
	if a := killed.sender.send(t.Context(), d); a.status != 200 {
		t.Fatalf("answer %+v", a)
	}
	first := <-calls

	next := newRig(t, dbtest.Open(t, url), now)
	if other, _, err := next.sender.claim(t.Context(), nil); err != nil || other.Try != 0 {
		t.Fatalf("claimed %+v at the same time, %v", other, err)
	}
	later.Store(int64(time.Minute))
	next.run()
	if w := next.until(id, delivered); w.Tries != 2 {
		t.Errorf("%d tries", w.Tries)
	}
	if second := <-calls; second.id != first.id || second.message.Data.ID != id {
		t.Errorf("received %+v, then %+v", first, second)
	}
}

// A stop does not wait for a receiver that hangs, and the next start tries
// again at once.
func TestStopCutsTheCall(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	r := newRig(t, d, time.Now)
	var hang atomic.Bool
	hang.Store(true)
	address, calls := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			<-r.Context().Done()
		}
	})
	id := r.end(address)
	r.run()
	<-calls
	r.stop()
	hang.Store(false)
	again := newRig(t, d, time.Now)
	again.run()
	if w := again.until(id, delivered); w.Tries != 2 || w.LastError != "" {
		t.Errorf("shows %+v", w)
	}
}

// The whole schedule, in fake time: seven tries in about 18 hours, the last
// of which counts.
func TestSchedule(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64 // the try that is taken; 0 for none
	var tries atomic.Int64
	address, calls := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // a connection that is kept would keep fake time from moving
		if tries.Add(1) != taken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for _, last := range []int64{7, 0} {
		taken.Store(last)
		tries.Store(0)
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, dbtest.SQLite(t), time.Now)
			r.sender.poll = 24 * time.Hour // each look costs real time
			id := r.end(address)
			r.run()
			for try := 1; try < len(schedule); try++ {
				synctest.Wait() // the try is over
				w := r.until(id, func(*apigpu.Webhook) bool { return true })
				gap := time.Until(*w.NextAt)
				// Times are kept in milliseconds.
				if want := schedule[try]; w.Tries != try || gap < want-time.Millisecond || gap > want+want/10 {
					t.Fatalf("after try %d it shows %+v, the next in %s; want %s", try, w, gap, want)
				}
				time.Sleep(gap - time.Millisecond)
				synctest.Wait()
				if w := r.until(id, func(*apigpu.Webhook) bool { return true }); w.Tries != try {
					t.Fatalf("try %d comes too early", w.Tries)
				}
				time.Sleep(2 * time.Millisecond)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			j, err := r.queue.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			want := apigpu.WebhookFailed
			if last > 0 {
				want = apigpu.WebhookDelivered
			}
			if j.Webhook.Status != want || j.Webhook.Tries != len(schedule) {
				t.Errorf("it ended as %+v", j.Webhook)
			}
			r.stop()
		})
		ids := map[string]bool{}
		for range schedule {
			ids[(<-calls).id] = true
		}
		if len(calls) > 0 || len(ids) != 1 {
			t.Errorf("%d calls more, under the ids %v", len(calls), ids)
		}
	}
}
