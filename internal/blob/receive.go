package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
)

// randomMark stands between the key and the random part of an upload's
// temporary name. No key holds it.
const randomMark = "~"

// Receive stores what r gives, up to its end, as the object key. More than
// limit bytes are TooLarge; a full volume is StorageFull. An object that is
// there already is never overwritten: the same content is success, any other
// is Conflict. An error of r is returned wrapped. After any error nothing is
// left behind.
//
// Room is reserved while it is received: for all of it from the beginning where
// r is Sized, else as it grows. Where there is none it is StorageFull, before a
// byte is read of what says its size.
//
// A Read that blocks for ever is the caller's to end; ctx is looked at
// between reads.
func (s *Store) Receive(ctx context.Context, key string, r io.Reader, limit int64) (object Object, err error) {
	if err := check(ctx, key); err != nil {
		return Object{}, err
	}
	hold, err := s.Reserve(ctx, min(sizeOf(r), limit))
	if err != nil {
		return Object{}, err
	}
	defer hold.Release()
	file, err := os.CreateTemp(filepath.Join(s.root, incomingDir), key+randomMark)
	if err != nil {
		return Object{}, storeError("receive object", err)
	}
	crash.Point("blob.receive.created")
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	size, sum, err := copyLimited(ctx, &heldWriter{ctx, file, hold}, r, limit)
	if err != nil {
		return Object{}, err
	}
	if err := file.Sync(); err != nil {
		return Object{}, storeError("sync object", err)
	}
	crash.Point("blob.receive.synced")
	if err := file.Close(); err != nil {
		return Object{}, storeError("close object", err)
	}
	return s.publish(ctx, file.Name(), key, size, sum)
}

// copyLimited copies r to w and returns how long it was, and its digest.
func copyLimited(ctx context.Context, w io.Writer, r io.Reader, limit int64) (int64, string, error) {
	hash := sha256.New()
	// One byte more than allowed tells "too long" from "just long enough".
	bounded := io.LimitReader(untilDone{ctx, r}, min(limit, math.MaxInt64-1)+1)
	size, err := io.Copy(io.MultiWriter(w, hash), bounded)
	switch {
	case isFull(err):
		return 0, "", storeError("receive object", err)
	case apigpu.CodeOf(err) == apigpu.StorageFull:
		return 0, "", err
	case err != nil:
		return 0, "", fmt.Errorf("receive object: %w", err)
	case size > limit:
		return 0, "", apigpu.E(apigpu.TooLarge, nil, "The file is longer than %d bytes.", limit)
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}

// Sized is a reader that knows how many bytes it gives at most.
type Sized interface {
	// Size returns that number, or -1 where it is not known after all.
	Size() int64
}

// sizeOf returns how many bytes r says that it gives, 0 where it does not.
func sizeOf(r io.Reader) int64 {
	if sized, ok := r.(Sized); ok {
		return max(0, sized.Size())
	}
	return 0
}

// growStep bounds what is reserved ahead of an upload of unknown size, in
// bytes.
const growStep = 8 << 20

// heldWriter writes under a hold, and lets it grow where it is too small.
type heldWriter struct {
	ctx  context.Context
	file io.Writer
	hold *Hold
}

// Write reserves what it writes, if need be, with as much again for what
// follows.
func (w *heldWriter) Write(p []byte) (int, error) {
	if missing := w.hold.missing(int64(len(p))); missing > 0 {
		if err := w.hold.grow(w.ctx, missing, w.hold.ahead()); err != nil {
			return 0, err
		}
	}
	n, err := w.file.Write(p)
	crash.Point("blob.receive.written")
	w.hold.Wrote(int64(n))
	return n, err
}

// missing is by how much the hold is too small for n more bytes.
func (h *Hold) missing(n int64) int64 {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.written + n - h.size
}

// ahead is how much more than needed is reserved.
func (h *Hold) ahead() int64 {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return min(h.written, growStep)
}

// grow reserves n bytes more, and ahead of them where there is room.
func (h *Hold) grow(ctx context.Context, n, ahead int64) error {
	if ahead > 0 {
		if short, err := h.store.try(ctx, h, n+ahead, 0, beforeNew, time.Now().Add(-promisesFor), 0); err != nil || short == 0 {
			return err
		}
	}
	return h.store.take(ctx, h, n, 0, beforeNew)
}
