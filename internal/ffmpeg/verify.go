package ffmpeg

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	apigpu "github.com/api-gpu/api-gpu"
)

// maxBoxes bounds the walk over the top of a result: ftyp, moov, free, mdat
// and a few that a newer FFmpeg may add.
const maxBoxes = 64

// Verify reads the result at path back and returns what it is. A result that
// is not what Args asked for, or not what the run reported, has the code
// EncoderFailed; one that was cut at its limit, MediaTooLong.
func (t Tools) Verify(ctx context.Context, path string, s Spec, in Probe, r Report) (Probe, error) {
	out, err := t.Probe(ctx, path)
	if apigpu.CodeOf(err) == apigpu.MediaUndecodable || apigpu.CodeOf(err) == apigpu.NoVideoStream {
		return Probe{}, apigpu.E(apigpu.EncoderFailed, err, "The result cannot be read back.")
	}
	if err != nil {
		return Probe{}, fmt.Errorf("verify the result: %w", err)
	}
	first, err := indexFirst(path)
	if err != nil {
		return Probe{}, fmt.Errorf("verify the result: %w", err)
	}
	if fault := mismatch(s, in, r, out); fault != "" {
		return Probe{}, apigpu.E(apigpu.EncoderFailed, nil, "The result is not right: %s.", fault)
	}
	if !first {
		return Probe{}, apigpu.E(apigpu.EncoderFailed, nil, "The result is not right: its index is not at the front.")
	}
	if s.Limits.MaxDuration > 0 && out.Duration > s.Limits.MaxDuration+grace/2 {
		return Probe{}, tooLong(s.Limits)
	}
	return out, nil
}

// want is what the picture of the result should be.
func (s Spec) want(in Probe) Video {
	if s.Copies(in) {
		return in.Video
	}
	want := Video{Codec: string(codecOf(s.Output.Codec)), PixFmt: "yuv420p"}
	want.Width, want.Height = Canvas(s.Output, in)
	if s.KeepsHDR(in) {
		want.PixFmt, want.Transfer = "yuv420p10le", in.Video.Transfer
	}
	return want
}

// mismatch names the first thing that is wrong with a result, or is empty.
func mismatch(s Spec, in Probe, r Report, out Probe) string {
	v, want := out.Video, s.want(in)
	texts := 0
	if s.tracks() {
		texts = 1
	}
	switch {
	case v.Codec != want.Codec || v.PixFmt != want.PixFmt:
		return fmt.Sprintf("its video is %s %s", v.Codec, v.PixFmt)
	case v.Width != want.Width || v.Height != want.Height || v.Rotation != want.Rotation:
		return fmt.Sprintf("it is %d x %d, turned by %d, and should be %d x %d", v.Width, v.Height, v.Rotation, want.Width, want.Height)
	case want.Transfer != "" && v.Transfer != want.Transfer:
		return fmt.Sprintf("its transfer function is %q and should be %q", v.Transfer, want.Transfer)
	case v.Frames != r.Frame:
		return fmt.Sprintf("it holds %d frames of %d", v.Frames, r.Frame)
	case len(out.Audio) != len(in.Audio):
		return fmt.Sprintf("it has %d audio tracks of %d", len(out.Audio), len(in.Audio))
	case out.Texts != texts:
		return fmt.Sprintf("it has %d text tracks of %d", out.Texts, texts)
	case texts == 0 && out.Duration < r.OutTime-200*time.Millisecond: // the report never runs ahead but for rounding, and for text
		return fmt.Sprintf("it lasts %s of %s", out.Duration, r.OutTime)
	}
	return ""
}

// indexFirst reports whether an MP4 file has its index (moov) before its data
// (mdat), so that it plays before it is there in full. A box is a 32-bit
// length and a type; a length of 1 means that 64 bits follow (ISO/IEC
// 14496-12, 4.2).
func indexFirst(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("open the result: %w", err)
	}
	defer f.Close()
	return moovFirst(f)
}

func moovFirst(r io.ReaderAt) (bool, error) {
	offset := int64(0)
	for range maxBoxes {
		var head [16]byte
		n, err := r.ReadAt(head[:], offset)
		if n < 8 {
			return false, fmt.Errorf("read a box at %d: %w", offset, err)
		}
		switch string(head[4:8]) {
		case "moov":
			return true, nil
		case "mdat":
			return false, nil
		}
		length := int64(binary.BigEndian.Uint32(head[:4]))
		if length == 1 && n == len(head) {
			length = int64(binary.BigEndian.Uint64(head[8:]))
		}
		if length < 8 || offset+length < offset {
			return false, fmt.Errorf("read a box at %d: length %d", offset, length)
		}
		offset += length
	}
	return false, fmt.Errorf("no index among the first %d boxes", maxBoxes)
}

// Warnings tells the user what was met in a file that could be read: in is
// the file, out the result.
func (r Report) Warnings(in, out Probe) []apigpu.Warning {
	var warnings []apigpu.Warning
	if r.MissingGlyphs > 0 {
		warnings = append(warnings, apigpu.Warning{Code: "glyph_missing", Count: r.MissingGlyphs,
			Message: "No font of the worker has some characters of the captions: they are drawn as hollow boxes."})
	}
	if r.Damaged > 0 {
		warnings = append(warnings, apigpu.Warning{Code: "video_damaged", Count: r.Damaged,
			Message: "Parts of the video could not be decoded; the picture may show faults there."})
	}
	if missing := in.Duration - out.Duration; missing > max(time.Second, in.Duration/50) {
		warnings = append(warnings, apigpu.Warning{Code: "video_shorter",
			Message: fmt.Sprintf("The file promises %s and holds %s: it is cut off, or its header is wrong.",
				in.Duration.Round(100*time.Millisecond), out.Duration.Round(100*time.Millisecond))})
	}
	return warnings
}
