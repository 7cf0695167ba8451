package fetch

import (
	"net/url"
	"testing"

	apigpu "github.com/api-gpu/api-gpu"
)

// FuzzRedirect: a Location leads to an address that may be asked, or to an
// error for people.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{
		"/b", "//other/c", "https://u:p@other/d#e", "file:///etc/passwd", "?q", "..", "http://[::1", "http://0x7f.1/", "\x00", "http://a b/", "HTTP:opaque",
	} {
		f.Add(seed)
	}
	from, err := url.Parse("https://example.com/a/b?c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		next, err := redirect(from, location)
		if err != nil {
			if code := apigpu.CodeOf(err); code == apigpu.Internal {
				t.Errorf("%q is an error of code %s: %v", location, code, err)
			}
			return
		}
		if next.Scheme != "http" && next.Scheme != "https" || next.Hostname() == "" || next.User != nil || next.Fragment != "" {
			t.Errorf("%q leads to %q", location, next)
		}
	})
}
