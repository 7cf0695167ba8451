package mp4

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sort"
	"time"
)

// ErrNoTables means that the file does not tell where its samples are in a way
// that is read here: it is fragmented, or its tables are not whole.
var ErrNoTables = errors.New("no tables of samples")

// Range is a part of a file.
type Range struct{ Offset, Length int64 }

const (
	// before and after are how much of the film a frame is decoded from: from
	// the last frame before it that needs no other, and some after it, because
	// frames are stored in another order than they are shown in.
	before = time.Second
	after  = 1500 * time.Millisecond
	// maxAround bounds the samples of Around, in bytes: ten seconds of 100
	// Mbit/s, which is what one that needs no other may be away.
	maxAround = 128 << 20
	// maxGap is what is read rather than left out between two ranges: a request
	// costs more than so many bytes.
	maxGap = 64 << 10
)

// Around returns the parts of a file of size bytes that a player needs to show
// the film at a time: all but the media, and the samples of the film around
// that time. They are in the order of the file and do not touch. A file that
// holds only these at their places, and zeros elsewhere, shows that frame.
//
// The error is, or wraps, one of Parse, or ErrNoTables.
func Around(r io.ReaderAt, size int64, at time.Duration) ([]Range, error) {
	ranges, moov, err := boxes(r, size)
	if err != nil {
		return nil, err
	}
	m, err := parseMoov(moov)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	film := m.video()
	switch {
	case film == nil:
		return nil, ErrNoVideo
	case m.fragmented || film.timescale == 0:
		return nil, ErrNoTables
	}
	samples, err := film.around(at)
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		if s.Offset < 0 || s.Length < 0 || s.Offset > size-s.Length {
			return nil, fmt.Errorf("%w: a sample is past the end", ErrDamaged)
		}
	}
	return joined(append(ranges, samples...)), nil
}

// boxes returns where everything but media is, and the content of moov.
func boxes(r io.ReaderAt, size int64) (ranges []Range, moov []byte, err error) {
	moov, _, err = findMoov(r, size)
	if err != nil {
		return nil, nil, err
	}
	at := int64(0)
	for range maxBoxes {
		h, err := readHeader(r, at, size)
		if errors.Is(err, errShort) {
			return ranges, moov, nil
		}
		if err != nil {
			return nil, nil, err
		}
		length := h.size
		if h.kind == "mdat" {
			length = h.header
		}
		ranges = append(ranges, Range{at, min(length, size-at)})
		at += h.size
	}
	return ranges, moov, nil
}

// keep remembers a table.
func (t *tables) keep(kind string, content []byte) {
	if len(content) < 4 {
		return
	}
	content = content[4:] // version and flags
	switch kind {
	case "stts":
		t.stts = content
	case "stss":
		t.stss = content
	case "stsz":
		t.stsz = content
	case "stsc":
		t.stsc = content
	case "stco":
		t.stco = content
	case "co64":
		t.co64 = content
	}
}

// around returns where the samples of the track are that show a time.
func (t *track) around(at time.Duration) ([]Range, error) {
	units := func(d time.Duration) uint64 {
		hi, lo := bits.Mul64(uint64(min(max(d, 0), maxSpan)), uint64(t.timescale))
		q, _ := bits.Div64(hi, lo, uint64(time.Second)) // hi is below 2^24: it fits
		return q
	}
	at = min(at, span(t.media(), t.timescale)) // past the end it is the last
	first := t.tables.sampleAt(addSat(t.skipped, units(at-before)))
	last := t.tables.sampleAt(addSat(t.skipped, units(at+after)))
	return t.tables.ranges(t.tables.syncBefore(first), last)
}

// sampleAt returns the number, from 0, of the sample that is decoded at a time
// (8.6.1.2), or of the last.
func (t tables) sampleAt(units uint64) uint64 {
	d := &body{b: t.stts}
	var sample, at uint64
	for range d.u32() {
		count, delta := uint64(d.u32()), uint64(d.u32())
		if d.short {
			break
		}
		if delta > 0 && units < addSat(at, count*delta) {
			return sample + (units-min(at, units))/delta
		}
		sample, at = sample+count, addSat(at, count*delta)
	}
	return max(sample, 1) - 1
}

// syncBefore returns the last sample up to this one that needs no other
// (8.6.2). Without a table every sample is one.
func (t tables) syncBefore(sample uint64) uint64 {
	if t.stss == nil {
		return sample
	}
	d := &body{b: t.stss}
	n := min(uint64(d.u32()), uint64(len(d.b)/4))
	number := func(i int) uint64 { return uint64(binary.BigEndian.Uint32(d.b[4*i:])) } // from 1, rising
	i := sort.Search(int(n), func(i int) bool { return number(i) > sample+1 })
	if i == 0 {
		return 0
	}
	return max(number(i-1), 1) - 1
}

// size returns the length of a sample (8.7.3.2); ok is false where it is not
// told.
func (t tables) size(sample uint64) (n int64, ok bool) {
	d := &body{b: t.stsz}
	same, count := d.u32(), uint64(d.u32())
	switch {
	case d.short || sample >= count:
		return 0, false
	case same > 0:
		return int64(same), true
	case sample >= uint64(len(d.b)/4):
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(d.b[4*sample:])), true
}

// chunk returns the offset of a chunk, from 1 (8.7.5).
func (t tables) chunk(number uint64) (offset int64, ok bool) {
	wide := t.co64 != nil
	d := &body{b: t.stco}
	entry := uint64(4)
	if wide {
		d.b, entry = t.co64, 8
	}
	count := uint64(d.u32())
	if d.short || number < 1 || number > count || number > uint64(len(d.b))/entry {
		return 0, false
	}
	b := d.b[entry*(number-1):]
	if wide {
		return int64(binary.BigEndian.Uint64(b) & (1<<62 - 1)), true
	}
	return int64(binary.BigEndian.Uint32(b)), true
}

// ranges returns where the samples from first to last are: the chunks that
// hold them, by the runs of chunks that hold the same number (8.7.4).
func (t tables) ranges(first, last uint64) ([]Range, error) {
	var out []Range
	var total int64
	d := &body{b: t.stsc}
	runs := min(uint64(d.u32()), uint64(len(d.b)/12))
	sample := uint64(0) // the first of the chunk
	for n := range runs {
		from, each := uint64(d.u32()), uint64(d.u32())
		d.take(4)
		end := uint64(1<<32 - 1) // the chunk after the run
		if n+1 < runs {
			end = uint64(binary.BigEndian.Uint32(d.b))
		}
		if each == 0 || end <= from {
			return nil, fmt.Errorf("%w: a run of chunks is empty", ErrNoTables)
		}
		if skip := min((first-min(sample, first))/each, end-from); skip > 0 { // chunks before
			from, sample = from+skip, sample+skip*each
		}
		for number := from; number < end && sample <= last; number++ {
			r, ok := t.inChunk(number, sample, each, first, last)
			if !ok {
				if len(out) > 0 && sample > first { // the tables end before the time
					return out, nil
				}
				return nil, fmt.Errorf("%w: they end before sample %d", ErrNoTables, first)
			}
			if total += r.Length; total > maxAround {
				return nil, fmt.Errorf("%w: the frame needs more than %d bytes", ErrNoTables, maxAround)
			}
			out = append(out, r)
			sample += each
		}
	}
	if len(out) == 0 {
		return nil, ErrNoTables
	}
	return out, nil
}

// inChunk returns where the samples from first to last are in a chunk that
// begins with one and holds so many.
func (t tables) inChunk(number, begin, each, first, last uint64) (Range, bool) {
	at, ok := t.chunk(number)
	if !ok {
		return Range{}, false
	}
	r := Range{Offset: at}
	for sample := begin; sample < begin+each && sample <= last; sample++ {
		n, ok := t.size(sample)
		switch {
		case !ok && r.Length == 0:
			return Range{}, false
		case !ok:
			return r, true
		case sample < first:
			r.Offset += n
		default:
			r.Length += n
		}
	}
	return r, true
}

// joined returns ranges in the order of the file, those that touch or nearly
// do made one.
func joined(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	var out []Range
	for _, r := range ranges {
		if n := len(out); n > 0 && r.Offset <= out[n-1].Offset+out[n-1].Length+maxGap {
			out[n-1].Length = max(out[n-1].Length, r.Offset+r.Length-out[n-1].Offset)
			continue
		}
		out = append(out, r)
	}
	return out
}
