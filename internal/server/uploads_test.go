package server

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/api-gpu/api-gpu"
)

// One key cannot hold all room by uploads that never end; another is not
// disturbed, and each that ends makes place.
func TestUploadsOfOneKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ends []*io.PipeWriter
	done := make(chan error, maxUploads)
	for range maxUploads {
		r, w := io.Pipe()
		ends = append(ends, w)
		go func() {
			_, err := b.Receive(context.WithoutCancel(t.Context()), ann(), r)
			done <- err
		}()
		if _, err := w.Write([]byte("v")); err != nil { // it is counted by then
			t.Fatal(err)
		}
	}
	_, err := b.Receive(t.Context(), ann(), strings.NewReader("one too many"))
	if e := apigpu.AsError(err); e == nil || e.Code != apigpu.RateLimited || e.RetryAfter == 0 || !e.Retryable {
		t.Errorf("error %v", err)
	}
	if _, err := b.Receive(t.Context(), bob(), strings.NewReader("video")); err != nil {
		t.Errorf("another key: %v", err)
	}
	cut := errors.New("cut")
	for _, w := range ends {
		w.CloseWithError(cut)
		if err := <-done; !errors.Is(err, cut) {
			t.Errorf("a cut upload ended with %v", err)
		}
	}
	if _, err := b.Receive(t.Context(), ann(), strings.NewReader("video")); err != nil {
		t.Errorf("after they ended: %v", err)
	}
}
