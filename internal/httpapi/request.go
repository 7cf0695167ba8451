package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/api-gpu/api-gpu"
)

// Limits of a request.
const (
	// maxJSON bounds a JSON body: subtitles of the largest size, each byte
	// escaped in the usual ways (é is two bytes, and six as \u00e9), and
	// everything else.
	maxJSON = 3*apigpu.MaxSubtitle + 1<<20
	// maxField bounds a form field that is not a file, in bytes.
	maxField = 64 << 10
	// maxParts bounds the parts of a form, and so what is held in memory.
	maxParts = 32
	// maxEcho bounds what of a wrong name is said back, in bytes.
	maxEcho = 64
)

// captionBody is the JSON body of POST /video/caption.
type captionBody struct {
	apigpu.CaptionSpec
	// Wait is how many seconds the request may wait; it wins over Prefer.
	Wait *float64 `json:"wait,omitempty" minimum:"0" maximum:"600" doc:"Seconds to wait for the result; 0 answers at once"`
	// WebhookURL is called as it is: only white space around it is removed.
	WebhookURL string `json:"webhook_url,omitempty" maxLength:"2048" doc:"http(s) address that is told of the end of the job (Standard Webhooks 1.0.0); without a wait, the request is answered at once"`
}

// readSubmission decodes the body of POST /video/caption in any of its forms:
// JSON (whatever its content type says: the plan's own curl sends a form's),
// multipart with files, or a plain form. The caller owns the upload it names.
func (a *API) readSubmission(w http.ResponseWriter, r *http.Request) (Submission, *float64, error) {
	body := bufio.NewReader(r.Body)
	contentType, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case startsWith(body, '{'):
		return readJSON(limit(w, r, body, maxJSON))
	case contentType == "application/json", startsWith(body, '['):
		return Submission{}, nil, apigpu.E(apigpu.InvalidRequest, nil, "The body is not a JSON object.")
	case contentType == "multipart/form-data" && params["boundary"] != "":
		return a.readMultipart(r, multipart.NewReader(limit(w, r, body, a.cfg.MaxUpload+maxJSON), params["boundary"]))
	case contentType == "application/x-www-form-urlencoded":
		return readForm(limit(w, r, body, maxJSON))
	}
	return Submission{}, nil, apigpu.E(apigpu.UnsupportedMediaType, nil, "The body is neither JSON nor a form.").
		WithHint(`Send {"url_video": "…", "url_srt": "…"} or multipart/form-data with the files video and srt.`)
}

// limit bounds a body to n bytes. One that says it is longer is refused before
// it is received.
func limit(w http.ResponseWriter, r *http.Request, body io.Reader, n int64) io.Reader {
	if r.ContentLength > n {
		return failing{&http.MaxBytesError{Limit: n}}
	}
	return http.MaxBytesReader(w, io.NopCloser(body), n)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// maxBlank is how much white space may stand before a JSON body, in bytes.
const maxBlank = 4 << 10

// startsWith reports whether the first byte of the body that means anything
// is this one. It waits for no byte beyond it.
func startsWith(body *bufio.Reader, first byte) bool {
	for n := 1; n <= maxBlank; n++ {
		head, err := body.Peek(n)
		if err != nil {
			return false
		}
		switch last := head[n-1]; last {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf: // white space, and a byte order mark
		default:
			return last == first
		}
	}
	return false
}

func readJSON(r io.Reader) (Submission, *float64, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return Submission{}, nil, bodyFault(err)
	}
	var body captionBody
	if err := decodeJSON(raw, &body); err != nil {
		return Submission{}, nil, err
	}
	return submission(body, "", nil), body.Wait, nil
}

// decodeJSON reads one object that has no unknown field. Names must be exact:
// encoding/json would also take URL_VIDEO.
func decodeJSON(raw []byte, into any) error {
	if !utf8.Valid(raw) { // the decoder would put marks of doubt into captions
		return apigpu.E(apigpu.InvalidRequest, nil, "The body is not UTF-8, as JSON must be.").
			WithHint("Upload a subtitle file of another encoding as it is, or name its address as url_srt.")
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if err := checkJSON(raw); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	var object json.RawMessage
	err := dec.Decode(&object)
	if err == nil {
		err = onlyKnown(object, fieldNames(into), "")
	}
	if err == nil {
		err = json.Unmarshal(object, into)
	}
	if err != nil {
		return jsonFault(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return apigpu.E(apigpu.InvalidRequest, nil, "There is more after the end of the JSON object.")
	}
	return nil
}

// onlyKnown refuses a name that is none of known, which hold paths such as
// output.quality. Of a list each element is looked at. Objects without names of
// their own below, such as headers, may hold any. What is no object is left to the decoder.
func onlyKnown(raw json.RawMessage, known []string, path string) error {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		for _, one := range list {
			if err := onlyKnown(one, known, path); err != nil {
				return err
			}
		}
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		full := path + name
		if !slices.Contains(known, full) || strings.Contains(name, ".") {
			return unknownField("field", full, known)
		}
		below := func(k string) bool { return strings.HasPrefix(k, full+".") }
		if slices.ContainsFunc(known, below) {
			if err := onlyKnown(object[name], known, full+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

func jsonFault(err error) error {
	if own, ok := errors.AsType[*apigpu.Error](err); ok {
		return own
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// Go puts the names of embedded structs into the path.
		field := strings.TrimPrefix(t.Field, "CaptionSpec.")
		return apigpu.E(apigpu.InvalidRequest, nil, "%s must be %s, not %s.", field, wanted(t), echo(t.Value)).WithField(field)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return apigpu.E(apigpu.InvalidRequest, nil, "The body is not JSON: %s at byte %d.", s.Error(), s.Offset)
	}
	return apigpu.E(apigpu.InvalidRequest, err, "The body is not JSON: it ends too early.")
}

// unknownField refuses a field that does not exist, with the one that was
// most likely meant.
func unknownField(kind, name string, known []string) error {
	name = echo(name)
	e := apigpu.E(apigpu.InvalidRequest, nil, "There is no %s %q.", kind, name).WithField(name)
	switch near := nearest(name, known); {
	case near != "" && near != name:
		return e.WithHint("Did you mean %q?", near)
	case kind == "form field":
		return e.WithHint("A form has the fields %s; anything else goes as JSON into the field request.", strings.Join(known, ", "))
	}
	return e
}

// echo cuts text of a client to what is worth saying back.
func echo(s string) string {
	if len(s) > maxEcho {
		s = strings.ToValidUTF8(s[:maxEcho], "") + "…"
	}
	return s
}

// readMultipart takes the parts as they come. The video goes to storage while
// it arrives, so that no request holds one in memory.
func (a *API) readMultipart(r *http.Request, form *multipart.Reader) (s Submission, wait *float64, err error) {
	var upload string
	defer func() {
		if err != nil && upload != "" {
			a.cfg.Jobs.Discard(upload)
		}
	}()
	fields := url.Values{}
	var subtitle, request []byte
	var fonts [][]byte
	for n := 0; ; n++ {
		part, err := form.NextPart()
		if err == io.EOF { // not errors.Is: a body cut between parts wraps EOF
			break
		}
		if err != nil {
			return Submission{}, nil, bodyFault(err)
		}
		name := part.FormName()
		switch {
		case n >= maxParts:
			return Submission{}, nil, apigpu.E(apigpu.InvalidRequest, nil, "The form has more than %d parts.", maxParts)
		case !slices.Contains(formFields, name): // before its bytes are read
			return Submission{}, nil, unknownField("form field", name, formFields)
		case name == "video" && upload != "":
			return Submission{}, nil, apigpu.E(apigpu.InvalidRequest, nil, "More than one video was uploaded.").WithField(name)
		case name == "video":
			if upload, err = a.cfg.Jobs.Receive(r.Context(), CallerOf(r.Context()), &bodyReader{part, r.ContentLength}); err != nil {
				return Submission{}, nil, err
			}
		case name == "srt" && subtitle != nil:
			return Submission{}, nil, apigpu.E(apigpu.InvalidRequest, nil, "More than one subtitle file was uploaded.").WithField(name)
		case name == "srt":
			if subtitle, err = readPart(part, apigpu.MaxSubtitle); err != nil {
				return Submission{}, nil, err
			}
		case name == "font":
			if fonts, err = readFont(part, fonts); err != nil {
				return Submission{}, nil, err
			}
		case name == "request":
			if request, err = readPart(part, maxJSON); err != nil {
				return Submission{}, nil, err
			}
		default:
			value, err := readPart(part, maxField)
			if err != nil {
				return Submission{}, nil, err
			}
			fields.Add(name, string(value))
		}
	}
	body, err := formBody(fields, request)
	if err != nil {
		return Submission{}, nil, err
	}
	s = submission(body, upload, subtitle)
	s.Fonts = fonts
	return s, body.Wait, nil
}

func readForm(r io.Reader) (Submission, *float64, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return Submission{}, nil, bodyFault(err)
	}
	fields, err := url.ParseQuery(string(raw))
	if err != nil {
		return Submission{}, nil, apigpu.E(apigpu.InvalidRequest, err, "The form is malformed.")
	}
	request := fields.Get("request")
	fields.Del("request")
	body, err := formBody(fields, []byte(request))
	if err != nil {
		return Submission{}, nil, err
	}
	return submission(body, "", nil), body.Wait, nil
}

// formFields are the plain fields of a form; anything else goes into the JSON
// part named request.
var formFields = []string{"url_video", "url_srt", "srt", "quality", "filename", "wait", "webhook_url", "request", "video", "font"}

// formBody puts the fields of a form over the JSON of its request part.
func formBody(fields url.Values, request []byte) (captionBody, error) {
	var body captionBody
	if len(request) > 0 {
		if err := decodeJSON(request, &body); err != nil {
			return captionBody{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name][len(fields[name])-1]
		switch name {
		case "url_video":
			body.URLVideo = value
		case "url_srt":
			body.URLSRT = value
		case "srt":
			body.SRT = value
		case "quality":
			body.Output.Quality = apigpu.Quality(value)
		case "filename":
			body.Output.Filename = value
		case "webhook_url":
			body.WebhookURL = value
		case "wait":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return captionBody{}, waitFault(value)
			}
			body.Wait = &n
		case "video":
			return captionBody{}, apigpu.E(apigpu.InvalidRequest, nil, "video is a file, and this form can carry none.").WithField(name).
				WithHint("Send multipart/form-data (curl -F video=@file.mp4), or an address as url_video.")
		case "font":
			return captionBody{}, apigpu.E(apigpu.InvalidRequest, nil, "font is a file, and this form can carry none.").WithField(name).
				WithHint("Send multipart/form-data (curl -F font=@file.ttf).")
		default:
			return captionBody{}, unknownField("form field", name, formFields)
		}
	}
	return body, nil
}

func submission(body captionBody, upload string, subtitle []byte) Submission {
	return Submission{
		Spec: body.CaptionSpec.Clean(), Upload: upload, Subtitle: subtitle, WebhookURL: strings.TrimSpace(body.WebhookURL),
	}
}

// validate checks a submission, and moves inline text to where uploaded bytes
// are, so that one path reads both.
func (s Submission) validate() (Submission, error) {
	if err := s.Spec.Validate(s.Upload != "", s.Subtitle != nil); err != nil {
		return s, err
	}
	if s.WebhookURL != "" {
		if err := apigpu.CheckWebhookURL(s.WebhookURL); err != nil {
			return s, err
		}
		if s.Base == "" { // HTTP/1.0 without Host
			return s, apigpu.E(apigpu.InvalidRequest, nil, "The request does not say how this server is reached, so a webhook could not name the video's address.").
				WithField("webhook_url").WithHint("Send a Host header, or set PUBLIC_URL.")
		}
	}
	s.Subtitle, s.Spec = inline(s.Subtitle, s.Spec)
	return s, nil
}

// inline moves subtitles that stand in the request itself to the bytes of a
// file, and leaves no other source of them in the spec than url_srt.
func inline(subtitle []byte, spec apigpu.CaptionSpec) ([]byte, apigpu.CaptionSpec) {
	if subtitle == nil && spec.URLSRT == "" {
		spec.Charset = "" // the text of a request is Unicode
	}
	switch {
	case subtitle != nil:
	case spec.SRT != "":
		subtitle = []byte(spec.SRT)
	case len(spec.Captions) > 0:
		subtitle = spec.Captions
	case len(spec.Words) > 0:
		subtitle = spec.Words
	}
	spec.SRT, spec.Captions, spec.Words = "", nil, nil
	return subtitle, spec
}

func readPart(part *multipart.Part, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return nil, bodyFault(err)
	}
	if int64(len(raw)) > limit {
		return nil, apigpu.E(apigpu.TooLarge, nil, "%s is longer than %d bytes.", part.FormName(), limit).WithField(part.FormName())
	}
	return raw, nil
}

// bodyReader tells a body that the client cut short from a store that fails:
// the former is the client's fault.
type bodyReader struct {
	r    io.Reader
	size int64 // of the body that it is part of; -1 where the client does not say
}

// Size is how many bytes it gives at most, so that room can be reserved before
// they come; -1 where that is not known.
func (b *bodyReader) Size() int64 { return b.size }

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyFault(err)
	}
	return n, err
}

func bodyFault(err error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apigpu.E(apigpu.TooLarge, err, "The body is longer than %d bytes.", tooLarge.Limit)
	}
	return apigpu.E(apigpu.InvalidRequest, err, "The body ended before it was complete.")
}

// wanted says what a field must be.
func wanted(t *json.UnmarshalTypeError) string {
	switch t.Type {
	case reflect.TypeFor[apigpu.Length]():
		return `a length such as 54 or "5%"`
	case reflect.TypeFor[apigpu.FrameRate]():
		return `a number or "source"`
	case reflect.TypeFor[apigpu.Seconds]():
		return `a time: seconds, or "hh:mm:ss"`
	}
	return "of type " + jsonKind(t)
}

// jsonKind names the JSON type that a field wants.
func jsonKind(t *json.UnmarshalTypeError) string {
	switch fmt.Sprint(t.Type.Kind()) {
	case "string":
		return "string"
	case "float64", "int", "int64":
		return "number"
	case "bool":
		return "boolean"
	case "slice":
		return "array"
	}
	return "object"
}
