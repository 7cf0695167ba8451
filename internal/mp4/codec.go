package mp4

import "strings"

// entry is the first sample description of a track (8.5.2). Others, rare,
// describe the same codec with other parameters.
type entry struct {
	raw   []byte // the box, header included
	codec string

	width, height           int // coded pixels
	pixelWidth, pixelHeight uint32
}

// open splits the entry's box into its four-letter code and content. What is
// cut off is no reason to refuse the file: the codec stays unknown.
func (e *entry) open() (fourcc string, content []byte) {
	h, err := parseHeader(e.raw, int64(len(e.raw)))
	if err != nil || h.size > int64(len(e.raw)) {
		return "", nil
	}
	return h.kind, e.raw[h.header:h.size]
}

// parseVideo reads a visual sample entry (12.1.3).
func (e *entry) parseVideo() {
	fourcc, content := e.open()
	e.codec = videoCodec(fourcc)
	d := &body{b: content}
	d.take(24) // reserved, reference, and QuickTime's version, vendor, quality
	e.width, e.height = int(d.u16()), int(d.u16())
	d.take(50) // resolution, frame count, name, depth, table
	// A list of boxes that breaks off has told what it could.
	_ = each(d.b, func(kind string, content []byte) error {
		if kind == "pasp" { // 12.1.4
			p := &body{b: content}
			e.pixelWidth, e.pixelHeight = p.u32(), p.u32()
		}
		return nil
	})
}

// parseAudio reads an audio sample entry (12.2.3, and QuickTime's versions 1
// and 2 of it, which are longer).
func (e *entry) parseAudio() {
	fourcc, content := e.open()
	e.codec = audioCodec(fourcc)
	if fourcc != "mp4a" {
		return
	}
	d := &body{b: content}
	d.take(8) // reserved, reference
	version := d.u16()
	d.take(18)
	switch version {
	case 1:
		d.take(16)
	case 2:
		d.take(36)
	}
	find := func(kind string, content []byte) error {
		if kind == "esds" {
			e.codec = esdsCodec(content)
		}
		return nil
	}
	_ = each(d.b, func(kind string, content []byte) error {
		if kind == "wave" { // QuickTime wraps it once more
			return each(content, find)
		}
		return find(kind, content)
	})
}

// esdsCodec reads the object type of an ES descriptor (ISO/IEC 14496-1, 7.2.6.5
// and 7.2.6.6), whose values mp4ra.org registers.
func esdsCodec(b []byte) string {
	d := &body{b: b}
	d.version()
	if d.descriptor() != 3 {
		return "aac"
	}
	d.take(2) // id
	flags := d.take(1)[0]
	if flags&0x80 != 0 {
		d.take(2) // depends on
	}
	if flags&0x40 != 0 {
		length := int(d.take(1)[0]) // of a URL
		d.b = d.b[min(length, len(d.b)):]
	}
	if flags&0x20 != 0 {
		d.take(2) // clock
	}
	if d.descriptor() != 4 {
		return "aac"
	}
	switch d.take(1)[0] {
	case 0x69, 0x6B:
		return "mp3"
	case 0xA5:
		return "ac3"
	case 0xA6:
		return "eac3"
	case 0xA9:
		return "dts"
	case 0xAD:
		return "opus"
	case 0xDD:
		return "vorbis"
	}
	return "aac"
}

// descriptor reads the tag and skips the length of a descriptor: up to four
// bytes of seven bits, the highest bit saying that more follow.
func (d *body) descriptor() byte {
	tag := d.take(1)[0]
	for range 4 {
		if d.take(1)[0]&0x80 == 0 {
			break
		}
	}
	return tag
}

// videoCodec names a visual sample entry; the codes are registered at
// mp4ra.org.
func videoCodec(fourcc string) string {
	switch fourcc {
	case "avc1", "avc2", "avc3", "avc4", "dva1", "dvav":
		return "h264"
	case "hvc1", "hev1", "hvc2", "dvh1", "dvhe":
		return "hevc"
	case "vvc1", "vvi1":
		return "vvc"
	case "vp08":
		return "vp8"
	case "vp09":
		return "vp9"
	case "av01", "dav1":
		return "av1"
	case "mp4v":
		return "mpeg4"
	case "s263", "h263", "H263":
		return "h263"
	case "apcn", "apch", "apcs", "apco", "ap4h", "ap4x":
		return "prores"
	case "AVdn", "AVdh":
		return "dnxhd"
	case "jpeg", "mjpa", "mjpb":
		return "mjpeg"
	case "png ":
		return "png"
	case "encv":
		return "encrypted"
	}
	return printable(fourcc)
}

// audioCodec names an audio sample entry. mp4a is AAC unless its descriptor
// says otherwise.
func audioCodec(fourcc string) string {
	switch fourcc {
	case "mp4a":
		return "aac"
	case "ac-3":
		return "ac3"
	case "ec-3":
		return "eac3"
	case "Opus":
		return "opus"
	case "fLaC":
		return "flac"
	case "alac":
		return "alac"
	case ".mp3", "ms\x00\x55":
		return "mp3"
	case "samr":
		return "amr_nb"
	case "sawb":
		return "amr_wb"
	case "sowt", "twos", "lpcm", "ipcm", "fpcm", "raw ", "in24", "in32", "fl32", "fl64":
		return "pcm"
	case "dtsc", "dtsh", "dtsl", "dtse":
		return "dts"
	case "enca":
		return "encrypted"
	}
	return printable(fourcc)
}

// printable keeps what is safe to show of a code that a stranger wrote.
func printable(fourcc string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, fourcc))
}
