package apigpu

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CaptionOperation is the operation name of a caption job.
const CaptionOperation = "video.caption"

// Quality says how much of the picture is kept. Each word is mapped to the
// scale of the encoder that runs; see package ffmpeg for the figures.
type Quality string

// The qualities, from smallest to best.
const (
	Draft    Quality = "draft"
	Balanced Quality = "balanced"
	High     Quality = "high"
	Max      Quality = "max"
)

// CaptionSpec asks for captions burnt into a video: the body of
// POST /video/caption.
type CaptionSpec struct {
	// URLVideo is the http or https address of the video. It is empty where
	// the video was uploaded with the request.
	URLVideo string `json:"url_video,omitempty" doc:"http(s) address of the video" example:"https://example.com/video.mp4"`
	// URLSRT is the http or https address of the subtitles; SRT is the text
	// itself. One of the two, or an uploaded file.
	URLSRT string `json:"url_srt,omitempty" doc:"http(s) address of the SubRip file" example:"https://example.com/captions.srt"`
	SRT    string `json:"srt,omitempty" doc:"The SubRip text itself, instead of url_srt"`
	// HeadersVideo and HeadersSRT are sent with the download, never logged
	// and never given to a rented machine.
	HeadersVideo map[string]string `json:"headers_video,omitempty" doc:"Headers to send when the video is fetched"`
	HeadersSRT   map[string]string `json:"headers_srt,omitempty" doc:"Headers to send when the subtitles are fetched"`
	Output       Output            `json:"output,omitzero"`
}

// Output says what the result should be.
type Output struct {
	Quality Quality `json:"quality,omitempty" enum:"draft,balanced,high,max" default:"balanced" doc:"How much of the picture is kept"`
	// Filename is the last part of video_url, and the name a browser saves
	// under; cleaned, and made to end in .mp4.
	Filename string `json:"filename,omitempty" doc:"Name of the result" example:"captioned.mp4"`
}

// Limits of a CaptionSpec.
const (
	MaxURL      = 8 << 10 // bytes of an address
	MaxSubtitle = 5 << 20 // bytes of a subtitle file (facts: 200,000 cues are 15 MB)
	MaxHeaders  = 32      // headers for one download
	MaxHeader   = 8 << 10 // bytes of one header's value
	// MaxHeaderName bounds a header's name, in bytes.
	MaxHeaderName = 128
	maxFilename   = 100 // runes of a result's name
	fallbackName  = "video"
)

// Clean returns s with what people and programs paste by accident removed:
// white space and line ends around an address, a missing quality. It changes
// nothing that has a meaning.
func (s CaptionSpec) Clean() CaptionSpec {
	s.URLVideo = cleanURL(s.URLVideo)
	s.URLSRT = cleanURL(s.URLSRT)
	if s.Output.Quality == "" {
		s.Output.Quality = Balanced
	}
	s.Output.Filename = cleanFilename(s.Output.Filename)
	return s
}

// Validate checks a cleaned spec. videoUploaded and srtUploaded tell that the
// request brought the file itself. The error is an *Error of code
// InvalidRequest with one Detail a fault, or nil.
func (s CaptionSpec) Validate(videoUploaded, srtUploaded bool) error {
	var faults []Detail
	fault := func(field, format string, args ...any) {
		faults = append(faults, Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case videoUploaded && s.URLVideo != "":
		fault("url_video", "was given, and a video was uploaded too; send one of them")
	case !videoUploaded && s.URLVideo == "":
		fault("url_video", "is required: the http(s) address of the video, or upload the file as form field video")
	case s.URLVideo != "":
		checkURL("url_video", s.URLVideo, fault)
	}
	sources := 0
	for _, given := range []bool{srtUploaded, s.URLSRT != "", s.SRT != ""} {
		if given {
			sources++
		}
	}
	switch {
	case sources == 0:
		fault("url_srt", "is required: the http(s) address of the subtitles, or their text as srt, or upload the file as form field srt")
	case sources > 1:
		fault("url_srt", "and another source of subtitles were given: send them once, as url_srt, as srt, or as an uploaded file")
	case s.URLSRT != "":
		checkURL("url_srt", s.URLSRT, fault)
	case len(s.SRT) > MaxSubtitle:
		fault("srt", "is longer than %d bytes", MaxSubtitle)
	}
	checkHeaders("headers_video", s.HeadersVideo, fault)
	checkHeaders("headers_srt", s.HeadersSRT, fault)
	switch s.Output.Quality {
	case Draft, Balanced, High, Max:
	default:
		fault("output.quality", "%.40q is none of draft, balanced, high, max", s.Output.Quality)
	}
	if len(faults) == 0 {
		return nil
	}
	e := E(InvalidRequest, nil, "%s %s", faults[0].Field, faults[0].Message).WithField(faults[0].Field)
	if len(faults) > 1 {
		e.Message = fmt.Sprintf("%d fields are not right; the first: %s", len(faults), e.Message)
	}
	e.Details = faults
	return e
}

func checkURL(field, raw string, fault func(field, format string, args ...any)) {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > MaxURL:
		fault(field, "is longer than %d bytes", MaxURL)
	case strings.ContainsFunc(raw, isControl):
		fault(field, "holds a control character")
	case err != nil:
		fault(field, "is not an address")
	case u.Scheme != "http" && u.Scheme != "https":
		fault(field, "must begin with http:// or https://")
	case u.Hostname() == "":
		fault(field, "names no host")
	case !validPort(u):
		fault(field, "names a port that is none: use 1 to 65535")
	}
}

// validPort reports whether the port of an address, where it names one, can be
// dialled.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func checkHeaders(field string, h map[string]string, fault func(field, format string, args ...any)) {
	if len(h) > MaxHeaders {
		fault(field, "holds more than %d headers", MaxHeaders)
		return
	}
	for name, value := range h {
		switch canonical := http.CanonicalHeaderKey(name); {
		case len(name) > MaxHeaderName || !isToken(name):
			fault(field, "%.40q is not a header name", name)
		case canonical == "Host" || canonical == "Range" || canonical == "Content-Length" ||
			canonical == "Transfer-Encoding" || canonical == "Connection" || canonical == "Accept-Encoding":
			fault(field, "%s is set by the download itself", canonical)
		case len(value) > MaxHeader || strings.ContainsFunc(value, isControl):
			fault(field, "the value of %s is too long or holds a control character", canonical)
		}
	}
}

// cleanURL removes white space around an address and line ends within it
// (n8n expressions bring them), and escapes inner spaces.
func cleanURL(s string) string {
	s = strings.NewReplacer("\r", "", "\n", "", "\t", "").Replace(strings.TrimSpace(s))
	return strings.ReplaceAll(s, " ", "%20")
}

// cleanFilename keeps letters and digits of every script and the marks that
// are safe in a path, a header and a shell, and gives the name one .mp4 at
// its end.
func cleanFilename(s string) string {
	s = strings.TrimSpace(s)
	if low := strings.ToLower(s); strings.HasSuffix(low, ".mp4") {
		s = s[:len(s)-len(".mp4")]
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxFilename {
			break
		}
		switch {
		case r == utf8.RuneError:
			b.WriteByte('_')
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r) && b.Len() > 0, r == '-', r == '_':
			b.WriteRune(r)
		case r == '.' && b.Len() > 0:
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	// A dash at the start would be an option in a shell, and an accent there
	// would stand on what is before the name.
	name := strings.TrimLeftFunc(b.String(), func(r rune) bool { return unicode.IsMark(r) || strings.ContainsRune("._-", r) })
	name = strings.TrimRight(name, "._-")
	if name == "" {
		name = fallbackName
	}
	return name + ".mp4"
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}
