package blob

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

// After every step of a write the process may be gone: the next one opens the
// folder, finds what was recorded, and ends with the right object.
func TestReopenAfterEveryStep(t *testing.T) {
	t.Parallel()
	file := content(1000)
	m := cut(file, 150)
	slices.Reverse(m.Chunks)
	for steps := range len(m.Chunks) + 1 {
		root := t.TempDir()
		write(t, partial(t, open(t, root), "p"), file, m.Chunks[:steps]...) // and never closed
		s := open(t, root)
		p := partial(t, s, "p")
		if got := len(p.Have()); got != steps {
			t.Fatalf("%d chunks of %d", got, steps)
		}
		for i, c := range m.Chunks[steps:] {
			s = open(t, root)
			p = partial(t, s, "p")
			if got := len(p.Have()); got != steps+i {
				t.Fatalf("%d chunks of %d", got, steps+i)
			}
			write(t, p, file, c)
		}
		if _, err := p.Commit(t.Context(), m, "o"); err != nil {
			t.Fatal(err)
		}
		wantObject(t, open(t, root), "o", file)
	}
}

// What a crash, or a disk, may do to the two files of a partial. Each time
// only what verifies is believed, and the job can still be finished.
func TestResumeBelievesNoRecord(t *testing.T) {
	t.Parallel()
	file := content(400)
	m := cut(file, 100)
	edit := func(path string, change func(b []byte) []byte) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(b), fileMode)
	}
	record := len(formatRecord(m.Chunks[0]))
	for name, tc := range map[string]struct {
		change func(data, chunks string) error
		have   []int // indexes of the chunks that are still believed
	}{
		"nothing":       {func(_, _ string) error { return nil }, []int{0, 1, 2}},
		"record torn":   {func(_, chunks string) error { return os.Truncate(chunks, int64(2*record+30)) }, []int{0, 1}},
		"records lost":  {func(_, chunks string) error { return os.Remove(chunks) }, nil},
		"data lost":     {func(data, _ string) error { return os.Remove(data) }, nil},
		"data cut":      {func(data, _ string) error { return os.Truncate(data, 250) }, []int{0, 1}},
		"data a hole":   {func(data, _ string) error { return os.WriteFile(data, make([]byte, 300), fileMode) }, nil},
		"data too long": {func(data, _ string) error { return os.Truncate(data, 5000) }, []int{0, 1, 2}},
		"one bit wrong": {func(data, _ string) error { return edit(data, func(b []byte) []byte { b[150] ^= 1; return b }) }, []int{0, 2}},
		"record wrong":  {func(_, chunks string) error { return edit(chunks, func(b []byte) []byte { b[0] = '7'; return b }) }, []int{1, 2}},
		"record a blank": {func(_, chunks string) error {
			return edit(chunks, func(b []byte) []byte { clear(b[:record-1]); return b })
		}, []int{1, 2}},
		"records huge": {func(_, chunks string) error {
			return edit(chunks, func(b []byte) []byte { return append(b, fmt.Sprintf("%d %d %064d\n", int64(1)<<62, 1<<40, 0)...) })
		}, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			p := partial(t, open(t, root), "p")
			write(t, p, file, m.Chunks[:3]...)
			if err := tc.change(p.store.partialPaths("p")); err != nil {
				t.Fatal(err)
			}
			s := open(t, root)
			p = partial(t, s, "p")
			var want []apigpu.Chunk
			for _, i := range tc.have {
				want = append(want, m.Chunks[i])
			}
			if have := p.Have(); !slices.Equal(have, want) {
				t.Fatalf("believes %v, want %v", have, want)
			}
			write(t, p, file, m.Chunks...)
			// The new records must hold too.
			s = open(t, root)
			if p = partial(t, s, "p"); len(p.Have()) != len(m.Chunks) {
				t.Fatalf("after a second crash: %v", p.Have())
			}
			if _, err := p.Commit(t.Context(), m, "o"); err != nil {
				t.Fatal(err)
			}
			wantObject(t, s, "o", file)
		})
	}
}

// A crash within Commit: the object is there, its description and the end of
// the clean-up are not. The heir commits again and gets it.
func TestCrashWithinCommit(t *testing.T) {
	t.Parallel()
	file := content(400)
	m := cut(file, 100)
	root := t.TempDir()
	s := open(t, root)
	p := partial(t, s, "p")
	write(t, p, file, m.Chunks...)
	data, chunks := s.partialPaths("p")
	records, err := os.ReadFile(chunks)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Commit(t.Context(), m, "o"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.sumPath("o")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(chunks, records, fileMode); err != nil {
		t.Fatal(err)
	}

	s = open(t, root)
	p = partial(t, s, "p")
	if have := p.Have(); len(have) != 0 {
		t.Errorf("believes %v, whose bytes went away with the object", have)
	}
	object, err := p.Commit(t.Context(), m, "o")
	if err != nil || object.SHA256 != m.SHA256 {
		t.Fatalf("%+v, %v", object, err)
	}
	wantObject(t, s, "o", file)
	for _, path := range []string{data, chunks} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("left behind: %v", err)
		}
	}
}

const (
	childRoot   = "BLOB_TEST_ROOT"
	killedBytes = 64 << 10
	killedChunk = 2 << 10
)

// TestKilledWriter is what the child of TestKill9 runs, and nothing by itself:
// it writes a result, says so after each chunk, and commits.
func TestKilledWriter(t *testing.T) {
	root := os.Getenv(childRoot)
	if root == "" {
		return
	}
	file := content(killedBytes)
	m := cut(file, killedChunk)
	p := partial(t, open(t, root), "p")
	for _, c := range m.Chunks {
		write(t, p, file, c)
		fmt.Println("chunk")
	}
	if _, err := p.Commit(t.Context(), m, "o"); err != nil {
		t.Fatal(err)
	}
}

// A writer is really killed, here and there. What it said it wrote is there.
func TestKill9(t *testing.T) {
	t.Parallel()
	file := content(killedBytes)
	m := cut(file, killedChunk)
	for _, after := range []int{1, 15, len(m.Chunks) - 1, len(m.Chunks)} {
		root := t.TempDir()
		said := killAfter(t, root, after)
		s := open(t, root)
		p := partial(t, s, "p")
		have := p.Have()
		if _, err := s.Stat(t.Context(), "o"); err != nil && len(have) < said {
			t.Fatalf("%d chunks were written, %d are here", said, len(have))
		}
		for _, c := range m.Chunks {
			if !slices.Contains(have, c) {
				write(t, p, file, c)
			}
		}
		if _, err := p.Commit(t.Context(), m, "o"); err != nil {
			t.Fatal(err)
		}
		wantObject(t, s, "o", file)
	}
}

// killAfter starts the child and kills it once it has said so many chunks. It
// returns how many it said before it died.
func killAfter(t *testing.T, root string, chunks int) (said int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWriter$")
	child.Env = append(os.Environ(), childRoot+"="+root)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() != "chunk" {
			continue
		}
		if said++; said == chunks {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed, or just ended in time
	return said
}
