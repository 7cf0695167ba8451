package blob

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stock fills a store with two of each kind, and one file of a stranger's.
func stock(t *testing.T, s *Store) {
	t.Helper()
	for _, key := range []string{"keep", "drop"} {
		if _, err := s.Receive(t.Context(), key, strings.NewReader(key), 10); err != nil {
			t.Fatal(err)
		}
		p := partial(t, s, key+".1.me")
		write(t, p, content(10), cut(content(10), 10).Chunks...)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{incomingDir + "/drop~123", objectsDir + "/.stranger"} {
		if err := os.WriteFile(filepath.Join(s.root, path), []byte("x"), fileMode); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	stock(t, s)
	age(t, s, 2*time.Hour)
	busy := partial(t, s, "drop.2.me") // at work in this process
	asked := map[string]bool{}
	removed, err := s.Sweep(t.Context(), func(key string, age time.Duration) bool {
		asked[key] = true
		if age < 2*time.Hour || age > 3*time.Hour {
			t.Errorf("%s is %v old", key, age)
		}
		return strings.HasPrefix(key, "keep")
	})
	if err != nil || removed != 3 {
		t.Errorf("removed %d, %v", removed, err)
	}
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, []string{"drop", "drop.1.me", "keep", "keep.1.me"}) {
		t.Errorf("asked about %v", got)
	}
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{".stranger", "drop.2.me.chunks", "drop.2.me.data", "keep", "keep.1.me.chunks", "keep.1.me.data"}
	if got := files(t, s); !slices.Equal(got, want) {
		t.Errorf("there remain %v", got)
	}
}

func TestSweepSparesAnUploadAtWork(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	stock(t, s)
	all := func(string, time.Duration) bool { return false }
	if _, err := s.Sweep(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := files(t, s); !slices.Equal(got, []string{".stranger", "drop~123"}) {
		t.Errorf("there remain %v", got)
	}
}

func TestKeysListsObjects(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	stock(t, s)
	var keys []string
	for key, err := range s.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"drop", "keep"}) {
		t.Errorf("%v", keys)
	}
	for range s.Keys(t.Context()) { // may be left at any time
		break
	}
}

func TestDeletePartials(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	stock(t, s)
	p := partial(t, s, "drop.2.me")
	write(t, p, content(10), cut(content(10), 10).Chunks...)
	if err := s.DeletePartials(t.Context(), "drop."); err != nil {
		t.Fatal(err)
	}
	want := []string{".stranger", "drop", "drop~123", "keep", "keep.1.me.chunks", "keep.1.me.data"}
	if got := files(t, s); !slices.Equal(got, want) {
		t.Errorf("there remain %v", got)
	}
	// Its writer finds out, and commits nothing.
	if _, err := p.Commit(t.Context(), cut(content(10), 10), "late"); err == nil {
		t.Error("committed what was deleted")
	}
}

func TestUsageAndRoom(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	stock(t, s)
	usage, err := s.Usage(t.Context())
	if err != nil || usage < 4+4+10+10+2 || usage > 1000 {
		t.Errorf("usage is %d, %v", usage, err)
	}
	free, err := s.Free()
	if err != nil || free <= 0 {
		t.Errorf("free is %d, %v", free, err)
	}
	if capacity, err := s.Capacity(); err != nil || capacity < free {
		t.Errorf("capacity is %d, %v", capacity, err)
	}
}
