// Package apng writes animated pictures (APNG): what is laid over a video that
// libass cannot draw. It writes the little of the format that this takes:
// true colour with opacity, each frame a rectangle that replaces what was there.
package apng

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"time"
)

// maxDelay is the longest time that one frame can be said to stand.
const maxDelay = 65535 * time.Millisecond

// MaxSide bounds the sides of a picture, in pixels.
const MaxSide = 16384

// Frame is a change of the picture.
type Frame struct {
	// Pixels replace the rectangle that they lie in. Those of the first frame
	// cover the whole picture.
	Pixels *image.NRGBA
	// Delay is how long the picture then stands, in whole milliseconds.
	Delay time.Duration
}

// Writer writes one picture.
type Writer struct {
	w        io.Writer
	size     image.Point
	sequence uint32
	left     int // frames that were promised
	err      error
}

// Parts is how many frames of the file it takes to stand for so long.
func Parts(delay time.Duration) int { return max(1, int((delay+maxDelay-1)/maxDelay)) }

// New begins a picture of a size, which has so many frames of the file: the
// sum of Parts of all delays.
func New(w io.Writer, width, height, frames int) (*Writer, error) {
	if width < 1 || height < 1 || width > MaxSide || height > MaxSide || frames < 1 {
		return nil, fmt.Errorf("a picture of %d x %d in %d frames", width, height, frames)
	}
	out := &Writer{w: w, size: image.Pt(width, height), left: frames}
	_, out.err = io.WriteString(w, "\x89PNG\r\n\x1a\n")
	head := binary.BigEndian.AppendUint32(nil, uint32(width))
	head = binary.BigEndian.AppendUint32(head, uint32(height))
	out.chunk("IHDR", append(head, 8, 6, 0, 0, 0)) // 8 bits of each of RGBA
	out.chunk("acTL", binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(frames)), 1))
	return out, out.err
}

// Frame writes one frame.
func (w *Writer) Frame(f Frame) error {
	parts := Parts(f.Delay)
	switch r := f.Pixels.Rect; {
	case w.err != nil:
		return w.err
	case parts > w.left:
		return fmt.Errorf("more frames than were promised")
	case r.Empty() || !r.In(image.Rectangle{Max: w.size}):
		return fmt.Errorf("a frame at %v in a picture of %v", r, w.size)
	case w.sequence == 0 && r.Size() != w.size:
		return fmt.Errorf("the first frame covers %v of %v", r, w.size)
	}
	w.left -= parts
	w.write(f.Pixels, min(f.Delay, maxDelay))
	for rest := f.Delay - maxDelay; rest > 0; rest -= maxDelay { // it stands on: one pixel of it again
		at := f.Pixels.Rect.Min
		one, ok := f.Pixels.SubImage(image.Rectangle{at, at.Add(image.Pt(1, 1))}).(*image.NRGBA)
		if !ok {
			return fmt.Errorf("no pixel at %v", at)
		}
		w.write(one, min(rest, maxDelay))
	}
	return w.err
}

// Close ends the picture.
func (w *Writer) Close() error {
	if w.err == nil && w.left != 0 {
		w.err = fmt.Errorf("%d frames are missing", w.left)
	}
	w.chunk("IEND", nil)
	return w.err
}

func (w *Writer) write(m *image.NRGBA, delay time.Duration) {
	first := w.sequence == 0
	size := m.Rect.Size()
	var b []byte
	for _, n := range []int{int(w.sequence), size.X, size.Y, m.Rect.Min.X, m.Rect.Min.Y} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(delay/time.Millisecond))
	b = binary.BigEndian.AppendUint16(b, 1000)
	w.chunk("fcTL", append(b, 0, 0)) // it stays, and replaces what was there
	w.sequence++
	data, err := squeeze(m)
	if err != nil && w.err == nil {
		w.err = err
	}
	if first {
		w.chunk("IDAT", data)
		return
	}
	w.chunk("fdAT", append(binary.BigEndian.AppendUint32(nil, w.sequence), data...))
	w.sequence++
}

// squeeze is the rows of a picture, compressed. Most of it is empty: no filter
// before that makes it much smaller.
func squeeze(m *image.NRGBA) ([]byte, error) {
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	if err != nil {
		return nil, err
	}
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		from := m.PixOffset(m.Rect.Min.X, y)
		if _, err := z.Write([]byte{0}); err != nil {
			return nil, err
		}
		if _, err := z.Write(m.Pix[from : from+4*m.Rect.Dx()]); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// chunk writes a chunk, unless an earlier one failed.
func (w *Writer) chunk(kind string, data []byte) {
	if w.err != nil {
		return
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, len(data)+12), uint32(len(data)))
	b = append(append(b, kind...), data...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
	_, w.err = w.w.Write(b)
}
