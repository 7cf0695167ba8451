package subtitle

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/unicode/norm"

	apigpu "github.com/api-gpu/api-gpu"
)

// named returns the encoding of a name, and the name that it has here. A nil
// encoding is one of Unicode.
func named(name string) (enc encoding.Encoding, canonical string, ok bool) {
	low := strings.ToLower(strings.TrimSpace(name))
	switch squeezed := strings.NewReplacer("-", "", "_", "", " ", "").Replace(low); squeezed {
	case "utf8", "utf8sig", "utf8bom", "usascii", "ascii":
		return nil, "utf-8", true
	case "utf16", "utf16le", "ucs2", "ucs2le", "unicode":
		return nil, "utf-16le", true
	case "utf16be", "ucs2be":
		return nil, "utf-16be", true
	case "utf32", "utf32le", "ucs4", "ucs4le":
		return nil, "utf-32le", true
	case "utf32be", "ucs4be":
		return nil, "utf-32be", true
	case "gbk", "gb2312", "gb18030", "cp936", "936":
		return simplifiedchinese.GB18030, "gb18030", true
	case "windows31j", "cp932", "932", "sjis", "mskanji":
		return japanese.ShiftJIS, "shift_jis", true
	default:
		// "1252", "cp1252", "win1252" and the like.
		if digits := strings.TrimLeft(squeezed, "abcdefghijklmnopqrstuvwxyz"); len(digits) == 4 && strings.HasPrefix(digits, "125") {
			low = "windows-" + digits
		}
	}
	for _, c := range candidates() {
		if c.name == low {
			return c.enc, c.name, true
		}
	}
	if enc, err := htmlindex.Get(low); err == nil {
		if canonical, err = htmlindex.Name(enc); err == nil && canonical != "replacement" && canonical != "x-user-defined" {
			return enc, canonical, true
		}
	}
	if strings.HasPrefix(low, "cp") {
		low = "ibm" + low[2:]
	}
	if enc, err := ianaindex.IANA.Encoding(low); err == nil && enc != nil {
		return enc, low, true
	}
	return nil, "", false
}

// decodeAs decodes a file in the encoding that its owner names.
func decodeAs(b []byte, name string) (decoded, error) {
	enc, canonical, ok := named(name)
	if !ok {
		return decoded{}, apigpu.E(apigpu.SubtitleCharset, nil, "No encoding is called %q.", excerpt(name)).WithField("charset").
			WithHint("Leave charset out, or name one such as utf-8, windows-1252, shift_jis or gb18030.")
	}
	var text string
	switch canonical {
	case "utf-8":
		text = strings.ToValidUTF8(string(bytes.TrimRight(b, "\x00")), "\uFFFD")
	case "utf-16le":
		text = trimPadding(decode16(even(b), binary.LittleEndian))
	case "utf-16be":
		text = trimPadding(decode16(b, binary.BigEndian))
	case "utf-32le":
		text = trimPadding(decode32(b, binary.LittleEndian))
	case "utf-32be":
		text = trimPadding(decode32(b, binary.BigEndian))
	default:
		out, err := enc.NewDecoder().Bytes(bytes.TrimRight(b, "\x00"))
		if err != nil {
			return decoded{}, apigpu.E(apigpu.SubtitleCharset, err, "The subtitle file is not %s.", canonical).WithField("charset")
		}
		text = norm.NFC.String(string(out))
	}
	return decoded{text: text, charset: canonical, confidence: 1}, nil
}

// even gives UTF-16 back the zero that may have gone with padding.
func even(b []byte) []byte {
	if len(b)%2 == 1 {
		return append(bytes.Clone(b), 0)
	}
	return b
}

// decodeEscaped decodes ISO-2022-JP, which no other encoding looks like.
func decodeEscaped(b []byte) (decoded, error) {
	out, err := japanese.ISO2022JP.NewDecoder().Bytes(b)
	if text := string(out); err == nil && !strings.ContainsRune(text, utf8.RuneError) && !slices.Contains(b, 0x0E) {
		return decoded{text: text, charset: "iso-2022-jp", confidence: 0.99, guessed: true}, nil
	}
	return decoded{}, apigpu.E(apigpu.SubtitleCharset, nil, "The encoding of the subtitle file is not recognised; it may be ISO-2022.").
		WithHint(saveAsUTF8)
}

// Thresholds of the judgement. They lean to refusal: a refused file costs its
// owner a click in an editor, a wrong guess costs a video.
const (
	// leastMargin is by how many bits the best reading must be better than any
	// that gives another text.
	leastMargin = 6
	// leastShare is the same for each character in which the two differ, in
	// hundredths: long files hold names and foreign words.
	leastShare = 100
	// oddShare is one character in how many may be none of the language.
	oddShare = 5
	// hintWeight is what the word of a server is worth, in bits.
	hintWeight = 8
)

// guess decodes a file by what it spells.
func guess(b []byte, hint string) (decoded, error) {
	verdicts := judge(sample(b))
	if len(verdicts) == 0 {
		return decoded{}, unsure(nil)
	}
	best, margin, differ := choose(verdicts, hint)
	if margin < max(leastMargin, differ*leastShare/100) || best.odd*oddShare > best.letters+best.odd+4 {
		return decoded{}, unsure(verdicts)
	}
	out, err := best.enc.NewDecoder().Bytes(b)
	if err != nil {
		return decoded{}, unsure(verdicts)
	}
	text := norm.NFC.String(string(out))
	if strings.Count(text, "\uFFFD")*100 > best.high {
		return decoded{}, unsure(verdicts)
	}
	return decoded{text: text, charset: best.name, confidence: confidence(margin), guessed: true}, nil
}

// choose returns the best verdict, by how many bits it is better than the next
// that gives another text, and in how many characters the two differ. The hint
// decides between those that are near.
func choose(verdicts []verdict, hint string) (best verdict, margin, differ int) {
	best = verdicts[0]
	if _, name, ok := named(hint); ok && hint != "" {
		for i := range verdicts {
			if verdicts[i].name == name {
				verdicts[i].bits -= hintWeight
			}
		}
		for _, v := range verdicts {
			if v.bits < best.bits {
				best = v
			}
		}
	}
	margin = math.MaxInt32
	for _, v := range verdicts {
		if v.bits-best.bits < margin && v.sample != best.sample {
			margin, differ = v.bits-best.bits, differing(v.sample, best.sample)
		}
	}
	// Of those that give the same text, the one that people know.
	for _, c := range candidates() {
		for _, v := range verdicts {
			if v.name == c.name && v.sample == best.sample {
				v.odd, v.letters, v.high = best.odd, best.letters, best.high
				return v, margin, differ
			}
		}
	}
	return best, margin, differ
}

// confidence says how sure a margin makes, up to 0.99.
func confidence(margin int) float64 {
	c := 1 - 0.5*math.Exp2(-float64(margin)/8)
	return math.Round(100*min(c, 0.99)) / 100
}

// unsure refuses a file, and names what it may be.
func unsure(verdicts []verdict) error {
	var names []string
	for _, v := range verdicts[:min(len(verdicts), 8)] {
		if len(names) < 3 && v.bits < verdicts[0].bits+40+verdicts[0].high {
			names = append(names, v.name)
		}
	}
	e := apigpu.E(apigpu.SubtitleCharset, nil, "The encoding of the subtitle file is not recognised.")
	if len(names) == 0 {
		return e.WithHint(saveAsUTF8)
	}
	return e.WithHint("It may be %s. %s", strings.Join(names, ", "), saveAsUTF8)
}
