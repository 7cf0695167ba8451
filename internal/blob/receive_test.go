package blob

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	apigpu "github.com/api-gpu/api-gpu"
)

func TestReceive(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	for name, tc := range map[string]struct {
		reader io.Reader
		limit  int64
		code   apigpu.Code
		cause  error
	}{
		"fits":             {strings.NewReader("12345"), 5, "", nil},
		"without a bound":  {strings.NewReader("12345"), math.MaxInt64, "", nil},
		"one byte at once": {iotest.OneByteReader(strings.NewReader("12345")), 9, "", nil},
		"one too many":     {strings.NewReader("12345"), 4, apigpu.TooLarge, nil},
		"fails at once":    {iotest.ErrReader(broken), 9, apigpu.Internal, broken},
		"fails later":      {io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)), 9, apigpu.Internal, broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			object, err := s.Receive(t.Context(), "up", tc.reader, tc.limit)
			wantCode(t, err, tc.code)
			if tc.cause != nil && !errors.Is(err, tc.cause) {
				t.Errorf("%v does not wrap %v", err, tc.cause)
			}
			if err != nil {
				if got := files(t, s); len(got) != 0 {
					t.Errorf("left behind: %v", got)
				}
				return
			}
			if object.Size != 5 || object.SHA256 != sumOf([]byte("12345")) {
				t.Errorf("%+v", object)
			}
			wantObject(t, s, "up", []byte("12345"))
		})
	}
}

func TestReceiveNeverOverwrites(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for range 2 { // a repeated upload of the same file is one upload
		if _, err := s.Receive(t.Context(), "up", strings.NewReader("first"), 10); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Receive(t.Context(), "up", strings.NewReader("other"), 10)
	wantCode(t, err, apigpu.Conflict)
	wantObject(t, s, "up", []byte("first"))
	if got := files(t, s); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}
