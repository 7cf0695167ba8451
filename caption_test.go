package apigpu

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCleanURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                  "",
		"http://v/a.mp4":                    "http://v/a.mp4",
		"  http://v/a.mp4\r\n":              "http://v/a.mp4",
		"\u00a0http://v/a.mp4\u2003":        "http://v/a.mp4",
		"http://v/\n  a.mp4":                "http://v/%20%20a.mp4",
		"http://v/long\r\n/path\t/a.mp4":    "http://v/long/path/a.mp4",
		"http://v/my video.mp4?x=a b":       "http://v/my%20video.mp4?x=a%20b",
		"http://v/a%20b.mp4":                "http://v/a%20b.mp4",
		"http://user:p%40ss@v/a.mp4#t=1":    "http://user:p%40ss@v/a.mp4#t=1",
		"http://v/a.mp4\x00":                "http://v/a.mp4\x00", // not mended: refused by Validate
		"http://v/vídeo.mp4?sig=a+b&x=%2F=": "http://v/vídeo.mp4?sig=a+b&x=%2F=",
	} {
		got := CaptionSpec{URLVideo: in, URLSRT: in}.Clean()
		if got.URLVideo != want || got.URLSRT != want {
			t.Errorf("%q became %q and %q, want %q", in, got.URLVideo, got.URLSRT, want)
		}
	}
}

func TestCleanFilename(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         "video.mp4",
		"clip":                     "clip.mp4",
		" clip.mp4 ":               "clip.mp4",
		"clip.MP4":                 "clip.mp4",
		"clip.mov":                 "clip.mov.mp4",
		"clip.mp4.mp4":             "clip.mp4.mp4",
		".mp4":                     "video.mp4",
		"..":                       "video.mp4",
		"../../x":                  "x.mp4",
		`..\..\x`:                  "x.mp4",
		"/etc/passwd":              "etc_passwd.mp4",
		".hidden":                  "hidden.mp4",
		"-rf":                      "rf.mp4",
		"a b":                      "a_b.mp4",
		"a\r\nSet-Cookie: x":       "a__Set-Cookie__x.mp4",
		`a"; filename="b`:          "a___filename__b.mp4",
		"$(reboot)`x`":             "reboot__x.mp4",
		"vídeo é ção":              "vídeo_é_ção.mp4",
		"视频":                       "视频.mp4",
		"a\u202egpj":               "a_gpj.mp4",
		"\u0301a":                  "a.mp4",
		"a\x00b\x7f":               "a_b.mp4",
		"\xff\xfe":                 "video.mp4",
		"a%2f..%2fb":               "a_2f.._2fb.mp4",
		"v1.2_final-cut":           "v1.2_final-cut.mp4",
		strings.Repeat("x", 300):   strings.Repeat("x", 100) + ".mp4",
		strings.Repeat("é", 300):   strings.Repeat("é", 100) + ".mp4",
		strings.Repeat("x", 1<<16): strings.Repeat("x", 100) + ".mp4",
	} {
		if got := (CaptionSpec{Output: Output{Filename: in}}).Clean().Output.Filename; got != want {
			t.Errorf("%.40q became %q, want %q", in, got, want)
		}
	}
}

func TestCleanKeepsWhatHasMeaning(t *testing.T) {
	t.Parallel()
	in := CaptionSpec{
		SRT: " 1\r\n00:00 \n", HeadersVideo: map[string]string{"A": " b "}, HeadersSRT: map[string]string{"C": "d"},
		Output: Output{Quality: High, Filename: "x.mp4"},
	}
	if got := in.Clean(); !reflect.DeepEqual(got, in) {
		t.Errorf("%+v became %+v", in, got)
	}
	if got := (CaptionSpec{}).Clean(); got.Output.Quality != Balanced {
		t.Errorf("quality %q", got.Output.Quality)
	}
}

// good is a spec without a fault; a test breaks one thing of it.
func good() CaptionSpec {
	return CaptionSpec{URLVideo: "http://v/a.mp4", URLSRT: "https://v/a.srt"}.Clean()
}

func TestValidate(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range MaxHeaders + 1 {
		many["X-"+strings.Repeat("a", i+1)] = "v"
	}
	video := func(u string) func(*CaptionSpec) { return func(s *CaptionSpec) { s.URLVideo = u } }
	header := func(name, value string) func(*CaptionSpec) {
		return func(s *CaptionSpec) { s.HeadersVideo = map[string]string{name: value} }
	}
	for _, c := range []struct {
		name             string
		edit             func(*CaptionSpec)
		videoUp, srtUp   bool
		fields, fragment string // fields at fault, joined by a blank; a part of the message
	}{
		{"two addresses", func(*CaptionSpec) {}, false, false, "", ""},
		{"uploads only", func(s *CaptionSpec) { s.URLVideo, s.URLSRT = "", "" }, true, true, "", ""},
		{"inline text", func(s *CaptionSpec) { s.URLSRT, s.SRT = "", "x" }, false, false, "", ""},
		{"nothing", func(s *CaptionSpec) { s.URLVideo, s.URLSRT = "", "" }, false, false, "url_video url_srt", "2 fields"},
		{"video twice", func(*CaptionSpec) {}, true, false, "url_video", "send one"},
		{"subtitles twice", func(s *CaptionSpec) { s.SRT = "x" }, false, false, "url_srt", "once"},
		{"subtitles thrice", func(s *CaptionSpec) { s.SRT = "x" }, false, true, "url_srt", "once"},
		{"inline text too long", func(s *CaptionSpec) { s.URLSRT, s.SRT = "", strings.Repeat("x", MaxSubtitle+1) }, false, false, "srt", "longer"},
		{"inline text of the largest size", func(s *CaptionSpec) { s.URLSRT, s.SRT = "", strings.Repeat("x", MaxSubtitle) }, false, false, "", ""},

		{"scheme in capitals", video("HTTPS://v/a"), false, false, "", ""},
		{"userinfo", video("http://user:pass@v/a"), false, false, "", ""},
		{"unicode", video("http://vídeo.example/é"), false, false, "", ""},
		{"IPv6", video("http://[::1]:80/a"), false, false, "", ""},
		{"file", video("file:///etc/passwd"), false, false, "url_video", "http://"},
		{"ffmpeg's concat", video("concat:a|b"), false, false, "url_video", "http://"},
		{"no scheme", video("v/a.mp4"), false, false, "url_video", "http://"},
		{"no slashes", video("http:v"), false, false, "url_video", "host"},
		{"no host", video("http:///a"), false, false, "url_video", "host"},
		{"a port beyond all", video("http://v:99999/a"), false, false, "url_video", "port"},
		{"port 0", video("http://v:0/a"), false, false, "url_video", "port"},
		{"a port only", video("http://:80/a"), false, false, "url_video", "host"},
		{"userinfo only", video("http://user@/a"), false, false, "url_video", "host"},
		{"a port of letters", video("http://v:x/a"), false, false, "url_video", "not an address"},
		{"a bad escape", video("http://v%zz/a"), false, false, "url_video", "not an address"},
		{"NUL", video("http://v/a\x00"), false, false, "url_video", "control"},
		{"a line end, unclean", video("http://v/a\r\nHost: x"), false, false, "url_video", "control"},
		{"too long", video("http://v/" + strings.Repeat("a", MaxURL)), false, false, "url_video", "longer"},
		{"the subtitles' address", func(s *CaptionSpec) { s.URLSRT = "ftp://v" }, false, false, "url_srt", "http://"},

		{"a header", header("authorization", "Bearer é"), false, false, "", ""},
		{"a header's line end", header("A", "b\r\nC: d"), false, false, "headers_video", "control"},
		{"a header's name with a line end", header("A\r\nB", "c"), false, false, "headers_video", "not a header name"},
		{"a header's name with a blank", header("A B", "c"), false, false, "headers_video", "not a header name"},
		{"a header without a name", header("", "c"), false, false, "headers_video", "not a header name"},
		{"a header too long", header("A", strings.Repeat("x", MaxHeader+1)), false, false, "headers_video", "too long"},
		{"the host header", header("hOST", "x"), false, false, "headers_video", "Host is set"},
		{"the range header", header("range", "bytes=0-"), false, false, "headers_video", "Range is set"},
		{"framing", header("transfer-encoding", "chunked"), false, false, "headers_video", "set by the download"},
		{"too many headers", func(s *CaptionSpec) { s.HeadersSRT = many }, false, false, "headers_srt", "more than"},

		{"a quality", func(s *CaptionSpec) { s.Output.Quality = Max }, false, false, "", ""},
		{"no quality we know", func(s *CaptionSpec) { s.Output.Quality = "Max" }, false, false, "output.quality", `"Max"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := good()
			c.edit(&s)
			err := s.Validate(c.videoUp, c.srtUp)
			if c.fields == "" {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			e := AsError(err)
			if err == nil || e.Code != InvalidRequest || e.Retryable || !strings.Contains(e.Message, c.fragment) {
				t.Fatalf("error %v, want %q", err, c.fragment)
			}
			var fields []string
			for _, d := range e.Details {
				fields = append(fields, d.Field)
			}
			if got := strings.Join(fields, " "); got != c.fields || e.Field != fields[0] {
				t.Errorf("fields %q, want %q; first %q", got, c.fields, e.Field)
			}
		})
	}
}

// FuzzClean: what is cleaned stays as it is, and its name is safe in a path, a
// header and a shell.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "../../x", "a.mp4_.mp4", "é\r\n", "http://v/a b\n", strings.Repeat("x.", 99), "\xff.MP4", " .\t-._ "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := CaptionSpec{URLVideo: s, URLSRT: s, Output: Output{Filename: s}}.Clean()
		if twice := once.Clean(); !reflect.DeepEqual(once, twice) {
			t.Fatalf("%+v, and cleaned again %+v", once, twice)
		}
		if strings.ContainsAny(once.URLVideo, "\r\n\t ") {
			t.Fatalf("address %q", once.URLVideo)
		}
		name, ok := strings.CutSuffix(once.Output.Filename, ".mp4")
		if !ok || name == "" || utf8.RuneCountInString(name) > maxFilename || strings.Trim(name, "._-") != name && name != fallbackName || !utf8.ValidString(name) ||
			strings.ContainsFunc(name, func(r rune) bool {
				return !unicode.In(r, unicode.L, unicode.Nd, unicode.M) && !strings.ContainsRune("-_.", r)
			}) {
			t.Fatalf("name %q", once.Output.Filename)
		}
		if err := once.Validate(false, false); err == nil && strings.ContainsFunc(once.URLVideo, isControl) {
			t.Fatalf("%q was taken", once.URLVideo)
		}
	})
}
