package subtitle

import (
	"testing"
	"unicode/utf8"

	apigpu "github.com/api-gpu/api-gpu"
)

// FuzzDecode: any bytes become text of a named charset, or an error for people.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"plain", "\xef\xbb\xbfmarked", "\xff\xfea\x00", "\xfe\xff\x00a\xd8", "\xff\xfe\x00\x00a\x00\x00\x00", "a\x00b\x00", "ma\xe7\xe3",
		"caf\xc3\xa9 \xe9", "\x1b$B", "\x81\x8d", "PK\x03\x04", "\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decode(b, Options{})
		text, charset := d.text, d.charset
		if err != nil {
			if e := apigpu.AsError(err); e.Code == apigpu.Internal || e.Message == "" || !utf8.ValidString(e.Message) {
				t.Fatalf("not an error for people: %v", err)
			}
			return
		}
		if !utf8.ValidString(text) || charset == "" {
			t.Fatalf("%q as %q", text, charset)
		}
	})
}
