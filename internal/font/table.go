package font

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/go-text/typesetting/harfbuzz"
)

//go:generate go test . -run ^TestTable$ -update

// table is what the fonts of the worker's image are and which characters they
// have: who has no fonts, and rents machines that have these, reads it there.
// TestTable makes it.
//
//go:embed coverage.bin
var table []byte

// stored is the table as it is written.
type stored struct {
	Hash  string
	Faces []storedFace
	// Runes are the characters of faces, each list once: for each range the
	// distance from the end of the one before, and its length, as varints.
	Runes [][]byte
}

type storedFace struct {
	Info
	Runes int // index
}

// ranges are characters, as pairs: the first, and the first after it.
type ranges []uint32

func (r ranges) has(c rune) bool {
	// An odd number of bounds is at or below a character that is within.
	return sort.Search(len(r), func(i int) bool { return r[i] > uint32(c) })%2 == 1
}

// runesOf lists the characters of a face. The error is of code InvalidRequest.
func (f *face) runesOf() (ranges, error) {
	glyphs, err := readGlyphs(f.path, f.index)
	if err != nil {
		return nil, err
	}
	var all []uint32
	for it := glyphs.Iter(); it.Next(); {
		if c, g := it.Char(); g != 0 && c >= 0 {
			all = append(all, uint32(c))
		}
	}
	slices.Sort(all)
	var out ranges
	for _, c := range slices.Compact(all) {
		if n := len(out); n > 0 && out[n-1] == c {
			out[n-1]++
			continue
		}
		out = append(out, c, c+1)
	}
	return out, nil
}

func (r ranges) pack() []byte {
	var b []byte
	var last uint32
	for _, at := range r {
		b, last = binary.AppendUvarint(b, uint64(at-last)), at
	}
	return b
}

func unpack(b []byte) (r ranges, err error) {
	var last uint64
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		if n <= 0 || last+step > 0x110000 {
			return nil, errors.New("a damaged range")
		}
		b, last = b[n:], last+step
		r = append(r, uint32(last))
	}
	return r, nil
}

// writeTable writes what Image reads.
func (s *Set) writeTable() ([]byte, error) {
	out := stored{Hash: s.Hash()}
	index := map[string]int{}
	faces := s.faces
	if s.colour != nil {
		faces = append(slices.Clone(faces), s.colour)
	}
	for _, f := range faces {
		runes, err := f.runesOf()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		packed := string(runes.pack())
		if _, known := index[packed]; !known {
			index[packed] = len(out.Runes)
			out.Runes = append(out.Runes, []byte(packed))
		}
		out.Faces = append(out.Faces, storedFace{f.Info, index[packed]})
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(gob.NewEncoder(z).Encode(out), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Image are the fonts of the worker's image, of which no file need be here: it
// knows what they are called and which characters they have, and guesses how
// wide a text is. It is shared: do not change it.
var Image = sync.OnceValue(func() *Set {
	s, err := readTable(table)
	if err != nil {
		panic("the table of fonts: " + err.Error()) // it is part of the program
	}
	return s
})

func readTable(b []byte) (*Set, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var in stored
	if err := gob.NewDecoder(bytes.NewReader(plain)).Decode(&in); err != nil {
		return nil, err
	}
	lists := make([]ranges, len(in.Runes))
	for i, packed := range in.Runes {
		if lists[i], err = unpack(packed); err != nil {
			return nil, err
		}
	}
	s := &Set{families: map[string][]*face{}, buf: harfbuzz.NewBuffer(), hash: in.Hash}
	for _, f := range in.Faces {
		if f.Runes >= len(lists) {
			return nil, errors.New("a face without its characters")
		}
		// Heights as those of Noto Sans.
		made := &face{header: header{Info: f.Info, upem: 1000, ascent: 1.069, descent: 0.293}, listed: lists[f.Runes]}
		if !f.Outlines {
			s.colour = made
		}
		s.keep(made)
	}
	return s, s.findBase()
}

// Hash names a set of font files, by their names and sizes: two machines with
// the same have the same fonts. It is of the machine's own alone.
func (s *Set) Hash() string { return s.hash }

// hashOf is the hash of files, as lines of name and size.
func hashOf(lines []string) string {
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range slices.Compact(lines) {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
