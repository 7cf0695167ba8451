package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddr returns the address of the client that made r: the other end of
// the connection or, where that is one of the trusted proxies, the nearest
// address in X-Forwarded-For that is not. Each proxy adds at the right whom it
// heard from, so what a client wrote there itself stands further left, and is
// never reached. The zero Addr where nothing tells.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := ap.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(trusted, client); i-- {
		next, ok := parseHop(hops[i])
		if !ok {
			break // whoever wrote this, no address stands behind it
		}
		client = next
	}
	return client
}

// parseHop reads an address as proxies write it: some add a port.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		ap, portErr := netip.ParseAddrPort(s)
		a, err = ap.Addr(), portErr
	}
	return a.Unmap(), err == nil
}

// within reports whether one of the prefixes holds a.
func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// neighbours returns who counts as one client: an address, or for IPv6 a /64,
// of which whoever has one address has all (RFC 6177).
func neighbours(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil { // the zero Addr: all who cannot be told apart are one
		return netip.Prefix{}
	}
	return p
}
