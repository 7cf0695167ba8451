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

	apigpu "github.com/api-gpu/api-gpu"
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
// A Read that blocks for ever is the caller's to end; ctx is looked at
// between reads.
func (s *Store) Receive(ctx context.Context, key string, r io.Reader, limit int64) (object Object, err error) {
	if err := check(ctx, key); err != nil {
		return Object{}, err
	}
	file, err := os.CreateTemp(filepath.Join(s.root, incomingDir), key+randomMark)
	if err != nil {
		return Object{}, storeError("receive object", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	size, sum, err := copyLimited(ctx, file, r, limit)
	if err != nil {
		return Object{}, err
	}
	if err := file.Sync(); err != nil {
		return Object{}, storeError("sync object", err)
	}
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
	case err != nil:
		return 0, "", fmt.Errorf("receive object: %w", err)
	case size > limit:
		return 0, "", apigpu.E(apigpu.TooLarge, nil, "The file is longer than %d bytes.", limit)
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}
