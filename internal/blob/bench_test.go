package blob

import (
	"fmt"
	"slices"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

// BenchmarkCommit writes 100 MB in chunks of 8 MiB and commits, sync
// included. Out of order, the file is read once more.
func BenchmarkCommit(b *testing.B) {
	file := content(100_000_000)
	m := cut(file, apigpu.MaxChunk)
	reversed := slices.Clone(m.Chunks)
	slices.Reverse(reversed)
	for name, order := range map[string][]apigpu.Chunk{"in order": m.Chunks, "reversed": reversed} {
		b.Run(name, func(b *testing.B) {
			s, n := open(b, b.TempDir()), 0
			b.SetBytes(m.Length)
			for b.Loop() {
				n++
				key := fmt.Sprintf("o%d", n)
				p := partial(b, s, key)
				write(b, p, file, order...)
				if _, err := p.Commit(b.Context(), m, key); err != nil {
					b.Fatal(err)
				}
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				if err := s.Delete(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
