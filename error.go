package apigpu

import (
	"errors"
	"fmt"
)

// Code is the stable name of an error. Programs act on it; it never changes
// its meaning once released.
type Code string

// The codes. The HTTP status of each stands in package httpapi, beside
// nothing else: a code means the same wherever it is met.
const (
	InvalidRequest       Code = "invalid_request"          // the request itself is malformed
	Unauthorized         Code = "unauthorized"             // no key, or none that is known
	Forbidden            Code = "forbidden"                // a known key that may not do this
	AddressNotAllowed    Code = "address_not_allowed"      // a worker does not answer this address
	InvalidSession       Code = "invalid_session"          // a worker does not know this session token
	MethodNotAllowed     Code = "method_not_allowed"       // the path exists, the method does not
	JobNotFound          Code = "job_not_found"            // no such job, or another key's
	GPUNotFound          Code = "gpu_not_found"            // no such machine, or it is gone
	NotFound             Code = "not_found"                // no such path
	RangeNotSatisfiable  Code = "range_not_satisfiable"    // the file does not reach that far
	NotReady             Code = "not_ready"                // the job has no result yet
	Conflict             Code = "conflict"                 // the state of the thing does not allow it
	StaleAttempt         Code = "stale_attempt"            // a newer attempt or owner has taken over
	StaleEpoch           Code = "stale_epoch"              // a newer orchestrator holds the fleet
	IdempotencyMismatch  Code = "idempotency_mismatch"     // this Idempotency-Key belongs to another request
	Gone                 Code = "expired"                  // the result was kept as promised and is gone
	TooLarge             Code = "too_large"                // more bytes than are accepted
	UnsupportedMediaType Code = "unsupported_media_type"   // neither JSON nor multipart
	SubtitleEmpty        Code = "subtitle_empty"           // no cue at all
	SubtitleNotText      Code = "subtitle_not_text"        // HTML, JSON or binary where subtitles were promised
	SubtitleUnparseable  Code = "subtitle_unparseable"     // text, but not subtitles
	SubtitleCharset      Code = "subtitle_charset_unknown" // bytes of an encoding that is not recognised
	SubtitleWarnings     Code = "subtitle_warnings"        // a file that needs mending, for a strict request
	FontUnknown          Code = "font_unknown"             // no font has this name
	FontUnreadable       Code = "font_unreadable"          // not a font that can be read
	FontNotFound         Code = "font_not_found"           // no such font was uploaded
	SourceIsHTML         Code = "source_is_html"           // a page where a video was promised
	SourceUnreachable    Code = "source_unreachable"       // the address does not answer, or answers with an error
	BlockedAddress       Code = "blocked_address"          // the address leads into a private network
	NoVideoStream        Code = "no_video_stream"          // nothing to burn captions into
	MediaUndecodable     Code = "media_undecodable"        // not a video that FFmpeg can read
	MediaTooLong         Code = "media_too_long"           // longer than this server accepts
	MediaTooBig          Code = "media_too_big"            // more pixels than this server accepts
	EncoderFailed        Code = "encoder_failed"           // FFmpeg could not write the result
	RenderStalled        Code = "render_stalled"           // FFmpeg made no progress
	PreviewUnavailable   Code = "preview_unavailable"      // nothing here draws pictures
	NoEncoder            Code = "no_encoder"               // the worker cannot encode at all, or not this codec
	RateLimited          Code = "rate_limited"             // too many requests
	Internal             Code = "internal"                 // our fault; the cause is in the log
	GPULost              Code = "gpu_lost"                 // the machine went away too often
	ResultLost           Code = "result_lost"              // the result could not be brought home
	NoGPU                Code = "no_gpu_available"         // no machine is to be had now
	QueueExpired         Code = "queue_expired"            // waited longer than QUEUE_TTL
	JobTimeout           Code = "job_timeout"              // ran longer than its running deadline
	BudgetExceeded       Code = "budget_exceeded"          // it may not cost that much
	Canceled             Code = "canceled"                 // somebody asked for its end
	StorageFull          Code = "storage_full"             // no room for the result
	Unavailable          Code = "unavailable"              // starting, or shutting down
	WaitOver             Code = "wait_over"                // the result is not there yet; the job goes on
)

// Retryable is the usual answer for an error of this code: see
// Error.Retryable.
func (c Code) Retryable() bool {
	switch c {
	case SourceUnreachable, RateLimited, Internal, GPULost, ResultLost, NoGPU,
		QueueExpired, StorageFull, Unavailable, WaitOver, NotReady, RenderStalled:
		return true
	}
	return false
}

// Error is the one error type of the system. Code is for programs, Message
// for people who may be strangers, and the wrapped cause for the log only:
// it never travels.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Field names the request field at fault, if one is.
	Field string `json:"field,omitempty"`
	// Hint says what to do about it, in one sentence.
	Hint string `json:"hint,omitempty"`
	// Details lists the faults where there is more than one.
	Details []Detail `json:"details,omitempty"`
	// Available lists what could be named instead, where that is known.
	Available []string `json:"available,omitempty"`
	// JobID names the job it is about, where the answer is an error.
	JobID string `json:"job_id,omitempty"`
	// Retryable tells whether the same request, sent again later, may well
	// succeed without a change.
	Retryable bool `json:"retryable"`
	// RetryAfter is when to try again, in seconds; 0 where nobody knows.
	RetryAfter int `json:"retry_after,omitempty"`

	cause error
}

// Detail is one fault of a request.
type Detail struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// E makes an Error. cause may be nil; it is kept for the log and for
// errors.Is, and not shown to the caller.
func E(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: code.Retryable(), cause: cause}
}

// WithField returns a copy that names the request field at fault.
func (e *Error) WithField(field string) *Error {
	c := *e
	c.Field = field
	return &c
}

// WithHint returns a copy that says what to do about it.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithJob returns a copy that names the job it is about.
func (e *Error) WithJob(id string) *Error {
	c := *e
	c.JobID = id
	return &c
}

// Error joins code, message and cause: it is meant for the log.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an *Error of the same code, so that
// errors.Is(err, &Error{Code: NotReady}) works through wrapping.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == ""
}

// AsError returns err as an *Error. What is not one becomes Internal, with a
// message that tells a stranger nothing and err as its cause.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return E(Internal, err, "Something went wrong on our side.")
}

// CodeOf returns the code of err: "" for nil, Internal for a foreign error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
