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
	if l, err := Listen(t.Context(), address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that stays taken: %v %v", l, err)
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
