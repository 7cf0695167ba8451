package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/vastsim"
	"github.com/api-gpu/api-gpu/test/need"
)

// accountKey is that of the account which rents. It must not leave the
// orchestrator, but towards the marketplace.
const accountKey = "planted-account-key-4730"

// ourFleet is FLEET, and begins the labels of what is rented.
const ourFleet = "e2e"

// rootSecret is GPU_API_KEY.
const rootSecret = "4731473147314731473147314731473147314731473147314731473147314731"

// quickBoot is a market whose machines boot in a second, and whose listing lags
// behind by as much. Its intervals are a fifth shorter than the real ones: on a
// busy machine two calls arrive closer to one another than they were sent.
const quickBoot = `"intervals":0.8,"timing":{"provision":"200ms","create":"100ms","pull":"700ms","list_lag":"1s","destroy_lag":"1s","charge_lag":"1s"}`

// market is bin/vastsim, whose instances are worker processes.
type market struct {
	t   testing.TB
	dir string
	url string
	log string
	cmd *exec.Cmd
	// fleet is whose instances ours are.
	fleet string
}

// openMarket starts one. tools is put before its PATH, and so before that of
// its workers.
func openMarket(t testing.TB, scenario, tools string) *market {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "scenario.json", "{"+scenario+"}")
	m := &market{t: t, dir: dir, log: filepath.Join(dir, "vastsim.log"), fleet: ourFleet}
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "machines")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(filepath.Join(bin, "vastsim"))
	m.cmd.Env = append(os.Environ(), "VASTSIM_PORT=0", "VASTSIM_KEY="+accountKey, "VASTSIM_WORKER="+filepath.Join(bin, "worker"),
		"VASTSIM_SCENARIO="+filepath.Join(dir, "scenario.json"), "LOG_LEVEL=debug", "TMPDIR="+tmp)
	if tools != "" {
		m.cmd.Env = append(m.cmd.Env, "PATH="+tools+":"+os.Getenv("PATH"))
	}
	m.cmd.Stderr = log
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.close(log) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("vastsim said %q: %v", line, err)
	}
	_, m.url, _ = strings.Cut(strings.TrimSpace(line), "=")
	return m
}

// close ends the market, and with it whatever it runs.
func (m *market) close(log *os.File) {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
	_ = log.Close()
	if m.t.Failed() {
		raw, _ := os.ReadFile(m.log)
		m.t.Logf("log of the market:\n%s", tail(raw, 12000))
	}
}

// ask reads what tests may know of the market.
func (m *market) ask(path string, into any) {
	m.t.Helper()
	resp, err := http.Get(m.url + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		m.t.Fatalf("%s: %v", path, err)
	}
}

// tell changes the market.
func (m *market) tell(path, body string) {
	m.t.Helper()
	resp, err := http.Post(m.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent {
		m.t.Fatalf("%s: %s %s", path, resp.Status, text)
	}
}

// forgive lets no further fault happen.
func (m *market) forgive() {
	m.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, m.url+"/sim/faults", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	resp.Body.Close()
}

func (m *market) apply(scenario string) { m.t.Helper(); m.tell("/sim/scenario", "{"+scenario+"}") }

func (m *market) truth() (t vastsim.Truth) {
	m.t.Helper()
	m.ask("/sim/truth", &t)
	return t
}

func (m *market) calls(name string) (calls []vastsim.Call) {
	m.t.Helper()
	m.ask("/sim/calls?name="+name, &calls)
	return calls
}

// ours are the instances that the orchestrator rented.
func (m *market) ours() (all []vastsim.Known) {
	m.t.Helper()
	for _, i := range m.truth().Instances {
		if fleet.Ours(m.fleet, i.Label) {
			all = append(all, i)
		}
	}
	return all
}

// alive are those of ours which cost money, or run without a contract.
func (m *market) alive() (some []vastsim.Known) {
	m.t.Helper()
	for _, i := range m.ours() {
		if i.Alive || i.Running {
			some = append(some, i)
		}
	}
	return some
}

// rental is an orchestrator that rents on a market of its own.
type rental struct {
	*server
	market *market
	wire   *wire
}

// newRental is one whose orchestrator does not run yet.
func newRental(t testing.TB, scenario, tools string, env ...string) *rental {
	t.Helper()
	return newRentalIn(t, t.TempDir(), scenario, tools, env...)
}

// newRentalIn is newRental with its state in this folder.
func newRentalIn(t testing.TB, dir, scenario, tools string, env ...string) *rental {
	t.Helper()
	need.FFmpeg(t)
	if !strings.Contains(scenario, `"offers"`) {
		scenario += `,"offers":[{"dph_base":0.2,"machine_id":101,"host_id":11},{"dph_base":0.21,"machine_id":102,"host_id":12},{"dph_base":0.22,"machine_id":103,"host_id":13}]`
	}
	m := openMarket(t, scenario, tools)
	w := newWire(t, strings.TrimPrefix(m.url, "http://"))
	s := newServer(t, dir, append([]string{
		"PROVIDER=vast", "VAST_API_URL=" + w.url(), "VAST_API_KEY=" + accountKey, "VAST_WORKER_IMAGE=ghcr.io/me/worker:1.0",
		"GPU_API_KEY=" + rootSecret, "FLEET=" + ourFleet, "REQUIRE_GPU=false", "SHUTDOWN=keep",
	}, env...))
	t.Cleanup(s.end)
	return &rental{s, m, w}
}

// rent is newRental with its orchestrator.
func rent(t testing.TB, scenario string, env ...string) *rental {
	t.Helper()
	r := newRental(t, scenario, "", env...)
	r.run()
	return r
}

// over waits until nothing is rented any more, and looks at what was done.
// allowed are rules that may have been broken: by any call, or "rule call".
func (r *rental) over(within time.Duration, allowed ...string) {
	r.t.Helper()
	eventually(r.t, within, "nothing is rented", func() bool { return len(r.market.alive()) == 0 })
	for _, b := range r.market.truth().Broken {
		if !slices.Contains(allowed, b.Rule) && !slices.Contains(allowed, b.Rule+" "+b.Call) {
			r.t.Errorf("rule %s of the API was broken by %s of %q: %s", b.Rule, b.Call, b.Label, b.Detail)
		}
	}
	for _, i := range r.market.truth().Instances {
		r.innocent(i)
	}
}

// innocent checks that the owner of a machine learns no secret of ours.
func (r *rental) innocent(i vastsim.Known) {
	r.t.Helper()
	for name, value := range i.Env {
		for _, secret := range []string{accountKey, rootSecret, key} {
			if strings.Contains(name+value, secret) {
				r.t.Errorf("%s of instance %q holds %s", name, i.Label, secret)
			}
		}
	}
}

// workersAreInnocent looks into the environments of the processes that run.
func (r *rental) workersAreInnocent() {
	r.t.Helper()
	seen := 0
	for _, p := range processes(r.market.dir) {
		raw, err := os.ReadFile(filepath.Join("/proc", itoa(p.pid), "environ"))
		if err != nil || len(raw) == 0 { // it has ended
			continue
		}
		seen++
		for _, secret := range []string{accountKey, rootSecret, key} {
			if bytes.Contains(raw, []byte(secret)) {
				r.t.Errorf("the environment of %s holds %s", p.name, secret)
			}
		}
	}
	if seen == 0 {
		r.t.Error("no worker was looked at")
	}
}

// wire is the network between the orchestrator and the market.
type wire struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]bool
}

func newWire(t testing.TB, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, open: map[net.Conn]bool{}}
	go w.accept()
	t.Cleanup(func() {
		l.Close()
		w.severe(true)
	})
	return w
}

func (w *wire) url() string { return "http://" + w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		from, err := w.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", w.to)
		if err != nil || !w.join(from, to) {
			from.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				from.Close()
				to.Close()
			}()
		}
	}
}

func (w *wire) join(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.cut {
			c.Close()
			continue
		}
		w.open[c] = true
	}
	return !w.cut
}

// severe cuts all connections and lets none through, or mends that.
func (w *wire) severe(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.open {
			c.Close()
		}
		w.open = map[net.Conn]bool{}
	}
}
