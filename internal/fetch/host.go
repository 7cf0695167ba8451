package fetch

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/api-gpu/api-gpu"
)

// allowList holds the hosts whose address is not checked, as "host" or as
// "host:port", in the form of canonical.
type allowList map[string]bool

func newAllowList(entries []string) allowList {
	l := make(allowList, len(entries))
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		// A bare IPv6 address has colons and no port.
		if host, port, err := net.SplitHostPort(entry); err == nil && port != "" {
			l[net.JoinHostPort(canonical(host), port)] = true
			continue
		}
		if host := strings.Trim(entry, "[]"); host != "" {
			l[canonical(host)] = true
		}
	}
	return l
}

// has reports whether addr ("host:port") is on the list. A name with a
// trailing dot is another name: it resolves without the search domains.
func (l allowList) has(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	host = canonical(host)
	return l[host] || l[net.JoinHostPort(host, port)]
}

// canonical folds case, and the many ways to write one IPv6 address. It does
// not turn ::ffff:127.0.0.1 into 127.0.0.1: the list is exact.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.ToLower(host)
}

// hostPort returns "host:port" of u, with the scheme's own port where the
// address names none.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// origin is what must stay the same for headers to be sent along a redirect.
func origin(u *url.URL) string {
	return u.Scheme + "://" + strings.ToLower(hostPort(u))
}

// checkURL refuses what no hop may ask for.
func checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return apigpu.E(apigpu.BlockedAddress, errFinal, "Only http and https addresses are read.")
	}
	host := u.Hostname()
	if host == "" {
		return apigpu.E(apigpu.InvalidRequest, errFinal, "The address names no host.")
	}
	// 2130706433, 0x7f.1 and 0177.0.0.1 mean 127.0.0.1 to some resolvers and
	// nothing to others. Nobody writes them in good faith.
	if _, err := netip.ParseAddr(host); err != nil && endsInNumber(host) {
		return apigpu.E(apigpu.BlockedAddress, errFinal, "%s is not a usual way to write an address.", u.Host)
	}
	return nil
}

// endsInNumber tells an IPv4 address, however written, from a name: the rule
// of the WHATWG URL standard, section "ends in a number checker".
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
