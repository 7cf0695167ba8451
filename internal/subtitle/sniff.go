package subtitle

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
)

// binaryKind names the kind of a file that is not text by its first bytes, or
// returns "". The signatures are those of the formats' own specifications.
func binaryKind(b []byte) string {
	signatures := []struct {
		at   int
		sign string
		kind string
	}{
		{0, "%PDF", "a PDF"},
		{0, "\x89PNG", "a PNG picture"},
		{0, "\xFF\xD8\xFF", "a JPEG picture"},
		{0, "GIF8", "a GIF picture"},
		{0, "PK\x03\x04", "a ZIP archive"},
		{0, "Rar!", "a RAR archive"},
		{0, "7z\xBC\xAF", "a 7z archive"},
		{0, "\x1F\x8B", "a gzip archive"},
		{0, "{\\rtf", "an RTF document"},
		{0, "\x1A\x45\xDF\xA3", "a Matroska or WebM video"},
		{4, "ftyp", "an MP4 video"},
		{0, "RIFF", "a RIFF file"},
		{0, "ID3", "an MP3 file"},
		{0, "OggS", "an Ogg file"},
		{0, "\x7FELF", "a program"},
		{0, "SQLite format 3", "a database"},
	}
	for _, s := range signatures {
		if len(b) > s.at && bytes.HasPrefix(b[s.at:], []byte(s.sign)) {
			return s.kind
		}
	}
	return ""
}

var (
	microDVDLine = regexp.MustCompile(`^\{\d+\}\{\d*\}`)
	mplLine      = regexp.MustCompile(`^\[\d+\]\[\d*\]`)
	lrcLine      = regexp.MustCompile(`^\[\d{1,3}:\d{2}(?:[.:]\d{1,3})?\]`)
)

// refuseOtherFormats answers for texts that are certainly something that is
// not read, and names it.
func refuseOtherFormats(text string) error {
	head := strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
	if head == "" {
		return apigpu.E(apigpu.SubtitleEmpty, nil, "The subtitle file is empty.")
	}
	low := strings.ToLower(head[:min(len(head), 1024)])
	unread := func(name string) error {
		return apigpu.E(apigpu.SubtitleUnparseable, nil, "The file is %s: that is not read.", name).
			WithHint("Convert the subtitles to SubRip (.srt), WebVTT (.vtt) or ASS, and send them again.")
	}
	switch {
	case strings.HasPrefix(low, "<sami"):
		return unread("SAMI")
	case strings.HasPrefix(low, "<tt ") || strings.HasPrefix(low, "<tt>") || strings.HasPrefix(low, "<?xml") && ttmlRoot.MatchString(low):
		return unread("TTML")
	case strings.HasPrefix(low, "<!doctype"), strings.HasPrefix(low, "<html"), strings.HasPrefix(low, "<head"),
		strings.HasPrefix(low, "<body"), strings.HasPrefix(low, "<?xml"):
		return notText("HTML or XML", head).WithHint("The address may lead to a page instead of the file, or the link may have expired.")
	case microDVDLine.MatchString(low):
		return unread("MicroDVD, whose times are frames")
	case mplLine.MatchString(low):
		return unread("MPL2")
	case strings.HasPrefix(low, "scenarist_scc"):
		return unread("Scenarist closed captions (SCC)")
	case (lrcLine.MatchString(low) || strings.HasPrefix(low, "[ti:") || strings.HasPrefix(low, "[ar:")) && !strings.Contains(text, "-->"):
		return unread("LRC, which does not say when a line ends")
	}
	return nil
}

var ttmlRoot = regexp.MustCompile(`<(?:\w+:)?tt[\s>]`)

func notText(kind, head string) *apigpu.Error {
	return apigpu.E(apigpu.SubtitleNotText, nil,
		"%s was found where subtitles were expected. It begins with %q.", kind, excerpt(head))
}

// excerptRunes is how much of a file a message may quote: enough to know it
// again, too little to carry much of a page that was fetched by accident.
const excerptRunes = 80

// excerpt returns the beginning of s on one line, with everything that is not
// printable shown as a dot.
func excerpt(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == excerptRunes {
			break
		}
		n++
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteByte('.')
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}
