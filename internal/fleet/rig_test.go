package fleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/test/need"
)

func TestMain(m *testing.M) {
	need.Parallel(6)
	goleak.VerifyTestMain(m)
}

// workers are the workers of all instances: one small server that answers
// PUT /{label}/lease as a worker does.
type workers struct {
	url    string
	secret []byte

	mu     sync.Mutex
	silent map[string]bool
	unfit  map[string]string // label → why
	heard  map[string]int    // label → renewals
	locked bool              // nobody is known
	last   apigpu.LeaseRequest
	hook   func(label string) // runs before each answer
	// refusal is what each is told that asks, and info what each worker says
	// of itself; nil for the usual.
	refusal error
	info    func(label string) apigpu.WorkerInfo
}

func newWorkers(t *testing.T, secret []byte) *workers {
	w := &workers{secret: secret, silent: map[string]bool{}, unfit: map[string]string{}, heard: map[string]int{}}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

func (w *workers) address(label string) string { return w.url + "/" + label }

func (w *workers) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	label := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/lease")
	creds, err := link.Derive(w.secret, label)
	known := err == nil && r.Header.Get("X-Session-Token") == creds.Token && r.Header.Get("X-API-Key") == creds.Key
	w.mu.Lock()
	known = known && !w.locked
	silent, unfit, hook, refusal := w.silent[label], w.unfit[label], w.hook, w.refusal
	info := apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: gpuEncoder, Slots: 1}
	if w.info != nil {
		info = w.info(label)
	}
	if known && !silent {
		w.heard[label]++
		_ = json.NewDecoder(r.Body).Decode(&w.last)
	}
	w.mu.Unlock()
	if hook != nil {
		hook(label)
	}
	switch {
	case silent:
		panic(http.ErrAbortHandler) // the connection breaks, and nobody is told why
	case refusal != nil:
		httpapi.WriteError(rw, refusal)
	case !known || r.Method != http.MethodPut:
		http.Error(rw, "who are you", http.StatusForbidden)
	default:
		_ = json.NewEncoder(rw).Encode(apigpu.LeaseReply{Ready: unfit == "", Reason: unfit, Worker: info})
	}
}

// change changes what the workers do.
func (w *workers) change(do func(*workers)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w)
}

func (w *workers) set(label string, silent bool, unfit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent[label], w.unfit[label] = silent, unfit
}

// process is a fleet that can die at any point: its clock, its log and its
// provider count the points, and end the goroutine that comes to the last.
type process struct {
	*Fleet
	steady *db.Clock
	left   atomic.Int64 // points until death; negative: it lives
	dead   atomic.Bool
}

// point is a moment at which the process may die.
func (p *process) point() {
	if p.dead.Load() || p.left.Add(-1) == 0 {
		p.dead.Store(true)
		runtime.Goexit()
	}
}

// Enabled, Handle, WithAttrs and WithGroup make the log a row of points.
func (p *process) Enabled(context.Context, slog.Level) bool  { return true }
func (p *process) Handle(context.Context, slog.Record) error { p.point(); return nil }
func (p *process) WithAttrs([]slog.Attr) slog.Handler        { return p }
func (p *process) WithGroup(string) slog.Handler             { return p }

// rig is a world in virtual time: a marketplace, its workers, a database, and
// the processes on it.
type rig struct {
	*testing.T
	clock   *providertest.Clock
	fake    *providertest.Fake
	workers *workers
	db      *db.DB
	queue   *queue.Queue
	config  Config
	big     string // a job that costs too much
	*process
}

const (
	lag  = 5 * time.Second  // of the marketplace's listings: within what it states
	boot = 20 * time.Second // of a machine
)

func newRig(t *testing.T, change ...func(*Config, *providertest.FakeConfig)) *rig {
	t.Helper()
	return newRigOn(t, engineOf(t)(t)(), change...)
}

// newRigOn is newRig on a database of the test's choice.
func newRigOn(t *testing.T, d *db.DB, change ...func(*Config, *providertest.FakeConfig)) *rig {
	t.Helper()
	r := &rig{T: t, clock: providertest.NewClock(noon), db: d}
	identity, err := LoadIdentity(t.Context(), r.db, "us", "a root secret")
	r.ok(err)
	r.workers = newWorkers(t, identity.Secret)
	r.queue = queue.New(r.db, func() time.Time { // that of the process
		if r.process == nil || r.process.steady == nil {
			return r.clock.Now()
		}
		return r.process.steady.Now()
	})
	market := providertest.FakeConfig{
		Now: r.clock.Now, Traits: policy.Traits, Lag: lag, Linger: 5 * time.Second, Boot: boot,
		Offers: []gpu.Offer{dear, cheap}, Address: r.workers.address,
	}
	r.config = Config{DB: r.db, Queue: r.queue, Policy: policy, Identity: identity}
	for _, c := range change {
		c(&r.config, &market)
	}
	r.fake = providertest.NewFake(market)
	if r.config.Provider == nil {
		r.config.Provider = r.fake
	}
	r.process = r.start()
	t.Cleanup(func() { r.process.forget(nil) })
	return r
}

// start begins another process on the same database, under the same
// marketplace.
func (r *rig) start() *process {
	p := &process{}
	c := r.config
	p.steady = db.NewClock(r.clock.Now, r.clock.Elapsed)
	c.Clock, c.Now = p.steady, func() time.Time { p.point(); return p.steady.Now() }
	c.Log = slog.New(p)
	p.Fleet = New(c)
	return p
}

// restart kills the process and starts another, once the fleet lease of the
// first has run out.
func (r *rig) restart() {
	r.contacts.Wait()
	r.forget(nil)
	r.process = r.start()
	r.clock.Advance(leaseFor)
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// tick is one round of a process and of all that it began. It reports whether
// the process lives.
func (r *rig) tick() (alive bool) {
	r.Helper()
	done := make(chan struct{})
	go func() { // a death ends this goroutine, as it would end the process
		defer close(done)
		if err := r.Tick(r.Context()); err != nil {
			r.Logf("tick: %v", err)
		}
	}()
	<-done
	r.contacts.Wait()
	return !r.dead.Load()
}

// pass lets time pass, a tick every step.
func (r *rig) pass(d, step time.Duration) {
	r.Helper()
	for ; d > 0; d -= step {
		r.tick()
		r.clock.Advance(step)
	}
	r.tick()
}

// until lets at most a quarter of an hour pass until done.
func (r *rig) until(what string, done func() bool) {
	r.Helper()
	for range 900 / 2 {
		if done() {
			return
		}
		r.tick()
		r.clock.Advance(2 * time.Second)
	}
	r.Fatalf("never: %s; rows %+v", what, r.rows())
}

func (r *rig) submit() queue.Job {
	r.Helper()
	j, err := r.queue.Submit(r.Context(), queue.Draft{Subtitle: []byte("1"), WaitFor: 24 * time.Hour, RunFor: time.Hour, KeepFor: time.Hour})
	r.ok(err)
	return j
}

func (r *rig) cancel(j queue.Job) {
	r.Helper()
	_, err := r.queue.Cancel(r.Context(), j.ID)
	r.ok(err)
}

// rows are all rows of the ledger, the newest last.
func (r *rig) rows() []Instance {
	r.Helper()
	rows, err := query(r.Context(), r.db.Read(), `SELECT `+instanceColumns+` FROM instances ORDER BY created_at, label`)
	r.ok(err)
	return rows
}

func (r *rig) row(label string) Instance {
	r.Helper()
	rows := r.rows()
	n := slices.IndexFunc(rows, func(i Instance) bool { return i.Label == label })
	if n < 0 {
		r.Fatalf("no row %s in %+v", label, rows)
	}
	return rows[n]
}

func (r *rig) has(s gpu.State) func() bool {
	return func() bool {
		return slices.ContainsFunc(r.rows(), func(i Instance) bool { return i.State == s })
	}
}

// rented submits a job and returns the instance that was rented for it, ready.
func (r *rig) rented() (queue.Job, Instance) {
	r.Helper()
	j := r.submit()
	r.until("ready", r.has(gpu.Ready))
	rows := r.rows()
	return j, rows[len(rows)-1]
}

// want checks the ledger: the state and the reason of its only row.
func (r *rig) want(s gpu.State, reason string) {
	r.Helper()
	rows := r.rows()
	if len(rows) != 1 || rows[0].State != s || !strings.HasPrefix(rows[0].Reason, reason) {
		r.Errorf("rows are %+v; want one that is %s: %s", rows, s, reason)
	}
}

func (r *rig) exist(n int) {
	r.Helper()
	if got := r.fake.Exist(); got != n {
		r.Errorf("%d instances exist, want %d", got, n)
	}
}

func (r *rig) calls(v providertest.Verb, n int) {
	r.Helper()
	if got := len(r.fake.Calls(v)); got != n {
		r.Errorf("%d calls of %s, want %d", got, v, n)
	}
}

// committed makes sure, at every create, that its intent is in the database:
// seen through the pool for reading, which sees what is committed.
func (r *rig) committed() {
	r.fake.OnCall(func(c providertest.Call) {
		if c.Verb != providertest.Create {
			return
		}
		var state gpu.State
		var deadline int64
		err := r.db.Read().QueryRow(`SELECT state, deadline FROM instances WHERE label = $1`, c.Label).Scan(&state, &deadline)
		if err != nil || state != gpu.Creating || deadline <= millis(r.clock.Now()) {
			r.Errorf("created %s with a row that is %q until %d: %v", c.Label, state, deadline, err)
		}
	})
}

func (r *rig) exec(statement string, args ...any) {
	r.Helper()
	r.ok(r.db.Tx(r.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	}))
}

func testLog(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
