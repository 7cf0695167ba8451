package httpapi

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/api-gpu/api-gpu"
)

// FuzzRequest sends any request that net/http would pass on: the answer comes
// soon, a refusal is a problem with a code, and no upload is left.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, target, header, body string }{
		{"POST", "/video/caption?wait=0&follow=true", "Idempotency-Key: a\nPrefer: respond-async, wait=5\nContent-Type: application/json", goodBody},
		{"GET", "/jobs/job_0001?wait=1e3&follow=x", "Accept: video/mp4;q=0.5, */*;q=nan\nPrefer: wait=\"1\";x", ""},
		{"GET", "/jobs/job_0002/video", "Range: bytes=0-1,-1\nIf-Range: \"abc123\"", ""},
		{"GET", "/jobs/job_0002/events", "Last-Event-ID: 2", ""},
		{"HEAD", "/jobs/job_0001/events", "Last-Event-ID: 99999999999999999999", ""},
		{"GET", "/jobs?status=queued&limit=0&cursor=job_%00&since=2026-13-01", "X-Forwarded-Host: a, b\nX-Forwarded-Proto: https", ""},
		{"POST", "/jobs/job_0001/cancel", "X-Forwarded-For: 1.2.3.4, [::1]:80", "x"},
		{"DELETE", "/jobs/%2e%2e", "X-API-Key: nobody's", ""},
		{"POST", "/jobs/job_0002?wait=0", "", ""},
		{"GET", "/files/job_0002/a.mp4?exp=9999999999&sig=", "Range: bytes=9-", ""},
		{"PUT", "//jobs/../openapi.json", "Content-Type: multipart/form-data; boundary=", "--"},
		{"POST", "/video/caption", "Content-Type: multipart/form-data; boundary=b\nIdempotency-Key: \x7f", "--b\r\nContent-Disposition: form-data; name=video; filename=v\r\n\r\nmovie\r\n--b--"},
	} {
		f.Add(seed.method, seed.target, seed.header, seed.body)
	}
	w := newWorld(f, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }) // httptest's own
	w.Stop()                                                                                                       // nothing waits
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		r, ok := anyRequest(method, target, header, body)
		if !ok {
			return
		}
		w.jobs.forget()
		w.log.Reset()
		w.submit(t)
		w.jobs.finish(w.submit(t), "0123456789")
		began := time.Now()
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if took := time.Since(began); took > time.Minute { // it takes a millisecond
			t.Errorf("took %s", took)
		}
		if w.jobs.held() != 0 {
			t.Error("an upload leaked")
		}
		if w.log.Len() > 0 {
			t.Errorf("a fault of ours: %s", w.log)
		}
		checkAnswer(t, rec.Result())
	})
}

// anyRequest makes a request with bob's key, unless it brings another. It is
// not ok where net/http would refuse to parse it.
func anyRequest(method, target, header, body string) (*http.Request, bool) {
	text := method + " " + target + " HTTP/1.1\r\nHost: example.com\r\n" + "\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil || strings.ContainsAny(method+target, "\r\n") {
		return nil, false
	}
	r.Header = http.Header{"X-Api-Key": {"b0b"}}
	for line := range strings.SplitSeq(header, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		if name = textproto.CanonicalMIMEHeaderKey(name); name != "" && !strings.ContainsAny(value, "\r\x00") {
			r.Header.Add(name, value)
		}
	}
	r.RemoteAddr, r.Body, r.ContentLength = "192.0.2.1:1234", io.NopCloser(strings.NewReader(body)), int64(len(body))
	return r, true
}

// checkAnswer holds what every answer is.
func checkAnswer(t *testing.T, res *http.Response) {
	t.Helper()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range res.Header {
		if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
			t.Errorf("header %s is %q", name, values)
		}
	}
	switch {
	case res.StatusCode >= 500:
		t.Errorf("status %d: %s", res.StatusCode, raw)
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable, res.StatusCode == http.StatusPreconditionFailed: // by net/http, of a file
	case res.StatusCode >= 400 && len(raw) > 0:
		var p apigpu.Problem
		if err := json.Unmarshal(raw, &p); err != nil || p.Code == "" || p.Status != res.StatusCode || p.Detail == "" {
			t.Errorf("status %d is no problem of ours: %v\n%s", res.StatusCode, err, raw)
		}
	}
}

// FuzzKeys: what X_API_KEY holds is refused, or lets in exactly who it names.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{"root", "admin:root,bob:b0b", " a : b , c:d:e", ",", "a:,b", "é:x"} {
		f.Add(seed, "root")
	}
	f.Fuzz(func(t *testing.T, setting, given string) {
		keys, err := ParseKeys(setting)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-API-Key", given)
		who, err := keys.Caller(r)
		if keys.Open() && strings.ContainsFunc(setting, func(c rune) bool { return c != ',' && !unicode.IsSpace(c) }) {
			t.Errorf("%q opens the server", setting)
		}
		if err == nil && !keys.Open() && (who.Name == "" || given == "" || !strings.Contains(setting, strings.TrimSpace(given))) {
			t.Errorf("%q lets %q in as %+v", setting, given, who)
		}
	})
}

// FuzzProxies: whatever is trusted and sent, a client is an address that was
// sent, or the other end.
func FuzzProxies(f *testing.F) {
	for _, seed := range []struct{ trusted, forwarded, host, proto string }{
		{"private", "1.2.3.4, 10.0.0.1", "example.com", "https"}, {"10.0.0.0/8,::1", "[::1]:80", "a:99999", "HTTP"},
		{"::ffff:10.0.0.1", "unknown, 10.0.0.1", "<x>", "javascript"}, {"0.0.0.0/0", ",,", "a@b", ""},
	} {
		f.Add(seed.trusted, seed.forwarded, seed.host, seed.proto)
	}
	f.Fuzz(func(t *testing.T, trusted, forwarded, host, proto string) {
		prefixes, err := ParseProxies(trusted)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:1234"
		r.Header.Set("X-Forwarded-For", forwarded)
		r.Header.Set("X-Forwarded-Host", host)
		r.Header.Set("X-Forwarded-Proto", proto)
		if client := clientAddr(r, prefixes); !client.IsValid() {
			t.Error("nobody asked")
		}
		base := origin{trusted: prefixes}.base(r)
		if !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://") || strings.ContainsAny(base, "\r\n\"<> @") {
			t.Errorf("the base is %q", base)
		}
	})
}
