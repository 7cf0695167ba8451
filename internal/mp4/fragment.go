package mp4

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// fragments is what can be learned of a fragmented track without reading all
// of the file. Times are in the track's timescale.
type fragments struct {
	length  time.Duration // by the segment index
	end     uint64        // when the last fragment ends
	samples uint64        // of the last fragment
	span    uint64        // their summed durations
}

// readFragments looks where writers of fragmented files say how long they are:
// in a segment index after moov, or in the random access index at the end of
// the file, which leads to the last fragment. Both may be missing. delta is the
// duration of a sample that states none.
func (t *track) readFragments(r io.ReaderAt, at, size int64, delta uint32) error {
	t.fragments.samples, t.fragments.span = 1, uint64(delta)
	length, err := segmentIndex(r, at, size)
	if err != nil {
		return err
	}
	t.fragments.length = length
	moof, err := t.lastMoof(r, size)
	if err != nil || moof == nil {
		return err
	}
	// A fragment that is damaged tells less; the file may still play.
	_ = each(moof, func(kind string, content []byte) error {
		if kind == "traf" {
			return t.parseTraf(content, delta)
		}
		return nil
	})
	return nil
}

// readTable returns the content of the box of this kind at offset at; nil if
// another stands there, or it is too large to be one.
func readTable(r io.ReaderAt, kind string, at, size int64) ([]byte, int64, error) {
	h, err := readHeader(r, at, size)
	if errors.Is(err, errShort) {
		return nil, size, nil
	}
	if err != nil || h.kind != kind || h.size > min(maxTable, size-at) {
		return nil, at + h.size, err
	}
	b := make([]byte, h.size-h.header)
	return b, at + h.size, readFull(r, b, at+h.header)
}

// segmentIndex sums the durations of a sidx box (8.16.3) that stands at
// offset at or up to three boxes after it; 0 if there is none.
func segmentIndex(r io.ReaderAt, at, size int64) (time.Duration, error) {
	for range 4 {
		b, next, err := readTable(r, "sidx", at, size)
		if err != nil {
			return 0, err
		}
		if b != nil {
			return parseSidx(b), nil
		}
		at = next
	}
	return 0, nil
}

// parseSidx sums the durations of a segment index (8.16.3).
func parseSidx(b []byte) time.Duration {
	d := &body{b: b}
	v := d.version()
	d.take(4) // reference id
	timescale := d.u32()
	d.time(v) // earliest presentation time
	d.time(v) // first offset
	d.take(2) // reserved
	var sum uint64
	for range d.u16() { // ends with the box at the latest
		d.take(4) // type and size
		duration := d.u32()
		d.take(4) // access points
		if d.short {
			break
		}
		sum += uint64(duration)
	}
	return span(sum, timescale)
}

// lastMoof follows the random access index (8.8.9 to 8.8.11) to the last
// fragment of the track; nil if there is no index.
func (t *track) lastMoof(r io.ReaderAt, size int64) ([]byte, error) {
	const mfroSize = 16
	if size < mfroSize {
		return nil, nil
	}
	mfro, _, err := readTable(r, "mfro", size-mfroSize, size)
	if err != nil || len(mfro) != mfroSize-8 {
		return nil, err
	}
	mfra, _, err := readTable(r, "mfra", size-int64(binary.BigEndian.Uint32(mfro[4:])), size)
	if err != nil || mfra == nil {
		return nil, err
	}
	last := int64(-1)
	_ = each(mfra, func(kind string, content []byte) error {
		if kind == "tfra" {
			if id, offset := parseTfra(content); id == t.id {
				last = offset
			}
		}
		return nil
	})
	moof, _, err := readTable(r, "moof", last, size)
	return moof, err
}

// parseTfra returns the track and the offset of the last fragment that a tfra
// box (8.8.10) lists; -1 if it lists none.
func parseTfra(b []byte) (id uint32, offset int64) {
	d := &body{b: b}
	v := d.version()
	id = d.u32()
	lengths := d.u32() // three lengths, less one, of two bits each
	n := int64(d.u32())
	wide := int64(8)
	if v == 1 {
		wide = 16
	}
	entry := wide + int64(lengths>>4&3+1+lengths>>2&3+1+lengths&3+1)
	if n == 0 || n > int64(len(d.b))/entry {
		return id, -1
	}
	d.b = d.b[(n-1)*entry:]
	d.time(v)
	if v == 1 {
		return id, int64(d.u64() & (1<<63 - 1))
	}
	return id, int64(d.u32())
}

// parseTraf reads one track's part of a fragment (8.8.6): when it begins and
// how long its samples last.
func (t *track) parseTraf(b []byte, delta uint32) error {
	var begin, samples, sum uint64
	ours := false
	err := each(b, func(kind string, content []byte) error {
		d := &body{b: content}
		switch kind {
		case "tfhd": // 8.8.7
			flags := d.u32()
			ours = d.u32() == t.id
			if flags&0x1 != 0 {
				d.take(8) // base offset
			}
			if flags&0x2 != 0 {
				d.take(4) // description
			}
			if flags&0x8 != 0 {
				delta = d.u32()
			}
		case "tfdt": // 8.8.12
			begin = d.time(d.version())
		case "trun":
			n, length := parseTrun(d, delta)
			samples, sum = samples+n, addSat(sum, length)
		}
		return d.err(kind)
	})
	if ours && err == nil {
		t.fragments.end = addSat(begin, sum)
		if samples > 0 {
			t.fragments.samples, t.fragments.span = samples, sum
		}
	}
	return err
}

// parseTrun counts the samples of a run (8.8.8) and sums their durations.
func parseTrun(d *body, delta uint32) (samples, sum uint64) {
	flags := d.u32()
	n := uint64(d.u32())
	for _, optional := range []uint32{0x1, 0x4} { // data offset, first flags
		if flags&optional != 0 {
			d.take(4)
		}
	}
	if flags&0x100 == 0 { // no sample states its own
		return n, n * uint64(delta)
	}
	skip := 0 // size, flags, composition offset of each
	for _, optional := range []uint32{0x200, 0x400, 0x800} {
		if flags&optional != 0 {
			skip += 4
		}
	}
	for range n { // ends with the box at the latest
		sum += uint64(d.u32())
		d.take(skip)
		if d.short {
			break
		}
	}
	return n, sum
}
