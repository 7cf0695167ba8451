// Package mp4 reads the header of an MP4 or QuickTime file: how long, how
// large, which codecs. It needs a few small reads, so it serves for files
// that are far away; it decodes nothing.
//
// Section numbers are those of ISO/IEC 14496-12:2022, the base format. What
// QuickTime does otherwise is said where it matters.
package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

var (
	// ErrNotMP4 means that the bytes are of another format.
	ErrNotMP4 = errors.New("not an MP4 or QuickTime file")
	// ErrNoVideo means that the file has no video track.
	ErrNoVideo = errors.New("no video track")
	// ErrDamaged means that the file begins like an MP4 and its header is
	// missing, cut off or contradicts itself.
	ErrDamaged = errors.New("damaged MP4 header")
)

// Info is what the header tells. A field is zero where it does not.
type Info struct {
	// Duration is that of the video track as presented, its edit list
	// applied. It is 0 for a fragmented file that does not tell.
	Duration time.Duration
	// Claimed is the longest that the headers of the file and of its video
	// track promise; Duration goes by the times of the samples where it can.
	// Where they differ, the file is damaged, and some programs believe it.
	Claimed time.Duration
	// Width and Height are pixels as displayed: after the pixel aspect ratio
	// and the rotation.
	Width, Height int
	// Rotation is what a player turns the picture by: 0, 90, 180 or 270
	// degrees clockwise.
	Rotation int
	// FPS is the mean over the whole track, in frames per second; of a
	// fragmented file, that of its last fragment.
	FPS float64
	// VideoCodec and AudioCodec are named as by FFmpeg (h264, hevc, vp9, aac);
	// an unknown one keeps its four-letter code. AudioCodec is empty for a
	// silent file.
	VideoCodec, AudioCodec string
	// Frames counts the coded pictures of the video track; 0 where fragments
	// hold them.
	Frames int64
	// VideoTracks and AudioTracks count all tracks of their kind.
	VideoTracks, AudioTracks int
	// Fragmented is true where the samples are described piece by piece.
	Fragmented bool
	// MoovFirst is true where the header comes before the media, so that the
	// file plays while it loads.
	MoovFirst bool
}

const (
	// maxMoov bounds the header in memory. Two hours of 60 frames a second
	// take about 8 MiB.
	maxMoov = 64 << 20
	// maxBoxes bounds the walk to the header. Fragmented files have many
	// boxes, but their moov comes before them.
	maxBoxes = 256
	// maxTable bounds the tables of fragments: a sidx of 64 Ki references, its
	// format's limit, takes 0.8 MiB.
	maxTable = 1 << 20
)

// Parse reads the header of a file of size bytes. The error is, or wraps,
// ErrNotMP4, ErrNoVideo, ErrDamaged, or an error of r. With ErrNoVideo what
// is known of the file is returned too.
func Parse(r io.ReaderAt, size int64) (Info, error) {
	moov, place, err := findMoov(r, size)
	if err != nil {
		return Info{}, err
	}
	m, err := parseMoov(moov)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	video := m.video()
	if video != nil && m.fragmented {
		if err := video.readFragments(r, place.end, size, m.defaults[video.id]); err != nil {
			return Info{}, err
		}
	}
	info := describe(m, video)
	info.MoovFirst = place.first
	if video == nil {
		return info, ErrNoVideo
	}
	return info, nil
}

// place says where the moov box was.
type place struct {
	first bool  // before any media
	end   int64 // offset after it
}

// findMoov walks the boxes of the file (8.1, 8.2.1) and returns the body of
// moov. It reads 16 bytes of each box before it.
func findMoov(r io.ReaderAt, size int64) ([]byte, place, error) {
	p := place{first: true}
	at := int64(0)
	for n := range maxBoxes {
		h, err := readHeader(r, at, size)
		switch {
		case n == 0 && (errors.Is(err, errShort) || err == nil && !opens(h.kind)):
			return nil, p, ErrNotMP4
		case errors.Is(err, errShort):
			return nil, p, fmt.Errorf("%w: it ends without a moov box", ErrDamaged)
		case err != nil:
			return nil, p, err
		}
		p.end = at + h.size
		switch h.kind {
		case "mdat", "moof":
			p.first = false
		case "moov":
			if p.end > size || h.size > maxMoov {
				return nil, p, fmt.Errorf("%w: a moov box of %d bytes", ErrDamaged, h.size)
			}
			body := make([]byte, h.size-h.header)
			if err := readFull(r, body, at+h.header); err != nil {
				return nil, p, err
			}
			return body, p, nil
		}
		at = p.end
	}
	return nil, p, fmt.Errorf("%w: no moov among %d boxes", ErrDamaged, maxBoxes)
}

// opens reports whether an MP4 or MOV may begin with a box of this kind.
// QuickTime files of old have no ftyp.
func opens(kind string) bool {
	switch kind {
	case "ftyp", "styp", "moov", "mdat", "free", "skip", "wide", "pnot", "uuid", "sidx", "moof", "pdin":
		return true
	}
	return false
}

// errShort means that no box header fits at this place.
var errShort = errors.New("a box is cut off")

// header is that of a box (4.2.2).
type header struct {
	kind   string
	header int64 // its own length: 8 or 16
	size   int64 // of the whole box
}

// readHeader reads the box header at offset at of a file of size bytes.
func readHeader(r io.ReaderAt, at, size int64) (header, error) {
	if at < 0 || at > size-8 {
		return header{}, errShort
	}
	b := make([]byte, min(16, size-at))
	if err := readFull(r, b, at); err != nil {
		return header{}, err
	}
	return parseHeader(b, size-at)
}

// parseHeader reads the box header at the start of b, of a box that has room
// bytes at most. A box may claim more than that: whoever needs its body checks.
func parseHeader(b []byte, room int64) (header, error) {
	if len(b) < 8 {
		return header{}, errShort
	}
	h := header{kind: string(b[4:8]), header: 8, size: int64(binary.BigEndian.Uint32(b))}
	switch h.size {
	case 0: // to the end of the file, or of the box around it
		h.size = room
	case 1: // 64 bits
		if len(b) < 16 {
			return header{}, errShort
		}
		long := binary.BigEndian.Uint64(b[8:])
		if long > 1<<62 {
			return header{}, errShort
		}
		h.header, h.size = 16, int64(long)
	}
	if h.size < h.header {
		return header{}, errShort
	}
	return h, nil
}

// readFull fills b from offset at. A file shorter than it should be is
// damaged, not an error of the reader.
func readFull(r io.ReaderAt, b []byte, at int64) error {
	switch n, err := r.ReadAt(b, at); {
	case n == len(b):
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: it ends at byte %d", ErrDamaged, at+int64(n))
	default:
		return fmt.Errorf("read the MP4 header: %w", err)
	}
}
