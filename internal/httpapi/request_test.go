package httpapi

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/api-gpu/api-gpu"
)

const (
	asForm = "Content-Type: application/x-www-form-urlencoded"
	asJSON = "Content-Type: application/json"
	async  = "Prefer: respond-async"
)

// Bodies that begin with a brace are JSON, whatever their type says.
func TestJSONBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<16)
	for _, c := range []struct {
		name, contentType, body string
		code                    apigpu.Code // empty: accepted
		field, says, hint       string
	}{
		{"as JSON", asJSON, goodBody, "", "", "", ""},
		{"as a form, by curl -d", asForm, goodBody, "", "", "", ""},
		{"as text", "Content-Type: text/plain", goodBody, "", "", "", ""},
		{"as multipart without a boundary", "Content-Type: multipart/form-data", goodBody, "", "", "", ""},
		{"without a type", "", goodBody, "", "", "", ""},
		{"with a type that is none", "Content-Type: ;;", goodBody, "", "", "", ""},
		{"with a BOM and blanks", "", "\ufeff \r\n\t" + goodBody + "\n", "", "", "", ""},
		{"null is absent", asJSON, `{"wait": null, "srt": null, ` + goodBody[1:], "", "", "", ""},

		{"unknown field", asJSON, `{"urlVideo": "x"}`, apigpu.InvalidRequest, "urlVideo", "There is no field", `"url_video"`},
		{"unknown field, nested", asJSON, `{"output": {"qualty": "high"}}`, apigpu.InvalidRequest, "output.qualty", "", `"output.quality"`},
		{"unknown field, nested, of a known name", asJSON, `{"output": {"output": 1}}`, apigpu.InvalidRequest, "output.output", "There is no field", ""},
		{"a known field in capitals", asJSON, `{"URL_VIDEO": "http://v/a.mp4"}`, apigpu.InvalidRequest, "URL_VIDEO", "There is no field", `"url_video"`},
		{"a path as a name", asJSON, `{"output.quality": "high"}`, apigpu.InvalidRequest, "output.quality", "There is no field", ""},
		{"a nested field on top", asJSON, `{"quality": "high"}`, apigpu.InvalidRequest, "quality", "", `"output.quality"`},
		{"unknown field with a quote", asJSON, `{"a\"b": 1}`, apigpu.InvalidRequest, `a"b`, "", ""},
		{"unknown field of 64 KiB", asJSON, `{"` + long + `": 1}`, apigpu.InvalidRequest, long[:maxEcho] + "…", "", ""},
		{"wrong type", asJSON, `{"url_video": 5}`, apigpu.InvalidRequest, "url_video", "must be of type string, not number", ""},
		{"wrong type, nested", asJSON, `{"output": {"quality": []}}`, apigpu.InvalidRequest, "output.quality", "must be of type string, not array", ""},
		{"wrong type, object", asJSON, `{"output": "high"}`, apigpu.InvalidRequest, "output", "must be of type object, not string", ""},
		{"wrong type, number", asJSON, `{"wait": "soon"}`, apigpu.InvalidRequest, "wait", "must be of type number, not string", ""},
		{"wrong type, array", asJSON, `{"replace": "x"}`, apigpu.InvalidRequest, "replace", "must be of type array, not string", ""},
		{"no length", asJSON, `{"style": {"font": {"size": "big"}}}`, apigpu.InvalidRequest, "style.font.size", `a length such as 54 or "5%", not "big"`, ""},
		{"no frame rate", asJSON, `{"output": {"fps": "fast"}}`, apigpu.InvalidRequest, "output.fps", `a number or "source", not "fast"`, ""},
		{"a frame rate in quotes", asJSON, `{"output": {"fps": "30"}, ` + goodBody[1:], "", "", "", ""},
		{"no time", asJSON, `{"exclude_time_ranges": [{"start": "1:99", "end": 2}]}`, apigpu.InvalidRequest, "exclude_time_ranges.start", `"hh:mm:ss", not "1:99"`, ""},
		{"wrong type, in a map", asJSON, `{"headers_video": {"A": 1}}`, apigpu.InvalidRequest, "headers_video", "must be of type string", ""},
		{"a number beyond all numbers", asJSON, `{"wait": 1e` + strings.Repeat("9", 1000) + `}`, apigpu.InvalidRequest, "wait", "number", ""},
		{"a wait too long", asJSON, `{"wait": 601, ` + goodBody[1:], apigpu.InvalidRequest, "wait", "from 0 to 600", ""},
		{"a wait below zero", asJSON, `{"wait": -1, ` + goodBody[1:], apigpu.InvalidRequest, "wait", "", ""},
		{"a wait of NaN", asJSON, `{"wait": NaN}`, apigpu.InvalidRequest, "", "not JSON", ""},
		{"a syntax error", asJSON, `{"url_video" "x"}`, apigpu.InvalidRequest, "", "at byte 14", ""},
		{"cut short", asJSON, goodBody[:20], apigpu.InvalidRequest, "", "ends too early", ""},
		{"more after it", asJSON, goodBody + `{}`, apigpu.InvalidRequest, "", "more after the end", ""},
		{"rubbish after it", asJSON, goodBody + `}`, apigpu.InvalidRequest, "", "more after the end", ""},
		{"too deep", asJSON, `{"url_video": ` + strings.Repeat("[", 1e5), apigpu.InvalidRequest, "", "levels deep", ""},
		{"a field twice", asJSON, `{"url_video": "x", ` + goodBody[1:], apigpu.InvalidRequest, "url_video", "twice", ""},
		{"too deep, objects", asJSON, strings.Repeat(`{"a":`, 1e5), apigpu.InvalidRequest, "", "", ""},
		{"not UTF-8", asJSON, `{"srt": "caf` + "\xe9" + `"}`, apigpu.InvalidRequest, "", "not UTF-8", "Upload"},
		{"an array", asJSON, `[]`, apigpu.InvalidRequest, "", "not a JSON object", ""},
		{"an array in curl's own type", "Content-Type: application/x-www-form-urlencoded", `[]`, apigpu.InvalidRequest, "", "not a JSON object", ""},
		{"nothing, as JSON", asJSON, ``, apigpu.InvalidRequest, "", "not a JSON object", ""},
		{"nothing", "", ``, apigpu.UnsupportedMediaType, "", "neither JSON nor a form", "multipart/form-data"},
		{"a page", "Content-Type: text/html", `<html>`, apigpu.UnsupportedMediaType, "", "", "multipart/form-data"},
		{"missing both", asJSON, `{}`, apigpu.InvalidRequest, "url_video", "2 fields", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			res := w.do("POST", "/video/caption", c.body, c.contentType, async)
			if c.code == "" {
				decode[apigpu.Result](t, res, 202)
				if got, _ := w.jobs.last(); got.Spec.URLVideo != "http://v/a.mp4" || got.Spec.URLSRT != "http://v/a.srt" {
					t.Errorf("spec %+v", got.Spec)
				}
				return
			}
			p := problem(t, res, c.code)
			if p.Field != c.field || !strings.Contains(p.Detail, c.says) || !strings.Contains(p.Hint, c.hint) {
				t.Errorf("field %q, detail %q, hint %q", p.Field, p.Detail, p.Hint)
			}
			if len(p.Detail) > 500 {
				t.Errorf("the answer says %d bytes back", len(p.Detail))
			}
			if _, made := w.jobs.last(); made {
				t.Error("a job was made")
			}
		})
	}
}

func TestBodiesTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxUpload = 1000 })
	send := func(body encodedForm, length int64) (apigpu.Problem, int) {
		r := httptest.NewRequest("POST", "/video/caption", nil)
		unread := strings.NewReader(body.body)
		r.Body, r.ContentLength = io.NopCloser(unread), length
		r.Header.Set("X-API-Key", "b0b")
		r.Header.Set("Content-Type", strings.TrimPrefix(body.contentType, "Content-Type: "))
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return problem(t, rec.Result(), apigpu.TooLarge), unread.Len()
	}
	movie := form(t, file("video", strings.Repeat("x", 10000)))
	for _, c := range []struct {
		body  encodedForm
		limit int64
	}{{encodedForm{`{"srt": "`, asJSON}, maxJSON}, {encodedForm{"srt=x", asForm}, maxJSON}, {movie, 1000 + maxJSON}} {
		if _, unread := send(c.body, c.limit+1); unread == 0 && len(c.body.body) > 4096 {
			t.Errorf("%s: was read, though its length was known", c.body.contentType)
		}
	}
	if p, _ := send(encodedForm{`{"srt": "` + strings.Repeat("x", maxJSON), asJSON}, -1); !strings.Contains(p.Detail, "longer than") {
		t.Errorf("detail %q", p.Detail)
	}
	if p, _ := send(form(t, file("srt", strings.Repeat("x", apigpu.MaxSubtitle+1))), -1); p.Field != "srt" {
		t.Errorf("field %q", p.Field)
	}
	if w.jobs.held() != 0 {
		t.Errorf("%d uploads leaked", w.jobs.held())
	}
}

// A subtitle in JSON arrives as its bytes, escaped or not, and one of the
// largest size fits though each é in it takes six bytes.
func TestInlineSubtitle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	decode[apigpu.Result](t, w.do("POST", "/video/caption", `{"url_video": "http://v/a.mp4", "srt": "\u00e9é\r\n"}`, asJSON, async), 202)
	if got, _ := w.jobs.last(); string(got.Subtitle) != "éé\r\n" || got.Spec.SRT != "" {
		t.Errorf("subtitle %q, left inline %q", got.Subtitle, got.Spec.SRT)
	}
	if escaped := apigpu.MaxSubtitle / len("é") * len(`\u00e9`); escaped > maxJSON {
		t.Errorf("%d bytes do not fit into %d", escaped, maxJSON)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		body  url.Values
		field string // at fault; empty: accepted
		hint  string
	}{
		{"plain", url.Values{"url_video": {"http://v/a.mp4"}, "srt": {"1\n00:00:00,000 --> 00:00:01,000\nHi"}, "quality": {"high"}, "filename": {"x"}, "wait": {"0"}}, "", ""},
		{"with the JSON as a field", url.Values{"request": {goodBody}, "quality": {"high"}, "filename": {"x"}}, "", ""},
		{"unknown", url.Values{"video_url": {"x"}}, "video_url", `"url_video"`},
		{"unknown, of two the first by name", url.Values{"zz": {"x"}, "aa": {"x"}}, "aa", ""},
		{"a file", url.Values{"video": {"x.mp4"}}, "video", "-F video=@"},
		{"a bad wait", url.Values{"wait": {"soon"}}, "wait", ""},
		{"a wait of NaN", url.Values{"wait": {"NaN"}, "url_video": {"http://v/a.mp4"}, "url_srt": {"http://v/a.srt"}}, "wait", ""},
		{"a bad request", url.Values{"request": {`{"x": 1}`}}, "x", ""},
		{"a bad quality", url.Values{"request": {goodBody}, "quality": {"ultra"}}, "output.quality", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			res := w.do("POST", "/video/caption", c.body.Encode(), asForm, async)
			if c.field != "" {
				if p := problem(t, res, apigpu.InvalidRequest); p.Field != c.field || !strings.Contains(p.Hint, c.hint) {
					t.Errorf("field %q, hint %q", p.Field, p.Hint)
				}
				return
			}
			decode[apigpu.Result](t, res, 202)
			if got, _ := w.jobs.last(); got.Spec.URLVideo != "http://v/a.mp4" || got.Spec.Output.Quality != apigpu.High || got.Spec.Output.Filename != "x.mp4" {
				t.Errorf("spec %+v", got.Spec)
			}
		})
	}
	w := newWorld(t)
	problem(t, w.do("POST", "/video/caption", "a=%zz", asForm), apigpu.InvalidRequest)
}

// part is one part of a multipart form.
type part struct{ name, filename, content string }

func file(name, content string) part  { return part{name, name + ".bin", content} }
func field(name, content string) part { return part{name, "", content} }

type encodedForm struct{ body, contentType string }

func form(t testing.TB, parts ...part) encodedForm {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition(p.name, p.filename)}}
		if p.filename == "" {
			h.Set("Content-Disposition", `form-data; name="`+p.name+`"`)
		}
		w, err := m.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(p.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return encodedForm{b.String(), "Content-Type: " + m.FormDataContentType()}
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	many := make([]part, maxParts+1)
	for i := range many {
		many[i] = field("quality", "high")
	}
	movie, subs := file("video", "movie"), file("srt", "subs")
	for _, c := range []struct {
		name     string
		parts    []part
		code     apigpu.Code // empty: accepted
		field    string
		video    string
		subtitle string
		quality  apigpu.Quality
	}{
		{"video first", []part{movie, subs}, "", "", "movie", "subs", apigpu.Balanced},
		{"subtitles first", []part{subs, movie}, "", "", "movie", "subs", apigpu.Balanced},
		{"subtitles as a field", []part{movie, field("srt", "subs")}, "", "", "movie", "subs", apigpu.Balanced},
		{"subtitles in the request part", []part{movie, field("request", `{"srt": "subs"}`)}, "", "", "movie", "subs", apigpu.Balanced},
		{"subtitles that are not UTF-8", []part{movie, file("srt", "caf\xe9")}, "", "", "movie", "caf\xe9", apigpu.Balanced},
		{"an address and a file", []part{field("url_video", "http://v/a.mp4"), subs}, "", "", "", "subs", apigpu.Balanced},
		{"options in the request part", []part{field("request", `{"output": {"quality": "max"}}`), movie, subs}, "", "", "movie", "subs", apigpu.Max},
		{"a field over the request part, any order", []part{field("quality", "draft"), movie, subs, field("request", `{"output": {"quality": "max"}}`)}, "", "", "movie", "subs", apigpu.Draft},

		{"two videos", []part{movie, movie, subs}, apigpu.InvalidRequest, "video", "", "", ""},
		{"two subtitles", []part{movie, subs, subs}, apigpu.InvalidRequest, "srt", "", "", ""},
		{"video and its address", []part{movie, subs, field("url_video", "http://v/a.mp4")}, apigpu.InvalidRequest, "url_video", "", "", ""},
		{"subtitles and their address", []part{movie, subs, field("url_srt", "http://v/a.srt")}, apigpu.InvalidRequest, "url_srt", "", "", ""},
		{"no subtitles", []part{movie}, apigpu.InvalidRequest, "url_srt", "", "", ""},
		{"an unknown field after the video", []part{movie, subs, field("Quality2", "x")}, apigpu.InvalidRequest, "Quality2", "", "", ""},
		{"a file without a name", []part{movie, file("", "x")}, apigpu.InvalidRequest, "", "", "", ""},
		{"a request that is no JSON", []part{movie, subs, field("request", "quality=max")}, apigpu.InvalidRequest, "", "", "", ""},
		{"a field too long", []part{movie, field("filename", strings.Repeat("x", maxField+1))}, apigpu.TooLarge, "filename", "", "", ""},
		{"too many parts", many, apigpu.InvalidRequest, "", "", "", ""},
		{"no parts", nil, apigpu.InvalidRequest, "url_video", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := form(t, c.parts...)
			res := w.do("POST", "/video/caption", f.body, f.contentType, async)
			if c.code != "" {
				if p := problem(t, res, c.code); p.Field != c.field {
					t.Errorf("field %q: %s", p.Field, p.Detail)
				}
				if w.jobs.held() != 0 {
					t.Errorf("%d uploads leaked", w.jobs.held())
				}
				return
			}
			id := decode[apigpu.Result](t, res, 202).Job.ID
			got, _ := w.jobs.last()
			if video := string(w.jobs.jobs[id].video); video != c.video || string(got.Subtitle) != c.subtitle || got.Spec.Output.Quality != c.quality {
				t.Errorf("video %q, subtitle %q, quality %q", video, got.Subtitle, got.Spec.Output.Quality)
			}
		})
	}
}

// Wherever a connection breaks, the request is refused, and nothing of its
// upload stays.
func TestCutUploadLeaksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := form(t, file("video", "movie"), file("srt", "subs"), field("quality", "max"))
	for n := range strings.LastIndex(f.body, "--") {
		r := httptest.NewRequest("POST", "/video/caption", io.MultiReader(strings.NewReader(f.body[:n]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		r.Header.Set("X-API-Key", "b0b")
		r.Header.Set("Content-Type", strings.TrimPrefix(f.contentType, "Content-Type: "))
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if p := problem(t, rec.Result(), apigpu.InvalidRequest); !strings.Contains(p.Detail, "ended before") {
			t.Fatalf("cut at %d of %d: %s", n, len(f.body), p.Detail)
		}
		if w.jobs.held() != 0 {
			t.Fatalf("cut at %d: the upload leaked", n)
		}
	}
	if _, made := w.jobs.last(); made {
		t.Error("a job was made of a cut upload")
	}
}

// A form that ends whole but without its last boundary is no form either:
// what was to come might have changed its meaning.
func TestFormWithoutItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := form(t, file("video", "movie"), file("srt", "subs"))
	problem(t, w.do("POST", "/video/caption", f.body[:strings.LastIndex(f.body, "--")], f.contentType), apigpu.InvalidRequest)
	problem(t, w.do("POST", "/video/caption", "", f.contentType), apigpu.InvalidRequest)
	if w.jobs.held() != 0 {
		t.Errorf("%d uploads leaked", w.jobs.held())
	}
}

func TestRefusedSubmitLeaksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := form(t, file("video", "movie"), file("srt", "subs"))
	w.jobs.submitErr = apigpu.E(apigpu.SubtitleEmpty, nil, "There is no cue in it.")
	problem(t, w.do("POST", "/video/caption", f.body, f.contentType), apigpu.SubtitleEmpty)
	problem(t, w.do("POST", "/video/caption?wait=never", f.body, f.contentType), apigpu.InvalidRequest)
	w.jobs.panics = "Submit"
	problem(t, w.do("POST", "/video/caption", f.body, f.contentType), apigpu.Internal)
	if w.jobs.held() != 0 {
		t.Errorf("%d uploads leaked", w.jobs.held())
	}
}
