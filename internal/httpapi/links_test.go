package httpapi

import (
	"context"
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
)

func TestSigner(t *testing.T) {
	t.Parallel()
	s := signer{[]byte("secret")}
	exp := strconv.FormatInt(start.Unix(), 10)
	u, err := url.Parse(s.path("job_1", "video.mp4", start))
	if err != nil {
		t.Fatal(err)
	}
	sig := u.Query().Get("sig")
	if u.Path != "/files/job_1/video.mp4" || u.Query().Get("exp") != exp {
		t.Errorf("path %s", u)
	}
	for _, c := range []struct {
		name                string
		s                   signer
		job, file, exp, sig string
		want                bool
	}{
		{"as made", s, "job_1", "video.mp4", exp, sig, true},
		{"another job", s, "job_2", "video.mp4", exp, sig, false},
		{"another name", s, "job_1", "other.mp4", exp, sig, false},
		{"a later end", s, "job_1", "video.mp4", exp + "0", sig, false},
		{"an end written otherwise", s, "job_1", "video.mp4", "0" + exp, sig, false},
		{"no signature", s, "job_1", "video.mp4", exp, "", false},
		{"a cut signature", s, "job_1", "video.mp4", exp, sig[:len(sig)-1], false},
		{"another secret", signer{[]byte("Secret")}, "job_1", "video.mp4", exp, sig, false},
		{"fields moved over a line end", s, "job_1\nvideo.mp4", exp, "", sig, false},
	} {
		if got := c.s.check(c.job, c.file, c.exp, c.sig); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestBase(t *testing.T) {
	t.Parallel()
	private, err := ParseProxies("private")
	if err != nil {
		t.Fatal(err)
	}
	forwarded := map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example"}
	for _, c := range []struct {
		name, public, from, host string
		tls                      bool
		headers                  map[string]string
		want                     string
	}{
		{"plain", "", "8.8.8.8:1", "vps:3000", false, nil, "http://vps:3000"},
		{"TLS", "", "8.8.8.8:1", "vps", true, nil, "https://vps"},
		{"forwarded by a stranger", "", "8.8.8.8:1", "vps", false, forwarded, "http://vps"},
		{"forwarded by a trusted proxy", "", "10.0.0.2:1", "vps", false, forwarded, "https://api.example"},
		{"forwarded, IPv4 in IPv6", "", "[::ffff:10.0.0.2]:1", "vps", false, forwarded, "https://api.example"},
		{"forwarded over loopback IPv6", "", "[::1]:1", "vps", false, forwarded, "https://api.example"},
		{"a list: the first", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Proto": "HTTPS, http", "X-Forwarded-Host": "a:8443 , b"}, "https://a:8443"},
		{"a scheme that is none of ours", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Proto": "javascript"}, "http://vps"},
		{"a host with a path", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": "evil/x"}, "http://vps"},
		{"a host with a user", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": "vps@evil"}, "http://vps"},
		{"a host with a query", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": "evil?"}, "http://vps"},
		{"a host with a fragment", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": "evil#"}, "http://vps"},
		{"a host with a bad port", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": "evil:80:90"}, "http://vps"},
		{"a host with markup", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": `"><script>`}, "http://vps"},
		{"an empty host", "", "10.0.0.2:1", "vps", false, map[string]string{"X-Forwarded-Host": ":80"}, "http://vps"},
		{"an IPv6 host", "", "8.8.8.8:1", "[::1]:3000", false, nil, "http://[::1]:3000"},
		{"no host at all", "", "8.8.8.8:1", "", false, nil, ""},
		{"PUBLIC_URL over all", "https://public.example/api", "10.0.0.2:1", "vps", true, forwarded, "https://public.example/api"},
		{"an address that is none", "", "pipe", "vps", false, forwarded, "http://vps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Host = c.from, c.host
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			for k, v := range c.headers {
				r.Header.Set(k, v)
			}
			if got := (origin{c.public, private}).base(r); got != c.want {
				t.Errorf("base %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseProxies(t *testing.T) {
	t.Parallel()
	got, err := ParseProxies(" 10.1.2.3/8, 192.0.2.1 ,::ffff:192.0.2.2,2001:db8::/32,")
	want := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("2001:db8::/32"),
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
	for _, bad := range []string{"x", "10.0.0.0/99", "publik"} {
		if _, err := ParseProxies(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A signed link opens without a key, and never answers 2xx with anything but
// the video.
func TestFileLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link := func(id string) string {
		return strings.TrimPrefix(decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), statusOf(w, id)).VideoURL, "http://example.com")
	}
	anon := func(method, path string, headers ...string) (p apigpu.Problem, status int, retry string) {
		res := w.do(method, path, "", append(headers, "X-API-Key: ")...)
		if res.StatusCode >= 400 {
			p = decode[apigpu.Problem](t, res, res.StatusCode)
		}
		return p, res.StatusCode, res.Header.Get("Retry-After")
	}

	id := w.submit(t)
	early := link(id)
	if p, status, retry := anon("GET", early); status != 409 || p.Code != apigpu.NotReady || retry == "" || p.JobID != id {
		t.Errorf("before its end: %d %+v, Retry-After %q", status, p, retry)
	}
	w.jobs.finish(id, "movie")
	if late := link(id); late != early {
		t.Errorf("the link changed from %s to %s", early, late)
	}
	if _, status, _ := anon("GET", early); status != 200 {
		t.Errorf("after its end: %d", status)
	}
	for _, bad := range []string{
		strings.Replace(early, "sig=", "sig=A", 1), strings.Replace(early, "exp=", "exp=9", 1),
		strings.Replace(early, "video.mp4", "other.mp4", 1), strings.SplitN(early, "?", 2)[0],
	} {
		if p, status, _ := anon("GET", bad); status != 404 || p.Code != apigpu.NotFound {
			t.Errorf("%s: %d %+v", bad, status, p)
		}
	}
	if p, status, _ := anon("GET", early+"&wait=NaN"); status != 400 || p.Field != "wait" {
		t.Errorf("a bad wait: %d %+v", status, p)
	}

	failed := w.submit(t)
	w.jobs.fail(failed, apigpu.SourceUnreachable)
	if p, status, _ := anon("GET", link(failed)); status != 424 || p.Code != apigpu.SourceUnreachable {
		t.Errorf("of a failed job: %d %+v", status, p)
	}
	w.jobs.change(id, func(j *fakeJob) { j.gone = true })
	if p, status, _ := anon("GET", early); status != 410 || p.Code != apigpu.Gone {
		t.Errorf("of a removed result: %d %+v", status, p)
	}
	if res := w.do("DELETE", "/jobs/"+id, ""); res.StatusCode != 204 {
		t.Fatalf("delete: %d", res.StatusCode)
	}
	if p, status, _ := anon("HEAD", early); status != 410 || p.Code != apigpu.Gone {
		t.Errorf("of a deleted job: %d %+v", status, p)
	}
}

func statusOf(w *world, id string) int {
	if j, err := w.jobs.Job(context.Background(), Caller{Admin: true}, id); err == nil && !j.Status.Final() {
		return 202
	}
	return 200
}

func TestFileLinkAfterItsTime(t *testing.T) {
	t.Parallel()
	now := start
	w := newWorld(t, func(c *Config) { c.Now = func() time.Time { return now } })
	id := w.submit(t)
	w.jobs.finish(id, "movie")
	link := decode[apigpu.Job](t, w.do("GET", "/jobs/"+id, ""), 200).VideoURL
	now = start.Add(ttl)
	if res := w.do("GET", link, ""); res.StatusCode != 200 {
		t.Errorf("in its last second: %d", res.StatusCode)
	}
	now = start.Add(ttl + time.Second)
	problem(t, w.do("GET", link, ""), apigpu.Gone)
}
