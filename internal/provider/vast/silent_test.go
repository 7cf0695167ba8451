package vast

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// way is a TCP way to a server. Once cut, what went through it before stands
// still without a word, as behind a router that has forgotten it.
type way struct {
	net.Listener
	to    string
	era   atomic.Int32
	conns sync.WaitGroup
}

func (w *way) run() {
	for {
		in, err := w.Accept()
		if err != nil {
			return
		}
		era := w.era.Load()
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
			w.conns.Go(func() {
				defer c[1].Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c[0].Read(buf)
					if w.era.Load() == era {
						_, _ = c[1].Write(buf[:n])
					}
					if err != nil {
						return
					}
				}
			})
		}
	}
}

// A kept connection that died in silence costs one call, and not every one
// until the kernel gives it up.
func TestSilentConnection(t *testing.T) {
	t.Parallel()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"success":true,"total_instances":0,"instances":[],"next_token":null}`)
	}))
	api.EnableHTTP2 = true // as the real one's has
	api.StartTLS()
	t.Cleanup(api.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{Listener: l, to: strings.TrimPrefix(api.URL, "https://")}
	w.conns.Go(w.run)
	p := open(t, "https://"+l.Addr().String())
	trusted := x509.NewCertPool()
	trusted.AddCert(api.Certificate())
	p.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = trusted
	t.Cleanup(func() {
		l.Close()
		p.Close()
		api.CloseClientConnections()
		w.conns.Wait()
	})
	destroy := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return p.Destroy(ctx, "31234567")
	}
	if err := destroy(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.era.Add(1)
	if err := destroy(time.Second); err == nil {
		t.Fatal("the way was not cut")
	}
	if err := destroy(5 * time.Second); err != nil {
		t.Errorf("the call after: %v", err)
	}
}
