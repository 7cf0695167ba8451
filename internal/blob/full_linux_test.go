package blob

import (
	"os"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

// A full volume is real here: /dev/full has no room for a byte.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	file := content(100)
	c := cut(file, 100).Chunks[0]
	for _, suffix := range []string{dataSuffix, chunksSuffix} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			data, chunks := s.partialPaths("p")
			full := map[string]string{dataSuffix: data, chunksSuffix: chunks}[suffix]
			if err := os.Symlink("/dev/full", full); err != nil {
				t.Fatal(err)
			}
			p := partial(t, s, "p")
			wantCode(t, p.WriteChunk(t.Context(), c, file), apigpu.StorageFull)
			if have := p.Have(); len(have) != 0 {
				t.Errorf("a chunk that has no room is counted: %v", have)
			}
		})
	}
}
