package program

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// Whoever starts right after a kill may find the port taken for a moment: by a
// child of the killed one that was forked and is not yet the other program, or
// by its last connections.
const (
	listenMost = 3 * time.Second
	listenGap  = 50 * time.Millisecond
)

// Listen takes a TCP address. One that is taken it asks for again for 3 s.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	return listenFor(ctx, address, listenMost)
}

func listenFor(ctx context.Context, address string, most time.Duration) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		l, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-time.After(listenGap):
		case <-ctx.Done():
			return nil, err
		}
	}
}
