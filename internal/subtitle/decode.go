package subtitle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
)

const windows1252 = "windows-1252"

const saveAsUTF8 = "Save the file as UTF-8 and send it again, or name its encoding as charset."

// decoded is the text of a file, and how that was found.
type decoded struct {
	text, charset string
	// confidence is 1 where the file or its owner says the charset.
	confidence float64
	// guessed: the charset was told from the text, which is not Unicode.
	guessed bool
}

// detail says the charset, and how sure it is.
func (d decoded) detail() string {
	return fmt.Sprintf("%s (%.0f %% sure)", d.charset, 100*d.confidence)
}

// decode turns the bytes of a file into text and names their encoding. What
// is certain comes first: what its owner says, a byte order mark, valid UTF-8,
// the zero bytes of UTF-16 and UTF-32. What is left is judged by what it
// spells, and refused where that is not clear: a wrong guess would burn wrong
// letters into a video and call it a success.
func decode(b []byte, o Options) (decoded, error) {
	text, charset, marked := decodeMarked(b)
	if marked && charset == "utf-8" && !utf8.ValidString(text) && o.Charset == "" {
		return decoded{}, brokenUTF8(text)
	}
	if marked { // a mark is no accident: it stands against any name
		return decoded{text: strings.ToValidUTF8(text, "\uFFFD"), charset: charset, confidence: 1}, nil
	}
	if kind := binaryKind(b); kind != "" {
		return decoded{}, apigpu.E(apigpu.SubtitleNotText, nil,
			"The subtitle file is not text but %s. It begins with %q.", kind, excerpt(string(b)))
	}
	if o.Charset != "" {
		return decodeAs(b, o.Charset)
	}
	whole := b
	b = bytes.TrimRight(b, "\x00") // some editors pad the file
	if bytes.IndexByte(b, 0) >= 0 {
		if text, charset, ok := decodeUnmarked(whole); ok {
			return decoded{text: text, charset: charset, confidence: 0.99}, nil
		}
		return decoded{}, apigpu.E(apigpu.SubtitleNotText, nil,
			"The subtitle file is not text: it holds zero bytes. It begins with %q.", excerpt(string(b)))
	}
	// ISO-2022-JP is made of ASCII bytes, and would pass as UTF-8.
	if bytes.Contains(b, []byte("\x1b$")) {
		return decodeEscaped(b)
	}
	if utf8.Valid(b) {
		return decoded{text: string(b), charset: "utf-8", confidence: 1}, nil
	}
	if looksLikeUTF8(b) {
		return decoded{}, brokenUTF8(string(b))
	}
	return guess(b, o.Hint)
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

// decodeUnmarked tells UTF-16 and UTF-32 without a mark by where their zero
// bytes are: digits, spaces and line ends have theirs on one side of each pair,
// and a subtitle file of any language has at least one in eight of those.
func decodeUnmarked(b []byte) (text, charset string, ok bool) {
	var zeros [4]int
	for i, c := range b {
		if c == 0 {
			zeros[i%4]++
		}
	}
	quarter := len(b) / 4
	left, right := zeros[0]+zeros[2], zeros[1]+zeros[3]
	most := func(n int) bool { return n >= quarter-quarter/8 }
	switch {
	case len(b) >= 8 && most(zeros[3]) && most(zeros[2]) && zeros[0] <= quarter/16:
		return trimPadding(decode32(b, binary.LittleEndian)), "utf-32le", true
	case len(b) >= 8 && most(zeros[0]) && most(zeros[1]) && zeros[3] <= quarter/16:
		return trimPadding(decode32(b, binary.BigEndian)), "utf-32be", true
	case right > len(b)/16 && left*8 <= right:
		return trimPadding(decode16(even(b), binary.LittleEndian)), "utf-16le", true
	case left > len(b)/16 && right*8 <= left:
		return trimPadding(decode16(b, binary.BigEndian)), "utf-16be", true
	}
	return "", "", false
}

// trimPadding removes the zeros that some editors put at the end.
func trimPadding(text string) string { return strings.TrimRight(text, "\x00") }

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
