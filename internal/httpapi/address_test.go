package httpapi

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	private, err := ParseProxies("private")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"a client itself", "203.0.113.7:1234", nil, "203.0.113.7"},
		{"a stranger's word is not believed", "203.0.113.7:1234", []string{"198.51.100.1"}, "203.0.113.7"},
		{"behind a proxy", "10.0.0.2:1", []string{"203.0.113.7"}, "203.0.113.7"},
		{"what the client wrote stands further left", "10.0.0.2:1", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{"two proxies", "10.0.0.2:1", []string{"203.0.113.7, 192.168.1.1"}, "203.0.113.7"},
		{"two fields are one list", "10.0.0.2:1", []string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7"},
		{"with a port", "10.0.0.2:1", []string{"203.0.113.7:8080"}, "203.0.113.7"},
		{"IPv6 in brackets", "[::1]:1", []string{"[2001:db8::7]:8080"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.2]:1", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"nonsense ends the search", "10.0.0.2:1", []string{"203.0.113.7, unknown"}, "10.0.0.2"},
		{"only trusted ones", "10.0.0.2:1", []string{"10.0.0.9"}, "10.0.0.9"},
		{"nothing forwarded", "10.0.0.2:1", nil, "10.0.0.2"},
		{"no address at all", "pipe", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := clientAddr(r, private).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := neighbours(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if neighbours(netip.Addr{}).IsValid() {
		t.Error("nobody has neighbours")
	}
}
