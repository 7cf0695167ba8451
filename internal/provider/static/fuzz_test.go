package static

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzURL: an address of a worker is one that can be called, or is refused
// without being repeated.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"http://a:3334", "https://A.example/x/", "http://u:p@a", "http://[::1]:1/", "ftp://a", "http://a?b", "http://", "http://a/%2f", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := New(Config{URLs: []string{raw}, Slots: 1})
		if err != nil {
			if len(raw) > 8 && strings.Contains(err.Error(), raw) {
				t.Errorf("the error repeats %q: %v", raw, err)
			}
			return
		}
		snapshot, err := p.Instances(t.Context())
		if err != nil || len(snapshot.Instances) != 1 {
			t.Fatalf("%+v, %v", snapshot, err)
		}
		in := snapshot.Instances[0]
		u, err := url.Parse(in.Address)
		if err != nil || u.Host == "" || u.User != nil || notLabel.MatchString(in.Label) {
			t.Errorf("%q is %+v: %v", raw, in, err)
		}
	})
}
