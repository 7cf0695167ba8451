package blob

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCommitInAnyOrder(t *testing.T) {
	t.Parallel()
	file := content(100_000)
	m := cut(file, 7_000)
	reversed, last := slices.Clone(m.Chunks), slices.Clone(m.Chunks)
	slices.Reverse(reversed)
	last = append(last[1:], last[0]) // an MP4 whose header is written at the end
	for name, order := range map[string][]apigpu.Chunk{"in order": m.Chunks, "reversed": reversed, "first last": last} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			p := partial(t, s, "job.1.me")
			write(t, p, file, order...)
			write(t, p, file, order[3]) // twice is once
			if diff := cmp.Diff(m.Chunks, p.Have()); diff != "" {
				t.Error(diff)
			}
			object, err := p.Commit(t.Context(), m, "job.mp4")
			if err != nil {
				t.Fatal(err)
			}
			if object.Key != "job.mp4" || object.Size != m.Length || object.SHA256 != m.SHA256 || object.ModTime.IsZero() {
				t.Errorf("%+v", object)
			}
			wantObject(t, s, "job.mp4", file)
			if got := files(t, s); !slices.Equal(got, []string{"job.mp4"}) {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

func TestWriteChunkRefuses(t *testing.T) {
	t.Parallel()
	file := content(100)
	chunk := func(offset, length int64) apigpu.Chunk {
		return apigpu.Chunk{Offset: offset, Length: length, SHA256: sumOf(file[max(0, offset):][:length])}
	}
	long := make([]byte, apigpu.MaxChunk+1)
	other := slices.Repeat([]byte{7}, 20)
	for name, tc := range map[string]struct {
		chunk apigpu.Chunk
		data  []byte
		want  apigpu.Code
	}{
		"too short":                {chunk(50, 20), file[50:69], apigpu.InvalidRequest},
		"too long":                 {chunk(50, 20), file[50:71], apigpu.InvalidRequest},
		"other bytes":              {chunk(50, 20), other, apigpu.InvalidRequest},
		"no digest":                {apigpu.Chunk{Offset: 50, Length: 20}, file[50:70], apigpu.InvalidRequest},
		"empty":                    {apigpu.Chunk{Offset: 50, SHA256: sumOf(nil)}, nil, apigpu.InvalidRequest},
		"negative offset":          {apigpu.Chunk{Offset: -1, Length: 20, SHA256: sumOf(file[:20])}, file[:20], apigpu.InvalidRequest},
		"over the edge":            {apigpu.Chunk{Offset: 1<<63 - 20, Length: 20, SHA256: sumOf(file[:20])}, file[:20], apigpu.InvalidRequest},
		"longer than a chunk":      {apigpu.Chunk{Length: int64(len(long)), SHA256: sumOf(long)}, long, apigpu.InvalidRequest},
		"disagrees":                {apigpu.Chunk{Offset: 10, Length: 20, SHA256: sumOf(other)}, other, apigpu.Conflict},
		"disagrees in part":        {apigpu.Chunk{Offset: 25, Length: 20, SHA256: sumOf(other)}, other, apigpu.Conflict},
		"disagrees from the front": {apigpu.Chunk{Offset: 0, Length: 20, SHA256: sumOf(other)}, other, apigpu.Conflict},
		"agrees in part":           {chunk(25, 20), file[25:45], ""},
		"capital digest":           {apigpu.Chunk{Offset: 50, Length: 20, SHA256: strings.ToUpper(sumOf(file[50:70]))}, file[50:70], ""},
		"the same":                 {chunk(10, 20), file[10:30], ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			p := partial(t, s, "p")
			write(t, p, file, chunk(10, 20))
			wantCode(t, p.WriteChunk(t.Context(), tc.chunk, tc.data), tc.want)
			// Whatever was refused has harmed nothing.
			write(t, p, file, chunk(0, 10), chunk(30, 70))
			if _, err := p.Commit(t.Context(), cut(file, 50), "o"); err != nil {
				t.Fatal(err)
			}
			wantObject(t, s, "o", file)
		})
	}
}

func TestCommitRefuses(t *testing.T) {
	t.Parallel()
	file := content(100)
	longer := append(slices.Clone(file), "more"...)
	wrong := cut(file, 30)
	wrong.SHA256 = sumOf(longer)
	for name, tc := range map[string]struct {
		written  []byte
		skip     int // index of a chunk that is not written
		manifest apigpu.Manifest
		want     apigpu.Code
	}{
		"first missing":    {file, 0, cut(file, 30), apigpu.NotReady},
		"middle missing":   {file, 1, cut(file, 30), apigpu.NotReady},
		"last missing":     {file, 3, cut(file, 30), apigpu.NotReady},
		"more than wanted": {longer, -1, cut(file, 30), apigpu.Conflict},
		"other digest":     {file, -1, wrong, apigpu.Conflict},
		"no manifest":      {file, -1, apigpu.Manifest{}, apigpu.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			p := partial(t, s, "p")
			for i, c := range slices.Backward(cut(tc.written, 30).Chunks) {
				if i != tc.skip {
					write(t, p, tc.written, c)
				}
			}
			_, err := p.Commit(t.Context(), tc.manifest, "o")
			wantCode(t, err, tc.want)
			if _, err := s.Stat(t.Context(), "o"); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("something was committed: %v", err)
			}
			// What is missing may still come.
			write(t, p, tc.written, cut(tc.written, 30).Chunks...)
			if _, err := p.Commit(t.Context(), cut(tc.written, 30), "o"); err != nil {
				t.Fatal(err)
			}
			wantObject(t, s, "o", tc.written)
		})
	}
}

func TestCommitTwice(t *testing.T) {
	t.Parallel()
	s, file, other := open(t, t.TempDir()), content(100), content(99)
	p := partial(t, s, "job.1.a")
	write(t, p, file, cut(file, 30).Chunks...)
	first, err := p.Commit(t.Context(), cut(file, 30), "o")
	if err != nil {
		t.Fatal(err)
	}
	// The same again, by the same writer and by one that took over.
	again, err := p.Commit(t.Context(), cut(file, 30), "o")
	if err != nil || again != first {
		t.Errorf("%+v, %v", again, err)
	}
	heir := partial(t, s, "job.1.b")
	if again, err := heir.Commit(t.Context(), cut(file, 50), "o"); err != nil || again != first {
		t.Errorf("%+v, %v", again, err)
	}
	// Other bytes are refused, and stay where they are.
	rival := partial(t, s, "job.2.c")
	write(t, rival, other, cut(other, 30).Chunks...)
	for range 2 {
		_, err = rival.Commit(t.Context(), cut(other, 30), "o")
		wantCode(t, err, apigpu.Conflict)
	}
	wantObject(t, s, "o", file)
	if _, err := rival.Commit(t.Context(), cut(other, 30), "another"); err != nil {
		t.Error(err)
	}
	wantObject(t, s, "another", other)
}

// Of many that commit to one key, one wins, and the object is whole.
func TestCommitRace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var (
		wg   sync.WaitGroup
		errs [4]error
	)
	for i := range errs {
		s, file := open(t, root), content(50+i) // as many processes as writers
		p := partial(t, s, "job."+string(rune('a'+i)))
		write(t, p, file, cut(file, 30).Chunks...)
		wg.Go(func() { _, errs[i] = p.Commit(t.Context(), cut(file, 30), "o") })
	}
	wg.Wait()
	winner := slices.Index(errs[:], nil)
	if winner < 0 {
		t.Fatal(errs)
	}
	for i, err := range errs {
		if i != winner {
			wantCode(t, err, apigpu.Conflict)
		}
	}
	wantObject(t, open(t, root), "o", content(50+winner))
}

func TestOneWriter(t *testing.T) {
	t.Parallel()
	s, file := open(t, t.TempDir()), content(10)
	p := partial(t, s, "p")
	_, err := s.Partial(t.Context(), "p")
	wantCode(t, err, apigpu.Conflict)
	write(t, p, file, cut(file, 10).Chunks...)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	q := partial(t, s, "p")
	if len(q.Have()) != 1 {
		t.Error("what was closed is not resumed")
	}
	// The first handle is over: it takes nothing away from the second.
	if err := errors.Join(p.Abort(), p.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Partial(t.Context(), "p")
	wantCode(t, err, apigpu.Conflict)
	if err := p.WriteChunk(t.Context(), cut(file, 5).Chunks[0], file[:5]); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("wrote after close: %v", err)
	}
	if _, err := q.Commit(t.Context(), cut(file, 10), "o"); err != nil {
		t.Fatal(err)
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	s, file := open(t, t.TempDir()), content(10)
	p := partial(t, s, "p")
	write(t, p, file, cut(file, 10).Chunks...)
	if err := p.Abort(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, s); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if have := partial(t, s, "p").Have(); len(have) != 0 {
		t.Errorf("came back: %v", have)
	}
}

func TestWritersInParallel(t *testing.T) {
	t.Parallel()
	s, file := open(t, t.TempDir()), content(200_000)
	p, m := partial(t, s, "p"), cut(file, 5_000)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i, c := range m.Chunks {
				if i%4 == worker || i%7 == 0 { // some chunks come from two
					if err := p.WriteChunk(t.Context(), c, bytesOf(file, c)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if _, err := p.Commit(t.Context(), m, "o"); err != nil {
		t.Fatal(err)
	}
	wantObject(t, s, "o", file)
}

// Whatever pieces come, in whatever order and between whatever crashes, a
// commit succeeds exactly when all bytes are here, and is right.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		file := content(rapid.IntRange(1, 60).Draw(rt, "length"))
		m := cut(file, rapid.IntRange(1, 60).Draw(rt, "chunk"))
		var covered []span
		p := partial(t, open(t, root), "p")
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 {
				p = partial(t, open(t, root), "p")
			}
			start := rapid.Int64Range(0, m.Length-1).Draw(rt, "start")
			end := rapid.Int64Range(start+1, m.Length).Draw(rt, "end")
			c := apigpu.Chunk{Offset: start, Length: end - start, SHA256: sumOf(file[start:end])}
			if err := p.WriteChunk(t.Context(), c, bytesOf(file, c)); err != nil {
				rt.Fatal(err)
			}
			covered = addSpan(covered, span{start, end})
		}
		_, err = p.Commit(t.Context(), m, "o")
		if all := slices.Equal(covered, []span{{0, m.Length}}); all != (err == nil) {
			rt.Fatalf("covered %v of %d: %v", covered, m.Length, err)
		}
		if err == nil {
			wantObject(t, open(t, root), "o", file)
		}
	})
}
