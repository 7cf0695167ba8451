package program

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// A port that gets free in time is taken; one that does not is refused with
// the reason.
func TestListen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	began := time.Now()
	if l, err := listenFor(t.Context(), address, 4*listenGap); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that stays taken: %v %v", l, err)
	}
	if took := time.Since(began); took < 4*listenGap {
		t.Errorf("it gave up after %s", took)
	}
	time.AfterFunc(4*listenGap, func() { taken.Close() })
	l, err := Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Addr().String(); got != address {
		t.Errorf("listens on %s, not on %s", got, address)
	}
	l.Close()
}
