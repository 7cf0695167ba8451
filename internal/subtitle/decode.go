package subtitle

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	apigpu "github.com/api-gpu/api-gpu"
)

const windows1252 = "windows-1252"

const saveAsUTF8 = "Save the file as UTF-8 and send it again."

// decode turns the bytes of a file into text and names their encoding. What
// is certain comes first: a byte order mark, valid UTF-8, the zero bytes of
// UTF-16. What is left has one byte a letter, and is read as Windows-1252
// only where nothing speaks against it: a wrong guess would burn wrong
// letters into a video and call it a success.
func decode0(b []byte) (text, charset string, err error) {
	if text, charset, ok := decodeMarked(b); ok {
		if charset == "utf-8" && !utf8.ValidString(text) {
			return "", "", brokenUTF8(text)
		}
		return text, charset, nil
	}
	if kind := binaryKind(b); kind != "" {
		return "", "", apigpu.E(apigpu.SubtitleNotText, nil,
			"The subtitle file is not text but %s. It begins with %q.", kind, excerpt(string(b)))
	}
	b = bytes.TrimRight(b, "\x00") // some editors pad the file
	if bytes.IndexByte(b, 0) >= 0 {
		if text, charset, ok := decodeUnmarked16(b); ok {
			return text, charset, nil
		}
		return "", "", apigpu.E(apigpu.SubtitleNotText, nil,
			"The subtitle file is not text: it holds zero bytes. It begins with %q.", excerpt(string(b)))
	}
	// ISO-2022-JP and its kin are made of ASCII bytes, and would pass as UTF-8.
	if bytes.Contains(b, []byte("\x1b$")) {
		return "", "", unknownCharset("ISO-2022")
	}
	if utf8.Valid(b) {
		return string(b), "utf-8", nil
	}
	if looksLikeUTF8(b) {
		return "", "", brokenUTF8(string(b))
	}
	if other := notWestern(b); other != "" {
		return "", "", unknownCharset(other)
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return "", "", unknownCharset("")
	}
	return string(out), windows1252, nil
}

// decodeMarked decodes a file that begins with a byte order mark.
func decodeMarked(b []byte) (text, charset string, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte{0xEF, 0xBB, 0xBF}):
		return string(b[3:]), "utf-8", true
	// UTF-32LE first: its mark begins with that of UTF-16LE.
	case bytes.HasPrefix(b, []byte{0xFF, 0xFE, 0, 0}):
		return decode32(b[4:], binary.LittleEndian), "utf-32le", true
	case bytes.HasPrefix(b, []byte{0, 0, 0xFE, 0xFF}):
		return decode32(b[4:], binary.BigEndian), "utf-32be", true
	case bytes.HasPrefix(b, []byte{0xFF, 0xFE}):
		return decode16(b[2:], binary.LittleEndian), "utf-16le", true
	case bytes.HasPrefix(b, []byte{0xFE, 0xFF}):
		return decode16(b[2:], binary.BigEndian), "utf-16be", true
	}
	return "", "", false
}

// decodeUnmarked16 tells UTF-16 without a mark by where its zero bytes are:
// digits, spaces and line ends have theirs on one side of each pair, and a
// subtitle file of any language has at least one in eight of those.
func decodeUnmarked16(b []byte) (text, charset string, ok bool) {
	var zeros [2]int
	for i, c := range b {
		if c == 0 {
			zeros[i%2]++
		}
	}
	few, many := len(b)/256, len(b)/16
	switch {
	case zeros[1] > many && zeros[0] <= few:
		// The zero of the last pair may have gone with the padding.
		if len(b)%2 == 1 {
			b = append(bytes.Clone(b), 0)
		}
		return decode16(b, binary.LittleEndian), "utf-16le", true
	case zeros[0] > many && zeros[1] <= few:
		return decode16(b, binary.BigEndian), "utf-16be", true
	}
	return "", "", false
}

// decode16 decodes pairs of bytes; an odd last byte, the sign of a file that
// was cut, is left out.
func decode16(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return strings.TrimPrefix(string(utf16.Decode(units)), "\uFEFF")
}

// decode32 decodes groups of four bytes; what is no character becomes U+FFFD.
func decode32(b []byte, order binary.ByteOrder) string {
	var s strings.Builder
	for ; len(b) >= 4; b = b[4:] {
		if u := order.Uint32(b); u <= utf8.MaxRune {
			s.WriteRune(rune(u))
		} else {
			s.WriteRune(utf8.RuneError)
		}
	}
	return s.String()
}

// looksLikeUTF8 reports whether more of the high bytes of b form UTF-8
// sequences than do not: a file of ours that was damaged, or pasted together
// from two encodings.
func looksLikeUTF8(b []byte) bool {
	var good, bad int
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			bad++
		case size > 1:
			good++
		}
		b = b[size:]
	}
	return good > bad
}

func brokenUTF8(text string) error {
	line := 1
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		text = text[size:]
	}
	return apigpu.E(apigpu.SubtitleCharset, nil,
		"The subtitle file is UTF-8 for the most part, but line %d holds bytes that are not.", line).
		WithHint(saveAsUTF8)
}

func unknownCharset(name string) error {
	if name == "" {
		return apigpu.E(apigpu.SubtitleCharset, nil, "The encoding of the subtitle file is not recognised.").
			WithHint(saveAsUTF8)
	}
	return apigpu.E(apigpu.SubtitleCharset, nil,
		"The subtitle file is neither UTF-8 nor Windows-1252; it may be %s.", name).
		WithHint(saveAsUTF8)
}

type decoded struct {
	text, charset string
	confidence    float64
	guessed       bool
}

func (d decoded) detail() string { return d.charset }
func decode(b []byte, o Options) (decoded, error) {
	t, c, err := decode0(b)
	return decoded{t, c, 1, c == windows1252}, err
}
