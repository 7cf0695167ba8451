package blob

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	apigpu "github.com/api-gpu/api-gpu"
)

const (
	// hexSum is the length of a SHA-256 in hex.
	hexSum = 2 * sha256.Size
	// maxChunks bounds the chunks of one file, and with them the memory of a
	// writer: 256 GiB in chunks of the largest size. They come from a rented
	// machine, which need not be honest.
	maxChunks = 1 << 15
	// maxRecords bounds what is read of a record file, in bytes: a line is
	// at most 19 + 1 + 7 + 1 + 64 + 1 long.
	maxRecords = maxChunks * 93
)

// span is a piece of a file: [start, end).
type span struct{ start, end int64 }

func spanOf(c apigpu.Chunk) span { return span{c.Offset, c.Offset + c.Length} }

// addSpan adds one to spans that are sorted and apart, and keeps them so:
// neighbours that touch become one.
func addSpan(spans []span, add span) []span {
	// The first that is not wholly before add, and the first wholly after.
	from, _ := slices.BinarySearchFunc(spans, add.start, func(s span, at int64) int { return cmp.Compare(s.end, at) })
	to := from
	for to < len(spans) && spans[to].start <= add.end {
		add = span{min(add.start, spans[to].start), max(add.end, spans[to].end)}
		to++
	}
	return slices.Replace(spans, from, to, add)
}

// overlaps returns the parts of what that spans cover.
func overlaps(spans []span, what span) []span {
	var parts []span
	from, _ := slices.BinarySearchFunc(spans, what.start, func(s span, at int64) int { return cmp.Compare(s.end, at) })
	for _, s := range spans[from:] {
		if s.start >= what.end {
			break
		}
		if part := (span{max(s.start, what.start), min(s.end, what.end)}); part.start < part.end {
			parts = append(parts, part)
		}
	}
	return parts
}

// checkChunk tells whether c is a chunk, and data what it promises.
func checkChunk(c apigpu.Chunk, data []byte) error {
	switch {
	case !validChunk(c):
		return apigpu.E(apigpu.InvalidRequest, nil, "A chunk is 1 to %d bytes long, at an offset of at least 0.", apigpu.MaxChunk)
	case int64(len(data)) != c.Length:
		return apigpu.E(apigpu.InvalidRequest, nil, "The chunk at %d has %d bytes where %d were promised.", c.Offset, len(data), c.Length)
	case !holds(c, data):
		return apigpu.E(apigpu.InvalidRequest, nil, "The bytes of the chunk at %d are not those of its SHA-256.", c.Offset)
	}
	return nil
}

func validChunk(c apigpu.Chunk) bool {
	return c.Length >= 1 && c.Length <= apigpu.MaxChunk && c.Offset >= 0 && c.Offset <= math.MaxInt64-c.Length
}

// holds tells whether data has the digest of c.
func holds(c apigpu.Chunk, data []byte) bool {
	sum := sha256.Sum256(data)
	return strings.EqualFold(hex.EncodeToString(sum[:]), c.SHA256)
}

// isSum tells whether s is a SHA-256 in hex, of either case.
func isSum(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == hexSum
}

// CheckManifest tells whether m describes a file: not empty, with a digest,
// and with chunks that tile it without a gap or an overlap.
func CheckManifest(m apigpu.Manifest) error {
	if m.Length <= 0 || !isSum(m.SHA256) || len(m.Chunks) > maxChunks {
		return apigpu.E(apigpu.InvalidRequest, nil, "The manifest describes no file.")
	}
	chunks := slices.SortedFunc(slices.Values(m.Chunks), byOffset)
	at := int64(0)
	for _, c := range chunks {
		if !validChunk(c) || c.Offset != at {
			return apigpu.E(apigpu.InvalidRequest, nil, "The chunks of the manifest do not fit together at byte %d.", at)
		}
		at += c.Length
	}
	if at != m.Length {
		return apigpu.E(apigpu.InvalidRequest, nil, "The chunks of the manifest end at byte %d of %d.", at, m.Length)
	}
	return nil
}

func byOffset(a, b apigpu.Chunk) int {
	return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
}

// formatRecord is one line of a record file: offset, length, digest.
func formatRecord(c apigpu.Chunk) []byte {
	return fmt.Appendf(nil, "%d %d %s\n", c.Offset, c.Length, c.SHA256)
}

// parseRecords reads what is whole of a record file, and returns the length
// of it up to the last line end: a writer goes on there, over a torn line. It
// believes nothing: a line that is no record is left out, and one that is may
// still be false.
func parseRecords(b []byte) (chunks []apigpu.Chunk, end int64) {
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	for line := range bytes.Lines(whole) {
		var c apigpu.Chunk
		n, err := fmt.Sscanf(string(line), "%d %d %s\n", &c.Offset, &c.Length, &c.SHA256)
		// Writing it again shows whether this is exactly what we wrote.
		if err == nil && n == 3 && validChunk(c) && isSum(c.SHA256) && bytes.Equal(line, formatRecord(c)) {
			chunks = append(chunks, c)
		}
	}
	return chunks, int64(len(whole))
}
