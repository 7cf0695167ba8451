package httpapi

import (
	"net/http"
	"strings"
)

// Content security policies. Answers of an API are no pages: whatever a
// browser is made to believe, nothing in them loads, runs or is framed.
const (
	policy = "default-src 'none'; frame-ancestors 'none'"
	// filePolicy is that of results: a browser shows a video in a page that
	// it makes itself, with a player and a style of its own. Nothing else may
	// run there, whatever the file really is.
	filePolicy = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
)

// secureHeaders sets what every answer carries, whoever asks. A handler may
// say otherwise, as that of results does. secure tells that the client came
// by https.
func secureHeaders(h http.Header, secure bool) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000") // a year (RFC 6797)
	}
}

// fileHeaders sets what a result carries instead: it is made to be shown, in
// pages of others too.
func fileHeaders(h http.Header) {
	h.Set("Content-Security-Policy", filePolicy)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Del("X-Frame-Options")
}

// Secure serves next with the headers that every answer of an API carries.
func Secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secureHeaders(w.Header(), r.TLS != nil)
		next.ServeHTTP(w, r)
	})
}

// isSecure reports whether an address that clients use is https.
func isSecure(base string) bool { return strings.HasPrefix(strings.ToLower(base), "https://") }
