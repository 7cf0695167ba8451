package fleet

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/link"
	"github.com/api-gpu/api-gpu/internal/provider/providertest"
)

// pinned makes the marketplace one whose workers are reached by a pinned link.
// serve wraps the listener of each, of which there is one a label; nil for
// that of a worker with the seed of its label.
func pinned(t *testing.T, scheme string, serve func(net.Listener) net.Listener) (*rig, *workers) {
	t.Helper()
	var mu sync.Mutex
	var w *workers
	addresses := map[string]string{}
	address := func(label string) string {
		mu.Lock()
		defer mu.Unlock()
		if addresses[label] == "" {
			addresses[label] = scheme + listen(t, w, label, serve) + "/" + label
		}
		return addresses[label]
	}
	r := newRig(t, func(c *Config, m *providertest.FakeConfig) {
		c.Policy.Traits.Pinned, m.Traits.Pinned = true, true
		m.Address = address
	})
	w = r.workers
	return r, w
}

// listen serves the worker of a label on a port of its own.
func listen(t *testing.T, w *workers, label string, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return ""
	}
	address := l.Addr().String()
	if wrap == nil {
		wrap = func(l net.Listener) net.Listener { return withSeedOf(t, w.secret, label, l) }
	}
	l = wrap(l)
	server := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return address
}

func withSeedOf(t *testing.T, root []byte, label string, l net.Listener) net.Listener {
	seed, err := link.Seed(root, label)
	if err != nil {
		t.Error(err)
	}
	c, err := link.ServerConfig(seed)
	if err != nil {
		t.Error(err)
	}
	return tls.NewListener(l, c)
}

// A rented worker gets a seed of its own, and is spoken to by the key of that
// seed: also by a process that has nothing but the ledger.
func TestPinnedLife(t *testing.T) {
	t.Parallel()
	r, w := pinned(t, "https://", nil)
	r.committed()
	_, in := r.rented()
	seed, err := link.Seed(r.config.Identity.Secret, in.Label)
	r.ok(err)
	if env := r.fake.Records()[0].Request.Env; env["TLS_SEED"] != seed || env["SESSION_TOKEN"] == "" || env["X_API_KEY"] == "" {
		t.Errorf("its worker is told %v", env)
	}
	r.restart()
	r.tick()
	heard := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.heard[in.Label] }
	before := heard()
	r.pass(time.Minute, 5*time.Second)
	if heard() == before {
		t.Error("after a restart nobody speaks to it")
	}
	c, err := r.Client(t.Context(), in.Label)
	r.ok(err)
	if _, err := c.Lease(t.Context(), apigpu.LeaseRequest{Epoch: 99, TTLSeconds: 60}); err != nil {
		t.Error(err)
	}
}

// Whoever answers at the address without the instance's key is not spoken to:
// nothing reaches it, not even a credential, and the machine is ended as one
// that never became ready.
func TestNobodyElseIsSpokenTo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scheme string
		serve  func(t *testing.T) func(net.Listener) net.Listener
	}{
		"another instance, at an address that is used again": {"https://", func(t *testing.T) func(net.Listener) net.Listener {
			return func(l net.Listener) net.Listener { return withSeedOf(t, []byte("a root secret"), "another", l) }
		}},
		"no TLS": {"https://", func(*testing.T) func(net.Listener) net.Listener {
			return func(l net.Listener) net.Listener { return l }
		}},
		"an address without TLS": {"http://", func(*testing.T) func(net.Listener) net.Listener {
			return func(l net.Listener) net.Listener { return l }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := pinned(t, c.scheme, c.serve(t))
			asked := make(chan string, 100)
			w.hook = func(label string) { asked <- label }
			r.submit()
			r.until("renting", r.has(gpu.Booting))
			label := r.rows()[0].Label
			r.until("given up", func() bool { s := r.row(label).State; return s == gpu.Destroying || s == gpu.Gone })
			if why := r.row(label).Reason; why != "no answer at its address for 3m0s" {
				t.Errorf("ended because %s", why)
			}
			select {
			case path := <-asked:
				t.Errorf("it was asked: %s", path)
			default:
			}
		})
	}
}

// Where the way is the operator's own, no seed is handed out.
func TestNotPinned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.rented()
	if env := r.fake.Records()[0].Request.Env; env["TLS_SEED"] != "" {
		t.Errorf("its worker is told %v", env)
	}
}
