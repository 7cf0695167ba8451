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
	"unicode"

	textfont "github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
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

// runesOf lists the characters of a face.
func (f *face) runesOf() (ranges, error) {
	glyphs, err := readGlyphs(f.path, f.index)
	if err != nil {
		return nil, err
	}
	return listRunes(glyphs)
}

// maxChars is how many characters there are. A font that lists more is made to
// cost time and memory: one range of 12 bytes may claim four billion.
const maxChars = unicode.MaxRune + 1

// listRunes lists the characters that have a glyph. The error is of code
// FontUnreadable.
func listRunes(glyphs textfont.Cmap) (ranges, error) {
	var all []uint32
	n := 0
	for it := glyphs.Iter(); it.Next(); {
		if n++; n > maxChars {
			return nil, unreadable(errors.New("it lists more characters than there are"))
		}
		if c, g := it.Char(); g != 0 && c >= 0 && c <= unicode.MaxRune {
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
	out := listing{}
	faces := s.faces
	if s.colour != nil {
		faces = append(slices.Clone(faces), s.colour)
	}
	for _, f := range faces {
		runes, err := f.runesOf()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		out.add(f.Info, runes)
	}
	out.Hash = s.Hash()
	return out.encode()
}

// listing is a table in the making.
type listing struct {
	stored
	index map[string]int // packed characters → where they are
}

func (l *listing) add(info Info, runes ranges) {
	packed := string(runes.pack())
	if l.index == nil {
		l.index = map[string]int{}
	}
	if _, known := l.index[packed]; !known {
		l.index[packed] = len(l.Runes)
		l.Runes = append(l.Runes, []byte(packed))
	}
	l.Faces = append(l.Faces, storedFace{info, l.index[packed]})
}

// encode writes what readTable reads. A font that lists more than fits is
// FontUnreadable: it would be kept, and could not be read back.
func (l *listing) encode() ([]byte, error) {
	var plain, b bytes.Buffer
	if err := gob.NewEncoder(&plain).Encode(l.stored); err != nil {
		return nil, err
	}
	if plain.Len() > maxTable {
		return nil, unreadable(errors.New("its lists of characters are longer than those of any font"))
	}
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Image are the fonts of the worker's image, of which no file need be here: it
// knows what they are called and which characters they have, and guesses how
// wide a text is. It is shared: do not change it.
var Image = sync.OnceValue(func() *Set {
	s, err := readTable(table)
	if err == nil {
		err = s.findBase()
	}
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
	plain, err := io.ReadAll(io.LimitReader(z, maxTable))
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
		if f.Runes < 0 || f.Runes >= len(lists) {
			return nil, errors.New("a face without its characters")
		}
	}
	for _, f := range in.Faces {
		// Heights as those of Noto Sans.
		made := &face{header: header{Info: f.Info, upem: 1000, ascent: 1.069, descent: 0.293}, listed: lists[f.Runes]}
		if !f.Outlines {
			s.colour = made
		}
		s.keep(made)
	}
	return s, nil
}

// maxTable bounds a table, in bytes before it is compressed.
const maxTable = 16 << 20

// Describe reads a font from bytes that nobody vouches for, as Check does, and
// returns what its faces are, and a table of them for WithTables.
func Describe(b []byte) (table []byte, infos []Info, err error) {
	if infos, err = Check(b); err != nil {
		return nil, nil, err
	}
	loaders, err := ot.NewLoaders(bytes.NewReader(b))
	if err != nil || len(loaders) != len(infos) {
		return nil, nil, unreadable(err)
	}
	var out listing
	for i, l := range loaders {
		glyphs, err := glyphsOf(l)
		if err != nil {
			return nil, nil, err
		}
		runes, err := listRunes(glyphs)
		if err != nil {
			return nil, nil, err
		}
		out.add(infos[i], runes)
	}
	table, err = out.encode()
	return table, infos, err
}

// WithTables returns a set that has the faces of these tables as well, before
// its own.
func (s *Set) WithTables(tables ...[]byte) (*Set, error) {
	more := &Set{base: s.base, hash: s.hash, families: map[string][]*face{}, buf: harfbuzz.NewBuffer()}
	for _, b := range tables {
		some, err := readTable(b)
		if err != nil {
			return nil, fmt.Errorf("a table of fonts: %w", err)
		}
		for _, f := range some.faces {
			more.keep(f)
		}
	}
	return more.over(s), nil
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
