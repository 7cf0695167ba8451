// Package font reads font files: what they are called, which characters they
// have, how wide a text is in them. A Set is the fonts of a machine, and knows
// which of them draws a text.
package font

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"

	"github.com/api-gpu/api-gpu"
)

// Bounds of a font file. The largest that Debian ships is 30 MB.
const (
	MaxFile  = 64 << 20 // bytes
	maxFaces = 64       // faces of a collection
)

// Info is what a face says of itself.
type Info struct {
	// Family is the name under which libass finds the face: the one of four
	// styles at most. Typographic is the family as designers have it, and may
	// be the same: "Noto Sans Black" is of "Noto Sans".
	Family, Typographic string
	Weight              int
	Italic              bool
	Width               int // 1 to 9; 5 is normal, less is condensed
	// Outlines tells that letters are drawn by curves. A font of pictures
	// only, as those of coloured emoji are, cannot be drawn by libass.
	Outlines bool
	// Bitmaps tells that it has pictures in colour.
	Bitmaps bool
}

// Check reads a font from bytes that nobody vouches for, and returns its
// faces. It reads all of it that drawing needs; the error is of code
// FontUnreadable.
func Check(b []byte) (infos []Info, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			infos, err = nil, unreadable(fmt.Errorf("panic: %v", fault))
		}
	}()
	if len(b) > MaxFile {
		return nil, unreadable(fmt.Errorf("%d bytes", len(b)))
	}
	faces, err := open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	for _, f := range faces {
		if _, err := load(f.loader); err != nil {
			return nil, err
		}
		infos = append(infos, f.Info)
	}
	return infos, nil
}

func unreadable(err error) error {
	return apigpu.E(apigpu.FontUnreadable, err, "This is no font that can be read: TTF, OTF and TTC are.")
}

// header is a face of which only the small tables were read.
type header struct {
	Info
	loader          *ot.Loader
	upem            float64
	ascent, descent float64 // in ems
}

// readFile reads the headers of a file's faces. The file is closed again.
func readFile(path string) (headers []header, err error) {
	defer func() { // the parsers are not ours, and the files may be anybody's
		if fault := recover(); fault != nil {
			headers, err = nil, unreadable(fmt.Errorf("panic: %v", fault))
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open font: %w", err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at font: %w", err)
	}
	return open(f, stat.Size())
}

// open reads the headers of the faces of a file of this size.
func open(r ot.Resource, size int64) ([]header, error) {
	if size > MaxFile {
		return nil, unreadable(fmt.Errorf("%d bytes", size))
	}
	if err := checkDirectories(r, size); err != nil {
		return nil, unreadable(err)
	}
	loaders, err := ot.NewLoaders(r)
	if err != nil {
		return nil, unreadable(err)
	}
	var headers []header
	for _, l := range loaders {
		h, err := readHeader(l)
		if err != nil {
			return nil, unreadable(err)
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// checkDirectories sees to it that every table lies within the file, so that
// no reader asks for more memory than the file has bytes.
func checkDirectories(r io.ReaderAt, size int64) error {
	const trueType, openType, apple, collection = 0x00010000, 0x4f54544f, 0x74727565, 0x74746366
	at := func(offset int64, n int) ([]byte, error) {
		b := make([]byte, n)
		if offset < 0 || offset+int64(n) > size {
			return nil, io.ErrUnexpectedEOF
		}
		_, err := r.ReadAt(b, offset)
		return b, err
	}
	head, err := at(0, 12)
	if err != nil {
		return err
	}
	starts := []int64{0}
	if binary.BigEndian.Uint32(head) == collection {
		n := binary.BigEndian.Uint32(head[8:])
		if n < 1 || n > maxFaces {
			return fmt.Errorf("%d faces", n)
		}
		list, err := at(12, int(4*n))
		if err != nil {
			return err
		}
		starts = nil
		for ; len(list) > 0; list = list[4:] {
			starts = append(starts, int64(binary.BigEndian.Uint32(list)))
		}
	}
	for _, start := range starts {
		head, err := at(start, 12)
		if err != nil {
			return err
		}
		if v := binary.BigEndian.Uint32(head); v != trueType && v != openType && v != apple {
			return fmt.Errorf("signature %#x", v)
		}
		records, err := at(start+12, 16*int(binary.BigEndian.Uint16(head[4:])))
		if err != nil {
			return err
		}
		for ; len(records) > 0; records = records[16:] {
			offset, length := int64(binary.BigEndian.Uint32(records[8:])), int64(binary.BigEndian.Uint32(records[12:]))
			if offset+length > size {
				return fmt.Errorf("table %.4s ends after the file", records)
			}
		}
	}
	return nil
}

// readHeader reads what a face says of itself.
func readHeader(l *ot.Loader) (header, error) {
	h := header{loader: l, Info: Info{
		Weight: 400, Width: 5, Outlines: l.HasTable(tag("glyf")) || l.HasTable(tag("CFF ")) || l.HasTable(tag("CFF2")),
		Bitmaps: l.HasTable(tag("CBDT")) || l.HasTable(tag("sbix")),
	}}
	head, err := l.RawTable(tag("head"))
	if err != nil || len(head) < 54 {
		return h, fmt.Errorf("table head: %d bytes, %w", len(head), err)
	}
	upem := binary.BigEndian.Uint16(head[18:])
	if upem < 16 || upem > 16384 {
		return h, fmt.Errorf("%d units an em", upem)
	}
	h.upem = float64(upem)
	h.Italic = binary.BigEndian.Uint16(head[44:])&2 != 0
	if binary.BigEndian.Uint16(head[44:])&1 != 0 {
		h.Weight = 700
	}
	if err := h.lineHeight(l); err != nil {
		return h, err
	}
	raw, err := l.RawTable(tag("name"))
	if err != nil {
		return h, err
	}
	names, _, err := tables.ParseName(raw)
	if err != nil {
		return h, fmt.Errorf("table name: %w", err)
	}
	h.Family, h.Typographic = clean(names.Name(1)), clean(names.Name(16))
	if h.Typographic == "" {
		h.Typographic = h.Family
	}
	if h.Family == "" {
		return h, fmt.Errorf("the font has no name")
	}
	return h, nil
}

// lineHeight reads the figures that libass makes lines as high as: those of
// OS/2 for Windows, else those of hhea.
func (h *header) lineHeight(l *ot.Loader) error {
	if os2, err := l.RawTable(tag("OS/2")); err == nil && len(os2) >= 78 {
		if w := int(binary.BigEndian.Uint16(os2[4:])); w >= 1 && w <= 1000 {
			h.Weight = w
		}
		if w := int(binary.BigEndian.Uint16(os2[6:])); w >= 1 && w <= 9 {
			h.Width = w
		}
		h.Italic = h.Italic || binary.BigEndian.Uint16(os2[62:])&1 != 0
		h.ascent = float64(int16(binary.BigEndian.Uint16(os2[74:]))) / h.upem
		h.descent = float64(int16(binary.BigEndian.Uint16(os2[76:]))) / h.upem
	}
	if h.ascent+h.descent <= 0 {
		hhea, err := l.RawTable(tag("hhea"))
		if err != nil || len(hhea) < 8 {
			return fmt.Errorf("no heights: %w", err)
		}
		h.ascent = float64(int16(binary.BigEndian.Uint16(hhea[4:]))) / h.upem
		h.descent = -float64(int16(binary.BigEndian.Uint16(hhea[6:]))) / h.upem
	}
	if sum := h.ascent + h.descent; !(sum > 0.2 && sum < 10) {
		return fmt.Errorf("a line of %.2f ems", sum)
	}
	return nil
}

func tag(s string) ot.Tag { return ot.MustNewTag(s) }

// clean keeps of a name what can stand in a script and in a warning.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`,{}\()`, r) || r == '\ufffd' {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100])
	}
	return strings.TrimSpace(s)
}
