// Package transcript keeps what was said to an API and what it answered, in a
// form that may be shown to others: the shape of everything, and nothing by
// which an account, a machine or a secret could be known.
//
// A transcript is a file of JSON lines: a Head, and an Exchange for each call.
// Standard library only: who writes one and who reads it have nothing else in
// common.
package transcript

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Format is what the first line of a transcript names itself.
const Format = "api-gpu transcript 1"

// Head is the first line.
type Head struct {
	Format string `json:"format"`
	// Version is that of the program which wrote it.
	Version string `json:"version,omitempty"`
	// Lost counts calls that were not kept, for want of room.
	Lost int `json:"lost,omitempty"`
}

// Exchange is one call and its answer, redacted. Ids are other numbers than
// the real ones, the same for the same; times are relative.
type Exchange struct {
	// At is when the call began, in seconds since the first one did; Took is
	// how long the answer took.
	At   float64 `json:"at"`
	Took float64 `json:"took"`

	Method string `json:"method"`
	// Path has {id} in the place of a number, which ID then stands for.
	Path  string            `json:"path"`
	ID    int64             `json:"id,omitempty"`
	Query map[string]string `json:"query,omitempty"`
	Body  json.RawMessage   `json:"body,omitempty"`

	// Status is 0 where no answer came: Error says how it ended.
	Status int `json:"status"`
	// Header has of the answer's what a client acts on.
	Header map[string]string `json:"header,omitempty"`
	// Answer is the body where it is JSON, Text its beginning where it is not.
	Answer json.RawMessage `json:"answer,omitempty"`
	Text   string          `json:"text,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// maxLine bounds a line that is read, in bytes.
const maxLine = 16 << 20

// Read reads a transcript.
func Read(r io.Reader) (Head, []Exchange, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var head Head
	var all []Exchange
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			if json.Unmarshal(lines.Bytes(), &head) != nil || head.Format != Format {
				return head, nil, fmt.Errorf("this is no transcript: its first line does not name %q", Format)
			}
			continue
		}
		var e Exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return head, nil, fmt.Errorf("line %d of the transcript: %w", n, err)
		}
		all = append(all, e)
	}
	switch err := lines.Err(); {
	case err != nil:
		return head, nil, fmt.Errorf("read transcript: %w", err)
	case head.Format == "":
		return head, nil, errors.New("the transcript is empty")
	}
	return head, all, nil
}

// Write writes one.
func Write(w io.Writer, head Head, all []Exchange) error {
	head.Format = Format
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(head); err != nil {
		return fmt.Errorf("write transcript: %w", err)
	}
	for _, e := range all {
		if err := lines.Encode(e); err != nil {
			return fmt.Errorf("write transcript: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write transcript: %w", err)
	}
	return nil
}
