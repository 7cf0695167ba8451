package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/api-gpu/api-gpu"
)

// answers gives each code its HTTP status and its name in words. Statuses
// 504 and 524 are left to proxies, so that a client can tell them from ours.
var answers = map[apigpu.Code]struct {
	status int
	title  string
}{
	apigpu.InvalidRequest:       {http.StatusBadRequest, "Validation error"},
	apigpu.Unauthorized:         {http.StatusUnauthorized, "Unauthorized"},
	apigpu.Forbidden:            {http.StatusForbidden, "Forbidden"},
	apigpu.AddressNotAllowed:    {http.StatusForbidden, "Forbidden IP"},
	apigpu.InvalidSession:       {http.StatusForbidden, "Invalid session"},
	apigpu.JobNotFound:          {http.StatusNotFound, "Job not found"},
	apigpu.GPUNotFound:          {http.StatusNotFound, "GPU not found"},
	apigpu.NotFound:             {http.StatusNotFound, "Not found"},
	apigpu.MethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed"},
	apigpu.RangeNotSatisfiable:  {http.StatusRequestedRangeNotSatisfiable, "Range not satisfiable"},
	apigpu.NotReady:             {http.StatusConflict, "Not ready"},
	apigpu.Conflict:             {http.StatusConflict, "Conflict"},
	apigpu.StaleAttempt:         {http.StatusConflict, "Stale attempt"},
	apigpu.StaleEpoch:           {http.StatusConflict, "Stale epoch"},
	apigpu.Canceled:             {http.StatusConflict, "Canceled"},
	apigpu.Gone:                 {http.StatusGone, "Expired"},
	apigpu.TooLarge:             {http.StatusRequestEntityTooLarge, "Too large"},
	apigpu.UnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	apigpu.SubtitleEmpty:        {http.StatusUnprocessableEntity, "No captions"},
	apigpu.SubtitleNotText:      {http.StatusUnprocessableEntity, "Not subtitles"},
	apigpu.SubtitleUnparseable:  {http.StatusUnprocessableEntity, "Not subtitles"},
	apigpu.SubtitleCharset:      {http.StatusUnprocessableEntity, "Unknown text encoding"},
	apigpu.SubtitleWarnings:     {http.StatusUnprocessableEntity, "Subtitles need mending"},
	apigpu.FontUnknown:          {http.StatusUnprocessableEntity, "Unknown font"},
	apigpu.FontUnreadable:       {http.StatusUnprocessableEntity, "Not a font"},
	apigpu.FontNotFound:         {http.StatusNotFound, "Font not found"},
	apigpu.SourceIsHTML:         {http.StatusUnprocessableEntity, "Not a video"},
	apigpu.BlockedAddress:       {http.StatusUnprocessableEntity, "Address not allowed"},
	apigpu.NoVideoStream:        {http.StatusUnprocessableEntity, "No video stream"},
	apigpu.MediaUndecodable:     {http.StatusUnprocessableEntity, "Not a readable video"},
	apigpu.MediaTooLong:         {http.StatusUnprocessableEntity, "Video too long"},
	apigpu.MediaTooBig:          {http.StatusUnprocessableEntity, "Picture too big"},
	apigpu.BudgetExceeded:       {http.StatusUnprocessableEntity, "Budget exceeded"},
	apigpu.IdempotencyMismatch:  {http.StatusUnprocessableEntity, "Another request"},
	apigpu.SourceUnreachable:    {http.StatusFailedDependency, "Source unreachable"},
	apigpu.RateLimited:          {http.StatusTooManyRequests, "Too many requests"},
	apigpu.Internal:             {http.StatusInternalServerError, "Internal server error"},
	apigpu.EncoderFailed:        {http.StatusInternalServerError, "Encoder failed"},
	apigpu.RenderStalled:        {http.StatusInternalServerError, "Render stalled"},
	apigpu.PreviewUnavailable:   {http.StatusNotImplemented, "No preview here"},
	apigpu.GPULost:              {http.StatusBadGateway, "GPU lost"},
	apigpu.ResultLost:           {http.StatusBadGateway, "Result lost"},
	apigpu.NoEncoder:            {http.StatusServiceUnavailable, "No encoder"},
	apigpu.NoGPU:                {http.StatusServiceUnavailable, "No GPU available"},
	apigpu.QueueExpired:         {http.StatusServiceUnavailable, "Waited too long"},
	apigpu.JobTimeout:           {http.StatusServiceUnavailable, "Ran too long"},
	apigpu.Unavailable:          {http.StatusServiceUnavailable, "Unavailable"},
	apigpu.WaitOver:             {http.StatusServiceUnavailable, "Not ready yet"},
	apigpu.StorageFull:          {http.StatusInsufficientStorage, "Storage full"},
}

// Status returns the HTTP status of a code.
func Status(c apigpu.Code) int {
	if a, ok := answers[c]; ok {
		return a.status
	}
	return http.StatusInternalServerError
}

// ProblemOf returns what a stranger may see of err.
func ProblemOf(err error) apigpu.Problem {
	e := apigpu.AsError(err)
	details := e.Details
	if details == nil {
		details = []apigpu.Detail{}
		if e.Field != "" {
			details = append(details, apigpu.Detail{Field: e.Field, Message: e.Message})
		}
	}
	title := answers[e.Code].title
	if title == "" {
		title = answers[apigpu.Internal].title
	}
	return apigpu.Problem{
		Type: "urn:api-gpu:error:" + string(e.Code), Title: title, Status: Status(e.Code), Detail: e.Message,
		Code: e.Code, Field: e.Field, Hint: e.Hint, Retryable: e.Retryable, RetryAfter: e.RetryAfter, JobID: e.JobID,
		Available: e.Available,
		Error:     title, Message: e.Message, Details: details,
	}
}

// WriteError answers a request with err.
func WriteError(w http.ResponseWriter, err error) {
	p := ProblemOf(err)
	maps.Copy(w.Header(), headersOf(p))
	writeJSON(w, p.Status, "application/problem+json", p)
}

// headersOf says again in headers what clients look for there.
func headersOf(p apigpu.Problem) http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if isID(p.JobID) { // it may be what the client wrote into the path
		h.Set("X-Job-Id", p.JobID)
	}
	return h
}

// isID reports whether s has the form of an id, and so can stand in a header.
func isID(s string) bool {
	return s != "" && len(s) <= maxEcho && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// WriteJSON answers a request with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	writeJSON(w, status, "application/json", v)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := marshal(v)
	if err != nil { // a value that JSON lacks, such as NaN: a fault of ours
		WriteError(w, apigpu.AsError(err))
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone: nobody to tell
}

// marshal encodes v on one line. An & stays as it is: people copy video_url
// from a terminal, and \u0026 would break its signature.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// logFault writes what the caller must not see: the cause of an internal
// error.
func logFault(ctx context.Context, log *slog.Logger, r *http.Request, err error) {
	if Status(apigpu.CodeOf(err)) >= http.StatusInternalServerError && apigpu.CodeOf(err) != apigpu.WaitOver {
		log.ErrorContext(ctx, "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}
