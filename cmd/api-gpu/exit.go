package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/show"
)

// The exit codes. Scripts act on them.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitUnreachable  = 3
	exitUnauthorized = 4
	exitCanceled     = 5
	exitInterrupted  = 130 // 128 + SIGINT, as shells have it
)

type exitCode struct {
	code    int
	meaning string
}

// exitCodes is the table of --help.
func exitCodes() []exitCode {
	return []exitCode{
		{exitOK, "done"},
		{exitFailed, "the job failed, or something else did"},
		{exitUsage, "the command line, a file or the request is not right"},
		{exitUnreachable, "the server does not answer, or cannot work now"},
		{exitUnauthorized, "the key is missing, not known, or not allowed to do this"},
		{exitCanceled, "the job was canceled, or expired"},
		{exitInterrupted, "interrupted (Ctrl-C)"},
	}
}

// exitError is an error of this program's own making.
type exitError struct {
	code    int
	message string
	hint    string
}

func (e *exitError) Error() string { return e.message }

// withHint returns a copy that says what to do about it.
func (e *exitError) withHint(format string, args ...any) *exitError {
	c := *e
	c.hint = fmt.Sprintf(format, args...)
	return &c
}

// usage is the error of a command line that cannot work.
func usage(format string, args ...any) *exitError {
	return &exitError{code: exitUsage, message: fmt.Sprintf(format, args...)}
}

// ended is the error of a job that ended without a video, or nil.
func ended(job apigpu.Job) error {
	if !job.Status.Final() || job.Status == apigpu.Succeeded {
		return nil
	}
	e := &exitError{code: exitFailed, message: fmt.Sprintf("The job ended as %s.", job.Status)}
	if job.Status != apigpu.Failed {
		e.code = exitCanceled
	}
	if job.Error != nil {
		if exitFor(job.Error.Code) == exitUsage { // found out only by the worker
			e.code = exitUsage
		}
		e.message, e.hint = fmt.Sprintf("%s (%s)", job.Error.Message, job.Error.Code), job.Error.Hint
	}
	return e
}

// report says on stderr what went wrong, for people, and returns the exit
// code for it.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	code, lines := explain(err)
	fmt.Fprintf(stderr, "api-gpu: %s\n", show.Clean(lines[0]))
	for _, line := range lines[1:] {
		fmt.Fprintf(stderr, "  %s\n", show.Clean(line))
	}
	return code
}

// explain returns the exit code of err and what to say about it, one line at
// least.
func explain(err error) (int, []string) {
	if own, ok := errors.AsType[*exitError](err); ok {
		return own.code, withHint([]string{own.message}, own.hint)
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted, []string{"Interrupted."}
	}
	e, ok := errors.AsType[*apigpu.Error](err)
	if !ok {
		return exitFailed, []string{err.Error()}
	}
	lines := []string{fmt.Sprintf("%s (%s)", e.Message, e.Code)}
	if len(e.Details) > 1 { // a single one is the message itself
		for _, d := range e.Details {
			lines = append(lines, d.Field+": "+d.Message)
		}
	}
	code, hint := exitFor(e.Code), e.Hint
	switch {
	case e.Code == apigpu.Unauthorized: // the server's hint speaks of headers
		hint = "Set API_GPU_KEY, in the environment or in .env, to a key of the server: see its X_API_KEY."
	case e.Code == apigpu.Unavailable && hint == "":
		hint = "Its address comes from --server or API_GPU_URL. See: api-gpu doctor"
	}
	return code, withHint(lines, hint)
}

func withHint(lines []string, hint string) []string {
	if hint == "" {
		return lines
	}
	return append(lines, hint)
}

// exitFor sorts codes by what a script would do about them: mend the request,
// try later, get a key.
func exitFor(code apigpu.Code) int {
	switch code {
	case apigpu.InvalidRequest, apigpu.TooLarge, apigpu.UnsupportedMediaType,
		apigpu.SubtitleEmpty, apigpu.SubtitleNotText, apigpu.SubtitleUnparseable, apigpu.SubtitleCharset, apigpu.SubtitleWarnings,
		apigpu.SourceIsHTML, apigpu.BlockedAddress, apigpu.NoVideoStream, apigpu.MediaUndecodable, apigpu.MediaTooLong, apigpu.MediaTooBig:
		return exitUsage
	case apigpu.Unavailable, apigpu.RateLimited, apigpu.PreviewUnavailable:
		return exitUnreachable
	case apigpu.Unauthorized, apigpu.Forbidden, apigpu.AddressNotAllowed, apigpu.InvalidSession:
		return exitUnauthorized
	case apigpu.Canceled, apigpu.Gone, apigpu.QueueExpired:
		return exitCanceled
	}
	return exitFailed
}
