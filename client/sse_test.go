package client

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// collect reads a whole stream: its events as name|id|data, and its end.
func collect(r io.Reader) (got []string, end error) {
	for e, err := range events(r) {
		if err != nil {
			return got, err
		}
		got = append(got, e.name+"|"+e.id+"|"+string(e.data))
	}
	return got, nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		name, stream string
		want         []string
		end          error
	}{
		{"ours", "event: job\nid: 7\ndata: {\"a\":1}\n\n: still here\n\nevent: job\nid: 8\ndata: {}\n\n", []string{`job|7|{"a":1}`, "job|8|{}"}, io.EOF},
		{"no name, no id", "data: a\n\n", []string{"message||a"}, io.EOF},
		{"id stays, name does not", "event: x\nid: 1\ndata: a\n\ndata: b\n\n", []string{"x|1|a", "message|1|b"}, io.EOF},
		{"several lines of data", "data: a\ndata:b\ndata:  c\ndata\n\n", []string{"message||a\nb\n c\n"}, io.EOF},
		{"empty data", "data\n\n", []string{"message||"}, io.EOF},
		{"CRLF and CR", "data: a\r\n\r\ndata: b\r\rdata: c\r\n\n", []string{"message||a", "message||b", "message||c"}, io.EOF},
		{"byte order mark", "\ufeffdata: a\n\n", []string{"message||a"}, io.EOF},
		{"cut in the middle", "data: a\n\ndata: b\n", []string{"message||a"}, io.EOF},
		{"event without data", "event: job\n\ndata: a\n\n", []string{"message||a"}, io.EOF},
		{"unknown fields, comments, NUL in an id", "retry: 5\nfoo\n:\nid: a\x00b\ndata: a\n\n", []string{"message||a"}, io.EOF},
		{"nothing", "", nil, io.EOF},
		{"longest line", "data:" + long[5:] + "\n\n", []string{"message||" + long[5:]}, io.EOF},
		{"line without end", "data:" + long, nil, errLongEvent},
		{"event without end", strings.Repeat("data:"+long[:1000]+"\n", 1100), nil, errLongEvent},
	} {
		got, end := collect(strings.NewReader(tt.stream))
		equal(t, got, tt.want)
		if !errors.Is(end, tt.end) {
			t.Errorf("%s: ended with %v, want %v", tt.name, end, tt.end)
		}
	}
}

// A stream breaks off wherever it likes; what was whole by then counts.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"event: job\nid: 7\ndata: {}\n\n", ": c\n\ndata: a\r\ndata: b\r\r", "\ufeffdata\n\n", "id:\x00\ndata:\n\n", "data: a\n\ndata: b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		whole, end := collect(strings.NewReader(stream))
		bytewise, _ := collect(iotest.OneByteReader(strings.NewReader(stream)))
		equal(t, bytewise, whole)
		if end == nil {
			t.Error("a stream ended without saying why")
		}
		for _, e := range whole {
			if len(e) > 3*maxLine {
				t.Errorf("an event of %d bytes", len(e))
			}
		}
		cutOff, _ := collect(strings.NewReader(stream[:len(stream)/2]))
		if len(cutOff) > len(whole) {
			t.Fatal("half a stream has more events than the whole")
		}
		equal(t, cutOff, append([]string(nil), whole[:len(cutOff)]...))
	})
}
