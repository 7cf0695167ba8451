package apigpu

import (
	"encoding/json"
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
	URLSRT string `json:"url_srt,omitempty" doc:"http(s) address of the subtitle file: SubRip, WebVTT, ASS, SSA, SBV or JSON" example:"https://example.com/captions.srt"`
	SRT    string `json:"srt,omitempty" doc:"The text of a subtitle file itself, instead of url_srt"`
	// Captions are cues with their times in seconds; Words is what a speech
	// recogniser answered. See package subtitle for the shapes.
	Captions json.RawMessage `json:"captions,omitempty" doc:"Captions as [{start, end, text, words?: [{start, end, text}]}], times in seconds, instead of url_srt"`
	Words    json.RawMessage `json:"words,omitempty" doc:"Words with times, as Whisper (verbose_json), Deepgram, AssemblyAI or Remotion have them, instead of url_srt"`
	// HeadersVideo and HeadersSRT are sent with the download, never logged
	// and never given to a rented machine.
	HeadersVideo map[string]string `json:"headers_video,omitempty" doc:"Headers to send when the video is fetched"`
	HeadersSRT   map[string]string `json:"headers_srt,omitempty" doc:"Headers to send when the subtitles are fetched"`
	// Charset is the encoding of the subtitle file; empty tells it from the text.
	Charset string `json:"charset,omitempty" maxLength:"40" doc:"Encoding of the subtitle file, where it is not told from its text" example:"windows-1252"`
	// Language is a BCP 47 tag. It chooses glyphs, line breaks and the rules of
	// upper and lower case.
	Language string `json:"language,omitempty" maxLength:"35" doc:"Language of the captions (BCP 47)" example:"pt-BR"`
	// Offset moves all cues, in seconds, after Speed has retimed them: a speed
	// of 2 halves every time.
	Offset            float64     `json:"offset,omitempty" minimum:"-86400" maximum:"86400" doc:"Seconds by which all captions come later"`
	Speed             float64     `json:"speed,omitempty" minimum:"0.1" maximum:"10" doc:"All times are divided by it; 1 changes nothing"`
	ExcludeTimeRanges []TimeRange `json:"exclude_time_ranges,omitempty" maxItems:"1000" doc:"Spans of the video without captions"`
	Replace           []Replace   `json:"replace,omitempty" maxItems:"200" doc:"Changes of the text, one after the other"`
	Overlap           Overlap     `json:"overlap,omitempty" enum:"stack,trim,merge" doc:"What becomes of captions that are shown at the same time; stack unless it is said"`
	KeepPositions     bool        `json:"keep_positions,omitempty" doc:"Put captions where the file says, not where style says"`
	// Strict makes every warning about the subtitles an error.
	Strict bool   `json:"strict,omitempty" doc:"Refuse a subtitle file that needs mending (422)"`
	Mode   Mode   `json:"mode,omitempty" enum:"burn,soft,both" doc:"Captions in the picture, as a text track, or both; burn unless it is said"`
	Style  Style  `json:"style,omitzero"`
	Output Output `json:"output,omitzero"`
}

// TimeRange is a span of the video, in seconds: from Start up to End.
type TimeRange struct {
	Start Seconds `json:"start"`
	End   Seconds `json:"end"`
}

// Replace changes text wherever it stands.
type Replace struct {
	Find    string `json:"find" minLength:"1" maxLength:"500" doc:"Text to look for"`
	Replace string `json:"replace" maxLength:"500" doc:"Text that takes its place; $1 is a group of an expression"`
	Regex   bool   `json:"regex,omitempty" doc:"find is a regular expression (RE2)"`
	Word    bool   `json:"word,omitempty" doc:"Only whole words"`
}

// Mode says where the captions are.
type Mode string

// The modes.
const (
	Burn Mode = "burn" // in the picture
	Soft Mode = "soft" // as a text track, which a player shows or hides
	Both Mode = "both"
)

// Output says what the result should be.
type Output struct {
	Codec   Codec   `json:"codec,omitempty" enum:"h264,hevc,av1" doc:"h264 unless it is said"`
	Quality Quality `json:"quality,omitempty" enum:"draft,balanced,high,max" default:"balanced" doc:"How much of the picture is kept"`
	// Filename is the last part of video_url, and the name a browser saves
	// under; cleaned, and made to end in .mp4.
	Filename string `json:"filename,omitempty" doc:"Name of the result" example:"captioned.mp4"`
	// BitrateKbps and MaxSizeMB bound the bytes instead of Quality; one of them.
	BitrateKbps int        `json:"bitrate_kbps,omitempty" minimum:"50" maximum:"200000" doc:"Mean thousand bits a second of the picture, instead of quality"`
	MaxSizeMB   float64    `json:"max_size_mb,omitempty" minimum:"0.1" maximum:"20000" doc:"The result is at most so large (10^6 bytes), instead of quality"`
	Resolution  Resolution `json:"resolution,omitzero"`
	// FPS is the result's; 0 keeps every frame of the source at its time.
	FPS   FrameRate   `json:"fps,omitempty" minimum:"1" maximum:"120" doc:"Frames per second, or source"`
	HDR   HDR         `json:"hdr,omitempty" enum:"auto,sdr,keep" doc:"auto and sdr map HDR to standard colours; keep makes 10-bit hevc"`
	Audio AudioChoice `json:"audio,omitempty" enum:"auto,copy,aac,none" doc:"auto copies what every browser plays and makes AAC of the rest"`
	// Thumbnail is the time of a picture, in seconds, or nil for none.
	Thumbnail *float64 `json:"thumbnail,omitempty" minimum:"0" doc:"Seconds at which a JPEG is taken of the result"`
}

// Codec is the format of the picture.
type Codec string

// The codecs.
const (
	H264 Codec = "h264"
	HEVC Codec = "hevc"
	AV1  Codec = "av1"
)

// HDR says what becomes of high dynamic range.
type HDR string

// What becomes of high dynamic range.
const (
	HDRAuto HDR = "auto" // as sdr
	HDRMap  HDR = "sdr"  // mapped to standard colours
	HDRKeep HDR = "keep" // 10 bits, as the source has it; needs hevc
)

// AudioChoice says what becomes of the sound.
type AudioChoice string

// What becomes of the sound.
const (
	AudioAuto AudioChoice = "auto" // copied where every browser plays it in MP4, else made AAC
	AudioCopy AudioChoice = "copy" // copied wherever MP4 may hold it
	AudioAAC  AudioChoice = "aac"
	AudioNone AudioChoice = "none"
)

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
	if !given(s.Captions) {
		s.Captions = nil
	}
	if !given(s.Words) {
		s.Words = nil
	}
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
	var f faults
	switch {
	case videoUploaded && s.URLVideo != "":
		f.add("url_video", "was given, and a video was uploaded too; send one of them")
	case !videoUploaded && s.URLVideo == "":
		f.add("url_video", "is required: the http(s) address of the video, or upload the file as form field video")
	case s.URLVideo != "":
		checkURL("url_video", s.URLVideo, f.add)
	}
	s.checkSource(&f, srtUploaded)
	checkHeaders("headers_video", s.HeadersVideo, f.add)
	checkHeaders("headers_srt", s.HeadersSRT, f.add)
	s.checkText(&f)
	s.Style.check(&f, "style.")
	s.Output.check(&f, "output.")
	return f.err()
}

// checkSource wants the subtitles once.
func (s CaptionSpec) checkSource(f *faults, uploaded bool) {
	sources := 0
	for _, is := range []bool{uploaded, s.URLSRT != "", s.SRT != "", len(s.Captions) > 0, len(s.Words) > 0} {
		if is {
			sources++
		}
	}
	switch {
	case sources == 0:
		f.add("url_srt", "is required: the http(s) address of the subtitles, or their text as srt, or captions or words, or upload the file as form field srt")
	case sources > 1:
		f.add("url_srt", "and another source of subtitles were given: send them once, as url_srt, srt, captions or words, or as an uploaded file")
	case s.URLSRT != "":
		checkURL("url_srt", s.URLSRT, f.add)
	case len(s.SRT) > MaxSubtitle:
		f.add("srt", "is longer than %d bytes", MaxSubtitle)
	case len(s.Captions) > MaxSubtitle:
		f.add("captions", "is longer than %d bytes", MaxSubtitle)
	case len(s.Words) > MaxSubtitle:
		f.add("words", "is longer than %d bytes", MaxSubtitle)
	}
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
