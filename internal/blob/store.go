// Package blob keeps files: the results of jobs, and videos that were
// uploaded. A Store is a folder; its methods name no file and no path, so that
// a store on S3 can have the same ones.
//
// An object appears whole or not at all. It is written somewhere else, synced,
// and renamed to its key; no object is ever overwritten. After a kill -9 at
// any moment the store holds the object, or something to resume from, or
// nothing, but never a wrong file.
//
//	root/objects/5e/KEY          a finished object
//	root/objects/5e/KEY~sha256   what is known of it: digest, size, time
//	root/partial/KEY.data        a result on its way, bytes at their offsets
//	root/partial/KEY.chunks      which of its chunks were written
//	root/incoming/KEY~RANDOM     an upload on its way
//
// Several processes may use one folder, as they do while one replaces the
// other; each partial has one writer, because its key names its owner.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/crash"
)

// The folders under the root.
const (
	objectsDir  = "objects"
	partialDir  = "partial"
	incomingDir = "incoming"
)

const (
	fileMode = 0o600 // results are other people's videos
	dirMode  = 0o700
	// maxKey leaves room for our suffixes in the 255 bytes that file systems
	// give a name.
	maxKey = 200
)

// Options bound a Store. The zero value bounds nothing.
type Options struct {
	// MaxBytes bounds all objects together with what was promised.
	// 0 means no bound.
	MaxBytes int64
	// MinFree is how many bytes of the volume Reserve leaves alone: the
	// database lives of them.
	MinFree int64
	// Promised says what jobs were promised; nil where nobody promises.
	Promised func(ctx context.Context) (Promises, error)
	// Evict takes the results of need bytes, or of as many as there are, from
	// jobs that had them for long enough, and returns their keys: no row names
	// them any more, and their files are to go. It passes over those that busy
	// says are in use. nil evicts nothing.
	Evict func(ctx context.Context, need int64, busy func(key string) bool) (keys []string, err error)
}

// Store is a folder of objects. Its methods are safe for concurrent use.
// A key is made of letters, digits, '.', '_' and '-', begins with a letter or
// a digit, does not end in '.', and has at most 200 bytes; any other is
// refused with InvalidRequest. Two keys must not differ by case alone: on
// macOS and Windows they would name the same file.
type Store struct {
	root string
	opts Options

	// publishing keeps an object and the file that describes it in step.
	publishing sync.Mutex

	reading   sync.Mutex // one asks the rows at a time
	measuring sync.Mutex // one walks at a time
	evicting  sync.Mutex // one makes room at a time

	mu      sync.Mutex          // guards what follows
	writing map[string]struct{} // partials that have a writer in this process
	readers map[string]int      // objects that this process reads

	// In bytes; see room.go and measure.go.
	used       int64 // by objects, as far as this process knows
	added      int64 // to them since the last measurement began
	measuredAt time.Time
	reserved   int64 // by holds, the settled ones included
	settled    int64 // of that: promised by rows that were not read yet
	written    int64 // of what is held: on the volume already
	promises   Promises
	readAt     time.Time // when the rows were asked for them
	evicted    int64     // results
}

// Object describes a finished file.
type Object struct {
	Key  string
	Size int64 // bytes
	// SHA256 is that of the content, in lower-case hex; empty when it is not
	// known, as after a crash in the very moment of a commit.
	SHA256  string
	ModTime time.Time
}

// Open opens the store in the folder root, and makes the folder if need be.
func Open(root string, opts Options) (*Store, error) {
	for _, dir := range []string{objectsDir, partialDir, incomingDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), dirMode); err != nil {
			return nil, storeError("open store", err)
		}
	}
	s := &Store{root: root, opts: opts, writing: map[string]struct{}{}, readers: map[string]int{}}
	if err := s.Measure(context.Background()); err != nil {
		return nil, err
	}
	return s, nil
}

// Open opens an object for reading. The caller closes it. A missing object
// is an error that wraps fs.ErrNotExist.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, Object{}, err
	}
	file, err := os.Open(s.objectPath(key))
	if err != nil {
		return nil, Object{}, fmt.Errorf("open object: %w", err)
	}
	// Ask the open file, not the path: it may be deleted and written again
	// between the two.
	info, err := file.Stat()
	if err != nil {
		return nil, Object{}, errors.Join(fmt.Errorf("open object: %w", err), file.Close())
	}
	return s.read(key, file), s.describe(key, info), nil
}

// Stat describes an object. A missing one is an error that wraps
// fs.ErrNotExist.
func (s *Store) Stat(ctx context.Context, key string) (Object, error) {
	if err := check(ctx, key); err != nil {
		return Object{}, err
	}
	info, err := os.Stat(s.objectPath(key))
	if err != nil {
		return Object{}, fmt.Errorf("stat object: %w", err)
	}
	return s.describe(key, info), nil
}

// Delete removes an object. That it is missing already is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	// The description goes first: left alone, it could be taken for that of
	// a later object of the same key.
	path := s.objectPath(key)
	info, statErr := os.Lstat(path)
	if err := removeAll(s.sumPath(key), path); err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	if statErr == nil {
		s.count(-info.Size())
	}
	return nil
}

// objectPath spreads objects over 256 folders, by a digest because keys that
// begin with a time would all fall into one.
func (s *Store) objectPath(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.root, objectsDir, hex.EncodeToString(sum[:1]), key)
}

// partialPaths returns the data and the record of a partial.
func (s *Store) partialPaths(key string) (data, chunks string) {
	base := filepath.Join(s.root, partialDir, key)
	return base + dataSuffix, base + chunksSuffix
}

// check refuses a call whose time is over or whose key is none of ours.
func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !validKey(key) {
		return apigpu.E(apigpu.InvalidRequest, nil, "There is no file of such a name.")
	}
	return nil
}

func validKey(key string) bool {
	if key == "" || len(key) > maxKey || !letterOrDigit(rune(key[0])) || key[len(key)-1] == '.' {
		return false
	}
	other := func(r rune) bool { return !letterOrDigit(r) && r != '.' && r != '_' && r != '-' }
	// IsLocal knows the names that Windows keeps for devices.
	return !strings.ContainsFunc(key, other) && filepath.IsLocal(key)
}

func letterOrDigit(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// storeError says what was tried, and translates a full volume.
func storeError(doing string, err error) error {
	if isFull(err) {
		return apigpu.E(apigpu.StorageFull, fmt.Errorf("%s: %w", doing, err), "The storage of this server is full.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// removeAll removes files in order, and stops at the first that will not go.
// A missing file is gone already.
func removeAll(paths ...string) error {
	for _, path := range paths {
		crash.Point("blob.remove")
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
