package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// maxLine bounds a line of an event stream and the data of one event, in
// bytes. A job is a few kilobytes.
const maxLine = 1 << 20

var errLongEvent = errors.New("an event is longer than 1 MiB")

// event is one server-sent event.
type event struct {
	name string // "message" where the stream gives none
	id   string // the last id given so far
	data []byte
}

// events reads a stream of server-sent events as WHATWG HTML, section 9.2.6,
// has it. It ends with io.EOF, another error of r, or errLongEvent. An event
// that the end cuts off is dropped, as the standard asks.
func events(r io.Reader) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		in := bufio.NewReader(r)
		if head, _ := in.Peek(3); bytes.Equal(head, []byte("\ufeff")) {
			_, _ = in.Discard(len(head)) // cannot fail: it was peeked
		}
		var e event
		var line []byte
		var hasData, afterCR bool
		for {
			b, err := in.ReadByte()
			if err != nil {
				yield(event{}, err)
				return
			}
			// A line ends with LF, CR or CRLF. CR ends it at once: waiting
			// for the LF could take until the next event.
			skip := afterCR && b == '\n'
			afterCR = b == '\r'
			switch {
			case skip:
				continue
			case b != '\n' && b != '\r':
				if line = append(line, b); len(line) > maxLine {
					yield(event{}, errLongEvent)
					return
				}
				continue
			case len(line) > 0:
				if hasData = e.field(line) || hasData; len(e.data) > maxLine {
					yield(event{}, errLongEvent)
					return
				}
			default: // an empty line ends an event; one without data is none
				if hasData && !yield(e.finished(), nil) {
					return
				}
				e, hasData = event{id: e.id}, false
			}
			line = line[:0]
		}
	}
}

// field applies one line and reports whether it was data. Comments and
// unknown fields, retry among them, mean nothing here.
func (e *event) field(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		e.name = string(value)
	case "id":
		if !bytes.ContainsRune(value, 0) {
			e.id = string(value)
		}
	case "data":
		e.data = append(append(e.data, value...), '\n')
		return true
	}
	return false
}

// finished is the event as it is dispatched: without the last line end.
func (e event) finished() event {
	if e.name == "" {
		e.name = "message"
	}
	e.data = bytes.TrimSuffix(e.data, []byte("\n"))
	return e
}
