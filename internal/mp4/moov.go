package mp4

import (
	"encoding/binary"
	"fmt"
)

// movie is what a moov box holds of interest. Times are in units of the
// timescale beside them.
type movie struct {
	timescale  uint32
	duration   uint64
	fragmented bool
	fragments  uint64 // mehd: duration of a fragmented movie
	tracks     []track
	defaults   map[uint32]uint32 // trex: track id → duration of a sample
}

// track is what a trak box holds of interest.
type track struct {
	id            uint32
	handler       string // vide, soun, ...
	matrix        [4]int32
	width, height int // tkhd, whole pixels

	timescale uint32
	duration  uint64 // mdhd
	edited    uint64 // sum of the edits that show media, in the movie's timescale

	samples   uint64 // stsz
	timedSpan uint64 // stts: the summed durations of the samples

	entry     entry
	fragments fragments // of a fragmented movie
	tables    tables
	skipped   uint64 // media time at which the first edit begins
}

// tables are the tables of samples as they stand in the file, each without
// its version and flags; see around.go.
type tables struct{ stts, stss, stsz, stsc, stco, co64 []byte }

// body is the content of a box, read from the front. Reading past the end
// gives zeros and sets short, so that a reader checks once, at its end.
type body struct {
	b     []byte
	short bool
}

func (d *body) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return make([]byte, n) // n is one of our constants, never the file's
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *body) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *body) u32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *body) u64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

// version reads the version and flags of a full box (4.2.2).
func (d *body) version() byte { return d.take(4)[0] }

// time reads a time or duration: 64 bits in version 1, else 32. All ones mean
// unknown, which is 0 here.
func (d *body) time(version byte) uint64 {
	if version == 1 {
		if v := d.u64(); v != 1<<64-1 {
			return v
		}
		return 0
	}
	if v := d.u32(); v != 1<<32-1 {
		return uint64(v)
	}
	return 0
}

// err reports what is missing of a box of this kind.
func (d *body) err(kind string) error {
	if d.short {
		return fmt.Errorf("the %s box is too short", kind)
	}
	return nil
}

// each calls visit for every box in b. Fewer than eight bytes after the last
// are ignored: QuickTime ends some lists with four zeros (its file format
// specification, "User data atoms").
func each(b []byte, visit func(kind string, content []byte) error) error {
	for len(b) >= 8 {
		h, err := parseHeader(b, int64(len(b)))
		if err != nil {
			return err
		}
		if h.size > int64(len(b)) {
			return fmt.Errorf("the %q box claims %d of %d bytes", h.kind, h.size, len(b))
		}
		if err := visit(h.kind, b[h.header:h.size]); err != nil {
			return err
		}
		b = b[h.size:]
	}
	return nil
}

// parseMoov reads the content of a moov box (8.2.1). Each byte is looked at
// once per level, and the levels are named in the code: a file cannot add any.
func parseMoov(b []byte) (movie, error) {
	m := movie{defaults: map[uint32]uint32{}}
	err := each(b, func(kind string, content []byte) error {
		d := &body{b: content}
		switch kind {
		case "mvhd": // 8.2.2
			v := d.version()
			d.time(v) // created
			d.time(v) // modified
			m.timescale = d.u32()
			m.duration = d.time(v)
		case "trak":
			t, err := parseTrak(content)
			m.tracks = append(m.tracks, t)
			return err
		case "mvex": // 8.8.1
			m.fragmented = true
			return m.parseMvex(content)
		case "cmov":
			return fmt.Errorf("compressed headers are not read")
		}
		return d.err(kind)
	})
	return m, err
}

// parseMvex reads what a movie says of its fragments.
func (m *movie) parseMvex(b []byte) error {
	return each(b, func(kind string, content []byte) error {
		d := &body{b: content}
		switch kind {
		case "mehd": // 8.8.2
			m.fragments = d.time(d.version())
		case "trex": // 8.8.3
			d.version()
			id := d.u32()
			d.u32() // sample description
			m.defaults[id] = d.u32()
		}
		return d.err(kind)
	})
}

// parseTrak reads the content of a trak box (8.3.1).
func parseTrak(b []byte) (track, error) {
	var t track
	err := each(b, func(kind string, content []byte) error {
		switch kind {
		case "tkhd":
			return t.parseTkhd(content)
		case "mdia":
			return t.parseMdia(content)
		case "edts":
			return each(content, func(kind string, content []byte) error {
				if kind == "elst" {
					return t.parseElst(content)
				}
				return nil
			})
		}
		return nil
	})
	return t, err
}

// parseTkhd reads a track header (8.3.2).
func (t *track) parseTkhd(b []byte) error {
	d := &body{b: b}
	v := d.version()
	d.time(v) // created
	d.time(v) // modified
	t.id = d.u32()
	d.take(4)  // reserved
	d.time(v)  // duration: the edit list and the media say it better
	d.take(16) // reserved, layer, group, volume, reserved
	// The matrix is {a b u, c d v, x y w}; a to d are 16.16 fixed point.
	t.matrix[0], t.matrix[1] = int32(d.u32()), int32(d.u32())
	d.take(4)
	t.matrix[2], t.matrix[3] = int32(d.u32()), int32(d.u32())
	d.take(16)
	t.width, t.height = int(d.u32()>>16), int(d.u32()>>16)
	return d.err("tkhd")
}

// parseElst reads an edit list (8.6.6). An edit whose media time is -1 shows
// nothing.
func (t *track) parseElst(b []byte) error {
	d := &body{b: b}
	v := d.version()
	for range d.u32() { // ends with the box at the latest
		span := d.time(v)
		var from int64
		if v == 1 {
			from = int64(d.u64())
		} else {
			from = int64(int32(d.u32()))
		}
		d.take(4) // rate
		if d.short {
			break
		}
		if from != -1 {
			if t.edited == 0 {
				t.skipped = uint64(max(from, 0))
			}
			t.edited = addSat(t.edited, span)
		}
	}
	return d.err("elst")
}

// parseMdia reads the content of a mdia box (8.4.1), with its minf and stbl.
func (t *track) parseMdia(b []byte) error {
	return each(b, func(kind string, content []byte) error {
		d := &body{b: content}
		switch kind {
		case "mdhd": // 8.4.2
			v := d.version()
			d.time(v) // created
			d.time(v) // modified
			t.timescale = d.u32()
			t.duration = d.time(v)
		case "hdlr": // 8.4.3
			d.version()
			d.take(4) // QuickTime: "mhlr"
			t.handler = string(d.take(4))
		case "minf":
			return each(content, func(kind string, content []byte) error {
				if kind == "stbl" {
					return each(content, t.parseStbl)
				}
				return nil
			})
		}
		return d.err(kind)
	})
}

// parseStbl reads one table of the sample table (8.5.1). mdia puts hdlr before
// minf in every file met, but no rule says so: stsd is kept, and read once the
// handler is known.
func (t *track) parseStbl(kind string, content []byte) error {
	t.tables.keep(kind, content)
	d := &body{b: content}
	switch kind {
	case "stsd": // 8.5.2
		d.version()
		if d.u32() > 0 {
			t.entry.raw = d.b
		}
	case "stts": // 8.6.1.2
		d.version()
		for range d.u32() { // ends with the box at the latest
			count, delta := uint64(d.u32()), uint64(d.u32())
			if d.short {
				break
			}
			t.timedSpan = addSat(t.timedSpan, count*delta)
		}
	case "stsz", "stz2": // 8.7.3: both count at the same place
		d.version()
		d.take(4)
		t.samples = uint64(d.u32())
	}
	return d.err(kind)
}

// addSat adds, and stays at the largest number instead of wrapping around.
func addSat(a, b uint64) uint64 {
	if a+b < a {
		return 1<<64 - 1
	}
	return a + b
}
