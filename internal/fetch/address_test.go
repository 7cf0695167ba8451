package fetch

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"code.dny.dev/ssrf"

	"github.com/api-gpu/api-gpu"
)

// Every way to write a private address is refused, whatever is allowed beside
// it, and the message does not tell where a name resolved to.
func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	home := serve(t, text("secret"))
	port := home[strings.LastIndexByte(home, ':')+1:]
	c := newTestClient(t, func(o *Options) { o.AllowHosts = []string{"minio", "localhost:1", "127.0.0.2"} })
	for _, host := range []string{
		"127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1",
		"169.254.169.254", "localhost", "LOCALHOST",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
		"[fe80::1%25lo]", "[fd00:ec2::254]", "[2002:7f00:1::]", "[::127.0.0.1]",
		"2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "127.1", "127.0.0.1.", "127.0.0.0x1",
		"minio@127.0.0.1", "minio:80@127.0.0.1", "127.0.0.2:80@127.0.0.1",
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			_, _, err := c.Bytes(t.Context(), "http://"+host+":"+port+"/x", nil, 100)
			e := wantCode(t, err, apigpu.BlockedAddress)
			if strings.EqualFold(host, "localhost") && strings.Contains(e.Message+e.Hint, "127.") {
				t.Errorf("the message tells the address: %s", e.Message)
			}
		})
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	l := newAllowList([]string{" Minio ", "n8n:5678", "127.0.0.1", "[::1]:8080", "fd00::0:1", ""})
	for addr, want := range map[string]bool{
		"minio:80": true, "MINIO:9000": true, "n8n:5678": true, "127.0.0.1:1": true, "[::1]:8080": true, "[0:0::1]:8080": true, "[fd00::1]:80": true,
		"minio.:80": false, "minio.example:80": false, "xminio:80": false, "n8n:80": false, "n8n:56789": false, "[::1]:80": false,
		"[::ffff:127.0.0.1]:80": false, "127.0.0.01:80": false, "127.0.0.10:80": false, ":80": false, "minio": false, "": false,
	} {
		if got := l.has(addr); got != want {
			t.Errorf("has(%q) = %v, want %v", addr, got, want)
		}
	}
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(o *Options) { o.AllowHosts = []string{"minio", "files:443", "[::1]"} })
	for rawURL, want := range map[string]bool{
		"http://minio/a": true, "http://MinIO:9000/a": true, "https://files/a": true, "http://[::1]/a": true,
		"https://user:pass@example.com/a": true, // the password stays here
		"http://files/a":                  false, "https://example.com/minio": false, "https://minio.example.com/": false, "http://minio\x00/": false, "": false,
	} {
		if got := c.Private(rawURL); got != want {
			t.Errorf("Private(%q) = %v, want %v", rawURL, got, want)
		}
	}
}

// An allowed host opens itself, and no door beside it.
func TestRedirects(t *testing.T) {
	t.Parallel()
	other := serve(t, text("another service"))
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch to := r.URL.Query().Get("to"); {
		case to != "":
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		case r.URL.Path == "/nowhere":
			w.WriteHeader(http.StatusMovedPermanently)
		default:
			fmt.Fprint(w, "here")
		}
	})
	c := newTestClient(t, func(o *Options) { o.AllowHosts = []string{strings.TrimPrefix(home, "http://")} })

	named := strings.Replace(home, "http://", "http://eve:pass@", 1)
	b, info, err := c.Bytes(t.Context(), home+"/?to="+url.QueryEscape(named+"/file#frag"), nil, 100)
	if err != nil || string(b) != "here" || info.FinalURL != home+"/file" {
		t.Errorf("within the host: got %q from %q, %v", b, info.FinalURL, err)
	}
	for name, c2 := range map[string]struct {
		path string
		want apigpu.Code
	}{
		"the metadata service": {"/?to=http://169.254.169.254/latest", apigpu.BlockedAddress},
		"another port":         {"/?to=" + url.QueryEscape(other), apigpu.BlockedAddress},
		"a name for ourselves": {"/?to=" + url.QueryEscape(strings.Replace(home, "127.0.0.1", "localhost", 1)), apigpu.BlockedAddress},
		"the allowed as user":  {"/?to=" + url.QueryEscape(strings.Replace(home, "http://", "http://127.0.0.1@", 1)[:17]+"@10.0.0.1/"), apigpu.BlockedAddress},
		"a file":               {"/?to=file:///etc/passwd", apigpu.BlockedAddress},
		"another scheme":       {"/?to=gopher://127.0.0.1:6379/_INFO", apigpu.BlockedAddress},
		"no host":              {"/?to=http:///x", apigpu.InvalidRequest},
		"nonsense":             {"/?to=" + url.QueryEscape("http://[::1"), apigpu.SourceUnreachable},
		"nowhere":              {"/nowhere", apigpu.SourceUnreachable},
		"in a circle":          {"/loop", apigpu.SourceUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := c.Bytes(t.Context(), home+c2.path, nil, 100)
			wantCode(t, err, c2.want)
		})
	}
}

// The address that is dialled is the one that is checked: a name that turns
// private after the first look is refused at the second.
func TestRebinding(t *testing.T) {
	t.Parallel()
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that each request dials
		fmt.Fprint(w, "public")
	})
	port := home[strings.LastIndexByte(home, ':')+1:]
	c := newTestClient(t, func(o *Options) { o.AllowHosts = nil })
	// Here 127.0.0.1 stands for the internet; all else is judged as always.
	c.guard = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(netip.MustParsePrefix("127.0.0.1/32")))
	var turned atomic.Bool
	c.resolver = fakeDNS(t, func(string) net.IP {
		if turned.Load() {
			return net.IPv4(169, 254, 169, 254)
		}
		return net.IPv4(127, 0, 0, 1)
	})
	b, _, err := c.Bytes(t.Context(), "http://rebind.example:"+port, nil, 100)
	if err != nil || string(b) != "public" {
		t.Fatalf("the first look: got %q, %v", b, err)
	}
	turned.Store(true)
	_, _, err = c.Bytes(t.Context(), "http://rebind.example:"+port, nil, 100)
	e := wantCode(t, err, apigpu.BlockedAddress)
	if strings.Contains(e.Message+e.Hint, "169.254") || !strings.Contains(e.Message, "rebind.example") {
		t.Errorf("the message must name the host and not its address: %s %s", e.Message, e.Hint)
	}
}

// Headers go to the origin they were given for, and a redirect elsewhere loses
// them for good, even on the way back.
func TestHeadersStayAtHome(t *testing.T) {
	t.Parallel()
	var home string
	seen := make(chan http.Header, 10)
	away := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		http.Redirect(w, r, home+"/end", http.StatusFound)
	})
	home = serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		switch r.URL.Path {
		case "/start":
			http.Redirect(w, r, "/second", http.StatusFound)
		case "/second":
			http.Redirect(w, r, away, http.StatusFound)
		}
	})
	c := newTestClient(t, nil)
	address := strings.Replace(home, "http://", "http://ann:pa%40ss@", 1) + "/start?token=t0p"
	_, _, err := c.Bytes(t.Context(), address, map[string]string{"x-api-key": "k3y", "Range": "bytes=5-"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for hop, want := range []bool{true, true, false, false} { // start, second, away, end
		h := <-seen
		user, pass, _ := (&http.Request{Header: h}).BasicAuth()
		if got := h.Get("X-Api-Key") == "k3y"; got != want || (user == "ann" && pass == "pa@ss") != want {
			t.Errorf("hop %d: headers sent: %v, want %v", hop, h, want)
		}
		if h.Get("Range") != "" || h.Get("Referer") != "" {
			t.Errorf("hop %d: sent %v", hop, h)
		}
	}
}

// Errors, also as the log prints them, hold no path, query or password.
func TestErrorsTellNoSecrets(t *testing.T) {
	t.Parallel()
	home := serve(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	gone := serve(t, http.NotFound)
	c := newTestClient(t, nil)
	for _, base := range []string{home, gone, "http://10.1.2.3", "http://127.0.0.1:1", "http://nowhere.invalid", "ftp://host", "http://bad host", "http://[::1", "%zz://"} {
		rawURL := strings.Replace(base, "://", "://ann:s3cret@", 1) + "/s3cret?sig=s3cret"
		_, _, err := c.Bytes(t.Context(), rawURL, map[string]string{"X-Key": "s3cret"}, 10)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", base, err)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"http://a/b", "https://u:p@[::1]:80/?q#f", "http://0x7f.1/", "HTTP://EXAMPLE.com:99", "http://1.2.3.4.", "//x", "http://a%41b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := newTarget(raw, nil)
		if err != nil {
			if code := apigpu.CodeOf(err); code != apigpu.InvalidRequest && code != apigpu.BlockedAddress {
				t.Errorf("an error of code %s", code)
			}
			return
		}
		u := got.url
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			t.Errorf("accepted %q as %q", raw, u)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && net.ParseIP(u.Hostname()) != nil {
			t.Errorf("%q: two readers of addresses disagree", u.Hostname())
		}
	})
}
