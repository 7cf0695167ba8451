package market

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/db"
	"github.com/api-gpu/api-gpu/internal/db/dbtest"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
	"github.com/api-gpu/api-gpu/internal/provider/vast"
	"github.com/api-gpu/api-gpu/internal/queue"
	"github.com/api-gpu/api-gpu/internal/vastsim"
)

const (
	// onTheWay is how long a request to the market is on its way, and its
	// answer on the way back.
	onTheWay = 150 * time.Millisecond
	// proof is how long a worker proves its encoder after its start.
	proof = 2 * time.Second
	// bound is how far an estimate may be from the bill, as a part of it.
	bound = 0.05
	// judged is how long a machine lives at least that is held to it: of one
	// that goes at once, the time of a call is a good part.
	judged = 20 * time.Second
)

// twentySeconds is a market whose machines boot in 20 s.
const twentySeconds = `{"credit_usd":100,"intervals":0,"offers":[{"dph_base":0.2,"machine_id":101,"host_id":11},
	{"dph_base":0.21,"machine_id":102,"host_id":12},{"dph_base":0.22,"machine_id":103,"host_id":13}],
	"timing":{"provision":"1s","create":"1s","pull":"18s"}}`

// ledger is a fleet that rents on a market, both in virtual time, and jobs that
// are driven as dispatch drives them. Its workers are in memory.
type ledger struct {
	*rig
	clock *providertest.Clock
	db    *db.DB
	queue *queue.Queue
	cfg   fleet.Config
	fleet *fleet.Fleet
	runs  []*run
}

// run is a job, and what it takes of a machine: time, and the bytes that the
// machine counts. Those that we know of are a hundredth less: nobody sees what
// the link adds.
type run struct {
	queue.Job
	takes    time.Duration
	down, up int64
	until    time.Time // while it runs
}

func newLedger(t *testing.T, scenario string, slots int) *ledger {
	t.Helper()
	l := &ledger{clock: providertest.NewClock(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)), db: dbtest.SQLite(t)}
	l.rig = rigAt(t, l.clock.Now, twentySeconds, scenario)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.clock.Advance(onTheWay)
		l.Sim.ServeHTTP(w, r)
		l.clock.Advance(onTheWay)
	}))
	t.Cleanup(far.Close)
	provider := l.open(func(c *vast.Config) { c.URL, c.Slots = far.URL, slots })
	identity, err := fleet.LoadIdentity(t.Context(), l.db, "us", "a root secret")
	l.ok(err)
	l.cfg = fleet.Config{
		DB: l.db, Provider: provider, Identity: identity, Log: slog.New(slog.DiscardHandler),
		Transport: workers{l.Sim, slots},
		Policy: fleet.Policy{
			MaxGPUs: 2, IdleTimeout: 5 * time.Second, BootTimeout: 3 * time.Minute, Lease: 10 * time.Minute, Silence: 3 * time.Minute,
			MaxWait: time.Hour, Traits: provider.Traits(),
		},
	}
	l.start()
	return l
}

// start begins a process; what one before it knew is lost.
func (l *ledger) start() {
	l.cfg.Clock = db.NewClock(l.clock.Now, l.clock.Elapsed)
	l.queue = queue.New(l.db, l.cfg.Clock.Now)
	l.cfg.Queue = l.queue
	l.fleet = fleet.New(l.cfg)
}

// crash is the end of the process, and a start once its lease has run out.
func (l *ledger) crash() {
	l.fleet.Await()
	l.start()
	l.clock.Advance(16 * time.Second)
}

func (l *ledger) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// workers are those of all machines: each answers where its machine does.
type workers struct {
	sim   *vastsim.Sim
	slots int
}

var errRefused = errors.New("connection refused")

func (a workers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for _, i := range a.sim.Truth().Instances {
		if !i.Alive || !i.Running || strconv.Itoa(i.HostPorts["3334/tcp"]) != r.URL.Port() {
			continue
		}
		reply := apigpu.LeaseReply{Ready: i.GPUSeconds >= proof.Seconds(), Reason: "it is proving its encoder", UptimeSeconds: i.GPUSeconds,
			Worker: apigpu.WorkerInfo{API: apigpu.APIVersion, Encoder: "h264_nvenc", Slots: a.slots}}
		body, err := json.Marshal(reply)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(body)), Request: r}, err
	}
	return nil, errRefused
}

// submit adds a job that takes so long, and so many MB in and out.
func (l *ledger) submit(takes time.Duration, down, up int64) *run {
	l.Helper()
	j, err := l.queue.Submit(l.Context(), queue.Draft{
		Subtitle: []byte("1"), WaitFor: 24 * time.Hour, RunFor: time.Hour, KeepFor: 24 * time.Hour, Size: down * 1e6, Room: up * 1e6, Video: takes,
	})
	l.ok(err)
	r := &run{Job: j, takes: takes, down: down * 1e6, up: up * 1e6}
	l.runs = append(l.runs, r)
	return r
}

func (l *ledger) cancel(r *run) {
	l.Helper()
	_, err := l.queue.Cancel(l.Context(), r.ID)
	l.ok(err)
}

// tick lets a while pass, with a round of the fleet and of the driving.
func (l *ledger) tick(d time.Duration) {
	l.Helper()
	l.clock.Advance(d)
	if err := l.fleet.Tick(l.Context()); err != nil {
		l.Logf("tick: %v", err)
	}
	l.fleet.Await()
	jobs, err := l.queue.Next(l.Context(), 10)
	l.ok(err)
	slots, err := l.fleet.Slots(l.Context())
	l.ok(err)
	for _, a := range fleet.Assign(jobs, slots, l.clock.Now()) {
		j, err := l.fleet.Claim(l.Context(), a)
		l.ok(err)
		for _, r := range l.runs {
			if r.ID == j.ID {
				r.Job, r.until = j, l.clock.Now().Add(r.takes)
			}
		}
	}
	for _, r := range l.runs {
		if r.until.IsZero() {
			continue
		}
		if l.clock.Now().Before(r.until) {
			l.ok(l.queue.Heartbeat(l.Context(), r.Lease()))
			continue
		}
		l.complete(r)
	}
}

// pass lets so many seconds pass.
func (l *ledger) pass(seconds int) {
	l.Helper()
	for range seconds {
		l.tick(time.Second)
	}
}

// complete ends a run, as dispatch does.
func (l *ledger) complete(r *run) {
	l.Helper()
	r.until = time.Time{}
	for _, i := range l.Truth().Instances {
		if i.Label == r.Instance {
			l.ok(l.Do(i.ID, vastsim.Deed{Do: vastsim.DoTraffic, Down: r.down * 101 / 100, Up: r.up * 101 / 100}))
		}
	}
	cost, err := l.fleet.CostOf(l.Context(), r.Job, r.up)
	l.ok(err)
	l.ok(l.queue.Complete(l.Context(), r.Lease(), queue.Outcome{
		Video: apigpu.Video{Bytes: r.up}, Result: r.ID, Down: r.down, Cost: cost,
	}))
}

// until lets at most two hours pass until done.
func (l *ledger) until(what string, done func() bool) {
	l.Helper()
	for began := l.clock.Now(); !done(); l.tick(500 * time.Millisecond) {
		if l.clock.Now().Sub(began) > 2*time.Hour {
			l.Fatalf("never: %s; %+v", what, l.rows())
		}
	}
}

// ended are the jobs that wait and run no more.
func (l *ledger) ended() bool {
	for _, r := range l.runs {
		if j, err := l.queue.Job(l.Context(), r.ID); err != nil || !j.Status.Final() {
			return false
		}
	}
	return true
}

// state reports whether a machine is in it.
func (l *ledger) state(s gpu.State) func() bool {
	return func() bool {
		for _, row := range l.rows() {
			if row.state == s {
				return true
			}
		}
		return false
	}
}

// row is an account, as the ledger has it.
type row struct {
	label string
	state gpu.State
	cost  gpu.USD
	sure  string
	id    string
}

func (l *ledger) rows() (all []row) {
	l.Helper()
	rows, err := l.db.Read().QueryContext(l.Context(), `SELECT label, state, cost_usd, cost_state, provider_id FROM instances ORDER BY created_at, label`)
	l.ok(err)
	defer rows.Close()
	for rows.Next() {
		var r row
		l.ok(rows.Scan(&r.label, &r.state, &r.cost, &r.sure, &r.id))
		all = append(all, r)
	}
	l.ok(rows.Err())
	return all
}

// sums reads sums of money by a text.
func (l *ledger) sums(query string) map[string]gpu.USD {
	l.Helper()
	rows, err := l.db.Read().QueryContext(l.Context(), query)
	l.ok(err)
	defer rows.Close()
	all := map[string]gpu.USD{}
	for rows.Next() {
		var text string
		var usd gpu.USD
		l.ok(rows.Scan(&text, &usd))
		all[text] = usd
	}
	l.ok(rows.Err())
	return all
}

// settled waits until all machines are gone and their costs are written.
func (l *ledger) settled(sure string) {
	l.Helper()
	l.until("all accounts are "+sure, func() bool {
		for _, r := range l.rows() {
			if r.state != gpu.Gone || r.sure != sure && r.sure != string(fleet.Final) {
				return false
			}
		}
		return true
	})
}

// charged waits until all bills are read.
func (l *ledger) charged() {
	l.Helper()
	for range 2000 {
		open := false
		for _, r := range l.rows() {
			open = open || r.sure != string(fleet.Final)
		}
		if !open {
			return
		}
		l.tick(10 * time.Second)
		l.ok(l.fleet.Bill(l.Context()))
	}
	l.Fatalf("no bill: %+v", l.rows())
}

// balanced makes sure that the parts equal the whole, to the nanodollar: the
// charges of each machine its cost, those of each job the job's, and what the
// jobs cost and what is nobody's together what all machines cost.
func (l *ledger) balanced() {
	l.Helper()
	byMachine := l.sums(`SELECT label, SUM(usd) FROM charges GROUP BY label`)
	byJob := l.sums(`SELECT job_id, SUM(usd) FROM charges GROUP BY job_id`)
	jobs := l.sums(`SELECT id, cost_usd FROM jobs`)
	var machines, sum gpu.USD
	for _, r := range l.rows() {
		if machines += r.cost; byMachine[r.label] != r.cost {
			l.Errorf("the parts of %s sum to %d, it cost %d", r.label, byMachine[r.label], r.cost)
		}
	}
	for id, usd := range jobs {
		if sum += usd; byJob[id] != usd {
			l.Errorf("the parts of job %s sum to %d, it cost %d", id, byJob[id], usd)
		}
	}
	if sum += byJob[""]; sum != machines {
		l.Errorf("all jobs and what is nobody's cost %d, all machines %d", sum, machines)
	}
}

// truths are the market's instances that lived, by label.
func (l *ledger) truths() map[string]vastsim.Known {
	all := map[string]vastsim.Known{}
	for _, i := range l.Truth().Instances {
		all[i.Label] = i
	}
	return all
}

// off is by how much the ledger is above the truth, as a part of that: of the
// machine for which that is most. Lives of less than judged are not.
func (l *ledger) off() (most float64) {
	l.Helper()
	truths := l.truths()
	for _, r := range l.rows() {
		if r.id == "" {
			continue
		}
		truth := truths[r.label]
		lived := truth.Destroyed.Sub(truth.Created)
		if truth.Alive || truth.Total == 0 {
			l.Errorf("%s is not over: %+v", r.label, truth)
			continue
		}
		part := float64(r.cost-truth.Total) / float64(truth.Total)
		l.Logf("lived %6.1f s: cost %s, estimated %s: %+.2f %%", lived.Seconds(), truth.Total, r.cost, 100*part)
		if lived >= judged && math.Abs(part) > math.Abs(most) {
			most = part
		}
	}
	return most
}

// final makes sure that the ledger is the market's bill, to the nanodollar.
func (l *ledger) final() {
	l.Helper()
	truths := l.truths()
	for _, r := range l.rows() {
		if r.sure != string(fleet.Final) || r.cost != truths[r.label].Total {
			l.Errorf("%s is charged %d, booked is %d (%s)", r.label, truths[r.label].Total, r.cost, r.sure)
		}
	}
	states := l.sums(`SELECT cost_state, COUNT(*) FROM jobs WHERE cost_usd <> 0 GROUP BY cost_state`)
	if delete(states, string(apigpu.CostFinal)); len(states) > 0 {
		l.Errorf("jobs' costs are %v", states)
	}
}
