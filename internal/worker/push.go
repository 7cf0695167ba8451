package worker

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// errCut ends a push that nobody needs any more.
var errCut = errors.New("another push has begun, or the job has ended")

// pushBody is the body of a push. Reading fails once the push is cut, a read
// that is under way too where the server can do that.
type pushBody struct {
	r io.Reader

	mu   sync.Mutex
	over bool  // cut or finished: the connection is no longer ours
	cuts bool  // it is over because it was cut
	err  error // of the last read, unless it was the end
}

// Read implements io.Reader.
func (b *pushBody) Read(p []byte) (int, error) {
	n, err := 0, error(nil)
	if !b.isCut() {
		n, err = b.r.Read(p)
		crash.Point("worker.push.read")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cuts {
		err = errCut
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func (b *pushBody) isCut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cuts
}

// cut ends the push; a read that waits returns.
func (b *pushBody) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over, b.cuts = true, true
	if c, ok := b.r.(httpapi.Cutter); ok {
		c.Cut()
	}
}

// finish gives the connection back to the server.
func (b *pushBody) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// explain says whose fault it is that the body could not be stored. A piece
// that broke off is nobody's: the rest of it is asked for again.
func (b *pushBody) explain(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case errors.Is(b.err, errCut):
		return apigpu.E(apigpu.Conflict, b.err, "Another push has begun, or the job has ended.")
	case b.err != nil:
		return apigpu.E(apigpu.Unavailable, b.err, "The piece broke off.")
	case errors.Is(err, syscall.ENOSPC):
		return apigpu.E(apigpu.StorageFull, err, "The disk of this worker is full.")
	}
	return err
}
