package apigpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestErrorTellsStrangersNothing(t *testing.T) {
	t.Parallel()
	e := E(SourceUnreachable, io.ErrUnexpectedEOF, "The address %q does not answer.", "http://v")
	raw, err := json.Marshal(e)
	if want := `{"code":"source_unreachable","message":"The address \"http://v\" does not answer.","retryable":true}`; err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
	if !strings.Contains(e.Error(), "unexpected EOF") || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("the log reads %q", e.Error())
	}
	if got := E(Conflict, nil, "No.").Error(); got != "conflict: No." {
		t.Errorf("without a cause: %q", got)
	}
}

func TestErrorIsByCode(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("wrap: %w", E(NotReady, nil, "Not yet."))
	if !errors.Is(err, &Error{Code: NotReady}) {
		t.Error("the same code")
	}
	if errors.Is(err, &Error{Code: Gone}) || errors.Is(err, &Error{Code: NotReady, Message: "Other."}) || errors.Is(err, io.EOF) {
		t.Error("another error")
	}
}

func TestAsError(t *testing.T) {
	t.Parallel()
	if AsError(nil) != nil || CodeOf(nil) != "" {
		t.Error("nil is no error")
	}
	inner := E(Gone, nil, "Gone.")
	if got := AsError(fmt.Errorf("a: %w", fmt.Errorf("b: %w", inner))); got != inner {
		t.Errorf("wrapped: %v", got)
	}
	foreign := AsError(io.EOF)
	if foreign.Code != Internal || strings.Contains(foreign.Message, "EOF") || !errors.Is(foreign, io.EOF) || CodeOf(io.EOF) != Internal {
		t.Errorf("foreign: %v", foreign)
	}
}

func TestWithCopies(t *testing.T) {
	t.Parallel()
	e := E(Conflict, io.EOF, "No.")
	c := e.WithField("f").WithHint("try %d", 2).WithJob("j")
	if e.Field != "" || e.Hint != "" || e.JobID != "" {
		t.Errorf("the original changed: %+v", e)
	}
	if c.Field != "f" || c.Hint != "try 2" || c.JobID != "j" || !errors.Is(c, io.EOF) {
		t.Errorf("the copy: %+v", c)
	}
}

// A problem that a client received is the error that the server had, but for
// its cause.
func TestProblemAsError(t *testing.T) {
	t.Parallel()
	want := &Error{
		Code: RateLimited, Message: "m", Field: "f", Hint: "h", Details: []Detail{{"f", "m"}}, JobID: "j", Retryable: true, RetryAfter: 3,
	}
	p := Problem{
		Code: RateLimited, Detail: "m", Message: "m", Field: "f", Hint: "h", Details: []Detail{{"f", "m"}}, JobID: "j", Retryable: true, RetryAfter: 3,
	}
	if got := p.AsError(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for s, want := range map[Status]struct{ final, valid bool }{
		Queued: {false, true}, Running: {false, true}, Succeeded: {true, true}, Failed: {true, true},
		JobCanceled: {true, true}, JobExpired: {true, true}, "": {false, false}, "done": {false, false},
	} {
		if s.Final() != want.final || s.Valid() != want.valid {
			t.Errorf("%q: final %v, valid %v", s, s.Final(), s.Valid())
		}
	}
}

// The plan's names of the execution's members, and nulls where clients look
// for a member.
func TestJobJSON(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(Result{Execution: &Execution{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{
		`"video_url":""`, `"startTime":`, `"endTime":`, `"durationMs":0`, `"durationSeconds":0`, `"stats":{`,
		`"queue_position":null`, `"eta_seconds":null`, `"video":null`, `"error":null`, `"captions":null`, `"started_at":null`,
	} {
		if !strings.Contains(string(raw), member) {
			t.Errorf("%s is missing in %s", member, raw)
		}
	}
}
