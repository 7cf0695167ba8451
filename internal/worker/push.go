package worker

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/api-gpu/api-gpu"
)

// pushIdle is how long a push may bring no byte. It is longer than a source
// may pause while the orchestrator asks it again (package fetch: 30 s for a
// byte, then 15 s of tries).
const pushIdle = 2 * time.Minute

// errCut ends a push that nobody needs any more.
var errCut = errors.New("another push has begun, or the job has ended")

// pushBody is the body of a push. A read that brings nothing for pushIdle
// fails, and so does one that is under way when the push is cut: a server has
// no time limit for bodies of any length.
type pushBody struct {
	r io.Reader
	// deadline sets the time limit of the connection's reads.
	deadline func(time.Time) error

	mu   sync.Mutex
	over bool  // cut or finished: the connection is no longer ours
	err  error // of the last read, unless it was the end
}

// Read implements io.Reader.
func (b *pushBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.over {
		b.err = errCut
		b.mu.Unlock()
		return 0, errCut
	}
	_ = b.deadline(time.Now().Add(pushIdle)) // a connection that has none is no worse than before
	b.mu.Unlock()
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.over {
			err = errCut
		}
		b.err = err
	}
	return n, err
}

// cut ends the push; a read that waits returns.
func (b *pushBody) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		_ = b.deadline(time.Unix(1, 0))
	}
}

// finish gives the connection back to the server.
func (b *pushBody) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		_ = b.deadline(time.Time{})
	}
}

// explain says whose fault it is that the body could not be stored.
func (b *pushBody) explain(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case errors.Is(b.err, errCut):
		return apigpu.E(apigpu.Conflict, b.err, "Another push has begun, or the job has ended.")
	case b.err != nil:
		return apigpu.E(apigpu.InvalidRequest, b.err, "The piece broke off.")
	case errors.Is(err, syscall.ENOSPC):
		return apigpu.E(apigpu.StorageFull, err, "The disk of this worker is full.")
	}
	return err
}
