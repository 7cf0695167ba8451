package blob

import (
	"bytes"
	"math"
	"slices"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
	"pgregory.net/rapid"
)

// Spans are compared with the plainest model there is: one bool a byte.
func TestSpansAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const size = 40
		var model [size]bool
		var spans []span
		draw := func(name string) span {
			start := rapid.Int64Range(0, size-1).Draw(t, name+" start")
			return span{start, rapid.Int64Range(start+1, size).Draw(t, name+" end")}
		}
		for range rapid.IntRange(1, 12).Draw(t, "adds") {
			add := draw("add")
			spans = addSpan(spans, add)
			for i := add.start; i < add.end; i++ {
				model[i] = true
			}
		}
		asked := draw("asked")
		var want, got, all [size]bool
		for i := asked.start; i < asked.end; i++ {
			want[i] = model[i]
		}
		for _, part := range overlaps(spans, asked) {
			for i := part.start; i < part.end; i++ {
				got[i] = true
			}
		}
		for i, s := range spans {
			if i > 0 && spans[i-1].end >= s.start {
				t.Fatalf("spans %v touch", spans)
			}
			for i := s.start; i < s.end; i++ {
				all[i] = true
			}
		}
		if got != want || all != model {
			t.Fatalf("spans %v: overlaps of %v are wrong", spans, asked)
		}
	})
}

func TestCheckManifest(t *testing.T) {
	t.Parallel()
	file := content(100)
	change := func(change func(m *apigpu.Manifest)) apigpu.Manifest {
		m := cut(file, 30)
		change(&m)
		return m
	}
	for name, tc := range map[string]struct {
		m  apigpu.Manifest
		ok bool
	}{
		"as it should be": {cut(file, 30), true},
		"any order":       {change(func(m *apigpu.Manifest) { slices.Reverse(m.Chunks) }), true},
		"nothing":         {apigpu.Manifest{}, false},
		"empty file":      {cut(nil, 1), false},
		"gap":             {change(func(m *apigpu.Manifest) { m.Chunks = slices.Delete(m.Chunks, 1, 2) }), false},
		"twice":           {change(func(m *apigpu.Manifest) { m.Chunks = append(m.Chunks, m.Chunks[0]) }), false},
		"too short":       {change(func(m *apigpu.Manifest) { m.Length++ }), false},
		"too long":        {change(func(m *apigpu.Manifest) { m.Length-- }), false},
		"no digest":       {change(func(m *apigpu.Manifest) { m.SHA256 = "" }), false},
		"negative length": {change(func(m *apigpu.Manifest) { m.Chunks[1].Length = -1 }), false},
		"overflow":        {change(func(m *apigpu.Manifest) { m.Chunks[3].Length = math.MaxInt64 }), false},
	} {
		want := apigpu.InvalidRequest
		if tc.ok {
			want = ""
		}
		if got := apigpu.CodeOf(CheckManifest(tc.m)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	t.Parallel()
	m := cut(content(100), 30)
	var lines []byte
	for _, c := range m.Chunks {
		lines = append(lines, formatRecord(c)...)
	}
	// However much of the file is there, only whole records are read.
	for n := range len(lines) + 1 {
		chunks, end := parseRecords(lines[:n])
		if want := bytes.Count(lines[:n], []byte("\n")); !slices.Equal(chunks, m.Chunks[:want]) {
			t.Fatalf("of %d bytes: %v", n, chunks)
		}
		if end != int64(bytes.LastIndexByte(lines[:n], '\n')+1) {
			t.Fatalf("of %d bytes: end is %d", n, end)
		}
	}
}

func FuzzParseRecords(f *testing.F) {
	c := apigpu.Chunk{Offset: 8 << 20, Length: 5, SHA256: sumOf([]byte("seeds"))}
	f.Add(formatRecord(c))
	f.Add(append(formatRecord(c), "12 34 torn"...))
	f.Add([]byte("-1 5 x\n\n 9223372036854775807 8388608 " + c.SHA256 + "\n"))
	f.Add([]byte("\x00\x00\x00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		chunks, end := parseRecords(b)
		if end < 0 || end > int64(len(b)) {
			t.Fatalf("end is %d of %d", end, len(b))
		}
		for _, c := range chunks {
			if !validChunk(c) || !isSum(c.SHA256) || !bytes.Contains(b, formatRecord(c)) {
				t.Fatalf("made up %+v", c)
			}
		}
	})
}
