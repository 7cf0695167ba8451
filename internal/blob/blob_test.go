package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// open opens a store in root. Opened twice, it is what a process finds after
// the one before it was killed.
func open(t testing.TB, root string) *Store {
	t.Helper()
	s, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content is n bytes that are the same in every run.
func content(n int) []byte {
	b := make([]byte, n)
	for i, source := 0, rand.New(rand.NewPCG(1, uint64(n))); i < n; i++ {
		b[i] = byte(source.Uint32())
	}
	return b
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// cut describes file in chunks of size bytes.
func cut(file []byte, size int) apigpu.Manifest {
	m := apigpu.Manifest{Length: int64(len(file)), SHA256: sumOf(file)}
	at := 0
	for part := range slices.Chunk(file, size) {
		m.Chunks = append(m.Chunks, apigpu.Chunk{Offset: int64(at), Length: int64(len(part)), SHA256: sumOf(part)})
		at += len(part)
	}
	return m
}

// bytesOf is the part of file that c names.
func bytesOf(file []byte, c apigpu.Chunk) []byte { return file[c.Offset : c.Offset+c.Length] }

func write(t testing.TB, p *Partial, file []byte, chunks ...apigpu.Chunk) {
	t.Helper()
	for _, c := range chunks {
		if err := p.WriteChunk(t.Context(), c, bytesOf(file, c)); err != nil {
			t.Fatalf("chunk at %d: %v", c.Offset, err)
		}
	}
}

func partial(t testing.TB, s *Store, key string) *Partial {
	t.Helper()
	p, err := s.Partial(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// wantCode fails unless err has the code; "" is success.
func wantCode(t testing.TB, err error, code apigpu.Code) {
	t.Helper()
	if got := apigpu.CodeOf(err); got != code {
		t.Fatalf("got %q (%v), want %q", got, err, code)
	}
}

// wantObject fails unless the store has exactly this under the key.
func wantObject(t testing.TB, s *Store, key string, want []byte) {
	t.Helper()
	r, object, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("object has %d other bytes, want %d", len(got), len(want))
	}
	if object.Size != int64(len(want)) || object.Key != key || object.SHA256 != "" && object.SHA256 != sumOf(want) {
		t.Fatalf("object is described as %+v", object)
	}
}

// files lists what lies under the store, without the descriptions.
func files(t testing.TB, s *Store) (names []string) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, sumSuffix) {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// age makes every file of the store older.
func age(t testing.TB, s *Store, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	err := filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			return os.Chtimes(path, then, then)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
