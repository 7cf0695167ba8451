package blob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for key, ok := range map[string]bool{
		"job_01JZ8.mp4":          true,
		"job_01jz8.3.ab-cd":      true,
		"a..b":                   true,
		strings.Repeat("k", 200): true,
		strings.Repeat("k", 201): false,
		"":                       false,
		".":                      false,
		"..":                     false,
		".hidden":                false,
		"-flag":                  false,
		"dot.":                   false,
		"a/b":                    false,
		`a\b`:                    false,
		"../a":                   false,
		"a b":                    false,
		"a\x00":                  false,
		"a~sha256":               false,
		"vídeo":                  false,
	} {
		_, err := s.Stat(t.Context(), key)
		if refused := apigpu.CodeOf(err) == apigpu.InvalidRequest; refused == ok {
			t.Errorf("key %q: %v", key, err)
		}
		if ok && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("key %q: %v, want fs.ErrNotExist", key, err)
		}
	}
}

// Every method checks its key before it touches the disk.
func TestEveryMethodRefusesAPath(t *testing.T) {
	t.Parallel()
	s, ctx, bad := open(t, filepath.Join(t.TempDir(), "in", "store")), t.Context(), "../../escaped"
	p := partial(t, s, "fine")
	file := content(10)
	write(t, p, file, cut(file, 10).Chunks...)
	for name, call := range map[string]func() error{
		"Open":           func() error { _, _, err := s.Open(ctx, bad); return err },
		"Stat":           func() error { _, err := s.Stat(ctx, bad); return err },
		"Delete":         func() error { return s.Delete(ctx, bad) },
		"Partial":        func() error { _, err := s.Partial(ctx, bad); return err },
		"Commit":         func() error { _, err := p.Commit(ctx, cut(file, 10), bad); return err },
		"Receive":        func() error { _, err := s.Receive(ctx, bad, strings.NewReader("x"), 9); return err },
		"DeletePartials": func() error { return s.DeletePartials(ctx, bad) },
		"all partials":   func() error { return s.DeletePartials(ctx, "") },
	} {
		if code := apigpu.CodeOf(call()); code != apigpu.InvalidRequest {
			t.Errorf("%s: %q", name, code)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for range 2 { // the second time there is nothing to delete
		if err := s.Delete(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Receive(t.Context(), "gone", strings.NewReader("first"), 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(t.Context(), "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("opened after delete: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.root, "*", "*", "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// A key may come back, with other bytes.
	if _, err := s.Receive(t.Context(), "gone", strings.NewReader("second"), 10); err != nil {
		t.Fatal(err)
	}
	wantObject(t, s, "gone", []byte("second"))
}

// A digest that belongs to another file of the same key is not believed.
func TestStaleDigestIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if _, err := s.Receive(t.Context(), "k", strings.NewReader("first"), 10); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Stat(t.Context(), "k"); err != nil || o.SHA256 != sumOf([]byte("first")) {
		t.Fatalf("%+v, %v", o, err)
	}
	for name, spoil := range map[string]func() error{
		"other length": func() error { return os.WriteFile(s.objectPath("k"), []byte("longer"), fileMode) },
		"torn":         func() error { return os.Truncate(s.sumPath("k"), 70) },
		"empty":        func() error { return os.Truncate(s.sumPath("k"), 0) },
		"missing":      func() error { return os.Remove(s.sumPath("k")) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if o, err := s.Stat(t.Context(), "k"); err != nil || o.SHA256 != "" {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
		if _, err := s.digest(t.Context(), "k"); err != nil { // learns it again
			t.Fatal(err)
		}
		if o, err := s.Stat(t.Context(), "k"); err != nil || o.SHA256 == "" {
			t.Errorf("%s: not learned again: %+v, %v", name, o, err)
		}
	}
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	p := partial(t, s, "p")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := content(10)
	m := cut(file, 10)
	_, commit := p.Commit(ctx, m, "o")
	_, receive := s.Receive(ctx, "o", strings.NewReader("x"), 9)
	_, sweep := s.Sweep(ctx, nil)
	for i, err := range []error{p.WriteChunk(ctx, m.Chunks[0], file), commit, receive, sweep, s.Delete(ctx, "o")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
