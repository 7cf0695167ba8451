package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu"
)

// thumbnailName is the last part of a thumbnail's address. No result has it:
// their names end in .mp4.
const thumbnailName = "thumbnail.jpg"

// signer makes and checks links to results that open without a header.
type signer struct{ secret []byte }

// path returns the address of a result below the server's own: it is final
// from the moment the job is recorded, and works until exp.
func (s signer) path(job, filename string, exp time.Time) string {
	unix := strconv.FormatInt(exp.Unix(), 10)
	return fmt.Sprintf("/files/%s/%s?exp=%s&sig=%s", url.PathEscape(job), url.PathEscape(filename), unix, s.sum(job, filename, unix))
}

// check tells whether a link was made by us, in constant time.
func (s signer) check(job, filename, exp, sig string) bool {
	return hmac.Equal([]byte(sig), []byte(s.sum(job, filename, exp)))
}

func (s signer) sum(job, filename, exp string) string {
	mac := hmac.New(sha256.New, s.secret)
	// A line end cannot stand in any of the three, so no two triples agree.
	fmt.Fprintf(mac, "%s\n%s\n%s", job, filename, exp)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// origin finds the address under which clients reach this server.
type origin struct {
	// public is PUBLIC_URL; it wins over anything a request says.
	public string
	// trusted lists the proxies whose X-Forwarded headers are believed.
	trusted []netip.Prefix
}

// base returns scheme and host for the links in the answer to r, without a
// slash at the end. It is empty where the request names no host (HTTP/1.0):
// links are relative then.
func (o origin) base(r *http.Request) string {
	if o.public != "" {
		return o.public
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if o.fromProxy(r) {
		if s := strings.ToLower(first(r.Header.Get("X-Forwarded-Proto"))); s == "http" || s == "https" {
			scheme = s
		}
		if h := first(r.Header.Get("X-Forwarded-Host")); isHost(h) {
			host = h
		}
	}
	if !isHost(host) {
		return ""
	}
	return scheme + "://" + host
}

func (o origin) fromProxy(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	return within(o.trusted, ap.Addr().Unmap())
}

// ParseProxies reads TRUSTED_PROXIES: addresses and prefixes separated by
// commas; the word private stands for the private and loopback ranges.
func ParseProxies(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
		case part == "private":
			for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7"} {
				out = append(out, netip.MustParsePrefix(p))
			}
		case strings.Contains(part, "/"):
			p, err := netip.ParsePrefix(part)
			if err != nil {
				return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", part)
			}
			out = append(out, p.Masked())
		default:
			a, err := netip.ParseAddr(part)
			if err != nil {
				return nil, fmt.Errorf("%q is not an address", part)
			}
			a = a.Unmap() // base looks for addresses in this form
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out, nil
}

func first(list string) string {
	head, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(head)
}

// isHost reports whether s is a host with an optional port and nothing that
// would change the meaning of a URL.
func isHost(s string) bool {
	const longest = 253 + len(":65535") // RFC 1035, section 2.3.4
	u, err := url.Parse("http://" + s)
	return err == nil && len(s) <= longest && u.Host == s && u.Hostname() != "" && !strings.ContainsAny(s, "\"<>")
}

type baseKey struct{}

// baseOf returns the address under which the client of this request reached
// the server.
func baseOf(ctx context.Context) string {
	base, _ := ctx.Value(baseKey{}).(string)
	return base
}

// decorate adds to a job what depends on how the server was reached.
func (a *API) decorate(ctx context.Context, j apigpu.Job) apigpu.Job { return a.show(baseOf(ctx), j) }

// Show returns a job as answers show it. base is the address under which its
// client reached the server; PUBLIC_URL wins over it.
func (a *API) Show(base string, j apigpu.Job) apigpu.Job {
	if a.origin.public != "" {
		base = a.origin.public
	}
	return a.show(base, j)
}

func (a *API) show(base string, j apigpu.Job) apigpu.Job {
	self := base + "/jobs/" + url.PathEscape(j.ID)
	j.Object = "job"
	j.VideoURL = base + a.signer.path(j.ID, j.Filename, j.LinkUntil)
	if j.Thumbnail && !slices.ContainsFunc(j.Warnings, func(w apigpu.Warning) bool { return w.Code == apigpu.ThumbnailFailed }) {
		j.ThumbnailURL = base + a.signer.path(j.ID, thumbnailName, j.LinkUntil)
	}
	j.Links = apigpu.Links{Self: self, Events: self + "/events", Video: self + "/video", Cancel: self + "/cancel"}
	if j.Warnings == nil {
		j.Warnings = []apigpu.Warning{}
	}
	return j
}
